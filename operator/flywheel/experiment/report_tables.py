"""The tables of a report. Pure."""

from collections.abc import Iterator, Sequence

from flywheel.experiment.reading import figure
from flywheel.experiment.report_charts import colour_of, small_interval
from flywheel.experiment.report_markup import Child, Markup, element
from flywheel.experiment.report_model import Report
from flywheel.experiment.report_words import control_of, planned_lift
from flywheel.experiment.told_model import Bounds, ToldComparison, ToldMetric, ToldVariant

LOOKS = {"Holds": "good", "Better": "good", "Breached": "bad", "Worse": "bad", "Violated": "bad"}
WIDEST = 1.0
"""Of the axis of small intervals: beyond a change of 100% they are cut."""


def variants_table(report: Report) -> Markup:
    """Compare the variants by the primary metric."""
    has_events = any(each.conversions is not None for each in report.variants)
    heads = ["variant", "share", "visitors", *(["with the event"] if has_events else [])]
    heads += [report.design.primary or "value", "change", "very likely between", "probability to be best"]
    numbers = frozenset(range(1, 5 if has_events else 4)) | {len(heads) - 1}
    reach = _reach([each.interval for each in report.variants], planned_lift(report))
    rows = [_variant(report, each, reach, has_events=has_events) for each in report.variants]
    winner = report.decision.winner if report.decision else ""
    looks = ["winner" if each.name == winner else None for each in report.variants]
    return _table(heads, rows, numbers, looks)


def _variant(report: Report, each: ToldVariant, reach: float, *, has_events: bool) -> list[Child]:
    colour = colour_of(report, each.name)
    is_control = each.name == control_of(report)
    name = element("span", element("span", class_=f"key {colour}"), each.name, class_="nowrap")
    cells: list[Child] = [name, each.weight, f"{each.visitors:,}"]
    if has_events:
        cells.append("–" if each.conversions is None else f"{each.conversions:,}")
    cells.append(each.value or "–")
    if is_control:
        cells += [element("span", "control", class_="soft"), ""]
    else:
        drawn = _small(each.estimate, each.interval, reach, colour, planned_lift(report))
        cells += [each.estimate or "too few", [_between(each.interval), drawn]]
    return [*cells, element("span", each.best or "–", class_="soft")]


def metrics_table(report: Report, metrics: Sequence[ToldMetric], *, are_guardrails: bool) -> Markup:
    """Compare the variants by other metrics, or by guardrails."""
    what = "guardrail" if are_guardrails else "metric"
    heads = [what, "variant", "with it", f"with {control_of(report)}", "change", "very likely between"]
    heads += ["allowed", "verdict"] if are_guardrails else ["verdict"]
    rows = [
        _compared(report, metric, each, is_guardrail=are_guardrails) for metric in metrics for each in metric.variants
    ]
    return _table(heads, rows, frozenset({2, 3}), [None] * len(rows))


def _compared(report: Report, metric: ToldMetric, each: ToldComparison, *, is_guardrail: bool) -> list[Child]:
    margin = figure(metric.margin) if is_guardrail else None
    reach = _reach([each.interval], margin or 0.0)
    cells: list[Child] = [metric.name, element("span", each.variant, class_="nowrap")]
    cells += [each.value or "–", metric.control or "–", element("span", each.estimate or "too few", class_="nowrap")]
    drawn = _small(each.estimate, each.interval, reach, colour_of(report, each.variant), margin)
    cells.append([_between(each.interval), drawn])
    if is_guardrail:
        cells.append(element("span", metric.margin, class_="nowrap"))
    return [*cells, tag(each.verdict or "Undecided")]


def tag(verdict: str) -> Markup:
    """Write a short verdict in its colour."""
    return element("span", verdict, class_=f"tag {LOOKS.get(verdict, 'even')}")


def design_table(rows: Sequence[tuple[str, Child]]) -> Markup:
    """List what was fixed before the start."""
    return element(
        "table", element("tbody", [element("tr", element("th", name), element("td", value)) for name, value in rows])
    )


def _between(bounds: Bounds | None) -> Child:
    return element("span", f"{bounds.low} to {bounds.high}", class_="nowrap") if bounds else "–"


def _small(estimate: str, bounds: Bounds | None, reach: float, colour: str, mark: float | None) -> Child:
    value = figure(estimate)
    if bounds is None or value is None:
        return ""
    lower, upper = figure(bounds.low), figure(bounds.high)
    low, high = -reach if lower is None else lower, reach if upper is None else upper
    return small_interval(low, value, high, reach, colour, mark)


def _reach(intervals: Sequence[Bounds | None], mark: float) -> float:
    ends = [
        abs(value)
        for each in intervals
        if each
        for text in (each.low, each.high)
        if (value := figure(text)) is not None
    ]
    return 1.1 * max(1.2 * abs(mark), min(max(ends, default=0.0), max(WIDEST, 2 * abs(mark))), 1e-6)


def _table(
    heads: Sequence[str], rows: Sequence[Sequence[Child]], numbers: frozenset[int], looks: Sequence[str | None]
) -> Markup:
    body = [element("tr", _cells(cells, numbers), class_=look) for cells, look in zip(rows, looks, strict=True)]
    head = element("tr", [element("th", each, class_=_look(at, numbers)) for at, each in enumerate(heads)])
    return element("div", element("table", element("thead", head), element("tbody", body)), class_="scroll")


def _cells(cells: Sequence[Child], numbers: frozenset[int]) -> Iterator[Markup]:
    for at, each in enumerate(cells):
        yield element("td", each, class_=_look(at, numbers))


def _look(at: int, numbers: frozenset[int]) -> str | None:
    return "number" if at in numbers else None
