"""How right a rule is: the intervals against other people's, the weights against a simulation."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from flywheel.fraud.policy import Action, Policy
from flywheel.fraud.proof import (
    FEWEST,
    Evidence,
    LabelledKey,
    Met,
    Share,
    evidence_of,
    falls,
    precision_of,
    recall_of,
    total,
    what_lacks,
    wilson,
)
from flywheel.fraud.verdicts import chance_of

chances = st.floats(0.01, 1.0)
keys = st.builds(LabelledKey, st.booleans(), st.booleans(), chances)
met = st.builds(Met, st.booleans(), st.booleans(), chances)
evidence = st.builds(
    lambda known, persons: evidence_of(len(known) + 3, sum(not each.stopped for each in known), known, persons),
    st.lists(keys, max_size=20),
    st.lists(met, max_size=20),
)


@given(st.integers(1, 5_000).flatmap(lambda size: st.tuples(st.integers(0, size), st.just(size))))
def test_the_interval_is_scipys(sample: tuple[int, int]) -> None:
    good, size = sample
    expected = binomtest(good, size).proportion_ci(0.95, method="wilson")
    assert wilson(good / size, size) == pytest.approx((expected.low, expected.high), abs=1e-12)


@given(st.floats(0, 1), st.floats(0.5, 1e6))
def test_the_interval_has_the_share_in_it_and_narrows(share: float, size: float) -> None:
    low, high = wilson(share, size)
    assert 0 <= low <= share <= high <= 1
    closer = wilson(share, 2 * size)
    assert closer[1] - closer[0] <= high - low + 1e-12


@given(st.lists(keys, max_size=50), st.lists(met, max_size=50))
def test_without_weights_shares_are_plain_counts(known: list[LabelledKey], persons: list[Met]) -> None:
    plain = [each._replace(chance=1.0) for each in known]
    found = evidence_of(60, 60, plain, [each._replace(chance=1.0) for each in persons])
    alone = [each.dishonest for each in plain if not each.stopped]
    share = precision_of(found)
    assert (share is None) is (not alone)
    if share:
        assert share.value == pytest.approx(sum(alone) / len(alone))
        assert share.labels == len(alone)
        assert (share.low, share.high) == pytest.approx(wilson(share.value, len(alone)))
    seen = [each.found for each in persons if not (each.found and each.stopped)]
    recalled = recall_of(found)
    assert (recalled.value if recalled else None) == (pytest.approx(sum(seen) / len(seen)) if seen else None)


@given(st.lists(evidence, max_size=5), st.randoms(use_true_random=False))
def test_what_several_workers_know_adds_up_in_any_order(parts: list[Evidence], chance: random.Random) -> None:
    mixed = parts[:]
    chance.shuffle(mixed)
    one, other = total(parts), total(mixed)
    assert (one.found, one.precision.labels) == (other.found, other.precision.labels)
    assert one.precision.total == pytest.approx(other.precision.total)
    assert total([one, Evidence()]) == one


@given(evidence)
def test_whoever_was_stopped_counts_for_nothing(found: Evidence) -> None:
    added = evidence_of(1, 0, [LabelledKey(True, True, 0.1)], [Met(True, True, 0.1)])
    assert total([found, added]).precision == found.precision
    assert total([found, added]).recall == found.recall


def test_weights_make_up_for_those_who_were_stopped() -> None:
    """Of 2000 found in Shadow 90% are dishonest, of 2000 found while enforced 60%: together 75%, whatever is seen."""
    dice, policy = random.Random(618), Policy(action=Action(kind="Block"), mode="Enforce", holdout=2_000)
    chance = chance_of(policy, "HeldOut")
    assert chance == pytest.approx(0.2)
    known = [LabelledKey(dice.random() < 0.9, False, 1.0) for _ in range(2_000)]
    known += [LabelledKey(dice.random() < 0.6, dice.random() > chance, chance) for _ in range(2_000)]
    share = precision_of(evidence_of(4_000, 2_400, known, ()))
    plain = precision_of(evidence_of(4_000, 2_400, [each._replace(chance=1.0) for each in known], ()))
    assert share
    assert plain
    assert share.low < 0.75 < share.high
    assert not plain.low < 0.75 < plain.high
    assert share.high - share.low > plain.high - plain.low, "unequal weights know less than so many equal ones"


@pytest.mark.parametrize(
    ("policy", "done", "expected"),
    [
        ({"mode": "Shadow", "holdout": 500}, "Shadow", 1.0),
        ({"mode": "Enforce", "holdout": 500}, "HeldOut", 0.05),
        ({"mode": "Enforce", "holdout": 500, "share": 1_000}, "OutsideShare", 0.05 + 0.95 * 0.9),
        ({"mode": "Enforce", "holdout": 500, "share": 0}, "OutsideShare", 1.0),
        ({"mode": "Enforce", "holdout": 0}, "Acted", 0.0),
        ({"mode": "Enforce", "holdout": 500}, "Watched", 1.0),
    ],
)
def test_the_chance_of_being_left_alone(policy, done, expected) -> None:
    assert chance_of(Policy(action=Action(kind="Block"), **policy), done) == pytest.approx(expected)
    assert chance_of(Policy(action=Action(kind="Review"), **policy), done) == 1.0, "a review stops nobody"


def test_a_rule_falls_only_when_it_is_surely_wrong() -> None:
    def share(good: int, labels: int) -> Share | None:
        known = [LabelledKey(number < good, False, 1.0) for number in range(labels)]
        return precision_of(evidence_of(labels, labels, known, ()))

    assert not falls(None, 0.95)
    assert not falls(share(0, FEWEST - 1), 0.95), "too few labels"
    assert falls(share(0, FEWEST), 0.95)
    assert not falls(share(94, 100), 0.95), "just below by chance"
    assert falls(share(85, 100), 0.95)
    assert not falls(share(100, 100), 0.9999)


def test_it_says_what_is_missing() -> None:
    assert "found nobody yet" in what_lacks(Evidence())
    assert "raise holdout" in what_lacks(Evidence(found=7))
    assert "nobody has said yet who of the 3 keys" in what_lacks(Evidence(found=7, alone=3))
    few = precision_of(evidence_of(9, 5, [LabelledKey(True, False, 1.0)], ()))
    assert few
    assert "1 of 5 keys that were found and left alone are labelled: at least 10 are needed" in few.message
    onesided = precision_of(evidence_of(90, 50, [LabelledKey(True, False, 1.0)] * 20, ()))
    assert onesided
    assert "no label says Honest" in onesided.message
    assert math.isclose(onesided.value, 1.0)
