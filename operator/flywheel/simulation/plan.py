"""Who comes when: a function of the behaviour and the seed alone. Pure, and endless; the caller stops."""

import heapq
import math
import random
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from flywheel.simulation.behaviour import Agent, Behaviour, Channel, Flood, Journey
from flywheel.simulation.groups import MOST_ADDRESSES, place_in
from flywheel.simulation.members import Coming, Member, comings

HOUR = 3600.0
DAY = 24 * HOUR
Choice = TypeVar("Choice")


@dataclass(frozen=True, slots=True)
class Shopper:
    """One visit that is going to happen."""

    number: int
    """Of the visits of its group, or of those who belong to none."""
    at: float
    """Real seconds after the beginning."""
    channel: str
    entry: str
    referrer: str
    region: str
    agent: str
    bot: bool
    journey: str
    start: str
    """Name of the first step."""
    earlier: int | None = None
    """Number of the visit whose cookies this one brings."""
    address: str = ""
    """From where it seems to come; empty for our own address."""
    member: Member | None = None
    """As whom, where it belongs to a group."""

    @property
    def name(self) -> str:
        """Another one for each visit of a behaviour."""
        return f"{self.member.group if self.member else 'shopper'}/{self.number}"


@dataclass(frozen=True, slots=True)
class Pace:
    """How the shoppers' time relates to ours."""

    rate: float
    """Shoppers a second in an average hour."""
    speed: float = 1.0
    """Seconds of the shoppers' time in one of ours."""
    begin: float = 0.0
    """Second of their day at which they begin."""


def rate_at(behaviour: Behaviour, pace: Pace, second: float) -> float:
    """Give the shoppers a second who come `second` seconds after the beginning."""
    own = second * pace.speed
    rate = pace.rate
    if behaviour.day is not None:
        hours = behaviour.day.hours
        rate *= hours[int((pace.begin + own) % DAY // HOUR)] * 24 / sum(hours)
    return rate * math.prod(flood.factor for flood in _floods(behaviour, own))


def shoppers(behaviour: Behaviour, pace: Pace) -> Iterator[Shopper]:
    """Give all shoppers in the order in which they come, members of groups among them, without end."""
    members = (_of_group(behaviour, pace, coming) for coming in comings(behaviour.groups, behaviour.seed))
    yield from heapq.merge(_singles(behaviour, pace), members, key=lambda shopper: shopper.at)


def _singles(behaviour: Behaviour, pace: Pace) -> Iterator[Shopper]:
    """Give those who belong to no group.

    Each second has a generator of its own, so that who comes in it does not depend on what was before.
    """
    latest: deque[int] = deque(maxlen=behaviour.returning.among if behaviour.returning else 1)
    number, second = 0, 0
    while True:
        rng = random.Random(f"{behaviour.seed}/second/{second}")  # noqa: S311 - a simulation
        rate = rate_at(behaviour, pace, second)
        within = rng.expovariate(rate) if rate > 0 else 1.0
        while within < 1:
            yield _shopper(behaviour, rng, number, second + within, (second + within) * pace.speed, latest)
            number += 1
            within += rng.expovariate(rate)
        second += 1


def choose(rng: random.Random, weighted: Iterable[tuple[Choice, float]]) -> Choice:
    """Choose by weight."""
    options = list(weighted)
    return rng.choices([each for each, _ in options], [weight for _, weight in options])[0]


def _floods(behaviour: Behaviour, own: float) -> Iterator[Flood]:
    for flood in behaviour.floods:
        begin = flood.at.total_seconds()
        if begin <= own < begin + flood.length.total_seconds():
            yield flood


def _shopper(
    behaviour: Behaviour, rng: random.Random, number: int, at: float, own: float, latest: "deque[int]"
) -> Shopper:
    agent: Agent = choose(rng, ((each, each.weight) for each in behaviour.agents))
    channel = _channel(behaviour, rng, own)
    journey = _journey(behaviour, rng, agent, own)
    earlier = None
    if not agent.bot and behaviour.returning and latest and rng.random() * 100 < behaviour.returning.share:
        earlier = rng.choice(latest)
    if not agent.bot:
        latest.append(number)
    return Shopper(
        number=number,
        at=at,
        channel=channel.name,
        entry=rng.choice(channel.entries),
        referrer=channel.referrer or "",
        region=choose(rng, behaviour.regions.values.items()) if behaviour.regions else "",
        agent=agent.agent,
        bot=agent.bot,
        journey=journey.name,
        start=journey.start,
        earlier=earlier,
        address=_address(behaviour, number if earlier is None else earlier),
    )


def _address(behaviour: Behaviour, number: int) -> str:
    if not behaviour.addresses:
        return ""
    # A generator of its own: with addresses or without, the same people come.
    rng = random.Random(f"{behaviour.seed}/address/{number}")  # noqa: S311 - a simulation
    return place_in(behaviour.addresses, rng.randrange(MOST_ADDRESSES))


def _of_group(behaviour: Behaviour, pace: Pace, coming: Coming) -> Shopper:
    group, member = coming.group, coming.member
    rng = random.Random(f"{behaviour.seed}/group/{group.name}/{coming.number}")  # noqa: S311 - a simulation
    person = random.Random(f"{behaviour.seed}/group/{group.name}/person/{member.person}")  # noqa: S311
    channel = _channel(behaviour, rng, coming.own)
    start = next(each.start for each in behaviour.journeys if each.name == group.journey)
    return Shopper(
        number=coming.number,
        at=coming.own / pace.speed,
        channel=channel.name,
        entry=rng.choice(channel.entries),
        referrer=channel.referrer or "",
        region=choose(person, behaviour.regions.values.items()) if behaviour.regions else "",
        agent=choose(person, ((each.agent, each.weight) for each in behaviour.agents if not each.bot)),
        bot=False,
        journey=group.journey,
        start=start,
        address=member.address,
        member=member,
    )


def _channel(behaviour: Behaviour, rng: random.Random, own: float) -> Channel:
    weights: Mapping[str, float] = {each.name: each.weight for each in behaviour.channels}
    for flood in _floods(behaviour, own):
        weights = flood.channels or weights
    return choose(rng, ((each, weights[each.name]) for each in behaviour.channels if each.name in weights))


def _journey(behaviour: Behaviour, rng: random.Random, agent: Agent, own: float) -> Journey:
    by_name = {each.name: each for each in behaviour.journeys}
    if agent.journey is not None:
        return by_name[agent.journey]
    of_others = {each.journey for each in behaviour.agents if each.bot} | {each.journey for each in behaviour.groups}
    weights: Mapping[str, float] = {
        each.name: each.weight for each in behaviour.journeys if each.name not in of_others
    } or {each.name: each.weight for each in behaviour.journeys}
    for flood in _floods(behaviour, own):
        weights = flood.journeys or weights
    return by_name[choose(rng, weights.items())]
