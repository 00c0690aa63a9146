"""Where nothing happens, nothing is written: a write wakes everybody who watches, and costs the API server most."""

from typing import Any

from tests.lab.cluster.sample_image import ensure_sample
from tests.lab.steps import CART, SECKILL, Sale, World, eventually, given_campaign, given_live_campaign

RESYNCS = 3


def then_nothing_is_written(world: World, *campaigns: Sale) -> None:
    """Wait for some resyncs of all Campaigns of the namespace in which the operator writes nothing."""
    operator = world.operator

    def reconciles() -> float:
        return operator.metric("flywheel_reconcile_duration_seconds_count")

    def quiet() -> bool:
        # Kubernetes writes statuses of its own for a while; only then can versions stay the same.
        before, writes, seen = [each.versions() for each in campaigns], operator.writes(), reconciles()
        eventually(reconciles, lambda count: count >= seen + RESYNCS * len(campaigns))
        return ([each.versions() for each in campaigns], operator.writes()) == (before, writes)

    eventually(quiet, why=f"{RESYNCS} resyncs without a write")


def test_an_unchanged_world_is_not_written_to(own_world: World) -> None:
    empty: dict[str, Any] = {"env": [{"name": "EMPTY", "value": ""}], "resources": {"requests": {"cpu": "1000m"}}}
    several = {
        **CART,
        **empty,
        "volumes": [{"name": "cache", "emptyDir": {}}],
        "volumeMounts": [{"name": "cache", "mountPath": "/cache"}],
        "readinessProbe": {"httpGet": {"path": "/healthz"}},
        "topologySpreadConstraints": [],
    }
    sale = given_live_campaign(own_world, several, SECKILL)
    sleeping = given_campaign(own_world, schedule={"startsAt": "2099-01-01T00:00:00Z"})
    over = given_campaign(own_world, schedule={"endsAt": "2020-01-01T00:00:00Z"})
    eventually(lambda: (sleeping.stage, over.stage), ("Scheduled", "Retired"))
    then_nothing_is_written(own_world, sale, sleeping, over)
    assert own_world.operator.metric("flywheel_writes_skipped_total") > 0


def test_a_release_at_rest_is_not_written_to(own_world: World) -> None:
    released = {
        "name": "app",
        "image": ensure_sample(own_world.cluster.lab).image,
        "imagePullPolicy": "IfNotPresent",
        "port": 8080,
        "replicas": 1,
        "env": [{"name": "VERSION", "value": "one"}],
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
        "readinessProbe": {"httpGet": {"path": "/readyz"}, "periodSeconds": 1},
        "release": {"strategy": "BlueGreen"},
    }
    sale = given_live_campaign(own_world, released)

    def outcomes() -> list[str]:
        return [each["outcome"] for each in sale.manifest["status"]["releases"][0]["history"]]

    # What the status holds of a release has lists, and these come back as what they were written as.
    eventually(outcomes, ["Promoted"])
    then_nothing_is_written(own_world, sale)
