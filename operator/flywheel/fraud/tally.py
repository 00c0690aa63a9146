"""What is counted and kept as samples of the verdicts of one rule. Pure."""

from collections.abc import Sequence

import msgspec

from flywheel.fraud.decisions import Done
from flywheel.fraud.words import Verdict

LATEST = 8
"""Verdicts that are told as samples."""


class Tally(msgspec.Struct):
    """What was done about the verdicts of one rule."""

    heard: int = 0
    """Verdicts of another engine, and those from before it judged."""
    acted: int = 0
    would: int = 0
    held_out: int = 0
    denied: int = 0
    """Verdicts that no condition was met for: a deny list names the sender."""
    watched: int = 0
    allowed: int = 0
    latest: list[Verdict] = []
    outcomes: list[str] = []
    """What followed from each of these; none of those that an older version counted."""

    def count(self, verdict: Verdict, done: Done, followed: str) -> None:
        """Take a verdict in."""
        self.acted += done == "Acted"
        self.would += done in ("Shadow", "OutsideShare", "Unprotected")
        self.held_out += done == "HeldOut"
        self.denied += verdict.listed == "Deny"
        self.watched += done == "Watched"
        self.allowed += done == "Allowed"
        self.latest = [*self.latest[1 - LATEST :], verdict]
        self.outcomes = [*self.outcomes[1 - LATEST :], followed]

    def forget(self, verdicts: Sequence[Verdict]) -> None:
        """Let go of some of the latest verdicts; they stay counted."""
        # An older version has counted verdicts of which it did not note what followed.
        unknown = len(self.latest) - len(self.outcomes)
        kept = [i for i, each in enumerate(self.latest) if each not in verdicts]
        self.outcomes = [self.outcomes[i - unknown] for i in kept if i >= unknown]
        self.latest = [self.latest[i] for i in kept]
