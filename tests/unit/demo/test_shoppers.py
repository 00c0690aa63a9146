"""The crowd's Job carries the behaviour of the example, as it is written."""

import json
from itertools import takewhile

import pytest

from flywheel.campaign.testlook import LEAST_VISITORS
from flywheel.simulation.plan import Pace, Shopper, shoppers
from flywheel.simulation.read import read_behaviour
from flywheel.simulation.texts import sees
from rehearsal.abtest import SHOWN
from rehearsal.compress import Pace as Seconds
from rehearsal.crowd import FILE as MOUNTED
from rehearsal.crowd import crowd
from rehearsal.landing import GREEN, PAGE, RED
from rehearsal.play import GOING_HOME_SECONDS
from rehearsal.shoppers import FILE, RATE


def test_the_job_runs_the_examples_own_behaviour() -> None:
    config_map, job = crowd("yougou", "flywheel:1", FILE.read_text("utf-8"), "http://edge", RATE, 95)["items"]
    assert config_map["data"][MOUNTED] == FILE.read_text("utf-8")
    pod = job["spec"]["template"]["spec"]
    assert pod["volumes"][0]["configMap"]["name"] == config_map["metadata"]["name"]
    assert "--duration=95s" in pod["containers"][0]["args"]
    assert json.loads(json.dumps(job)) == job


BEHAVIOUR = read_behaviour(FILE.read_text("utf-8"))
OPENING, MESSAGE = BEHAVIOUR.floods
LEAD = OPENING.at.total_seconds()
"""Seconds after the first shoppers at which the sale opens."""
LASTS = LEAD + Seconds().live - GOING_HOME_SECONDS


def come() -> list[Shopper]:
    return list(takewhile(lambda each: each.at < LASTS, shoppers(BEHAVIOUR, Pace(RATE, 1.0, 20 * 3600.0))))


def test_most_of_those_who_want_to_buy_come_in_the_flood_at_the_opening() -> None:
    length = OPENING.length.total_seconds()
    flash = [each.at for each in come() if each.journey == "flash"]
    assert len([at for at in flash if LEAD <= at < LEAD + length]) > len(flash) / 2
    assert Seconds().warm > LEAD, "the first come while the flash sale is warm"
    assert LASTS - LEAD - length > 30, "and enough of Live is left for the autoscaler to come back"


def test_enough_see_the_front_page_for_the_ab_test() -> None:
    before = MESSAGE.at.total_seconds() + MESSAGE.length.total_seconds()
    new = [each for each in come() if LEAD <= each.at < before and not each.bot and each.earlier is None]
    landed = [each for each in new if each.entry.partition("?")[0] == "/"]
    # Half of them see the control, of which the operator wants its least number before it says anything.
    assert len(landed) / 2 > LEAST_VISITORS + 5 * (len(landed) / 4) ** 0.5 / 2
    assert before - LEAD + 60 < LASTS - LEAD, "the winner passes its gates, and a push, while the crowd is there"


@pytest.mark.parametrize("step", ["enter", "enter-for-flash", "enter-for-coupon"])
def test_shoppers_know_both_pages_apart_and_prefer_green(step: str) -> None:
    known = BEHAVIOUR.steps[step]
    page = (PAGE / "index.html").read_text("utf-8")
    pages = {"red": page, "green": page.replace(RED, GREEN)}
    assert {each.name for each in known.prefers} == set(SHOWN.values()) == pages.keys()
    claims = {}
    for preference in known.prefers:
        shown = [name for name, text in pages.items() if sees(preference.sees, text, {})]
        assert shown == [preference.name]
        share = sum(weight for target, weight in preference.next.items() if target in ("claim", "claim-coupon"))
        claims[preference.name] = share / sum(preference.next.values())
    assert claims["green"] > 1.5 * claims["red"]
