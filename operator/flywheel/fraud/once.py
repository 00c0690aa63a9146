"""Which verdicts of another engine were acted on already: the latest of them, by a digest each. Pure.

Topics deliver at least once. What comes again after so many others is decided again as it was, and counted twice.
"""

import hashlib
import struct
from collections import OrderedDict

from flywheel.fraud.words import Verdict

MOST = 100_000
_SIZE = 8


class Once:
    """The latest digests, the oldest first."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._known: OrderedDict[int, None] = OrderedDict()

    def add(self, digest: int) -> bool:
        """Take a digest in; tell whether it is a new one."""
        if digest in self._known:
            return False
        self._known[digest] = None
        if len(self._known) > self._most:
            self._known.popitem(last=False)
        return True

    def dump(self) -> bytes:
        """Write down all that has to be kept."""
        return struct.pack(f"<{len(self._known)}Q", *self._known)

    def load(self, data: bytes) -> None:
        """Become what `dump` wrote."""
        self._known = OrderedDict.fromkeys(struct.unpack(f"<{len(data) // _SIZE}Q", data))


def named(verdict: Verdict, lane: int, place: int) -> int:
    """Give the digest of a verdict: of its rule and event, of an event without an id by where it stands.

    Args:
        verdict: The verdict.
        lane: Partition of the topic of events.
        place: Offset in it.
    """
    event = f"#{verdict.event}" if verdict.event else f"{lane}/{place}"
    text = f"{verdict.rule}\x1f{event}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=_SIZE).digest(), "little")
