"""A test as people follow it in a terminal: who is ahead and how surely, whether it is safe, and how long it takes."""

import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from flywheel.commands.abtest_bars import Axis, Span, axis_of, bar, scale
from flywheel.commands.abtest_seen import SeenTest, clean, length, moment
from flywheel.experiment.reading import figure
from flywheel.experiment.samples import planned_lift, waits_for_person
from flywheel.experiment.told_model import ToldComparison, ToldMetric, ToldVariant

WIDTH = 41
"""Columns of the axis where there is room."""
NARROW = 100
"""Columns of a terminal below which bars get a line of their own."""
STATES = {"Running": "cyan", "Decided": "bold", "Promoted": "green", "Failed": "red", "Paused": "yellow"}
VERDICTS = {
    "Ship": "bold green",
    "KeepControl": "bold yellow",
    "Inconclusive": "bold yellow",
    "StoppedByGuardrail": "bold red",
    "Invalid": "bold red",
}
CHECKS = {"Holds": "green", "Better": "green", "Breached": "bold red", "Violated": "bold red", "Worse": "red"}
SAID = {
    "Ship": "a variant is better",
    "KeepControl": "the control stays",
    "Inconclusive": "nobody knows",
    "StoppedByGuardrail": "stopped to protect visitors",
    "Invalid": "the figures cannot be trusted",
}


def drawn(seen: SeenTest, now: datetime, width: int) -> Group:
    """Draw one test.

    Args:
        seen: The test.
        now: The time, in UTC.
        width: Columns of the terminal.
    """
    made: list[RenderableType] = [*_head(seen, now), *_verdict(seen, now), Text()]
    made += [_variants(seen, width), *_trouble(seen)]
    is_narrow = width < NARROW
    made.append(Padding(_checks(seen, is_narrow=is_narrow), (1, 0, 0, 0)))
    if seen.told.secondary:
        made.append(Text("also measured, decides nothing", style="dim"))
        made.append(_metrics(seen.told.secondary, is_narrow=is_narrow))
    made.append(Padding(_progress(seen, now), (1, 0, 0, 0)))
    made += [Text(f"then  {line}", style="dim") for line in commands(seen)]
    return Group(*made)


def _head(seen: SeenTest, now: datetime) -> Iterator[RenderableType]:
    told = seen.told
    line = Text(seen.place.test, style="bold")
    line.append(f"  {told.state}", style=STATES.get(told.state, "default"))
    line.append(f"  {clean(seen.service)} of {clean(seen.campaign)}", style="dim")
    line.append(f"  {now:%H:%M:%S} UTC", style="dim")
    yield line
    if seen.spec.get("hypothesis"):
        yield Text(clean(str(seen.spec["hypothesis"])), style="italic")
    ready = told.condition("Ready")
    if told.decision is None and ready is not None and ready.message and ready.message != told.state:
        yield Text(clean(ready.message), style="red" if ready.status == "False" else "default")
    if not seen.current:
        yield Text("The operator has not looked at the newest spec yet.", style="yellow")


def _verdict(seen: SeenTest, now: datetime) -> Iterator[RenderableType]:
    decision = seen.told.decision
    if decision is None:
        return
    line = Text(decision.verdict, style=VERDICTS.get(decision.verdict, "bold"))
    line.append(f" {clean(decision.winner)}" if decision.winner else "")
    line.append(f": {SAID.get(decision.verdict, '')}", style="default")
    line.append(f", {moment(decision.at, now)}" if decision.at else "", style="dim")
    yield line
    yield Text(clean(decision.reason))
    if waits_for_person(seen.told, seen.spec, {"annotations": seen.annotations}):
        yield Text("It waits for you: nobody has said yet what becomes of the winner.", style="yellow")


