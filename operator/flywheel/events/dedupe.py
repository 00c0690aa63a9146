"""Message ids seen lately, in bounded memory. The store is the final judge; this spares it what clients repeat."""

REMEMBERED = 100_000


class Recent:
    """Remembers at least the last `remembered` ids, and at most twice as many."""

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._remembered = remembered
        self._young: set[str] = set()
        self._old: set[str] = set()

    def __contains__(self, message_id: str) -> bool:
        return message_id in self._young or message_id in self._old

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def add(self, message_id: str) -> bool:
        """Remember an id; tell whether it is new."""
        if message_id in self._young or message_id in self._old:
            return False
        if len(self._young) >= self._remembered:
            self._old, self._young = self._young, set()
        self._young.add(message_id)
        return True

    def forget(self, message_id: str) -> None:
        """Take an id back: its event was not kept."""
        self._young.discard(message_id)
        self._old.discard(message_id)
