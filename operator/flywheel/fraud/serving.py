"""Which sidecars send all of their events to how many workers already: keys move once all of them do."""

import time
from collections.abc import Callable

from flywheel.fraud.casebook import Casebook

HEARD = 30.0
"""Seconds after which a sidecar that sends nothing is waited for no more."""
MOST = 10_000


class Serving:
    """Remembers who has sent something lately; of what they said the casebook knows."""

    def __init__(self, book: Casebook, clock: Callable[[], float] = time.monotonic) -> None:
        self._book, self._clock = book, clock
        self._heard: dict[str, float] = {}

    def hear(self, sender: str) -> None:
        """Note that a sidecar's process has sent something."""
        self._heard.pop(sender, None)
        self._heard[sender] = self._clock()
        if len(self._heard) > MOST:
            del self._heard[next(iter(self._heard))]

    def hear_known(self) -> None:
        """Take those for heard whom the casebook knows: after a restart they may have something that waits."""
        for sender in self._book.senders:
            self.hear(sender)

    def behind(self, workers: int) -> tuple[str, ...]:
        """Name those of whom nothing that was judged says yet that they serve so many workers."""
        recent = self._clock() - HEARD
        self._heard = {sender: at for sender, at in self._heard.items() if at > recent}
        known = ((sender, self._book.sender(sender)) for sender in self._heard)
        return tuple(sender for sender, each in known if each is None or each.workers < workers)
