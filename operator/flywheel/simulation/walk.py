"""The way of a visit without a site: what is asked when, where each answer is as the step expects it. Pure.

For trying rules on whom the plan sends, without a cluster. Values that only a site can give are nobody's here, and
nobody has seen what changes their mind.
"""

import random
from collections.abc import Generator
from dataclasses import dataclass

from flywheel.simulation.behaviour import LEAVE, Behaviour, Span, Step
from flywheel.simulation.plan import Shopper, choose


@dataclass(frozen=True, slots=True)
class Asked:
    """One step of a visit."""

    at: float
    """Real seconds after the beginning."""
    step: Step


def walk(behaviour: Behaviour, shopper: Shopper, speed: float = 1.0, answering: float = 0.1) -> Generator[Asked, bool]:
    """Give the steps of a visit, and be told by `send` whether each was served.

    Args:
        behaviour: Of all.
        shopper: Whose visit.
        speed: Seconds of the shopper's time in one of ours.
        answering: Seconds that each answer takes.
    """
    rng = random.Random(f"{behaviour.seed}/walk/{shopper.name}")  # noqa: S311 - a simulation
    name, at = shopper.start, shopper.at
    for _ in range(behaviour.most_steps):
        step = behaviour.steps[name]
        served = yield Asked(at, step)
        at += answering + _between(step.think, rng) / speed
        name = choose(rng, step.next.items()) if served else step.otherwise
        if name == LEAVE:
            return


def _between(span: Span, rng: random.Random) -> float:
    return rng.uniform(span.least.total_seconds(), span.most.total_seconds())
