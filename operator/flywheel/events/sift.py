"""Telling readable rows from others one by one: what happens to a delivery that the engine did not take as a whole."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from flywheel.events.commit import Delivery
from flywheel.events.rows import TABLES, DeadLetter, Row

LONGEST_PAYLOAD = 32 << 10
LONGEST_DETAIL = 1000


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be read, and why."""

    line: bytes
    why: str


def sift(table: str, delivery: Delivery) -> tuple[Delivery, list[BadRow]]:
    """Read each line as a row of a table; write the good ones anew, in our own hand."""
    decoder: msgspec.json.Decoder[Row] = msgspec.json.Decoder(TABLES[table])
    encoder = msgspec.json.Encoder()
    good: list[bytes] = []
    bad: list[BadRow] = []
    for line in delivery.rows.split(b"\n"):
        if not line.strip():
            continue
        try:
            good.append(encoder.encode(decoder.decode(line)) + b"\n")
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            bad.append(BadRow(line, str(error) or type(error).__name__))
    return Delivery(delivery.campaign, b"".join(good), len(good)), bad


def dead_letters(bad: Sequence[BadRow], now: int, kept: int) -> bytes:
    """Write bad rows as rows of dead_letters.

    Args:
        bad: The rows.
        now: Milliseconds since 1970.
        kept: Seconds for which they are kept.
    """
    encoder = msgspec.json.Encoder()
    return b"".join(
        encoder.encode(
            DeadLetter(
                time=now,
                reason="unreadable_row",
                detail=f"The store could not read the row: {row.why}"[:LONGEST_DETAIL],
                payload=row.line[:LONGEST_PAYLOAD].decode(errors="replace"),
                expires_at=now // 1000 + kept,
            )
        )
        + b"\n"
        for row in bad
    )
