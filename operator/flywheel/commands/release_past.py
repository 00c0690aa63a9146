"""The revisions of a service: what became of them, where they come from, and which can be gone back to."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from flywheel.commands.release_access import CONNECTIONS, Forbidden, Reach
from flywheel.release.naming import record_name
from flywheel.release.revision import Revision, read_record
from flywheel.release.state import ReleaseState

if TYPE_CHECKING:
    from flywheel.commands.release_targets import Known

Records = dict[str, Revision | None]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a history."""

    service: str
    revision: str
    outcome: str
    """What became of it, or where it is: Active, Preview."""
    at: datetime | None
    message: str
    source: str
    """Image, or commit of the content; empty where the record is gone."""
    back: str
    """Whether it can be gone back to: warm, yes, no; serves; ? where records may not be read."""


async def records(access: Reach, states: Mapping[str, ReleaseState]) -> dict[str, Records] | None:
    """Read the records of every revision that is named; None where they may not be read.

    Raises:
        click.ClickException: The API server does not answer.
    """
    wanted = [(name, revision) for name, state in states.items() for revision in _revisions(state)]
    read: dict[str, Records] = {name: {} for name in states}
    for start in range(0, len(wanted), CONNECTIONS):
        batch = wanted[start : start + CONNECTIONS]
        names = [record_name(access.place.campaign, *each) for each in batch]
        found = await asyncio.gather(*(access.config_map(each) for each in names), return_exceptions=True)
        for (service, revision), answer in zip(batch, found, strict=True):
            if isinstance(answer, Forbidden):
                return None
            if isinstance(answer, BaseException):
                raise answer
            read[service][revision] = read_record(answer) if answer else None
    return read


async def returnable(access: Reach, states: Mapping[str, ReleaseState]) -> "Known":
    """Name the revisions that can be gone back to: those of the history whose records are kept. Errors as of above."""
    read = await records(access, states)
    if read is None:
        return dict.fromkeys(states)
    return {name: _kept(state, read[name]) for name, state in states.items()}


def _revisions(state: ReleaseState) -> tuple[str, ...]:
    places = (state.previous, state.failed, state.active, state.preview)
    named = [each.revision for each in state.history] + [each.revision for each in places if each]
    return tuple(dict.fromkeys(named))


def _kept(state: ReleaseState, read: Records) -> frozenset[str]:
    return frozenset(each.revision for each in state.history if read.get(each.revision))


def rows(state: ReleaseState, read: Records | None) -> list[Row]:
    """Make the lines of a history, oldest first: what is past, and what is there now. Pure.

    Args:
        state: The release.
        read: Records by revision; None where they may not be read.
    """
    made = [_row(state, read, each.revision, each.outcome, each.at, each.message) for each in state.history]
    active, preview = state.active, state.preview
    if active and not any(each.revision == active.revision for each in made):
        made.append(_row(state, read, active.revision, "Active", active.since, ""))
    if preview:
        made.append(_row(state, read, preview.revision, "Preview", preview.since, state.message))
    return made


def _row(
    state: ReleaseState, read: Records | None, revision: str, outcome: str, at: datetime | None, message: str
) -> Row:
    record = read.get(revision) if read else None
    source = record.source if record else ""
    return Row(state.service, revision, outcome, at, message, source, _back(state, read, revision))


def _back(state: ReleaseState, read: Records | None, revision: str) -> str:
    if state.active and state.active.revision == revision:
        return "serves"
    if state.previous and state.previous.revision == revision:
        return "warm"
    if read is None:
        return "?"
    return "yes" if revision in _kept(state, read) else "no"
