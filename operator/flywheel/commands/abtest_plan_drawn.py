"""A plan of a test as people read it. Pure."""

from datetime import timedelta

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from flywheel.api.abtest import ABTest
from flywheel.commands.abtest_planning import DAY, Plan, percent
from flywheel.experiment.figures import value_text
from flywheel.experiment.plan import challengers
from flywheel.experiment.planning import FACTORS, Cost
from flywheel.experiment.sentences import time_left
from flywheel.insight.past import Past

NAMES = {0.5: "half of it", 1.0: "as planned", 2.0: "twice as much"}


def drawn(test: ABTest, plan: Plan, past: Past | None) -> Group:
    """Draw a plan."""
    primary = test.spec.metrics.primary
    made: list[RenderableType] = [
        Text(f"{test.name}  {test.spec.service} of {test.spec.campaign}", style="bold"),
        Text(f"{primary.label}: {value_text(primary, plan.baseline.value)} today{_from(past)}"),
        Text(
            f"{plan.visitors_a_day:,.0f} visitors a day, of whom {plan.participants:,.0f} take part; "
            f"{time_left(plan.window.length)} at most ({plan.window.limit})"
        ),
        _table(test, plan),
    ]
    planned = plan.planned
    if planned is not None and planned.time is not None:
        made.append(Text(_expected(test, plan, planned, planned.time)))
    if plan.smallest is not None:
        made.append(Text(f"In that time, a change of {percent(plan.smallest)} or more can be seen."))
    return Group(*made)


def _from(past: Past | None) -> str:
    if past is None or not past.visitors:
        return ""
    return f" ({past.visitors:,} visitors in the last {time_left(past.days * DAY)})"


def _table(test: ABTest, plan: Plan) -> Table:
    primary = test.spec.metrics.primary
    sign = 1.0 if primary.direction == "Increase" else -1.0
    table = Table(box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    for name in ("effect", "", "makes"):
        table.add_column(name, no_wrap=True)
    for name in ("variant", "control", "in all", "at most", "on average"):
        table.add_column(name, no_wrap=True, justify="right")
    for factor, cost in zip(FACTORS, plan.costs, strict=True):
        effect = primary.minimum_effect * factor
        target = plan.baseline.value * (1 + sign * effect)
        cells = [percent(effect), NAMES[factor], value_text(primary, target) if cost else "–"]
        cells += _costs(cost)
        is_late = cost is not None and cost.time is not None and cost.time > plan.window.length
        style = "yellow" if is_late else "bold" if factor == 1.0 else ""
        table.add_row(*cells, style=style)
    return table


def _costs(cost: Cost | None) -> list[str]:
    if cost is None:
        return ["cannot be", "", "", "", ""]
    times = [time_left(each) if each is not None else "never" for each in (cost.time, cost.expected_time)]
    return [f"{cost.sizing.variant_cap:,}", f"{cost.sizing.control_cap:,}", f"{cost.visitors:,}", *times]


def _expected(test: ABTest, plan: Plan, planned: Cost, time: timedelta) -> str:
    statistics = test.spec.statistics
    expected = time_left(planned.expected_time or time)
    several = f", shared by {len(challengers(test))} variants" if len(challengers(test)) > 1 else ""
    return (
        f"If the effect is there, it is found in {statistics.power:.0%} of all tests (power), on average after "
        f"{plan.share:.0%} of the planned visitors: {expected} of {time_left(time)}. If there is none, a difference "
        f"is found in at most {percent(statistics.alpha)} of all tests (alpha{several})."
    )
