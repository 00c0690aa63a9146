"""Releases of the peers' kind and worse, each while people keep using the service, through the edge and without it."""

import uuid
from collections.abc import Iterator

import pytest
from tests.asking import PLAIN
from tests.e2e.releases import AFTER, CHECK, Releases, moment
from tests.e2e.steps import Manifest
from tests.lab.cluster.client import Cluster
from tests.lab.cluster.victims import processes_of

SWITCHED = 15.0
"""Seconds after the decision in which the old slot may still answer: as a rule one, and more on a busy machine."""


@pytest.fixture(scope="module")
def namespace_of_releases(installed: Cluster) -> Iterator[str]:
    name = f"e2e-{uuid.uuid4().hex[:8]}"
    installed.kubectl("create", "namespace", name)
    installed.kubectl("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
    yield name
    installed.kubectl("delete", "campaigns", "--all", "-n", name, "--timeout=120s", check=False)
    installed.kubectl("delete", "namespace", name, "--wait=false", check=False)


@pytest.fixture(scope="module")
def entered(installed: Cluster, namespace_of_releases: str) -> Releases:
    """A Campaign with an edge, at rest."""
    made = Releases(installed, namespace_of_releases, "rel", edge=True)
    made.release("good")
    made.serves("good", seconds=180)
    made.eventually(lambda: made.condition("EdgeReady").get("status") == "True", "a ready edge", 180)
    return made


@pytest.fixture(scope="module")
def plain_campaign(installed: Cluster, namespace_of_releases: str) -> Releases:
    made = Releases(installed, namespace_of_releases, "plain", edge=False)
    made.release("good")
    made.serves("good", seconds=120)
    return made


@pytest.fixture
def rel(entered: Releases) -> Releases:
    """The Campaign with an edge, at rest with one version."""
    entered.comes_to_rest("good")
    return entered


@pytest.fixture
def plain(plain_campaign: Releases) -> Releases:
    """One without an edge."""
    plain_campaign.comes_to_rest("good")
    return plain_campaign


def test_a_clean_switch(rel: Releases) -> None:
    with rel.used() as used:
        rel.release("two", {"after": [AFTER]})
        rel.serves("two")
        used.load.until_answered("edge-kept", "two")
        used.load.until_answered("service-kept", "two")
    used.nobody_was_turned_away()
    switched = moment(rel.state()["promotedAt"])
    for name, load in used.report.loads.items():
        assert load.versions["good"].last - switched < SWITCHED, (name, str(load))
    assert {"ReleaseStarted", "GatePassed", "Promoted", "Released"} <= set(rel.events())


def test_without_an_edge_as_well(plain: Releases) -> None:
    with plain.used() as used:
        plain.release("two")
        plain.serves("two")
        plain.eventually(lambda: plain.state().get("previous", {}).get("drainedAt"), "pods that were told to drain")
        used.load.until_answered("service-kept", "two")
    used.nobody_was_turned_away()
    switched = moment(plain.state()["promotedAt"])
    for name, load in used.report.loads.items():
        assert load.versions["good"].last - switched < SWITCHED, (name, str(load))


def test_a_gate_fails_and_a_retry_follows(rel: Releases) -> None:
    with rel.used() as used:
        rel.release("two", CHECK="fail")
        failed = rel.becomes("Failed")
        rel.command("retry", failed["held"])
        rel.eventually(lambda: rel.state()["number"] > failed["number"], "another attempt")
        rel.becomes("Failed")
        rel.release("three")
        rel.serves("three")
    used.nobody_was_turned_away()
    assert used.versions_seen() == {"good", "three"}
    assert "503" in failed["message"]


def test_a_gate_after_the_switch_fails_and_the_traffic_returns(rel: Releases) -> None:
    rules = {"before": [], "after": [AFTER]}
    with rel.used() as used:
        rel.release("two", rules, CHECK="fail")
        rel.becomes("RolledBack")
        rel.serves("good")
    used.nobody_was_turned_away()
    assert rel.gate("errors")["verdict"] == "Failed"


def test_an_abort_and_then_a_third_revision(rel: Releases) -> None:
    slow = {"before": [{**CHECK, "successes": 50}]}
    with rel.used() as used:
        rel.release("two", slow)
        rel.becomes("Verifying")
        rel.command("abort", rel.revision_of("preview"))
        rel.becomes("Aborted")
        rel.release("three")
        rel.serves("three")
    used.nobody_was_turned_away()
    assert "two" not in used.versions_seen(), used.described()


def test_a_third_revision_in_the_middle_of_the_second(rel: Releases) -> None:
    slow = {"before": [{**CHECK, "successes": 50}]}
    with rel.used() as used:
        rel.release("two", slow)
        rel.becomes("Verifying")
        rel.release("three")
        rel.serves("three")
    used.nobody_was_turned_away()
    assert "two" not in used.versions_seen(), used.described()
    assert "Superseded" in [each["outcome"] for each in rel.state()["history"]]


def test_a_spec_that_goes_back_in_the_middle(rel: Releases) -> None:
    slow = {"before": [{**CHECK, "successes": 50}]}
    with rel.used() as used:
        rel.release("two", slow)
        rel.becomes("Verifying")
        rel.release("good")
        rel.becomes("Stable")
        rel.eventually(lambda: not rel.pods("blue") or not rel.pods("green"), "one slot")
    used.nobody_was_turned_away()
    assert used.versions_seen() == {"good"}


def test_a_small_preview_grows_before_it_takes_the_traffic(rel: Releases) -> None:
    with rel.used() as used:
        rel.release("two", {"promotion": "Manual", "preview": 1})
        waiting = rel.becomes("AwaitingPromotion")
        assert len(rel.pods(waiting["preview"]["slot"])) == 1
        rel.command("promote", waiting["preview"]["revision"])
        rel.serves("two")
    used.nobody_was_turned_away()
    assert rel.state()["promotedSize"] == rel.replicas


def test_manual_promotion_through_a_preview_at_the_edge(rel: Releases) -> None:
    with rel.used() as used:
        rel.release("two", {"promotion": "Manual"})
        revision = rel.becomes("AwaitingPromotion")["preview"]["revision"]
        with rel.cluster.forward(f"{rel.name}-edge", 80, rel.namespace) as port:
            import httpx

            def version(**headers: str) -> tuple[str, str]:
                answer = httpx.get(
                    f"http://127.0.0.1:{port}/", headers=headers, timeout=10, trust_env=False, verify=PLAIN
                )
                return answer.headers["x-version"], answer.headers.get("x-fw-preview", "")

            rel.eventually(lambda: version(**{"X-FW-Preview": revision}) == ("two", revision), "the preview")
            assert version()[0] == "good"
            assert version(**{"X-FW-Preview": "0123456789abcdef"}) == ("good", "unknown")
        rel.command("promote", f"app={revision}")
        rel.serves("two")
    used.nobody_was_turned_away()


def test_promotion_waits_for_its_timer(rel: Releases) -> None:
    with rel.used() as used:
        rel.release("two", {"promoteAfter": "4s"})
        waiting = rel.becomes("AwaitingPromotion")
        rel.serves("two")
    used.nobody_was_turned_away()
    assert moment(rel.state()["promotedAt"]) - moment(waiting["preview"]["passedAt"]) >= 4


def test_a_gate_that_cannot_look_pauses(rel: Releases) -> None:
    blind = {
        "name": "figures",
        "interval": "1s",
        "prometheus": {"address": "http://nobody.invalid", "query": "up", "min": 1},
    }
    with rel.used() as used:
        rel.release("two", {"before": [blind]})
        rel.becomes("Paused")
        # Where a release stands is written before it is carried out, and conditions are after it.
        rel.eventually(lambda: rel.condition("Released")["reason"] == "GateInconclusive", "why it pauses")
        # The gate is taken out: the revision is the same, and goes on.
        rel.release("two")
        rel.serves("two")
    used.nobody_was_turned_away()


def test_good_bad_good(rel: Releases) -> None:
    with rel.used() as used:
        rel.release("two")
        rel.serves("two")
        rel.release("bad", CHECK="fail")
        rel.becomes("Failed")
        rel.release("three")
        rel.serves("three")
    used.nobody_was_turned_away()
    assert used.versions_seen() == {"good", "two", "three"}


def test_bad_bad(rel: Releases) -> None:
    with rel.used() as used:
        rel.release("bad", CHECK="fail")
        rel.becomes("Failed")
        rel.release("worse", CHECK="error500")
        rel.becomes("Failed")
    used.nobody_was_turned_away()
    assert used.versions_seen() == {"good"}


def test_a_revert_while_warm_is_instant_and_skips_gates(rel: Releases) -> None:
    rules = {"keepPrevious": "60s"}
    with rel.used() as used:
        rel.release("two", rules)
        rel.serves("two")
        rel.release("good", rules)
        rel.serves("good")
    used.nobody_was_turned_away()
    assert rel.state().get("gates", []) == []


def test_a_rollback_by_command_is_not_undone_by_itself(rel: Releases) -> None:
    with rel.used() as used:
        rel.release("two", {"keepPrevious": "60s"})
        rel.serves("two")
        held = rel.revision
        rel.command("rollback", "app")
        rel.becomes("RolledBack")
        rel.serves("good")
        rel.release("two", {"keepPrevious": "61s"})
        rel.eventually(
            lambda: rel.campaign["status"]["observedGeneration"] == rel.campaign["metadata"]["generation"], "seen"
        )
        assert (rel.state()["phase"], rel.state()["held"]) == ("RolledBack", held)
    used.nobody_was_turned_away()


def test_a_rollback_to_what_is_no_longer_warm(rel: Releases) -> None:
    old = rel.revision
    with rel.used() as used:
        rel.release("two", {"keepPrevious": "0s"})
        rel.serves("two")
        rel.eventually(lambda: not rel.state().get("previous"), "no warm slot")
        rel.command("rollback", f"app={old}")
        rel.serves("good")
    used.nobody_was_turned_away()


def test_a_preview_that_never_starts(rel: Releases) -> None:
    with rel.used() as used:
        rel.release("two", {"deadline": "10s"}, NEVER_READY="1")
        failed = rel.becomes("Failed")
    used.nobody_was_turned_away()
    assert failed["reason"] == "PreviewNotReady"


def test_an_image_that_is_not_there(rel: Releases) -> None:
    with rel.used() as used:
        service = {**rel.service("two", release={"deadline": "10s"}), "image": "localhost/never-built:1"}
        rel.apply(service)
        failed = rel.becomes("Failed")
    used.nobody_was_turned_away()
    assert "never-built" in failed["message"]


def test_pods_that_crash_after_the_switch(rel: Releases) -> None:
    with rel.used(post=False) as used:
        rel.release("two", {"keepPrevious": "60s", "after": [{**AFTER, "successes": 60}]}, CRASH_WHEN_LIVE="1")
        returned = rel.becomes("RolledBack")
        rel.serves("good")
    assert returned["reason"] in ("PodsLost", "GateFailed")
    # The edge turns to the warm slot by itself; without that it is from 60 to 300. Through the Service nobody can help,
    # until Kubernetes has noticed.
    assert used.failed_at_the_edge() == 0, used.report.describe()


def test_size_and_template_change_together(rel: Releases) -> None:
    with rel.used() as used:
        rel.apply({**rel.service("two"), "replicas": 4})
        rel.serves("two")
        rel.eventually(lambda: len(rel.pods(rel.state()["active"]["slot"])) == 4, "four pods")
    used.nobody_was_turned_away()


def test_the_size_that_the_autoscaler_made_is_carried_over(rel: Releases) -> None:
    scaling = {
        "min": 2,
        "max": 5,
        "metrics": [{"cpu": "999%"}],
        # What a person sets stays: the autoscaler takes nothing away.
        "behavior": {"scaleDown": {"selectPolicy": "Disabled"}},
    }

    def scaled(version: str) -> Manifest:
        service = {**rel.service(version), "autoscaling": scaling}
        del service["replicas"]
        return service

    rel.apply(scaled("good"))
    slot = rel.state()["active"]["slot"]
    rel.eventually(lambda: rel.objects.get("HorizontalPodAutoscaler", f"{rel.name}-app"), "an autoscaler")
    rel.objects.patch("Deployment", f"{rel.name}-app-{slot}", {"spec": {"replicas": 4}}, subresource="scale")
    rel.eventually(lambda: len(rel.pods(slot)) == 4, "four pods")
    with rel.used() as used:
        rel.apply(scaled("two"))
        rel.serves("two")
    used.nobody_was_turned_away()
    assert rel.state()["promotedSize"] == 4
    target = rel.objects.read("HorizontalPodAutoscaler", f"{rel.name}-app")["spec"]["scaleTargetRef"]["name"]
    assert target == f"{rel.name}-app-{rel.state()['active']['slot']}"
    assert len(rel.pods(rel.state()["active"]["slot"])) == 4


def test_each_slot_keeps_its_own_configuration(rel: Releases) -> None:
    settings = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"FEATURE": "red"}}
    rel.objects.apply(settings)
    service = {
        **rel.service("good", release={"promotion": "Manual"}),
        "envFrom": [{"configMapRef": {"name": "settings"}}],
    }
    rel.apply(service)
    first = rel.becomes("AwaitingPromotion")["preview"]["revision"]
    rel.command("promote", first)
    rel.eventually(lambda: (rel.revision, rel.state()["phase"]) == (first, "Stable"), "the configured one")
    with rel.used() as used:
        # Nobody touches the Campaign: the ConfigMap alone is another.
        rel.objects.apply({**settings, "data": {"FEATURE": "green"}})
        waiting = rel.becomes("AwaitingPromotion", seconds=90)
        assert waiting["preview"]["revision"] != first
        seen = {slot: _feature(rel, waiting[slot]["slot"]) for slot in ("active", "preview")}
        assert seen == {"active": "red", "preview": "green"}
        # A pod of the old slot that is started anew gets what it had.
        slot = waiting["active"]["slot"]
        rel.objects.delete("Pod", rel.pods(slot)[0]["metadata"]["name"])
        rel.eventually(lambda: len(rel.ready_pods(slot)) == rel.replicas, "a new pod of the old slot")
    used.nobody_was_turned_away()


