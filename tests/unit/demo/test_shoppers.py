"""The crowd's Job carries the behaviour of the example, as it is written."""

import json
from itertools import takewhile

from flywheel.simulation.plan import Pace, shoppers
from flywheel.simulation.read import read_behaviour
from rehearsal.compress import Pace as Seconds
from rehearsal.crowd import FILE as MOUNTED
from rehearsal.crowd import crowd
from rehearsal.play import GOING_HOME_SECONDS
from rehearsal.shoppers import FILE, RATE


def test_the_job_runs_the_examples_own_behaviour() -> None:
    config_map, job = crowd("yougou", "flywheel:1", FILE.read_text("utf-8"), "http://edge", RATE, 95)["items"]
    assert config_map["data"][MOUNTED] == FILE.read_text("utf-8")
    pod = job["spec"]["template"]["spec"]
    assert pod["volumes"][0]["configMap"]["name"] == config_map["metadata"]["name"]
    assert "--duration=95s" in pod["containers"][0]["args"]
    assert json.loads(json.dumps(job)) == job


def test_most_of_the_crowd_comes_in_the_flood_at_the_opening() -> None:
    behaviour = read_behaviour(FILE.read_text("utf-8"))
    flood = behaviour.floods[0]
    lead, length = flood.at.total_seconds(), flood.length.total_seconds()
    lasts = lead + Seconds().live - GOING_HOME_SECONDS
    begin = 20 * 3600.0
    come = [each.at for each in takewhile(lambda each: each.at < lasts, shoppers(behaviour, Pace(RATE, 1.0, begin)))]
    flooded = [at for at in come if lead <= at < lead + length]
    assert len(flooded) > len(come) / 2
    assert Seconds().warm > lead, "the first come while the flash sale is warm"
    assert lasts - lead - length > 30, "and enough of Live is left for the autoscaler to come back"
