"""The state of releases as people read it: what stands where, how to look at it, and what can be done next."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from flywheel.commands.release_past import Row
from flywheel.commands.release_seen import AGAINST, Place, Seen, clean, waits_for_person
from flywheel.commands.release_targets import abortable, promotable, retriable
from flywheel.edge.naming import edge_name
from flywheel.release.naming import slot_name
from flywheel.release.state import GateState, ReleaseState

HEADER = "X-FW-Preview"
STYLES = {"Stable": "green", "Paused": "yellow", "AwaitingPromotion": "yellow", **dict.fromkeys(AGAINST, "red")}
VERDICTS = {"Passed": "green", "Failed": "red", "Inconclusive": "yellow", "Running": "cyan"}


def drawn(seen: Seen, states: Mapping[str, ReleaseState], now: datetime, *, wide: bool = False) -> Group:
    """Draw the releases of a Campaign, one below the other.

    Args:
        seen: The Campaign.
        states: The releases that are asked about.
        now: The time, in UTC.
        wide: Also every measurement, and when things happened.
    """
    made: list[RenderableType] = [Text(f"{seen.place.campaign}  {now:%H:%M:%S} UTC", style="bold")]
    if seen.at_zero:
        made.append(Text("The Campaign runs no pods at present: nothing is released until it does.", style="yellow"))
    for name, state in states.items():
        made += [Text(), *_release(seen, name, state, now, wide=wide)]
    return Group(*made)


def _release(seen: Seen, name: str, state: ReleaseState, now: datetime, *, wide: bool) -> Iterator[RenderableType]:
    group = seen.group(name)
    head = Text(name, style="bold")
    head.append(f"  {state.phase}", style=STYLES.get(state.phase, "cyan"))
    head.append(f"  {state.reason}" if state.reason and state.reason != state.phase else "", style="default")
    head.append(f"  group {group}" if group else "", style="dim")
    yield head
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    if state.message:
        table.add_row("why", Text(clean(state.message)))
    for label, text in _places(state, now):
        table.add_row(label, text)
    yield Padding(table, (0, 0, 0, 2))
    if state.gates:
        yield Padding(_gates(state.gates, now, wide=wide), (0, 0, 0, 2))
    measured = list(_measurements(state.gates)) if wide else []
    if measured:
        yield Padding(_lines(measured), (0, 0, 1, 2))
    lines = [("look", each) for each in looks(seen, name, state)]
    lines += [("then", each) for each in commands(seen, name, state)]
    if lines:
        yield Padding(_lines(lines), (0, 0, 0, 2))


def _lines(lines: list[tuple[str, str]]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    last = ""
    for label, line in lines:
        table.add_row("" if label == last else label, Text(line))
        last = label
    return table


def _places(state: ReleaseState, now: datetime) -> Iterator[tuple[str, str]]:
    if state.active:
        yield "active", f"{state.active.revision}  {state.active.slot}  since {moment(state.active.since, now)}"
    if state.preview:
        cause = {"Return": ", still warm from before", "Rollback": ", gone back to"}.get(state.preview.cause, "")
        since = moment(state.preview.since, now)
        yield "preview", f"{state.preview.revision}  {state.preview.slot}  since {since}{cause}"
    for label, leaving in (("previous", state.previous), ("failed", state.failed)):
        if leaving:
            until = f"until {moment(leaving.until, now)}" if leaving.until else "kept for now"
            yield label, f"{leaving.revision}  {leaving.slot}  {until}"
    if state.held:
        yield "held", f"{state.held}  the spec asks for it, and it does not serve"


def _gates(gates: tuple[GateState, ...], now: datetime, *, wide: bool) -> Table:
    table = Table(box=box.SIMPLE_HEAD, collapse_padding=True)
    table.add_column("gate", overflow="fold")
    for name in ("stage", "kind", "verdict"):
        table.add_column(name, no_wrap=True)
    table.add_column("measured", justify="right")
    if wide:
        table.add_column("begun", no_wrap=True)
        table.add_column("ended", no_wrap=True)
    table.add_column("said last", overflow="fold")
    for gate in sorted(gates, key=lambda each: each.stage == "after"):
        verdict = Text(gate.verdict, style=VERDICTS.get(gate.verdict, "dim"))
        times = [_clock(gate.started_at), _clock(gate.finished_at)] if wide else []
        said = clean(gate.message) + (f"  [{gate.evidence}]" if gate.evidence else "")
        table.add_row(Text(gate.name), gate.stage, Text(gate.kind), verdict, _count(gate), *times, Text(said))
    return table


def _measurements(gates: tuple[GateState, ...]) -> Iterator[tuple[str, str]]:
    for gate in gates:
        for look in gate.measurements:
            value = f" {clean(look.value)}" if look.value else ""
            yield gate.name, f"{_clock(look.at)}  {look.outcome}{value}: {clean(look.message)}"


def _count(gate: GateState) -> str:
    bad = [f"{gate.failures} failed"] if gate.failures else []
    bad += [f"{gate.errors} not made"] if gate.errors else []
    return f"{gate.measured} ({', '.join(bad)})" if bad else str(gate.measured) if gate.measured else ""


def looks(seen: Seen, service: str, state: ReleaseState) -> Iterator[str]:
    """Say how the revision that does not have the traffic yet, or any more, can be looked at."""
    place, shown = seen.place, state.preview or state.failed
    if shown is None:
        return
    if seen.edge:
        yield f"curl -H '{HEADER}: {shown.revision}' {clean(seen.edge)}"
        yield f"kubectl port-forward{place.scope} service/{edge_name(place.campaign)} 8080:http"
        if state.preview:
            yield from (f"in a browser: {clean(host)}" for host in seen.preview_hosts(service))
    else:
        yield f"http://{slot_name(place.campaign, service, shown.slot)}.{place.namespace}.svc, within the cluster"


def commands(seen: Seen, service: str, state: ReleaseState) -> Iterator[str]:
    """Name the commands that make sense now."""
    place = seen.place
    if promotable(seen, service, state) and waits_for_person(state):
        yield place.command("promote", service)
    if retriable(state):
        yield place.command("retry", service)
    if any(each.evidence for each in state.gates):
        yield place.command("pictures", service, "--into", "pictures")
    if abortable(state):
        yield place.command("abort", service)
    elif state.previous:
        yield f"{place.command('rollback', service)}    (at once, to {state.previous.revision})"


def moment(at: datetime, now: datetime) -> str:
    """Write a moment, and how far it is."""
    seconds = (now - at).total_seconds()
    distance = f"{ago(seconds)} ago" if seconds >= 0 else f"in {ago(-seconds)}"
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC ({distance})"


def ago(seconds: float) -> str:
    """Write a length of time in one unit or two."""
    for size, unit, name, smaller in ((86400, 3600, "d", "h"), (3600, 60, "h", "min"), (60, 1, "min", "s")):
        if seconds >= size:
            rest = int(seconds % size // unit)
            return f"{int(seconds // size)} {name}" + (f" {rest} {smaller}" if rest else "")
    return f"{int(seconds)} s"


def _clock(at: datetime | None) -> str:
    return f"{at.astimezone(UTC):%H:%M:%S}" if at else ""


def history_table(lines: list[Row], place: Place, *, services: int) -> Table:
    """Draw a history, oldest first."""
    table = Table(title=f"{place.campaign}", title_justify="left", box=box.SIMPLE_HEAD, collapse_padding=True)
    if services > 1:
        table.add_column("service", overflow="fold")
    table.add_column("revision", no_wrap=True)
    table.add_column("outcome", no_wrap=True)
    table.add_column("at (UTC)", no_wrap=True)
    table.add_column("back", no_wrap=True)
    table.add_column("source", overflow="fold")
    table.add_column("message", overflow="fold")
    for row in lines:
        at = f"{row.at.astimezone(UTC):%Y-%m-%d %H:%M:%S}" if row.at else ""
        cells: list[RenderableType] = [
            Text(row.revision),
            Text(row.outcome),
            at,
            row.back,
            Text(clean(row.source)),
            Text(clean(row.message)),
        ]
        table.add_row(*([Text(row.service), *cells] if services > 1 else cells))
    return table
