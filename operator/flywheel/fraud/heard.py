"""Verdicts as they stand on a topic, and whether they are believed. Pure.

Whoever may write to the topic of verdicts must not be able to have somebody stopped. So a verdict says no more than
which event of the other topic broke which rule: that event must be there, be one that the rule means, and have the
key and the time that the verdict tells.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec

from flywheel.fraud.fields import key_reader
from flywheel.fraud.flink_records import Record, event_of, verdict_of
from flywheel.fraud.policy import Ruled
from flywheel.fraud.records import Heard
from flywheel.fraud.where import matcher
from flywheel.fraud.words import Event, Verdict

LONGEST = 64 << 10
"""Bytes of a verdict."""
Refusal = Literal["Unreadable", "UnknownRule", "OtherVersion", "NoEvent", "OtherEvent"]
REFUSALS: tuple[Refusal, ...] = ("Unreadable", "UnknownRule", "OtherVersion", "NoEvent", "OtherEvent")
_Whole = Annotated[int, msgspec.Meta(ge=-(2**53), le=2**53)]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A verdict as Flink writes it."""

    rule: str
    version: str
    event: str | None = None
    at: _Whole
    key: list[str]
    observed: float
    limit: float
    since: _Whole
    saturated: bool
    lane: Annotated[int, msgspec.Meta(ge=0, lt=2**31)]
    place: Annotated[int, msgspec.Meta(ge=0, lt=2**63 - 1)]


class Said(msgspec.Struct, frozen=True):
    """A verdict of a rule that there is, whose event is still to be seen."""

    ruled: Ruled
    verdict: Verdict
    lane: int
    place: int


_rows = msgspec.json.Decoder(Row)
_records = msgspec.json.Decoder(Record)


def read_verdict(value: bytes, rules: Mapping[str, Ruled]) -> Said | Refusal:
    """Read a verdict.

    Args:
        value: As it stands on the topic.
        rules: Those that the other engine judges by, by name.
    """
    if len(value) > LONGEST:
        return "Unreadable"
    try:
        row = _rows.decode(value)
        if (ruled := rules.get(row.rule)) is None:
            return "UnknownRule"
        if row.version != ruled.rule.version:
            return "OtherVersion"
        return Said(ruled, verdict_of(msgspec.structs.asdict(row), ruled.rule), row.lane, row.place)
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError, ValueError):
        return "Unreadable"


def believed(said: Said, record: bytes | None) -> Heard | Refusal:
    """Hold a verdict against its event.

    Args:
        said: The verdict.
        record: What stands where it says that its event stands; None where nothing does.
    """
    if record is None:
        return "NoEvent"
    try:
        event = event_of(_records.decode(record))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return "NoEvent"
    return Heard(said.verdict, event, said.lane, said.place) if _fits(said, event) else "OtherEvent"


def _fits(said: Said, event: Event) -> bool:
    verdict, rule = said.verdict, said.ruled.rule
    key = key_reader(rule.key, rule.prefix_ipv4, rule.prefix_ipv6)(event)
    is_it = verdict.event == event.id and verdict.at == min(event.time, event.arrived)
    return is_it and verdict.key == key and matcher(rule.match)(event)