def _feature(rel: Releases, slot: str) -> str:
    spec = rel.objects.read("Deployment", f"{rel.name}-app-{slot}")["spec"]["template"]["spec"]
    name = spec["containers"][0]["envFrom"][0]["configMapRef"]["name"]
    return str(rel.objects.read("ConfigMap", name)["data"]["FEATURE"])


def test_a_campaign_is_deleted_in_the_middle(installed: Cluster, namespace_of_releases: str) -> None:
    made = Releases(installed, namespace_of_releases, "short", edge=False)
    made.release("good")
    made.serves("good", seconds=120)
    made.release("two", {"before": [{**CHECK, "successes": 60}]})
    made.becomes("Verifying")
    made.objects.delete("Campaign", "short")
    made.eventually(lambda: made.objects.get("Campaign", "short") is None, "its end")
    kinds = ("Deployment", "Service", "ConfigMap", "Secret", "Pod", "ServiceAccount", "PodDisruptionBudget")
    left = [each for kind in kinds for each in made.objects.select(kind, "flywheel.dev/campaign=short")]
    assert [each["metadata"]["name"] for each in left if not each["metadata"].get("deletionTimestamp")] == []


def test_a_suspension_in_the_middle_ends_the_second_slot_and_the_release_begins_anew(plain: Releases) -> None:
    plain.apply(plain.service("two", release={"before": [{**CHECK, "successes": 60}]}))
    plain.becomes("Verifying")
    plain.apply(plain.service("two"), schedule={"suspend": True})
    plain.eventually(lambda: not plain.pods(), "no pods")
    assert plain.version_of(plain.state()["active"]) == "good"
    plain.apply(plain.service("two"))
    plain.serves("two", seconds=90)


