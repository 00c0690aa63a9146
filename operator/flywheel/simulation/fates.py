"""What became of each visit at the edge: served, blocked, challenged or unanswered; by group and by truth. Pure."""

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

from flywheel.simulation.groups import Stops, Truth
from flywheel.simulation.members import Member

SINGLES = "shoppers"
"""Those who belong to no group. They are honest."""
MOST_LABELS = 100_000
"""As many as a fraud worker keeps of one campaign."""
LABEL_COLUMNS = ("visitor", "user", "label", "source")
SOURCE = "simulation"
Answered = Literal["served", "blocked", "challenged"]


def answered(stops: Stops, status: int, target: str) -> Answered:
    """Tell an edge's no from an answer.

    Args:
        stops: How the edge says no.
        status: Of the answer.
        target: Where it leads to; empty where it leads nowhere.
    """
    if status in stops.statuses:
        return "blocked"
    if stops.page and status == 303:
        parts = urlsplit(target)
        if parts.path == stops.page and "return" in parse_qs(parts.query):
            return "challenged"
    return "served"


@dataclass(slots=True)
class Fate:
    """What one visit has met so far."""

    requests: int = 0
    refused: int = 0
    """Requests that were blocked or challenged."""
    is_blocked: bool = False
    is_challenged: bool = False
    is_unanswered: bool = False

    def note(self, what: Answered) -> None:
        """Take an answer in."""
        self.requests += 1
        self.refused += what != "served"
        self.is_blocked |= what == "blocked"
        self.is_challenged |= what == "challenged"


@dataclass(slots=True)
class GroupFates:
    """What became of the visits of one group."""

    truth: Truth
    visits: int = 0
    blocked: int = 0
    challenged: int = 0
    unanswered: int = 0
    requests: int = 0
    refused: int = 0

    def add(self, other: "GroupFates") -> None:
        """Count those of another group, too."""
        for name in ("visits", "blocked", "challenged", "unanswered", "requests", "refused"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @property
    def stopped(self) -> int:
        """Visits of which the edge refused something."""
        return self.blocked + self.challenged

    def plain(self) -> dict[str, Any]:
        """Give it for JSON."""
        return {
            "truth": self.truth,
            "visits": self.visits,
            "served": self.visits - self.stopped - self.unanswered,
            "blocked": self.blocked,
            "challenged": self.challenged,
            "unanswered": self.unanswered,
            "requests": self.requests,
            "refused": self.refused,
            "stopped_share": _share(self.stopped, self.visits),
            "refused_share": _share(self.refused, self.requests),
        }


@dataclass(slots=True)
class Fates:
    """What became of all visits."""

    groups: dict[str, GroupFates] = field(default_factory=dict)
    left_out: int = 0
    """Labels for which there was no more room."""
    _labels: dict[tuple[str, str], tuple[Truth, str]] = field(default_factory=dict)
    """Of each visitor, and of each user: (visitor, "") and ("", user)."""

    def end(self, member: Member | None, visitor: str, fate: Fate) -> None:
        """Take in what has become of a visit; `visitor` is as whom the site knew it."""
        group, truth = (member.group, member.truth) if member else (SINGLES, "Honest")
        own = self.groups.setdefault(group, GroupFates(truth))
        own.visits += 1
        own.requests += fate.requests
        own.refused += fate.refused
        # The first that fits, so that each visit is counted once.
        own.blocked += fate.is_blocked
        own.challenged += fate.is_challenged and not fate.is_blocked
        own.unanswered += fate.is_unanswered and not (fate.is_blocked or fate.is_challenged)
        for whose in ((visitor, ""), ("", member.user if member else "")):
            if whose in self._labels or (any(whose) and len(self._labels) < MOST_LABELS):
                self._labels[whose] = (truth, group)
            else:
                self.left_out += any(whose)

    @property
    def has_groups(self) -> bool:
        """Whether anybody has come who belongs to a group."""
        return not self.groups.keys() <= {SINGLES}

    @property
    def refused(self) -> int:
        """Requests that the edge refused."""
        return sum(each.refused for each in self.groups.values())

    def report(self) -> dict[str, Any]:
        """Tell the share of the dishonest who were stopped, and of the honest who were harmed; by group and in all."""
        truths: tuple[Truth, ...] = ("Honest", "Dishonest")
        in_all = {truth: GroupFates(truth) for truth in truths}
        for each in self.groups.values():
            in_all[each.truth].add(each)
        return {
            **{truth.lower(): each.plain() for truth, each in in_all.items()},
            "groups": {name: each.plain() for name, each in sorted(self.groups.items())},
            "labels_left_out": self.left_out,
        }

    def labels(self) -> str:
        """Write the truth about everybody who came, as CSV."""
        return labels_text((*whose, truth, group) for whose, (truth, group) in self._labels.items())


def labels_text(rows: Iterable[tuple[str, str, Truth, str]]) -> str:
    """Write labels as CSV, as `flywheel fraud label -f` reads them: of each row a visitor or a user, truth and group."""
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(LABEL_COLUMNS)
    for visitor, user, truth, group in rows:
        writer.writerow((visitor, user, truth, f"{SOURCE}:{group}"))
    return written.getvalue()


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None
