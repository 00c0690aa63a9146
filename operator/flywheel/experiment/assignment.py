"""Which visitors belong to which variant: ranges of buckets, for the edge to look up. Pure.

Each variant begins at a bucket of its own, whatever the traffic, and its range grows from there. So raising the traffic
takes visitors in and moves nobody who is in already, and lowering it lets go and moves nobody either. Other weights are
another test: they move visitors, and make those who are moved useless for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from flywheel.edge.document import BUCKETS

MOST_AT_ONCE = 3
"""Tests of one service: a visitor is in the first of them that takes them, so they never share one."""


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

    @property
    def width(self) -> int:
        """How many buckets it has."""
        return self.end - self.start


def ranges(arms: Sequence[Arm], traffic: int) -> tuple[Range, ...]:
    """Share buckets out.

    Args:
        arms: All variants, in the order of the spec: another order moves visitors.
        traffic: Basis points of the service's visitors who take part, 0 to 10,000.

    Raises:
        ValueError: Weights do not add up to 10,000, or one or the traffic is out of range.
    """
    if not 0 <= traffic <= BUCKETS:
        raise ValueError(f"a traffic of {traffic} basis points is none; 0 to {BUCKETS}")
    if any(arm.weight < 0 for arm in arms) or sum(arm.weight for arm in arms) != BUCKETS:
        raise ValueError(f"weights of {[arm.weight for arm in arms]} basis points do not add up to {BUCKETS}")
    found, start = [], 0
    for arm in arms:
        found.append(Range(arm.name, start, start + arm.weight * traffic // BUCKETS))
        start += arm.weight
    return tuple(found)
