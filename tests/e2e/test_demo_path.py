"""The demo's path with real pods: the 618 campaign in minutes, from its apply until nothing is left."""

from datetime import datetime, timedelta

from tests.lab.cluster.client import Cluster

from rehearsal.play import GROWING, Play
from rehearsal.screen import Screen
from rehearsal.snapshot import STAGES

LATENESS = timedelta(seconds=10)
"""How late a stage may be said to have come. Draining and Retained wait for nothing; Retired waits for the removal."""
REMOVAL = timedelta(seconds=60)


async def test_the_618_campaign_lives_and_leaves_nothing(installed: Cluster, restricted: str) -> None:
    # Given the operator, installed by Helm, and the campaign of examples/618, compressed
    play = Play(installed, Screen(), installed.images["shop"], restricted)

    # When it is applied and its hours pass, with a crowd from the moment it is live
    seen = await play.perform()

    # Then every stage came in order, the flash sale was warm before its start, pods served, the autoscaler acted under
    # load, and our own search finds nothing
    assert seen.problems() == []
    assert tuple(seen.stages) == STAGES
    assert seen.most_ready > seen.warm

    # And the report that stays tells the same story, each stage at its time
    assert seen.report
    came = {each["stage"]: datetime.fromisoformat(each["at"]) for each in seen.report["transitions"]}
    for each in seen.report["schedule"]["transitions"]:
        late = came[each["stage"]] - datetime.fromisoformat(each["at"])
        assert timedelta(seconds=-1) <= late <= (REMOVAL if each["stage"] == "Retired" else LATENESS), each["stage"]
    removed = {each["kind"]: each["count"] for each in seen.report["teardown"]["removed"]}
    assert removed["Deployment"] == removed["Service"] == len(play.written["spec"]["services"])
    assert seen.crowd
    assert seen.crowd["answers"]["201"] > 0, f"somebody bought something in {GROWING}"
