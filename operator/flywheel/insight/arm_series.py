"""How the sums of the first outcome came about: what they were at each of some moments, from one look at the events.

A visitor's numbers are steps: they begin with the exposure and change with an event. Of each change the difference that
it makes to the sums is told by the stretch of time in which it falls. Added up, the differences of all stretches before
a moment are what the sums would have been had they been asked for then.
"""

# ruff: noqa: S608 - all names in the SQL are our own; what comes from outside is a parameter

from collections.abc import Sequence
from dataclasses import astuple, dataclass

from flywheel.insight.arm_sums import Cuts, PartFigures, Wanted, primary, shape_parts
from flywheel.insight.arms import MOST_ARMS, Amount, ArmScope, Outcome, Sums
from flywheel.insight.exposures import ARM, RANK, WITH_EXPOSED
from flywheel.insight.kpi import Rows, Statement

MOST_STEPS = 60
_PRODUCTS = {"y": "y", "yy": "y * y", "x": "x", "xx": "x * x", "xy": "x * y"}


@dataclass(frozen=True, slots=True)
class Step:
    """What was known at a moment."""

    at: int
    arms: dict[str, PartFigures]


def series_statement(scope: ArmScope, steps: Sequence[int], cuts: Cuts) -> Statement:
    """Ask for the differences that make up the sums.

    Args:
        scope: What is asked about.
        steps: The moments, ascending; what lies before a moment counts at it.
        cuts: What `cuts_statement` has found; the same at all moments.

    Raises:
        ValueError: There is no moment, or there are too many.
    """
    if not 0 < len(steps) <= MOST_STEPS:
        raise ValueError(f"{len(steps)} moments; 1 to {MOST_STEPS} can be asked for at once")
    wanted = Wanted(primary(scope), cuts)
    changes = ", ".join(
        f"arrayPopFront(arrayDifference(arrayPushFront(arrayMap((y, x) -> {product}, ys, xs), 0.))) AS changes_{name}"
        for name, product in _PRODUCTS.items()
    )
    joins = ", ".join(f"changes_{name} AS change_{name}" for name in _PRODUCTS)
    sums = ", ".join(f"sum(change_{name}) AS {name}_0" for name in _PRODUCTS)
    sql = (
        f"WITH {WITH_EXPOSED} SELECT toString(roundDown(moment, {{steps:Array(Int64)}})) AS part, {ARM} AS arm, "
        f"countIf(place = 1) AS visitors, {sums} FROM ("
        f"SELECT least, moments, {changes} FROM ({_steps(wanted, primary(scope).outcomes[0])})"
        f") ARRAY JOIN moments AS moment, arrayEnumerate(moments) AS place, {joins} GROUP BY part, {RANK} "
        f"LIMIT {(MOST_STEPS + 1) * MOST_ARMS}"
    )
    return Statement(sql, wanted.parameters | {"steps": [0, *steps]})


def shape_series(steps: Sequence[int], rows: Rows) -> tuple[Step, ...]:
    """Add the differences up."""
    parts = sorted((int(part), arms) for part, arms in shape_parts(rows).items())
    return tuple(Step(at, _total([arms for part, arms in parts if part < at])) for at in steps)


def _total(parts: Sequence[dict[str, PartFigures]]) -> dict[str, PartFigures]:
    names = sorted({name for part in parts for name in part})
    return {name: _added([part[name] for part in parts if name in part]) for name in names}


def _added(figures: Sequence[PartFigures]) -> PartFigures:
    sums = (sum(column) for column in zip(*(astuple(each.sums) for each in figures), strict=True))
    return PartFigures(sum(each.visitors for each in figures), Sums(*sums))


def _steps(wanted: Wanted, outcome: Outcome) -> str:
    """Select for each visitor when their numbers changed, the exposure first, and to what."""
    second = outcome.over
    before = wanted.value(outcome.amount, "x0", outcome.history) if outcome.history else "0."
    counts, adds = [wanted.counts(outcome.amount)], [wanted.each(outcome.amount)]
    if second is not None:
        counts.append(wanted.counts(second))
        adds.append(wanted.each(second))
    parts = ", ".join(f"if({when}, {add}, 0.)" for when, add in zip(counts, adds, strict=True))
    xs = f"arrayMap(sum -> {_state(wanted, second, 'x0')}, {_sums(3)})" if second else "arrayMap(y -> before, ys)"
    # Written out once the outcome has named the events and properties that are read.
    last = wanted.value(outcome.amount, "y0")
    return (
        "SELECT least, arrayPushFront(arrayMap(each -> each.1, found), begun) AS moments, "
        f"arrayMap(sum -> {_state(wanted, outcome.amount, 'y0')}, {_sums(2)}) AS ys, {xs} AS xs FROM ("
        f"SELECT any(least) AS least, any(since) AS begun, {before} AS before, {last} AS last, "
        f"arraySort(groupArrayIf((happened_at, {parts}), {' OR '.join(f'({each})' for each in counts)})) AS found "
        f"FROM ({wanted.joined()}) GROUP BY who)"
    )


def _sums(place: int) -> str:
    return f"arrayPushFront(arrayCumSum(arrayMap(each -> each.{place}, found)), 0.)"


def _state(wanted: Wanted, amount: Amount, name: str) -> str:
    """Give a visitor's number after the events that add up to `sum`."""
    match amount.of:
        case "Any":
            return "toFloat64(sum > 0)"
        case "TimeTo":
            return f"if(sum > 0, last, {wanted.at_most(f'{wanted.scope.within:d} / 1000', amount, name)})"
        case _:
            return wanted.at_most("sum", amount, name)
