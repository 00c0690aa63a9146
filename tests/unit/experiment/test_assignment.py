"""Ranges of buckets: shares as asked for, nobody moved, and what the edge makes of them."""

import itertools
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2_contingency, chisquare

from flywheel.edge.bucket import bucket
from flywheel.edge.document import BUCKETS
from flywheel.experiment.assignment import Arm, Segments, allocate, ranges, width

VISITORS = [f"{number:08x}-0000-4000-8000-{number * 7919 % (1 << 48):012x}" for number in range(20_000)]


@st.composite
def arms(draw: st.DrawFn) -> list[Arm]:
    cuts = sorted(draw(st.lists(st.integers(0, BUCKETS), min_size=1, max_size=7)))
    edges = [0, *cuts, BUCKETS]
    return [Arm(f"v{index}", high - low) for index, (low, high) in enumerate(itertools.pairwise(edges))]


def variant_of(salt: str, visitor: str, given_arms: list[Arm]) -> str:
    at = bucket(salt, visitor)
    return next(each.name for each in ranges(given_arms) if each.start <= at < each.end)


@given(arms())
def test_every_variant_gets_its_weight_and_every_bucket_is_taken_once(given_arms: list[Arm]) -> None:
    found = ranges(given_arms)
    assert [(each.name, each.end - each.start) for each in found] == [(arm.name, arm.weight) for arm in given_arms]
    assert Counter(each for own in found for each in range(own.start, own.end)) == Counter(range(BUCKETS))


@pytest.mark.parametrize("weights", [[5000, 4999], [-1, 10_001], []])
def test_weights_that_do_not_add_up_are_refused(weights: list[int]) -> None:
    with pytest.raises(ValueError, match="add up"):
        ranges([Arm(str(index), each) for index, each in enumerate(weights)])


def buckets(segments: Segments) -> set[int]:
    return {each for start, end in segments for each in range(start, end)}


traffics = st.lists(st.tuples(st.integers(0, 3), st.integers(0, BUCKETS)), min_size=1, max_size=20)


@given(traffics)
def test_tests_of_a_layer_share_nobody_and_more_traffic_moves_nobody(changes: list[tuple[int, int]]) -> None:
    owned: dict[int, Segments] = {}
    for test, traffic in changes:
        others = [segments for name, segments in owned.items() if name != test]
        before = buckets(owned.get(test, ()))
        owned[test] = allocate(owned.get(test, ()), traffic, others)
        after = buckets(owned[test])
        taken = set().union(*map(buckets, others)) if others else set()
        assert not after & taken
        assert len(after) == width(owned[test]) == min(traffic, BUCKETS - len(taken))
        assert before <= after or after <= before
        assert allocate(owned[test], traffic, others) == owned[test]


@given(traffics)
def test_where_two_have_taken_the_same_the_older_one_keeps_it(changes: list[tuple[int, int]]) -> None:
    older = allocate((), changes[0][1], [])
    for _, traffic in changes[1:]:
        clash = allocate((), traffic, [])
        younger = allocate(clash, traffic, [older])
        assert not buckets(younger) & buckets(older)
        assert buckets(clash) - buckets(older) <= buckets(younger), "nobody else is moved"
        assert allocate(older, width(older), [], [younger]) == older


def test_visitors_are_spread_evenly_and_independently_of_other_tests() -> None:
    halves = [Arm("red", 5000), Arm("green", 5000)]
    salts = [f"salt-{number}" for number in range(12)]
    placed = {salt: [variant_of(salt, each, halves) for each in VISITORS] for salt in salts}
    for assigned in placed.values():
        counts = Counter(assigned)
        assert chisquare([counts["red"], counts["green"]], [len(VISITORS) / 2] * 2).pvalue > 1e-4
    for first, second in itertools.pairwise(salts):
        pairs = Counter(zip(placed[first], placed[second], strict=True))
        table = [[pairs[one, other] for other in ("red", "green")] for one in ("red", "green")]
        assert chi2_contingency(table).pvalue > 1e-4
