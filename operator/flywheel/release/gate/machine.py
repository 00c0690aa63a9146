"""Gates one after the other: which is due, what a measurement makes of it, and when all have passed. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from msgspec.structs import replace

from flywheel.api.release import Gate
from flywheel.plan import content_hash
from flywheel.release.gate.measurement import Measurement, Outcome
from flywheel.release.state import MEASUREMENTS_KEPT, GateState, Look, Stage

ERRORS_BORNE = 4
"""Measurements in a row that may fail to be made before a gate is said to be unable to look: as in Argo Rollouts."""
RUNS_ONCE = frozenset({"job", "browser"})
"""Kinds that find out slowly that they cannot run, and then know it: they are not tried again by themselves."""


class Due(NamedTuple):
    """The measurement that is wanted now."""

    stage: Stage
    gate: Gate
    number: int


@dataclass(frozen=True, slots=True)
class Standing:
    """How the gates of one stage stand."""

    gates: tuple[GateState, ...]
    due: Due | None = None
    """What to measure now; the answer is among the results of a later look."""
    wake_at: datetime | None = None

    @property
    def passed(self) -> bool:
        """Whether every gate has passed."""
        return all(each.verdict == "Passed" for each in self.gates)

    def first(self, verdict: str) -> GateState | None:
        """The first gate with a verdict."""
        return next((each for each in self.gates if each.verdict == verdict), None)


Results = Mapping[tuple[str, str, int], Measurement]
"""Measurements that were made, by stage, gate and number."""


def asks_address(gates: Sequence[Gate]) -> bool:
    """Whether gates come by the address of a slot: it has to answer before they are begun."""
    ways = [each.http or each.browser for each in gates]
    return any(each.kind == "job" for each in gates) or any(way.through == "Preview" for way in ways if way)


def asks_edge(gates: Sequence[Gate]) -> bool:
    """Whether gates may come through the edge: until it knows a preview it answers with what has the traffic."""
    ways = [each.http or each.browser for each in gates]
    return any(each.kind == "job" for each in gates) or any(way.through == "Edge" for way in ways if way)


def fresh(stage: Stage, gates: Sequence[Gate], before: Sequence[GateState] = ()) -> tuple[GateState, ...]:
    """Give the states of `gates`, keeping those that were looked at under the same definition.

    One of another definition goes on counting: the Job of a number was made for the definition of that time.
    """
    known = {(each.name, each.digest): each for each in before if each.stage == stage}
    numbers = {each.name: _next_number(each) for each in before if each.stage == stage}
    made = []
    for gate in gates:
        digest = content_hash(gate.model_dump(mode="json", by_alias=True, exclude_unset=True, warnings=False))
        number = numbers.get(gate.name, 0)
        new = GateState(name=gate.name, stage=stage, kind=gate.kind, digest=digest, measured=number)
        made.append(known.get((gate.name, digest), new))
    return tuple(made)


def _next_number(state: GateState) -> int:
    """Give the number of the first measurement that was certainly not begun yet."""
    return state.measured + (1 if state.verdict == "Running" else 0)


def advance(
    stage: Stage,
    gates: Sequence[Gate],
    states: Sequence[GateState],
    results: Results,
    now: datetime,
    *,
    approved: bool = False,
) -> Standing:
    """Bring the gates of a stage as far as what was measured allows.

    A gate is begun when the one before it has passed. One that has a verdict is never measured again.

    Args:
        stage: Before or after the switch.
        gates: Their definitions.
        states: How they stood.
        results: What was measured since.
        now: The time.
        approved: Whether a person has approved the revision: manual gates pass.
    """
    moved: list[GateState] = []
    due: Due | None = None
    wake_at: datetime | None = None
    current = fresh(stage, gates, states)
    for index, (gate, state) in enumerate(zip(gates, current, strict=True)):
        state = _step(gate, state, results.get((stage, gate.name, state.measured)), now, approved=approved)
        moved.append(state)
        if state.verdict == "Passed":
            continue
        moved += current[index + 1 :]
        if state.verdict == "Running":
            due, wake_at = _next(stage, gate, state, now)
        break
    return Standing(tuple(moved), due, wake_at)


def _step(gate: Gate, state: GateState, found: Measurement | None, now: datetime, *, approved: bool) -> GateState:
    if state.verdict in ("Passed", "Failed", "Inconclusive"):
        return state
    if state.verdict == "Pending":
        state = replace(state, verdict="Running", started_at=now, next_at=now)
    if gate.kind == "manual":
        return _decided(gate, state, now, approved=approved)
    if found is not None:
        state = _measured(gate, state, found.bounded(), now)
    if state.verdict == "Running" and state.started_at is not None and now >= state.started_at + gate.timeout:
        return _timed_out(gate, state, now)
    return state


def _decided(gate: Gate, state: GateState, now: datetime, *, approved: bool) -> GateState:
    if approved:
        return _closed(state, "Passed", "a person has approved it", now)
    return replace(state, message=f"the gate {gate.name} waits for a person: flywheel release promote")


def _measured(gate: Gate, state: GateState, found: Measurement, now: datetime) -> GateState:
    look = Look(at=now, outcome=found.outcome.value, value=found.value, message=found.message)
    state = replace(
        state,
        measured=state.measured + 1,
        measurements=(*state.measurements, look)[-MEASUREMENTS_KEPT:],
        next_at=now + gate.interval,
        message=found.message,
        evidence=found.evidence or state.evidence,
    )
    if found.outcome is Outcome.ERROR:
        errors = state.errors + 1
        state = replace(state, errors=errors, successes=0)
        borne = 0 if gate.kind in RUNS_ONCE else ERRORS_BORNE
        return _closed(state, "Inconclusive", found.message, now) if errors > borne else state
    state = replace(state, errors=0)
    if found.outcome is Outcome.NO_DATA and gate.no_data == "Wait":
        return state
    if found.outcome is Outcome.SUCCESS or (found.outcome is Outcome.NO_DATA and gate.no_data == "Pass"):
        state = replace(state, successes=state.successes + 1)
        return _closed(state, "Passed", found.message, now) if state.successes >= gate.successes else state
    state = replace(state, successes=0, failures=state.failures + 1)
    return _closed(state, "Failed", found.message, now) if state.failures > gate.failure_limit else state


def _timed_out(gate: Gate, state: GateState, now: datetime) -> GateState:
    took = f"{gate.timeout.total_seconds():.0f} s"
    last = f": {state.message}" if state.message else ""
    looked = any(each.outcome != Outcome.ERROR.value for each in state.measurements)
    if state.errors and not looked:
        return _closed(state, "Inconclusive", f"it could not be measured within {took}{last}", now)
    return _closed(state, "Failed", f"it has not passed within {took}{last}", now)


def _closed(state: GateState, verdict: str, message: str, now: datetime) -> GateState:
    return replace(state, verdict=verdict, message=message, finished_at=now, next_at=None)


def _next(stage: Stage, gate: Gate, state: GateState, now: datetime) -> tuple[Due | None, datetime | None]:
    if gate.kind == "manual" or state.started_at is None:
        return None, None
    ends = state.started_at + gate.timeout
    if state.next_at is not None and now < state.next_at:
        return None, min(ends, state.next_at)
    return Due(stage, gate, state.measured), ends