def test_a_pod_is_lost_in_the_middle_of_the_switch(rel: Releases) -> None:
    with rel.used(post=False) as used:
        rel.release("two", {"promotion": "Manual", "preview": "100%", "after": [{**AFTER, "successes": 3}]})
        waiting = rel.becomes("AwaitingPromotion")["preview"]
        lost = rel.pods(waiting["slot"])[0]["metadata"]["name"]
        rel.command("promote", waiting["revision"])
        rel.objects.delete("Pod", lost)
        rel.serves("two")
    used.nobody_was_turned_away()


def test_an_edge_pod_that_cannot_follow_keeps_the_old_slot_alive(rel: Releases) -> None:
    selector = f"flywheel.dev/campaign={rel.name},app.kubernetes.io/component=edge"
    pod = min(rel.objects.select("Pod", selector), key=lambda each: str(each["metadata"]["name"]))["metadata"]
    sidecars = [each for each in processes_of(pod["uid"]) if "flywheel sidecar" in each.command]
    assert sidecars
    with rel.used() as used:
        rel.release("two", {"promotion": "Manual"})
        revision = rel.becomes("AwaitingPromotion")["preview"]["revision"]
        for each in sidecars:
            each.freeze()
        try:
            rel.command("promote", revision)
            behind = rel.becomes("Confirming")
            rel.eventually(lambda: rel.state().get("reason") == "EdgeFollowing", "a pod that is behind")
            assert pod["name"] in rel.state()["message"]
            assert len(rel.pods(behind["previous"]["slot"])) == rel.replicas
        finally:
            for each in sidecars:
                each.thaw()
        rel.serves("two")
    used.nobody_was_turned_away()


