"""When members of groups come, and as whom: a function of the behaviour and the seed alone. Pure."""

import heapq
import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from flywheel.simulation.groups import Bout, Group, Trait, Truth


@dataclass(frozen=True, slots=True)
class Member:
    """As whom a visit of a group is made."""

    group: str
    truth: Truth
    person: int
    address: str
    device: str
    user: str
    jar: str
    """Whose cookies it brings; empty where it brings none and leaves none."""


@dataclass(frozen=True, slots=True)
class Coming:
    """One visit of a group."""

    own: float
    """Seconds of the shoppers' own time after the beginning."""
    number: int
    """Of the group's visits, in the order of its bouts."""
    group: Group
    member: Member


def comings(groups: tuple[Group, ...], seed: int) -> Iterator[Coming]:
    """Give the visits of all groups in the order of their times."""
    ways = [_of_group(group, seed) for group in groups]
    yield from heapq.merge(*ways, key=lambda coming: coming.own)


def _of_group(group: Group, seed: int) -> Iterator[Coming]:
    rng = random.Random(f"{seed}/group/{group.name}")  # noqa: S311 - a simulation
    moments = [moment for bout in group.bouts for moment in _moments(bout, rng)]
    order = sorted(range(len(moments)), key=lambda number: (moments[number], number))
    for number in order:
        person = number % group.people
        yield Coming(moments[number], number, group, _member(group, seed, person, number))


def _moments(bout: Bout, rng: random.Random) -> Iterator[float]:
    begin, length = bout.at.total_seconds(), bout.length.total_seconds()
    for number in range(bout.visits):
        yield begin + length * (number / bout.visits if bout.even else rng.random())


def _member(group: Group, seed: int, person: int, number: int) -> Member:
    def whose(trait: Trait) -> str:
        """Give the same text at each visit of one person, or another one at each visit."""
        which = f"person/{person}" if trait in group.keeps else f"visit/{number}"
        return f"{seed}/group/{group.name}/{trait}/{which}"

    # Persons have the addresses in turn, so that a crowd is spread evenly over those that it has.
    place = person if "Address" in group.keeps else random.Random(whose("Address")).randrange(1 << 30)  # noqa: S311
    return Member(
        group=group.name,
        truth=group.truth,
        person=person,
        address=group.address(place),
        device=_identity(whose("Device")),
        user=f"u-{_identity(whose('Account'))}",
        jar=f"{group.name}/{person}" if "Cookies" in group.keeps else "",
    )


def _identity(text: str) -> str:
    rng = random.Random(text)  # noqa: S311 - a simulation
    return uuid.UUID(int=rng.getrandbits(128), version=4).hex