def _variants(seen: SeenTest, width: int) -> RenderableType:
    told, planned = seen.told, planned_lift(seen.spec)
    spans = {each.name: span_of(each) for each in told.variants}
    is_narrow = width < NARROW
    axis = axis_of([each for each in spans.values() if each], planned, WIDTH)
    has_conversions = any(each.conversions is not None for each in told.variants)
    table = Table(box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    table.add_column("variant", no_wrap=True)
    table.add_column("weight", justify="right")
    table.add_column("visitors", justify="right")
    if has_conversions:
        table.add_column("conversions", justify="right")
    primary = told.primary.name if told.primary else "value"
    table.add_column(Text(clean(primary)), justify="right", overflow="fold")
    table.add_column("change", justify="right")
    if not is_narrow:
        table.add_column("very likely between", no_wrap=True)
    for each in told.variants:
        cells: list[RenderableType] = [Text(each.name, style="bold" if each.name == seen.winner else "default")]
        cells += [Text(each.weight), f"{each.visitors:,}"]
        if has_conversions:
            cells.append("" if each.conversions is None else f"{each.conversions:,}")
        cells += [Text(each.value or "–"), _change(seen, each)]
        table.add_row(*cells, *([] if is_narrow else [_bar(seen, each, spans[each.name], axis, planned)]))
    if not is_narrow:
        table.add_row(*[""] * (len(table.columns) - 1), Text(scale(axis, planned), style="dim"))
        return Group(table, _likelihood(seen))
    lines = [_named_bar(seen, each, spans[each.name], axis, planned) for each in told.variants if spans[each.name]]
    lines.append(Text(" " * 13 + scale(axis, planned), style="dim"))
    return Group(table, *lines, _likelihood(seen))


def _named_bar(seen: SeenTest, each: ToldVariant, span: Span | None, axis: Axis, planned: float | None) -> Text:
    return Text(f"{each.name[:12]:<13}").append_text(_bar(seen, each, span, axis, planned))


def _change(seen: SeenTest, variant: ToldVariant) -> Text:
    if variant.name == seen.control:
        return Text("control", style="dim")
    if not variant.estimate:
        return Text("too few", style="dim")
    text = Text(variant.estimate)
    if variant.interval:
        text.append(f" ({variant.interval.low} to {variant.interval.high})", style="dim")
    return text


def _bar(seen: SeenTest, variant: ToldVariant, span: Span | None, axis: Axis, planned: float | None) -> Text:
    told = seen.told.primary.variants if seen.told.primary else ()
    verdict = next((each.verdict for each in told if each.variant == variant.name), "")
    return Text(bar(span, axis, planned), style=CHECKS.get(verdict, "cyan" if span else "dim"))


def span_of(variant: ToldVariant) -> Span | None:
    """Read the interval of a variant; None while there is none. A bound that is no number is beyond all numbers."""
    estimate = figure(variant.estimate)
    if variant.interval is None or estimate is None:
        return None
    lower, upper = figure(variant.interval.low), figure(variant.interval.high)
    return Span(-math.inf if lower is None else lower, estimate, math.inf if upper is None else upper)


def _likelihood(seen: SeenTest) -> Text:
    known = [f"{each.name} {each.best}" for each in seen.told.variants if each.best]
    told = f"probability to be best (to look at, decides nothing): {', '.join(known)}" if known else ""
    return Text(clean(told), style="dim")


def _trouble(seen: SeenTest) -> Iterator[RenderableType]:
    for each in seen.told.variants:
        if each.message:
            yield Text(f"{each.name}: {clean(each.message)}", style="yellow")
    for name in ("Measured", "ServiceChanged", "UnknownFields"):
        found = seen.told.condition(name)
        if found is not None and (found.status == "False") == (name == "Measured"):
            yield Text(f"{name}: {clean(found.message)}", style="yellow")


def _checks(seen: SeenTest, *, is_narrow: bool) -> RenderableType:
    ratio = seen.told.checks.sample_ratio
    line = Text("sample ratio  ")
    if ratio is None:
        line.append("not known yet", style="dim")
    else:
        line.append(ratio.verdict or "Undecided", style=CHECKS.get(ratio.verdict, "dim"))
        line.append(f"  p {ratio.p_value}" if ratio.p_value else "", style="dim")
        if ratio.verdict == "Violated":
            line.append("  nothing can be compared", style="bold red")
        line.append(f"  {clean(ratio.hint)}" if ratio.hint else "")
    if not seen.told.checks.guardrails:
        return line
    return Group(line, Text("guardrails", style="dim"), _metrics(seen.told.checks.guardrails, is_narrow=is_narrow))


def _metrics(metrics: Sequence[ToldMetric], *, is_narrow: bool) -> Table:
    table = Table(box=None, padding=(0, 2), show_header=False)
    for metric in metrics:
        for each in metric.variants:
            cells = _compared(metric, each)
            table.add_row(*(cells[:2] + cells[3:4] + cells[5:] if is_narrow else cells))
    return table


def _compared(metric: ToldMetric, each: ToldComparison) -> list[RenderableType]:
    between = f"({each.interval.low} to {each.interval.high})" if each.interval else ""
    allowed = f"allowed {metric.margin}" if metric.margin else ""
    return [
        Text(clean(metric.name)),
        Text(each.variant),
        Text(f"{each.value or '–'} against {metric.control or '–'}"),
        Text(each.estimate),
        Text(between, style="dim"),
        Text(allowed, style="dim"),
        Text(each.verdict or "Undecided", style=CHECKS.get(each.verdict, "dim")),
    ]


def _progress(seen: SeenTest, now: datetime) -> RenderableType:
    told, sizing = seen.told, seen.told.sizing
    lines: list[RenderableType] = []
    share = figure(sizing.progress)
    if share is not None:
        filled = round(min(1.0, share) * 30)
        planned = f" of {sizing.visitors_per_variant:,} visitors a variant" if sizing.visitors_per_variant else ""
        line = Text("progress  ").append("█" * filled, style="cyan").append("░" * (30 - filled), style="dim")
        line.append(f"  {sizing.progress}{planned}")
        lines.append(line)
    times = [f"began {moment(told.started_at, now)}"] if told.started_at else []
    times += [f"paused {length(now - told.paused_at)} ago"] if told.paused_at else []
    left = figure(sizing.days_left)
    times += [f"at most {length(timedelta(days=left))} more at this rate"] if left is not None else []
    is_open = told.decision is None and told.ends_at is not None and told.ends_at > now
    times += [f"ends {moment(told.ends_at, now)} at the latest"] if is_open and told.ends_at else []
    if told.updated_at:
        times.append(f"figures of {told.updated_at.astimezone(UTC):%H:%M:%S} UTC")
    lines += [Text(", ".join(times), style="dim")] if times else []
    lines += [Text(clean(sizing.message), style="yellow")] if sizing.message else []
    return Group(*lines)


def commands(seen: SeenTest) -> Iterator[str]:
    """Name the commands that make sense now."""
    place, told = seen.place, seen.told
    if waits_for_person(told, seen.spec, {"annotations": seen.annotations}):
        yield place.command("promote")
    if told.state == "Paused" and seen.spec.get("suspend"):
        yield place.command("resume")
    if told.state in ("Waiting", "Running"):
        yield place.command("preview")
    if told.decision is not None and told.report:
        yield place.command("report", "--output", f"{place.test}.html")
    if seen.winner and told.state in ("Decided", "Promoted"):
        yield place.command("adopt")


def listed(tests: Sequence[SeenTest], *, everywhere: bool) -> Table:
    """Draw a line for each test."""
    table = Table(box=box.SIMPLE_HEAD, collapse_padding=True)
    if everywhere:
        table.add_column("namespace")
    for name in ("test", "campaign", "service", "state"):
        table.add_column(name, no_wrap=True)
    table.add_column("visitors", justify="right")
    table.add_column("progress", justify="right")
    table.add_column("ahead")
    table.add_column("verdict")
    for seen in sorted(tests, key=lambda each: (each.place.namespace, each.place.test)):
        told = seen.told
        verdict = f"{told.decision.verdict} {told.decision.winner}".strip() if told.decision else ""
        table.add_row(
            *([seen.place.namespace] if everywhere else []),
            Text(seen.place.test),
            Text(clean(seen.campaign)),
            Text(clean(seen.service)),
            Text(told.state, style=STATES.get(told.state, "default")),
            f"{told.visitors:,}",
            Text(told.sizing.progress),
            Text(_ahead(seen)),
            Text(verdict, style=VERDICTS.get(told.decision.verdict, "") if told.decision else ""),
        )
    return table


def _ahead(seen: SeenTest) -> str:
    changes = [(value, each) for each in seen.told.variants if (value := figure(each.estimate)) is not None]
    sign = -1.0 if (planned_lift(seen.spec) or 1.0) < 0 else 1.0
    if not changes:
        return ""
    _, best = max(changes, key=lambda each: sign * each[0])
    return f"{best.name} {best.estimate}"
