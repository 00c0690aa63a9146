"""What people and other systems say afterwards: who was dishonest, and who was not. Bounded; the latest word counts.

Pure.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Literal

import msgspec

LabelKind = Literal["event", "visitor", "user", "key"]
Said = Literal["Dishonest", "Honest"]
MOST = 100_000
"""Labels that are kept of one campaign."""
LONGEST = 512
"""Characters of what is labelled."""
LONGEST_WORD = 128
"""Characters of a source, and of who said it."""


class Label(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What somebody says of one event, person or key."""

    kind: LabelKind
    value: tuple[str, ...]
    """The id; of a key, its values in the order of the rule."""
    said: Said
    at: int
    """When it was said, in milliseconds since 1970."""
    rule: str = ""
    """Whose key it is."""
    source: str = ""
    """How that is known: chargeback, appeal, confirmed, ..."""
    by: str = ""

    @property
    def subject(self) -> tuple[str, str, tuple[str, ...]]:
        """What it is about: a later label of the same takes its place."""
        return self.kind, self.rule, self.value


class Labels:
    """The labels of one campaign."""

    def __init__(self, most: int = MOST) -> None:
        self.forgotten = 0
        """Labels that went for want of room, those first that were given first."""
        self.version = 0
        """Another one after each change."""
        self.dishonest = 0
        """Labels that say Dishonest."""
        self._most = most
        self._held: dict[tuple[str, str, tuple[str, ...]], Label] = {}

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[Label]:
        return iter(self._held.values())

    def put(self, labels: Iterable[Label]) -> None:
        """Take labels in; one that was said earlier than what is known of the same changes nothing."""
        for each in labels:
            before = self._held.get(each.subject)
            if before is not None and before.at > each.at:
                continue
            if before is not None:
                self._forget(before)
            self._held[each.subject] = each
            self.dishonest += each.said == "Dishonest"
            self.version += 1
        while len(self._held) > self._most:
            self._forget(next(iter(self._held.values())))
            self.forgotten += 1

    def forget(self, before: int) -> None:
        """Forget what was said before a moment, in milliseconds since 1970."""
        for each in [each for each in self._held.values() if each.at < before]:
            self._forget(each)
            self.version += 1

    def drop(self, is_meant: Callable[[Label], bool]) -> None:
        """Forget some, whatever they say."""
        for each in [each for each in self._held.values() if is_meant(each)]:
            self._forget(each)
            self.version += 1

    def dump(self) -> tuple[Label, ...]:
        """Give all of them, those first that were given first."""
        return tuple(self._held.values())

    def load(self, labels: Iterable[Label]) -> None:
        """Become what `dump` gave."""
        self._held = {each.subject: each for each in labels}
        self.dishonest = sum(each.said == "Dishonest" for each in self._held.values())
        self.version += 1

    def _forget(self, label: Label) -> None:
        del self._held[label.subject]
        self.dishonest -= label.said == "Dishonest"
