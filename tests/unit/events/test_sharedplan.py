"""The worker that the Campaigns of a namespace share: given these Campaigns, when it is reconciled, then ..."""

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.events.shared_world import IMAGE, NAMESPACE, READ, Namespace, campaign

from flywheel.cli import main
from flywheel.events import manifests, naming
from flywheel.events.sharedplan import KINDS, plan_worker, stateful_set_key
from flywheel.insight.settings import read_settings
from flywheel.plan import CAMPAIGN_LABEL, MANAGED_BY_LABEL, SHARED_LABEL, ObjectKey

SCHEDULE = {"startsAt": "2027-06-16T00:00:00Z", "endsAt": "2027-06-19T00:00:00Z", "prepareFor": "48h"}
NOWHERE = {"timeZone": "Asia/Atlantis", "startsAt": "2027-06-16T00:00:00"}


def store(**fields: Any) -> dict[str, Any]:
    return {"analytics": {"store": fields}}


def settled(*campaigns: Any) -> Namespace:
    namespace = Namespace(*campaigns)
    namespace.settle()
    return namespace


def owners(namespace: Namespace) -> set[tuple[str, ...]]:
    return {tuple(sorted(live.sharers)) for live in namespace.live.values()}


def container(namespace: Namespace) -> dict[str, Any]:
    [found] = namespace.worker["spec"]["template"]["spec"]["containers"]
    return dict(found)


def test_the_first_campaign_with_an_edge_brings_the_worker() -> None:
    namespace = settled(campaign("spring"))
    assert [key.kind for key in namespace.objects] == list(KINDS)
    assert owners(namespace) == {("uid-of-spring",)}
    assert container(namespace)["image"] == IMAGE
    assert list(namespace.settings) == ["spring"]


def test_without_an_edge_there_is_none() -> None:
    assert settled(campaign("spring", measured=False)).objects == {}


def test_no_object_is_a_leftover_of_a_campaign_or_controlled_by_one() -> None:
    for manifest in settled(campaign("spring")).objects.values():
        labels = manifest["metadata"]["labels"]
        assert CAMPAIGN_LABEL not in labels
        assert (labels[MANAGED_BY_LABEL], labels[SHARED_LABEL]) == ("flywheel", "analytics")
        assert not any(each.get("controller") for each in manifest["metadata"]["ownerReferences"])


def test_a_second_campaign_shares_it() -> None:
    namespace = settled(campaign("spring", age=1))
    before = namespace.worker["spec"]
    namespace.campaigns["autumn"] = campaign("autumn")
    namespace.settle()
    assert owners(namespace) == {("uid-of-autumn", "uid-of-spring")}
    assert set(namespace.settings) == {"spring", "autumn"}
    assert namespace.worker["spec"] == before


def test_the_last_one_takes_it_along() -> None:
    namespace = settled(campaign("spring", age=1), campaign("autumn"))
    namespace.delete("spring")
    namespace.settle()
    assert owners(namespace) == {("uid-of-autumn",)}
    namespace.delete("autumn")
    assert namespace.objects == {}
    namespace.settle()
    assert namespace.objects == {}


def test_it_goes_when_the_campaigns_stay_and_do_without_it() -> None:
    namespace = settled(campaign("spring", age=1), campaign("autumn"))
    for name in namespace.campaigns:
        del namespace.campaigns[name]["spec"]["edge"]
    plan = namespace.reconcile()
    assert [each.key.kind for each in plan.delete] == list(reversed(KINDS))
    assert namespace.objects == {}


def test_what_is_left_behind_on_purpose_stays_and_is_taken_up_again() -> None:
    namespace = settled(campaign("spring"))
    namespace.orphan("spring")
    namespace.campaigns["plain"] = campaign("plain", measured=False)
    before = namespace.writes
    namespace.settle()
    assert (len(namespace.objects), namespace.writes) == (len(KINDS), before)
    namespace.campaigns["autumn"] = campaign("autumn")
    namespace.settle()
    assert owners(namespace) == {("uid-of-autumn",)}


def test_nothing_is_made_or_healed_for_those_alone_that_are_being_deleted() -> None:
    namespace = settled(campaign("spring"))
    namespace.campaigns["spring"]["metadata"]["deletionTimestamp"] = "2027-06-17T00:00:00Z"
    namespace.objects.pop(stateful_set_key(NAMESPACE))
    before = namespace.writes
    namespace.reconcile()
    assert namespace.writes == before


def test_one_that_is_being_deleted_is_measured_to_its_end_and_owns_nothing() -> None:
    namespace = settled(campaign("spring", age=1), campaign("autumn"))
    namespace.campaigns["spring"]["metadata"]["deletionTimestamp"] = "2027-06-17T00:00:00Z"
    namespace.settle()
    assert owners(namespace) == {("uid-of-autumn",)}
    assert set(namespace.settings) == {"spring", "autumn"}


