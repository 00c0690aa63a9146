"""The API server goes away for half a minute in the middle of a campaign, and the operator lives through it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.lab.cluster.client import Cluster
from tests.lab.disruption import Replica, namespace_of_its_own
from tests.lab.steps import (
    CART,
    SECKILL,
    Sale,
    World,
    always,
    eventually,
    given_campaign,
    given_live_campaign,
    in_seconds,
)

OUTAGE = 30.0
FIRST = 14.0
"""Seconds of the outage within which the operator has to notice."""
CATCH_UP = 40.0
MOST_CALLS = 400
"""Calls in vain during the outage: some for each of the eight watches, ever more slowly, and no storm."""


@pytest.fixture
def world(cluster: Cluster, definition: None, tmp_path: Path) -> Iterator[World]:
    if not cluster.lab:
        pytest.skip("KUBECONFIG names another cluster than the lab, whose API server is not ours to stop")
    with namespace_of_its_own(cluster, "outage") as objects:
        replica = Replica(cluster, [objects.namespace], tmp_path / "operator.log", "--log-format=console")
        with replica:
            yield World(cluster, objects, replica)
        replica.end()


def test_an_outage_of_half_a_minute_is_survived_and_made_up_for(world: World) -> None:
    replica = world.operator
    assert isinstance(replica, Replica)
    steady = given_live_campaign(world, CART)
    eventually(lambda: steady.said("Ready"), ("True", "Live"))
    before = steady.versions()
    due = given_campaign(
        world,
        SECKILL,
        CART,
        schedule={"startsAt": in_seconds(22), "prepareFor": "17s", "warmFor": "8s", "holdFor": "2m"},
    )
    eventually(lambda: due.stage, "Preparing")
    eventually(lambda: due.has("HorizontalPodAutoscaler", "seckill"))
    pid, unreachable = replica.pid, calls_in_vain(replica)

    world.cluster.stop_api_server()
    try:
        always(lambda: replica.running, bool, during=FIRST)
        # It lives, so nobody restarts it, and it is not ready, so that people and probes can see why nothing happens.
        assert replica.probe("/livez").is_success
        assert replica.ready() is False
        assert "api server: no answer" in replica.probe("/readyz").text
        always(lambda: (replica.running, replica.ready()), lambda seen: seen == (True, False), during=OUTAGE - FIRST)
    finally:
        world.cluster.start_api_server()

    eventually(replica.ready, True, within=CATCH_UP, why="readiness after the outage")
    # Warm and the start fell into the outage: the stage is the one of the clock, and so is the size.
    eventually(lambda: due.stage, "Live", within=CATCH_UP)
    eventually(lambda: due.limits("seckill"), (5, 6), within=CATCH_UP)
    assert due.stages_passed[:2] in (["Scheduled", "Preparing"], ["Preparing", "Live"])
    assert (replica.running, replica.pid) == (True, pid)
    assert calls_in_vain(replica) - unreachable < MOST_CALLS
    then_changes_are_seen_again(world, due)
    assert steady.versions() == before
    assert "Traceback" not in replica.log.read_text()


def calls_in_vain(replica: Replica) -> float:
    return replica.metric("flywheel_api_calls_total", result="unreachable")


def then_changes_are_seen_again(world: World, sale: Sale) -> None:
    """All watches follow again: of campaigns, of children changed by hand, and of children removed by hand."""
    world.objects.delete("Service", f"{sale.name}-cart")
    eventually(lambda: sale.has("Service", "cart"))
    sale.edit(services=[SECKILL])
    eventually(lambda: sale.has("Deployment", "cart"), False)
