"""Who comes when: the same for the same seed, as many as the curve says, and as the weights say."""

import itertools
from collections import Counter
from pathlib import Path

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.simulation.behaviour import Behaviour
from flywheel.simulation.plan import Pace, Shopper, rate_at, shoppers
from flywheel.simulation.read import read_behaviour

SHOPPERS = Path(__file__).parents[3] / "examples/618/shoppers.yaml"
EXAMPLE = yaml.safe_load(SHOPPERS.read_text("utf-8"))


def behaviour(**changes: object) -> Behaviour:
    return read_behaviour(yaml.safe_dump({**EXAMPLE, **changes}, allow_unicode=True))


def until(own: Behaviour, pace: Pace, seconds: float) -> list[Shopper]:
    return list(itertools.takewhile(lambda shopper: shopper.at < seconds, shoppers(own, pace)))


@settings(max_examples=15)
@given(seed=st.integers(0, 2**31 - 1), rate=st.floats(0.5, 10), speed=st.sampled_from((1.0, 60.0, 3600.0)))
def test_the_plan_is_a_function_of_the_seed(seed: int, rate: float, speed: float) -> None:
    pace = Pace(rate, speed, begin=20 * 3600)
    first = until(behaviour(seed=seed), pace, 5)
    assert first == until(behaviour(seed=seed), pace, 5)
    assert [each.at for each in first] == sorted(each.at for each in first)
    assert [each.number for each in first] == list(range(len(first)))
    longer = until(behaviour(seed=seed), pace, 7)
    assert longer[: len(first)] == first
    assert all(each.earlier is None or each.earlier < each.number for each in longer)


def test_another_seed_is_another_plan() -> None:
    pace = Pace(20)
    assert until(behaviour(seed=1), pace, 5) != until(behaviour(seed=2), pace, 5)


def test_the_curve_is_that_of_the_hours_and_the_flood() -> None:
    own = behaviour(floods=[{"at": "1h", "for": "30m", "factor": 10}])
    pace = Pace(10, speed=3600.0, begin=0)
    hours = EXAMPLE["day"]["hours"]
    expected = [10 * weight * 24 / sum(hours) for weight in hours]
    expected[1] *= 10
    assert [round(rate_at(own, pace, second), 9) for second in range(24)] == [round(each, 9) for each in expected]
    assert rate_at(own, pace, 24) == rate_at(own, pace, 0)
    assert round(rate_at(own, pace, 1.5), 9) == round(expected[1] / 10, 9)
    came = Counter(int(each.at) for each in until(own, pace, 24))
    for hour, rate in enumerate(expected):
        # Six standard deviations of a Poisson number; the seed is fixed.
        assert abs(came[hour] - rate) <= 6 * rate**0.5, hour


def test_everybody_comes_as_the_weights_say() -> None:
    own = behaviour(floods=[], day=None)
    plan = until(own, Pace(400), 20)
    people = [each for each in plan if not each.bot]
    total = sum(channel["weight"] for channel in EXAMPLE["channels"])
    for channel in EXAMPLE["channels"]:
        share = sum(each.channel == channel["name"] for each in plan) / len(plan)
        assert abs(share - channel["weight"] / total) < 0.03, channel["name"]
    assert {each.journey for each in plan if each.bot} == {"crawl"}
    assert {each.journey for each in people} == {"stroll", "flash", "coupon"}
    assert abs(sum(each.earlier is not None for each in people) / len(people) - 0.2) < 0.03


def test_a_flood_comes_for_its_own() -> None:
    own = behaviour(floods=[{"at": "10s", "for": "5s", "factor": 20, "journeys": {"flash": 1}}], day=None)
    plan = [each for each in until(own, Pace(10), 20) if not each.bot]
    assert {each.journey for each in plan if 10 <= each.at < 15} == {"flash"}
    assert {each.journey for each in plan if each.at < 10} == {"flash", "stroll"}


def test_a_flood_comes_over_its_own_channels() -> None:
    own = behaviour(floods=[{"at": "10s", "for": "5s", "factor": 20, "channels": {"sms": 3, "email": 1}}], day=None)
    plan = until(own, Pace(10), 20)
    flooded = Counter(each.channel for each in plan if 10 <= each.at < 15)
    assert flooded.keys() == {"sms", "email"}
    assert abs(flooded["sms"] / flooded.total() - 0.75) < 0.06
    assert len({each.channel for each in plan if each.at < 10}) > 3
