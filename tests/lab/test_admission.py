"""Good Campaigns are taken and bad ones refused by a real API server, with the field and the remedy in the message."""

import json
from pathlib import Path

import pytest
from tests.bad_campaigns.table import BASES, BadCampaign, as_yaml, bad_campaigns, good_campaign
from tests.lab.cluster.client import Cluster, CommandFailedError
from tests.lab.objects import Objects
from tests.lab.steps import eventually

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*/campaign.yaml"))
BAD = bad_campaigns()


@pytest.fixture(scope="module")
def campaigns(cluster: Cluster, definition: None) -> Cluster:
    """The cluster with the definition of Campaigns, whose CEL rules it found cheap enough."""
    return cluster


def try_to(cluster: Cluster, *command: str, text: str) -> tuple[bool, str]:
    """Whether a dry run of the API server takes the Campaign, and what is said."""
    try:
        return True, cluster.kubectl(*command, "--dry-run=server", "--filename=-", input=text)
    except CommandFailedError as error:
        return False, str(error)


@pytest.fixture(scope="module")
def objects(campaigns: Cluster) -> Objects:
    """The API server without kubectl."""
    return Objects(campaigns.kubeconfig, "default")


@pytest.mark.parametrize("bad", [bad for bad in BAD if bad.refused == "admission"], ids=lambda bad: bad.name)
def test_a_bad_campaign_is_refused_with_field_and_remedy(objects: Objects, bad: BadCampaign) -> None:
    said = objects.refusal(bad.manifest, applied=False)
    assert said
    assert [fragment for fragment in (bad.path, *bad.admission) if fragment not in said] == [], said


@pytest.mark.parametrize("bad", [bad for bad in BAD if bad.refused == "admission"], ids=lambda bad: bad.name)
def test_a_bad_campaign_is_refused_by_server_side_apply(objects: Objects, bad: BadCampaign) -> None:
    said = objects.refusal(bad.manifest, applied=True)
    # Server-side apply compares types before the schema is asked, and names items by their keys instead of numbers.
    field = bad.path.rpartition(".")[2].partition("[")[0]
    assert field in said


@pytest.mark.parametrize("bad", [bad for bad in BAD if bad.refused == "operator"], ids=lambda bad: bad.name)
def test_what_only_the_operator_can_know_is_taken(objects: Objects, bad: BadCampaign) -> None:
    assert objects.refusal(bad.manifest, applied=False) == ""


def test_kubectl_says_what_the_api_server_says(campaigns: Cluster) -> None:
    bad = next(bad for bad in BAD if bad.name == "ends before it starts")
    taken, said = try_to(campaigns, "create", text=bad.text)
    assert not taken
    assert all(fragment in said for fragment in (bad.path, *bad.admission))


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("command", [("create",), ("apply", "--server-side")], ids=" ".join)
def test_a_good_campaign_is_taken(campaigns: Cluster, command: tuple[str, ...], base: str) -> None:
    taken, said = try_to(campaigns, *command, text=as_yaml(good_campaign(base)))
    assert taken, said


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_the_examples_are_taken(campaigns: Cluster, path: Path) -> None:
    written = [each for each in path.read_text("utf-8").split("\n---\n") if "kind: Campaign" in each]
    assert written
    for text in written:
        taken, said = try_to(campaigns, "apply", "--server-side", "--force-conflicts", text=text)
        assert taken, said


def test_a_client_that_does_not_ask_for_strictness_is_warned_of_unknown_fields(campaigns: Cluster) -> None:
    manifest = good_campaign()
    manifest["spec"]["budget"] = 1
    taken, said = try_to(campaigns, "create", "--validate=warn", "--output=json", text=as_yaml(manifest))
    assert taken, said
    assert "budget" not in json.loads(said)["spec"]


def test_nothing_is_written_into_a_campaign(campaigns: Cluster) -> None:
    manifest = good_campaign()
    _, said = try_to(campaigns, "create", "--output=json", text=as_yaml(manifest))
    assert json.loads(said)["spec"] == manifest["spec"]


