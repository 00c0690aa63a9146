"""What a worker tells of the labels that bear on one rule: for back-tests, whose events lie elsewhere. Pure.

The latest labels are told first, in pages, so that whoever wants a few thousand of them asks a few times. With each
goes what the rule did to whom it is about, as only the worker knows that: whoever is stopped shows nothing any more.
"""

import heapq
from collections.abc import Iterable, Sequence
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from flywheel.fraud.labels import LONGEST, Label, LabelKind

PAGES = (1_000, 100, 10)
"""Labels in one answer: the first of these that makes it no longer than `LONGEST_PAGE`."""
LONGEST_PAGE = 900_000
"""Bytes; whoever asks reads a million."""
MOST_EVENTS = 4
"""Events by which a key is told that is kept under another name than in the store."""
_Text = Annotated[str, Meta(max_length=LONGEST)]


class KnownLabel(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A label, and what became of whom it is about."""

    kind: LabelKind
    value: Annotated[tuple[_Text, ...], Meta(max_length=4)]
    dishonest: bool
    at: int = 0
    """When it was said, in milliseconds since 1970."""
    stopped: bool = False
    """Whether a key of theirs was kept by the rule from what it was after."""
    chance: Annotated[float, Meta(gt=0, le=1)] = 1.0
    """With what chance the rule left that key alone; 1 where it never found it."""
    events: Annotated[tuple[_Text, ...], Meta(max_length=MOST_EVENTS)] = ()
    """Of a key that nobody else knows by its name: events that were judged by it."""

    @property
    def subject(self) -> tuple[str, tuple[str, ...]]:
        """What it is about."""
        return self.kind, self.value


class LabelPage(msgspec.Struct, frozen=True, kw_only=True):
    """Some labels, the latest first, and where the next page begins."""

    labels: tuple[KnownLabel, ...] = ()
    before: int = 0
    """Ask for those of this moment and earlier; 0 where there are no more."""
    skip: int = 0
    """And leave out so many of that very moment, which were told."""


class Fate(NamedTuple):
    """What a rule did to those whom a label is about."""

    stopped: bool
    chance: float


def page_of(
    labels: Iterable[Label], rule: str, before: int, skip: int, most: int = PAGES[0]
) -> tuple[list[Label], int, int]:
    """Choose the labels of a page: all that are not about a key of another rule.

    Args:
        labels: All of a campaign.
        rule: Whose keys count.
        before: The latest moment, in milliseconds since 1970; 0 to begin.
        skip: Labels of that moment that were told already.
        most: How many at most.

    Returns:
        The labels, and `before` and `skip` for the next page; both 0 where there is none.
    """
    meant = (each for each in labels if each.rule in ("", rule) and (not before or each.at <= before))
    # One more than is told says whether there is a next page.
    ordered = heapq.nsmallest(skip + most + 1, meant, key=lambda each: (-each.at, each.subject))
    told, rest = ordered[skip : skip + most], ordered[skip + most :]
    if not rest:
        return told, 0, 0
    last = told[-1].at
    return told, last, sum(each.at == last for each in told) + (skip if last == before else 0)


def together(workers: Sequence[Sequence[KnownLabel]], most: int) -> list[KnownLabel]:
    """Give what several workers know as one: of the same the latest word, and what any of them did; the latest first.

    Args:
        workers: The labels of each.
        most: How many are given at most.
    """
    found: dict[tuple[str, tuple[str, ...]], KnownLabel] = {}
    for label in (each for labels in workers for each in labels):
        known = found.get(label.subject)
        found[label.subject] = label if known is None else _both(known, label)
    return heapq.nsmallest(most, found.values(), key=lambda each: (-each.at, each.subject))


def _both(one: KnownLabel, other: KnownLabel) -> KnownLabel:
    latest = max(one, other, key=lambda each: (each.at, each.dishonest))
    return msgspec.structs.replace(
        latest,
        stopped=one.stopped or other.stopped,
        chance=min(one.chance, other.chance),
        events=(one.events + other.events)[:MOST_EVENTS],
    )
