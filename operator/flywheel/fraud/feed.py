"""The lines of the stream in which a worker tells sidecars of decisions. Pure.

The first line tells everything, or what has changed since the version that the sidecar names; each further one is a
change. Empty ones come in between, so that both sides notice when the other has gone.
"""

import msgspec

from flywheel.fraud.blocks import Blocks, Change, Decision

HEARTBEAT = 5.0
"""Seconds between lines, at most."""
SILENCE = 16.0
"""Seconds without a line after which a sidecar connects anew."""


VOLUME_DIGITS = 16


class Line(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line, as JSON."""

    epoch: str = ""
    """Of the worker's volume, so many digits, and of its process: versions of another one mean nothing."""
    version: int = 0
    whole: bool = False
    put: tuple[Decision, ...] = ()
    gone: tuple[str, ...] = ()
    keys: dict[str, str] = {}
    """Name of a key that passes are signed with -> the key, in base64. In the first line only."""


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Line).decode


def since(blocks: Blocks, version: int | None) -> Change:
    """Give what has changed of that which the edge carries out."""
    found = blocks.since(version)
    # Why somebody is refused is no business of the edge, which has to hold all of it in memory.
    plain = {"rule": "", "event": "", "reason": "", "pass_for": 0}
    edge = tuple(msgspec.structs.replace(each, **plain) for each in found.put if each.is_for_the_edge)
    # A decision may have become one that the edge does not carry out.
    other = tuple(each.id for each in found.put if not each.is_for_the_edge)
    return Change(version=found.version, whole=found.whole, put=edge, gone=() if found.whole else found.gone + other)


def volume_of(epoch: str) -> str:
    """Give the volume of the worker that has an epoch; empty where that does not tell."""
    return epoch[:VOLUME_DIGITS] if len(epoch) > VOLUME_DIGITS else ""


def line(epoch: str, change: Change, keys: dict[str, str] | None = None) -> bytes:
    """Write a line."""
    made = Line(
        epoch=epoch,
        version=change.version,
        whole=change.whole,
        put=change.put,
        gone=change.gone,
        keys=keys or {},
    )
    return _encode(made) + b"\n"


def read(text: bytes) -> Line:
    """Read a line.

    Raises:
        msgspec.DecodeError: It is none.
    """
    return _decode(text)
