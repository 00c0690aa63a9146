"""The demo's path with real pods: the 618 campaign in minutes, from its apply until nothing is left."""

from datetime import datetime, timedelta

from tests.lab.cluster.client import Cluster

from rehearsal.accounts import Account
from rehearsal.play import Play
from rehearsal.screen import Screen
from rehearsal.snapshot import STAGES
from rehearsal.store import remove_store

LATENESS = timedelta(seconds=10)
"""How late a stage may be said to have come. Draining and Retained wait for nothing; Retired waits for the removal."""
REMOVAL = timedelta(seconds=60)


async def test_the_618_campaign_lives_and_leaves_nothing(installed: Cluster, restricted: str) -> None:
    # Given the operator, installed by Helm, and the campaign of examples/618, compressed
    screen = Screen()
    play = Play(installed, screen, restricted)

    # When it is applied and its hours pass, with shoppers from shortly before it is live
    seen = await play.perform()

    # Then every stage came in order, the flash sale was warm before its start, the autoscaler followed orders and
    # requests up and down, shoppers, shop and Campaign agree on every order, our own search finds nothing; and while
    # the crowd shopped an A/B test was decided by it and its winner released, a fix and a push went live and a bad
    # release was stopped, without a failed request
    assert seen.problems() == []
    assert tuple(seen.stages) == STAGES
    assert [each.amiss for each in seen.releases.values()] == [[], [], []]
    assert "stopped by gate coupon-rules" in seen.releases["bad"].line
    assert seen.accounts.others == Account(), "only the shoppers and the visitor were there to buy"
    assert {"wechat", "baidu-paid", "direct"} <= seen.channels.keys()

    # And the report that stays tells the same story, each stage at its time
    assert seen.report
    came = {each["stage"]: datetime.fromisoformat(each["at"]) for each in seen.report["transitions"]}
    for each in seen.report["schedule"]["transitions"]:
        late = came[each["stage"]] - datetime.fromisoformat(each["at"])
        assert timedelta(seconds=-1) <= late <= (REMOVAL if each["stage"] == "Retired" else LATENESS), each["stage"]
    removed = {each["kind"]: each["count"] for each in seen.report["teardown"]["removed"]}
    with_the_edge = len(play.written["spec"]["services"]) + 1
    in_slots = [each for each in play.written["spec"]["services"] if "release" in each]
    assert removed["Deployment"] == with_the_edge
    assert removed["Service"] == with_the_edge + 2 * len(in_slots), "a slot has an address of its own"
    assert seen.crowd
    assert seen.crowd["channels"].keys() >= {"wechat", "baidu-paid", "direct"}

    # And when the Campaign is deleted too, of the event store only the volume's claim is left, until that goes
    assert remove_store(installed, restricted, play.name, screen) == []