def test_the_oldest_decides_on_the_store() -> None:
    old = campaign("young-name", age=1, **store(size="50Gi", image="r.example/own:2"))
    namespace = settled(campaign("a-newer-one", **store(size="5Gi")), old)
    [claim] = namespace.worker["spec"]["volumeClaimTemplates"]
    assert claim["spec"]["resources"]["requests"]["storage"] == "50Gi"
    assert container(namespace)["image"] == "r.example/own:2"


def test_a_larger_volume_makes_the_worker_anew() -> None:
    namespace = settled(campaign("spring", **store(size="10Gi")))
    uid = namespace.worker["metadata"]["uid"]
    namespace.campaigns["spring"] = campaign("spring", **store(size="20Gi"))
    plan = namespace.plan()
    assert plan.replace is not None
    assert (plan.replace.old.uid, plan.replace.claim) == (uid, manifests.VolumeClaim("20Gi"))
    [meanwhile] = plan.replace.meanwhile["spec"]["volumeClaimTemplates"]
    assert meanwhile["spec"]["resources"]["requests"]["storage"] == "10Gi"
    namespace.settle()
    assert namespace.worker["metadata"]["uid"] != uid


def test_the_same_size_in_other_words_changes_nothing() -> None:
    namespace = settled(campaign("spring", **store(size="10Gi")))
    before = namespace.writes
    namespace.campaigns["spring"] = campaign("spring", **store(size="10240Mi"))
    assert namespace.plan().replace is None
    namespace.settle()
    assert namespace.writes == before


def test_moving_to_a_clickhouse_makes_the_worker_anew_without_a_volume() -> None:
    namespace = settled(campaign("spring"))
    clickhouse = {"url": "https://clickhouse.example:8443", "secretName": "clickhouse"}
    namespace.campaigns["spring"] = campaign("spring", **store(clickhouse=clickhouse))
    namespace.settle()
    assert "volumeClaimTemplates" not in namespace.worker["spec"]
    assert "--clickhouse-url=https://clickhouse.example:8443" in container(namespace)["args"]
    secrets = {
        each["name"]: each["valueFrom"]["secretKeyRef"]
        for each in container(namespace)["env"]
        if "CLICK" in each["name"]
    }
    assert secrets == {
        "FLYWHEEL_CLICKHOUSE_USER": {"name": "clickhouse", "key": "username"},
        "FLYWHEEL_CLICKHOUSE_PASSWORD": {"name": "clickhouse", "key": "password"},
    }


def test_settings_are_what_the_worker_reads() -> None:
    given = campaign(
        "spring",
        schedule=SCHEDULE,
        goal={"event": "Order Completed", "count": 50},
        edge={"events": {"pageViews": "Script"}},
        analytics={"currency": "CNY", "sessionTimeout": "10m", "retention": "30d", "order": {"event": "Paid"}},
    )
    namespace = settled(given)
    read, wrong = read_settings(namespace.settings)
    assert wrong == {}
    entry = read["spring"]
    assert (entry.uid, entry.currency, entry.session_timeout, entry.page_views) == (
        "uid-of-spring",
        "CNY",
        600,
        "Script",
    )
    assert entry.goal is not None
    assert (entry.order.event, entry.goal.count) == ("Paid", 50)
    assert entry.start == 1_812_931_200_000  # 2027-06-14T00:00:00Z, when it begins to prepare
    assert namespace.settings["spring"]["retention"] == 30 * 86400
    assert settled(campaign("always")).settings["always"]["from"] == 0


def test_a_spec_that_cannot_be_followed_leaves_its_last_settings_in_force() -> None:
    namespace = settled(campaign("spring", age=1, schedule=SCHEDULE), campaign("autumn"))
    before = deepcopy(namespace.settings)
    namespace.campaigns["spring"]["spec"]["schedule"] = NOWHERE
    namespace.settle()
    assert namespace.settings == before
    # One of the same name that was made anew never had any.
    namespace.campaigns["spring"]["metadata"]["uid"] = "another"
    namespace.settle()
    assert set(namespace.settings) == {"autumn"}


def test_a_store_that_cannot_be_read_leaves_the_worker_as_it_is() -> None:
    namespace = settled(campaign("spring", age=1, **store(size="20Gi")), campaign("autumn", **store(size="5Gi")))
    before = deepcopy(namespace.worker["spec"])
    namespace.campaigns["spring"]["spec"]["analytics"] = {"store": {"size": "much"}}
    plan = namespace.reconcile()
    assert "spring" in plan.trouble
    assert namespace.worker["spec"] == before


def test_settings_beyond_the_room_of_a_config_map_are_told() -> None:
    text, left_out = manifests.settings_text((f"c{number}", {"services": ["x" * 1000]}) for number in range(1000))
    assert len(text.encode()) <= manifests.LONGEST_SETTINGS
    assert left_out
    assert "c0" not in left_out


