"""Which visitors belong to which test, and to which of its variants: ranges of buckets, for the edge to look up. Pure.

A visitor has a bucket in each layer, and another one in each test. Tests of one layer own different buckets of it, so
nobody is in two of them; a test that wants more takes free ones and keeps its own, so nobody who is in is moved.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from flywheel.edge.document import BUCKETS

Segments = tuple[tuple[int, int], ...]
"""Stretches of buckets: from the first one up to, but without, the second."""


@dataclass(frozen=True, slots=True)
class Arm:
    """A variant, and the part of the test's visitors that it gets."""

    name: str
    weight: int
    """Basis points; those of a test add up to 10,000."""


@dataclass(frozen=True, slots=True)
class Range:
    """The buckets of one variant: start <= bucket < end."""

    name: str
    start: int
    end: int


def ranges(arms: Sequence[Arm]) -> tuple[Range, ...]:
    """Share the buckets of a test out, in the order given: another order moves visitors.

    Raises:
        ValueError: Weights do not add up to 10,000, or one is below 0.
    """
    if any(arm.weight < 0 for arm in arms) or sum(arm.weight for arm in arms) != BUCKETS:
        raise ValueError(f"weights of {[arm.weight for arm in arms]} basis points do not add up to {BUCKETS}")
    found, start = [], 0
    for arm in arms:
        found.append(Range(arm.name, start, start + arm.weight))
        start += arm.weight
    return tuple(found)


def allocate(own: Segments, traffic: int, older: Iterable[Segments], younger: Iterable[Segments] = ()) -> Segments:
    """Give a test as many buckets of its layer as its traffic asks for, or as many as are left.

    Args:
        own: What it has. All of it stays its own as long as it fits; what came last goes first where traffic falls.
        traffic: Basis points of all visitors who are to take part.
        older: What the tests of the layer have that it gives way to, should both have taken the same.
        younger: What the other ones have.
    """
    before = [segment for each in older for segment in each]
    kept = _first(remaining(own, before), traffic)
    taken = [*before, *kept, *(segment for each in younger for segment in each)]
    return _joined([*kept, *_first(remaining(((0, BUCKETS),), taken), traffic - width(kept))])


def width(segments: Iterable[tuple[int, int]]) -> int:
    """Tell how many buckets there are."""
    return sum(end - start for start, end in segments)


def remaining(wanted: Segments, taken: Sequence[tuple[int, int]]) -> Segments:
    """Give what is left of some buckets where others are taken."""
    return tuple(left for each in wanted for left in _without(each, sorted(taken)))


def _without(segment: tuple[int, int], taken: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    start, end = segment
    for low, high in taken:
        if high <= start or low >= end:
            continue
        if low > start:
            yield start, low
        start = max(start, high)
    if start < end:
        yield start, end


def _first(segments: Sequence[tuple[int, int]], count: int) -> list[tuple[int, int]]:
    found = []
    for start, end in segments:
        if count <= 0:
            break
        found.append((start, min(end, start + count)))
        count -= end - start
    return found


def _joined(segments: Sequence[tuple[int, int]]) -> Segments:
    """Write neighbours as one. The order stays: what came last is given back first."""
    found: list[tuple[int, int]] = []
    for start, end in segments:
        if found and found[-1][1] == start:
            found[-1] = (found[-1][0], end)
        else:
            found.append((start, end))
    return tuple(found)