def test_an_anchor_bomb_is_refused(campaigns: Cluster) -> None:
    anchors = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    anchors += [f"a{n}: &a{n} [{', '.join(['*a' + str(n - 1)] * 9)}]" for n in range(1, 10)]
    taken, said = try_to(campaigns, "create", text="\n".join([*anchors, as_yaml(good_campaign())]))
    assert not taken
    assert "excessive aliasing" in said


def test_a_spec_of_megabytes_is_refused(campaigns: Cluster) -> None:
    manifest = good_campaign()
    manifest["spec"]["title"] = "x" * 1_500_000
    taken, said = try_to(campaigns, "create", text=as_yaml(manifest))
    assert not taken
    assert "spec.title: Too long" in said


def test_a_spec_nested_without_end_is_refused(campaigns: Cluster) -> None:
    text = as_yaml(good_campaign()) + "  extra: " + "[" * 20_000 + "]" * 20_000
    taken, said = try_to(campaigns, "apply", "--server-side", "--force-conflicts", text=text)
    assert not taken
    assert "exceeded max depth" in said


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("campaign.spec", ["services", "-required-", "schedule", "route"]),
        ("campaign.spec.schedule", ["Asia/Shanghai", "How long before startsAt", "default 1h", "Default UTC"]),
        ("campaign.spec.services.autoscaling", ["first flood finds them running", "HorizontalPodAutoscaler"]),
        ("campaign.spec.services.podTemplate", ["Escape hatch"]),
        ("campaign.spec.route.rules", ["longest matching path wins"]),
        ("campaign.status", ["Scheduled", "Retired"]),
    ],
)
def test_explain_reads_like_documentation(campaigns: Cluster, field: str, words: list[str]) -> None:
    def explained() -> str:
        return " ".join(campaigns.kubectl("explain", field, check=False).split())

    # The API server publishes the documentation of a new definition a little after the definition itself.
    eventually(lambda: [each for each in words if each not in explained()], [])
    said = explained()
    assert "<no description>" not in said


def test_people_find_campaigns_by_short_name_and_category(campaigns: Cluster, namespace: str) -> None:
    campaigns.kubectl("apply", "--server-side", "-n", namespace, "-f", "-", input=as_yaml(good_campaign()))
    for name in ("cmp", "campaigns.flywheel.dev", "flywheel"):
        head, row = campaigns.kubectl("get", name, "-n", namespace).splitlines()
        assert head.split() == ["NAME", "STAGE", "READY", "STARTS", "ENDS", "NEXT", "GOAL", "AGE"]
        found, *columns = row.split()
        # Of several kinds kubectl names the kind as well.
        assert found.rpartition("/")[2] == "yougou-618"
        assert columns[:2] == ["2027-06-16T00:00:00", "2027-06-19T00:00:00"]


def test_the_status_that_the_operator_writes_is_kept_whole(campaigns: Cluster, namespace: str) -> None:
    campaigns.kubectl("apply", "--server-side", "-n", namespace, "-f", "-", input=as_yaml(good_campaign()))
    transition = {"stage": "Warm", "at": "2027-06-15T15:30:00Z"}
    status = {
        "observedGeneration": 1,
        "stage": "Preparing",
        "nextTransition": transition,
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "reason": "AsPlanned",
                "message": "all services are ready",
                "observedGeneration": 1,
                "lastTransitionTime": "2027-06-14T00:00:00Z",
            }
        ],
        "services": [{"name": "seckill", "desired": 3, "ready": 3, "revision": "0f", "url": "http://seckill"}],
        "inventory": {"entries": [{"group": "", "kind": "Service", "namespace": "shop", "name": "yougou-618-seckill"}]},
        "schedule": {"digest": "0f", "transitions": [transition]},
        "transitions": [transition],
        "report": {
            "startedAt": "2027-06-19T00:00:00Z",
            "finishedAt": "2027-06-19T00:00:05Z",
            "removed": [{"kind": "Service", "count": 1}],
            "checkedResources": 60,
            "uncheckedResources": ["widgets.example.com"],
            "remaining": 0,
        },
    }
    patch = json.dumps({"status": status})
    arguments = ("-n", namespace, "--subresource=status", "--type=merge", f"--patch={patch}", "--output=json")
    assert json.loads(campaigns.kubectl("patch", "cmp", "yougou-618", *arguments))["status"] == status