@pytest.mark.parametrize(
    ("resources", "argument"),
    [
        (None, ["--memory=1536"]),
        ({"limits": {"memory": "8Gi"}}, ["--memory=4096"]),
        ({"limits": {"memory": "100Mi"}}, ["--memory=256"]),
        ({"requests": {"cpu": "1"}}, []),
    ],
)
def test_the_engine_takes_half_of_the_memory_there_is(resources: Any, argument: list[str]) -> None:
    namespace = settled(campaign("spring", **store(**({"resources": resources} if resources else {}))))
    assert [each for each in container(namespace)["args"] if each.startswith("--memory")] == argument


def test_its_command_takes_the_arguments() -> None:
    clickhouse = {"url": "https://clickhouse.example:8443"}
    for spec in ({}, store(clickhouse=clickhouse)):
        arguments = container(settled(campaign("spring", **spec)))["args"]
        command = main.commands[arguments[0]]
        read = command.make_context("analytics", arguments[1:]).params
        assert str(read["data_directory"]) == naming.DATA_DIRECTORY
        assert (read["ingest_port"], read["metrics_port"]) == (naming.INGEST_PORT, naming.METRICS_PORT)


def test_the_pod_meets_the_restricted_level() -> None:
    namespace = settled(campaign("spring"))
    pod = namespace.worker["spec"]["template"]["spec"]
    security = container(namespace)["securityContext"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert security["readOnlyRootFilesystem"]
    assert not security["allowPrivilegeEscalation"]
    assert security["capabilities"] == {"drop": ["ALL"]}


def test_events_come_from_edges_alone() -> None:
    policy = settled(campaign("spring")).objects[
        ObjectKey("networking.k8s.io", "NetworkPolicy", NAMESPACE, "flywheel-analytics")
    ]
    rules = {rule["ports"][0]["port"]: rule.get("from") for rule in policy["spec"]["ingress"]}
    [edges] = rules[9102]
    assert edges["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "edge"
    assert "namespaceSelector" not in edges
    assert rules[9104] is None


@st.composite
def campaigns(draw: st.DrawFn) -> list[Any]:
    made = []
    for number in range(draw(st.integers(0, 5))):
        spec: dict[str, Any] = draw(st.sampled_from([{}, store(size="5Gi"), store(size="1Ti"), store(size="much")]))
        schedule = draw(st.sampled_from([None, SCHEDULE, NOWHERE]))
        one = campaign(
            f"c{number}",
            age=draw(st.integers(0, 2)),
            measured=draw(st.booleans()),
            **({"schedule": schedule} if schedule else {}),
            **spec,
        )
        if draw(st.booleans()):
            one["metadata"]["deletionTimestamp"] = "2027-06-17T00:00:00Z"
        made.append(one)
    return made


@given(campaigns(), campaigns())
def test_whatever_the_campaigns_are_it_comes_to_rest_and_then_writes_nothing(first: Any, then: Any) -> None:
    namespace = settled(*deepcopy(first))
    namespace.campaigns = {each["metadata"]["name"]: each for each in deepcopy(then)}
    before = deepcopy(namespace.campaigns)
    namespace.settle()
    writes = namespace.writes
    assert namespace.plan() == namespace.plan()
    namespace.reconcile()
    assert namespace.writes == writes
    assert namespace.campaigns == before, "a plan changes nothing of what it is made from"
    staying = {
        each["metadata"]["uid"]
        for each in then
        if "edge" in each["spec"] and "deletionTimestamp" not in each["metadata"]
    }
    if staying:
        # All are kept alive by every Campaign that uses them.
        assert all(staying <= set(live.sharers) for live in namespace.live.values())
        assert {key.kind for key in namespace.objects} >= set(KINDS) - {"StatefulSet"}


@pytest.mark.parametrize("order", [0, 1])
def test_the_order_in_which_campaigns_are_known_does_not_matter(order: int) -> None:
    pair = [campaign("a", age=1, **store(size="5Gi")), campaign("b", **store(size="6Gi"))]
    assert settled(*pair[:: 1 - 2 * order]).worker["spec"] == settled(*pair).worker["spec"]


def test_a_worker_is_told_of_the_operator_and_lets_its_pods_in() -> None:
    policy, _ = manifests.network_manifests(NAMESPACE, "flywheel-system:flywheel")
    [senders, _] = policy["spec"]["ingress"]
    assert senders["ports"] == [{"port": naming.INGEST_PORT, "protocol": "TCP"}]
    assert senders["from"][1:] == [
        {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "flywheel-system"}},
            "podSelector": {"matchLabels": {"app.kubernetes.io/component": "operator"}},
        }
    ]
    plan = plan_worker(NAMESPACE, [campaign("spring")], {}, IMAGE, READ, operator="flywheel-system:flywheel")
    [worker] = [each for each in plan.apply if each["kind"] == "StatefulSet"]
    [made] = worker["spec"]["template"]["spec"]["containers"]
    assert "--operator-account=flywheel-system:flywheel" in made["args"]


def test_a_worker_that_is_told_of_none_lets_only_edges_in() -> None:
    namespace = settled(campaign("spring"))
    assert not any("operator" in each for each in container(namespace)["args"])
    policy, _ = manifests.network_manifests(NAMESPACE)
    assert len(policy["spec"]["ingress"][0]["from"]) == 1
