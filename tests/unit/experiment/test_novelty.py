"""A change that wears off is told from days that differ by chance."""

import random

import pytest

from flywheel.experiment.novelty import novelty
from flywheel.experiment.report_model import ArmAt, Day


def days(early: float, late: float, number: int = 8, visitors: int = 5000) -> list[Day]:
    return [day(each, early if each < number // 2 else late, 0.08, visitors) for each in range(number)]


def day(number: int, share: float, other: float, visitors: int) -> Day:
    arms = {
        "red": ArmAt(visitors=visitors, total=visitors * other),
        "lime": ArmAt(visitors=visitors, total=visitors * share),
    }
    return Day(day=f"2027-06-{16 + number}", arms=arms)


def test_a_change_that_wears_off_is_told_with_both_figures() -> None:
    [told] = novelty(days(0.12, 0.08), "red", ["lime"])
    assert "+50% for visitors of the first half of the days and +0% for later ones" in told
    assert "more than chance" in told


def test_a_change_that_lasts_is_told_to_last() -> None:
    [told] = novelty(days(0.09, 0.09), "red", ["lime"])
    assert "no sign that it wears off" in told


@pytest.mark.parametrize("held", [days(0.12, 0.08, visitors=100), days(1.0, 1.0)])
def test_too_few_visitors_say_nothing(held: list[Day]) -> None:
    [told] = novelty(held, "red", ["lime"])
    assert "cannot be told" in told


def test_of_few_days_and_of_arms_that_are_not_there_nothing_is_said() -> None:
    assert list(novelty(days(0.12, 0.08, number=3), "red", ["lime"])) == []
    assert "cannot be told" in next(novelty(days(0.1, 0.1), "red", ["mint"]))


def test_days_that_differ_by_chance_are_rarely_told_as_news() -> None:
    chance = random.Random(618)
    told = 0
    for _ in range(400):
        held = []
        for number in range(6):
            drawn = [sum(chance.random() < 0.1 for _ in range(400)) / 400 for _ in range(2)]
            held.append(day(number, drawn[0], drawn[1], 400))
        told += any("more than chance" in each for each in novelty(held, "red", ["lime"]))
    assert told <= 14, "one in eighty is expected: 5 of 400"
