"""Ranges of buckets: shares as asked for, nobody moved, and what the edge makes of them."""

import itertools
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2_contingency, chisquare

from flywheel.edge.bucket import bucket
from flywheel.edge.document import BUCKETS
from flywheel.experiment.assignment import Arm, ranges

VISITORS = [f"{number:08x}-0000-4000-8000-{number * 7919 % (1 << 48):012x}" for number in range(20_000)]


@st.composite
def arms(draw: st.DrawFn) -> list[Arm]:
    cuts = sorted(draw(st.lists(st.integers(0, BUCKETS), min_size=1, max_size=7)))
    edges = [0, *cuts, BUCKETS]
    return [Arm(f"v{index}", high - low) for index, (low, high) in enumerate(itertools.pairwise(edges))]


def variant_of(salt: str, visitor: str, given_arms: list[Arm], traffic: int) -> str:
    at = bucket(salt, visitor)
    return next((each.name for each in ranges(given_arms, traffic) if each.start <= at < each.end), "")


@given(arms(), st.integers(0, BUCKETS))
def test_every_variant_gets_its_weight_of_the_traffic_to_a_bucket(given_arms: list[Arm], traffic: int) -> None:
    found = ranges(given_arms, traffic)
    assert [each.name for each in found] == [each.name for each in given_arms]
    for arm, own in zip(given_arms, found, strict=True):
        assert 0 <= arm.weight * traffic / BUCKETS - own.width < 1
    assert all(first.end <= second.start for first, second in itertools.pairwise(found))


@given(arms(), st.integers(0, BUCKETS), st.integers(0, BUCKETS))
def test_more_traffic_moves_nobody_who_is_in_already(given_arms: list[Arm], one: int, other: int) -> None:
    less, more = ranges(given_arms, min(one, other)), ranges(given_arms, max(one, other))
    for before, after in zip(less, more, strict=True):
        assert (before.start, before.name) == (after.start, after.name)
        assert before.end <= after.end


@given(arms())
def test_with_all_traffic_every_bucket_is_taken_once(given_arms: list[Arm]) -> None:
    taken = Counter(each for own in ranges(given_arms, BUCKETS) for each in range(own.start, own.end))
    assert taken == Counter(range(BUCKETS))


@pytest.mark.parametrize("traffic", [-1, BUCKETS + 1])
def test_traffic_that_is_none_is_refused(traffic: int) -> None:
    with pytest.raises(ValueError, match="basis points"):
        ranges([Arm("a", BUCKETS)], traffic)


@pytest.mark.parametrize("weights", [[5000, 4999], [-1, 10_001], []])
def test_weights_that_do_not_add_up_are_refused(weights: list[int]) -> None:
    with pytest.raises(ValueError, match="add up"):
        ranges([Arm(str(index), each) for index, each in enumerate(weights)], BUCKETS)


def test_visitors_are_spread_evenly_and_independently_of_other_tests() -> None:
    halves = [Arm("red", 5000), Arm("green", 5000)]
    salts = [f"salt-{number}" for number in range(12)]
    placed = {salt: [variant_of(salt, each, halves, 8000) for each in VISITORS] for salt in salts}
    for assigned in placed.values():
        counts = Counter(assigned)
        expected = [len(VISITORS) * share for share in (0.4, 0.4, 0.2)]
        assert chisquare([counts["red"], counts["green"], counts[""]], expected).pvalue > 1e-4
    for first, second in itertools.pairwise(salts):
        pairs = Counter(zip(placed[first], placed[second], strict=True))
        table = [[pairs[one, other] for other in ("red", "green", "")] for one in ("red", "green", "")]
        assert chi2_contingency(table).pvalue > 1e-4


def test_a_visitor_stays_where_they_are() -> None:
    thirds = [Arm("a", 3333), Arm("b", 3333), Arm("c", 3334)]
    for visitor in VISITORS[:200]:
        assigned = [variant_of("salt", visitor, thirds, traffic) for traffic in range(0, BUCKETS + 1, 500)]
        assert len(set(assigned) - {""}) == 1, "in one variant, once they are in"
        assert assigned == sorted(assigned, key=bool), "and never out again as the traffic grows"
