"""Who comes when: a function of the behaviour and the seed alone. Pure, and endless; the caller stops."""

import math
import random
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from flywheel.simulation.behaviour import Agent, Behaviour, Channel, Flood, Journey

HOUR = 3600.0
DAY = 24 * HOUR
Choice = TypeVar("Choice")


@dataclass(frozen=True, slots=True)
class Shopper:
    """One visit that is going to happen."""

    number: int
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
    """Give all shoppers in the order in which they come, without end.

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
    of_bots = {each.journey for each in behaviour.agents if each.bot}
    weights: Mapping[str, float] = {
        each.name: each.weight for each in behaviour.journeys if each.name not in of_bots
    } or {each.name: each.weight for each in behaviour.journeys}
    for flood in _floods(behaviour, own):
        weights = flood.journeys or weights
    return by_name[choose(rng, weights.items())]
