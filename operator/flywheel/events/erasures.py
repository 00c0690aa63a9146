"""Erasing a visitor from the spool: the store asks for it, and every row that waits here is overwritten.

The store itself refuses rows of an erased visitor from before the erasure, so that one which is on its way meanwhile
does not come back.
"""

import logging
from collections.abc import Callable
from pathlib import Path

import msgspec

from flywheel.events.identity_forms import forms_of
from flywheel.events.spool import Spool

log = logging.getLogger(__name__)


class Erasure(msgspec.Struct):
    """One visitor, or user, of whom nothing from before a moment may stay."""

    id: int
    before: int
    """Milliseconds since 1970."""
    visitor: str | None = None
    user_id: str | None = None


class _About(msgspec.Struct):
    """What of a row tells whom it is about."""

    time: int
    ingest_time: int | None = None
    visitor: str = ""
    user_id: str = ""
    payload: str = ""


_rows = msgspec.json.Decoder(_About)


def is_about(line: bytes, erasure: Erasure) -> bool:
    """Tell whether a row is one that an erasure means; one that cannot be read is, to be safe."""
    try:
        row = _rows.decode(line)
    except msgspec.DecodeError:
        return True
    # A client's clock may have put the event after the erasure, though it came before.
    if min(row.time, row.ingest_time if row.ingest_time is not None else row.time) > erasure.before:
        return False
    if erasure.visitor and (row.visitor == erasure.visitor or _names(row.payload, erasure.visitor)):
        return True
    return bool(erasure.user_id and (row.user_id == erasure.user_id or _names(row.payload, erasure.user_id)))


def _names(payload: str, identity: str) -> bool:
    return bool(payload) and any(form in payload for form in forms_of(identity))


class ErasedRows:
    """Carries erasures out, and remembers up to which it has."""

    def __init__(self, file: Path) -> None:
        """Read how far an earlier process came.

        Args:
            file: Where that is written.
        """
        self._file = file
        self.since = _read(file)
        """The last erasure that was carried out."""

    async def apply(self, erasures: object, spool: Spool) -> None:
        """Carry out erasures that the store lists.

        Raises:
            OSError: The spool could not be written; they are listed again.
        """
        try:
            wanted = msgspec.convert(erasures, list[Erasure])
        except msgspec.ValidationError as error:
            log.error("The store's list of erasures cannot be read: %s", error)  # noqa: TRY400
            return
        for erasure in sorted(wanted, key=lambda each: each.id):
            needles = _needles(erasure)
            if needles:
                found = await spool.erase(needles, _meaning(erasure))
                log.info("Erasure %d took %d undelivered rows.", erasure.id, found)
            self.since = max(self.since, erasure.id)
            self._write()

    def _write(self) -> None:
        new = self._file.with_suffix(".new")
        new.write_text(str(self.since), "utf-8")
        new.replace(self._file)


def _needles(erasure: Erasure) -> tuple[bytes, ...]:
    """Write the ids as they stand within a line, without the quotes: in a payload they are escaped once more."""
    forms = (form for each in (erasure.visitor, erasure.user_id) if each for form in forms_of(each))
    return tuple(msgspec.json.encode(form)[1:-1] for form in forms)


def _meaning(erasure: Erasure) -> Callable[[bytes], bool]:
    return lambda line: is_about(line, erasure)


def _read(file: Path) -> int:
    try:
        return int(file.read_text("utf-8"))
    except (OSError, ValueError):
        return 0