def test_the_operator_dies_again_and_again_in_the_middle(rel: Releases) -> None:
    rules = {"before": [{**CHECK, "successes": 3}], "after": [{**AFTER, "successes": 3}]}
    with rel.used() as used:
        rel.release("two", rules)
        for phase in ("Preparing", "Verifying", "Promoting", "Confirming"):
            rel.eventually(lambda at=phase: rel.state().get("phase") in (at, *_later(at)), f"{phase}")
            pods = rel.objects.within("flywheel-system").select("Pod", "app.kubernetes.io/name=flywheel")
            for pod in pods:
                rel.objects.within("flywheel-system").delete("Pod", pod["metadata"]["name"])
        rel.serves("two", seconds=120)
    used.nobody_was_turned_away()
    assert [rel.gate(name)["measured"] for name in ("smoke", "errors")] == [3, 3]


def _later(phase: str) -> tuple[str, ...]:
    order = ("Preparing", "Verifying", "AwaitingPromotion", "Promoting", "Confirming", "Stable")
    return order[order.index(phase) + 1 :]


def test_two_services_switch_and_return_together(plain: Releases) -> None:
    rules = {"releaseGroup": "both"}
    plain.apply(plain.service("good", release=rules), plain.service("good", "side", release=rules))
    plain.eventually(lambda: plain.state("side").get("phase") == "Stable", "a second service")
    plain.eventually(lambda: plain.state()["phase"] == "Stable", "the first as well")
    with plain.used() as used:
        slow = {"before": [{**CHECK, "successes": 4}], **rules}
        plain.apply(plain.service("two", release=rules), plain.service("two", "side", release=slow))
        plain.becomes("Stable")
        assert plain.state()["promotedAt"] == plain.state("side")["promotedAt"]
        failing = {"after": [{**AFTER, "successes": 2, "failureLimit": 0}], "before": [], **rules}
        plain.apply(
            plain.service("three", release={**rules, "after": [{**AFTER, "successes": 60}]}),
            plain.service("three", "side", release=failing, CHECK="fail"),
        )
        plain.becomes("RolledBack")
        plain.becomes("RolledBack", service="side")
        plain.serves("two")
    used.nobody_was_turned_away()
