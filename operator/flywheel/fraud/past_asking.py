"""What the operator asks an event store about the time before a fraud rule, and what it answers. Pure."""

import base64
import binascii
from typing import Annotated

import msgspec
from msgspec import Meta

from flywheel.fraud.batch import FORMAT, Batch

PATH = "/v1/fraud/past"
MOST = 50_000
"""Events that are given of one past; of more of them the latest."""
PAGES = (2_000, 200, 20)
"""Events in one answer: the first of these that makes it no longer than `LONGEST_PAGE`."""
LONGEST_PAGE = 900_000
"""Characters; whoever asks reads a million."""
MOST_NAMES = 64
LONGEST_PAST = 8 * 86_400_000
"""Milliseconds: the longest window, and how late its events may come."""


_batch = msgspec.msgpack.Decoder(Batch).decode


class PastNotUnderstood(Exception):  # noqa: N818 - of what a store says
    """An answer cannot be read."""


class PastAsked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which events are wanted."""

    campaign: str
    start: int
    """Milliseconds since 1970; included, as is `until`."""
    until: int
    names: tuple[str, ...] = ()
    """Of the events; empty for all."""
    after: tuple[int, Annotated[str, Meta(max_length=1024)]] | None = None
    """Arrival and id of the last event that was given; None to begin."""


class PastPage(msgspec.Struct, frozen=True, kw_only=True):
    """Some events, in the order in which they arrived."""

    start: int
    """From when on they are all; later than was asked for where that would be too many."""
    batch: str
    """As a fraud worker reads them, in base64."""
    after: tuple[int, str] | None = None
    """Where the next page begins; None where there is none."""

    def events(self) -> Batch:
        """Read them. Whether each makes sense the worker looks at, which has to judge by them.

        Raises:
            PastNotUnderstood: They are no events.
        """
        try:
            found = _batch(base64.b64decode(self.batch, validate=True))
        except (ValueError, binascii.Error, msgspec.DecodeError) as error:
            raise PastNotUnderstood(str(error)) from None
        if found.format != FORMAT:
            raise PastNotUnderstood(f"they have the format {found.format}; known is {FORMAT}")
        return found


def read_page(body: bytes) -> PastPage:
    """Read what the store says.

    Raises:
        PastNotUnderstood: It cannot be read.
    """
    try:
        return msgspec.json.decode(body, type=PastPage)
    except msgspec.DecodeError as error:
        raise PastNotUnderstood(str(error)) from None
