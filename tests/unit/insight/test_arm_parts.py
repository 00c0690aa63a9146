"""Sums of an A/B test by day, by batch and over time, against plain Python that reckons each of them by itself."""

import math
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.insight.arm_oracle import (
    CLAIMED,
    ODD,
    ORDERED,
    a_stream,
    cut,
    exposed,
    in_python,
    pair,
    pairs_of,
    scope_of,
    summed,
)
from tests.unit.insight.conftest import Bench
from tests.unit.insight.stream import HOUR, NOW, Stream

from flywheel.insight.arm_series import Step, series_statement, shape_series
from flywheel.insight.arm_sums import (
    Cuts,
    PartFigures,
    by_batch,
    by_day,
    cuts_of,
    cuts_statement,
    shape_parts,
)
from flywheel.insight.arms import Amount, ArmScope, Outcome, Sums, parameters_of
from flywheel.insight.exposures import DIMENSIONS, causes_statement, shape_causes
from flywheel.insight.kpi import Rows, Statement

KINDS = (
    Outcome(Amount(CLAIMED)),
    Outcome(Amount(ORDERED, "Revenue", cap=90.0), history=HOUR // 3),
    Outcome(Amount(ORDERED, "Revenue"), over=Amount(ORDERED, "Count")),
    Outcome(Amount(ODD, "Property", 'a "b" 券'), over=Amount(CLAIMED, "Count", cap=2.0)),
    Outcome(Amount(ORDERED, "TimeTo"), history=HOUR // 4),
    Outcome(Amount(CLAIMED, "TimeTo", cap=600.0), winsorise=0.6),
    Outcome(Amount(ORDERED, "Revenue"), history=HOUR, winsorise=0.9),
)


def ask(bench: Bench, statement: Statement) -> Rows:
    return bench.run(bench.store.query(statement.sql, statement.parameters))


def cuts_for(bench: Bench, scope: ArmScope) -> Cuts:
    statement = cuts_statement(scope)
    return cuts_of(ask(bench, statement)) if statement else {}


def rounded(sums: Sums) -> tuple[float, ...]:
    return tuple(round(each, 4) + 0.0 for each in (sums.y, sums.yy, sums.x, sums.xx, sums.xy))


def plain(arms: dict[str, PartFigures]) -> dict[str, tuple[int, tuple[float, ...]]]:
    return {arm: (each.visitors, rounded(each.sums)) for arm, each in arms.items()}


def parts_in_python(stream: Stream, scope: ArmScope, part_of: Any) -> dict[str, dict[str, Any]]:
    """Sum up by what `part_of` makes of the moment of the exposure."""
    _, _, first = exposed(stream, scope)
    outcome = scope.outcomes[0]
    pairs = cut(pairs_of(stream, scope, outcome, first), outcome)
    members: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for who, (since, arm) in first.items():
        members.setdefault(part_of(since), {}).setdefault(arm, []).append(pairs[who])
    return {
        part: {arm: (len(some), rounded(summed(some))) for arm, some in arms.items()} for part, arms in members.items()
    }


def series_in_python(stream: Stream, scope: ArmScope, steps: list[int]) -> dict[int, dict[str, Any]]:
    """Ask anew at each moment, as if it were the end; values are cut as at the real end."""
    outcome, (_, _, first) = scope.outcomes[0], exposed(stream, scope)
    whole = pairs_of(stream, scope, outcome, first)
    found: dict[int, dict[str, Any]] = {}
    for at in steps:
        then = replace(scope, end=at)
        _, _, those = exposed(stream, then)
        arms: dict[str, list[tuple[float, float]]] = {}
        for who, (since, arm) in those.items():
            arms.setdefault(arm, []).append(capped(pair(stream, then, outcome, who, since), whole, outcome))
        found[at] = {arm: (len(some), rounded(summed(some))) for arm, some in arms.items()}
    return found


def capped(pair: tuple[float, float], whole: dict[str, tuple[float, float]], outcome: Outcome) -> tuple[float, float]:
    if outcome.winsorise is None:
        return pair
    place = math.ceil(len(whole) * outcome.winsorise) - 1
    y, x = (min(pair[side], sorted(each[side] for each in whole.values())[place]) for side in (0, 1))
    return y, x


def series(bench: Bench, scope: ArmScope, steps: list[int]) -> tuple[Step, ...]:
    return shape_series(steps, ask(bench, series_statement(scope, steps, cuts_for(bench, scope))))


@pytest.mark.parametrize("outcome", KINDS, ids=range(len(KINDS)))
def test_by_day_and_by_batch(bench: Bench, outcome: Outcome) -> None:
    stream = a_stream(21)
    scope = scope_of(bench.keep(stream), start=NOW - HOUR, end=NOW + HOUR, outcomes=(outcome, KINDS[0]))
    cuts = cuts_for(bench, scope)
    # A zone in which midnight lies in the middle of the stream.
    offset = -(NOW % 86_400_000)
    days = {part: plain(arms) for part, arms in shape_parts(ask(bench, by_day(scope, offset, cuts))).items()}
    assert len(days) == 2
    assert days == parts_in_python(
        stream, scope, lambda since: str(datetime.fromtimestamp((since + offset) / 1000, UTC).date())
    )
    begins = [NOW - HOUR // 2, NOW - HOUR // 3, NOW - HOUR // 4]
    batches = {part: plain(arms) for part, arms in shape_parts(ask(bench, by_batch(scope, begins, cuts))).items()}
    assert batches == parts_in_python(
        stream, scope, lambda since: str(max(each for each in (0, *begins) if each <= since))
    )


@pytest.mark.parametrize("outcome", KINDS, ids=range(len(KINDS)))
def test_over_time(bench: Bench, outcome: Outcome) -> None:
    stream = a_stream(22)
    # An order is told of later in another way, and counts as it was at first: at each moment the same one.
    scope = scope_of(bench.keep(stream), outcomes=(outcome,))
    steps = sorted({NOW - HOUR + 1, *(request.time for request in stream.requests[::40] if request.time <= NOW), NOW})
    steps = [at for at in steps if at > scope.start]
    found = {each.at: plain(each.arms) for each in series(bench, scope, steps)}
    assert found == series_in_python(stream, scope, steps)
    expected = in_python(stream, scope)
    assert found[NOW] == {arm: (each.visitors, rounded(each.outcomes[0])) for arm, each in expected.items()}


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    seed=st.integers(0, 1 << 32),
    size=st.integers(1, 60),
    outcome=st.sampled_from(KINDS),
    steps=st.sets(st.integers(NOW - HOUR + 1, NOW), min_size=1, max_size=6),
)
def test_over_time_whatever_happened(bench: Bench, seed: int, size: int, outcome: Outcome, steps: set[int]) -> None:
    stream = a_stream(seed, size)
    scope = scope_of(bench.keep(stream), outcomes=(outcome,))
    found = {each.at: plain(each.arms) for each in series(bench, scope, sorted(steps))}
    assert found == series_in_python(stream, scope, sorted(steps))


def test_too_many_moments_cannot_be_asked_for() -> None:
    for steps in ([], list(range(61))):
        with pytest.raises(ValueError, match="1 to 60"):
            series_statement(scope_of("any"), steps, {})


def test_exposures_by_what_may_be_the_cause(bench: Bench) -> None:
    stream = a_stream(23)
    for number, each in enumerate(stream.requests):
        each.channel = ("direct", "", "a'b")[number % 3]
        each.browser = f"Browser {number}"
        each.fallback = int(number % 7 == 0)
    scope = scope_of(bench.keep(stream))
    found = shape_causes(ask(bench, causes_statement(parameters_of(scope))))
    _, of_visitor, first = exposed(stream, scope_of(scope.campaign, start=0))
    assert set(found) == set(DIMENSIONS)
    assert len(found["browser"]) == 20
    expected: Counter[tuple[str, str]] = Counter()
    for who, (since, arm) in first.items():
        if since >= scope.start:
            told = min(
                (row.channel, row.browser, row.fallback)
                for row in of_visitor[who]
                if (row.time, row.variant) == (since, arm)
            )
            expected[told[0] or "unknown", arm] += 1
    assert {(value, arm): n for value, arms in found["channel"].items() for arm, n in arms.items()} == expected
    assert set(found["fallback"]) == {"0", "1"}
    assert set(found["pod"]) == {"unknown"}
