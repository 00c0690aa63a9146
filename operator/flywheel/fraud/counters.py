"""What an engine and its rules have met. Pure."""

from typing import Self

import msgspec


class _Counted(msgspec.Struct, frozen=True):
    def plus(self, **more: int) -> Self:
        """Give the sum."""
        return msgspec.structs.replace(self, **{name: getattr(self, name) + value for name, value in more.items()})


class RuleCounters(_Counted, frozen=True):
    """What one rule has met, since the engine began with it."""

    matched: int = 0
    missing_key: int = 0
    late: int = 0
    hits: int = 0
    unusable: int = 0
    """Events that lacked what a condition looks at."""
    keys: int = 0
    evicted: int = 0
    """Keys forgotten for want of room."""
    refused: int = 0
    """Events not judged for want of room."""
    truncated: int = 0
    """Times when not all could be kept of a key that should have been."""


class Counters(_Counted, frozen=True):
    """What an engine has met."""

    events: int = 0
    duplicates: int = 0
    clamped: int = 0
    """Events of the future, taken as of their arrival."""
