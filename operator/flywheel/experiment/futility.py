"""When a test may stop because the effect that it was made for is no longer in reach.

Stopping early without a finding can only take findings away, so it never adds an error, and nobody is bound to it.
"""

import math

from flywheel.experiment.estimate import Effect
from flywheel.experiment.sequential import HorizonTest, Look, crossing_probability

LEAST_CHANCE = 0.05
"""Below this chance of success with the planned effect, going on is futile. It costs 0.05 / 0.95 of the power that is
missing to 1 at most: 1.05 points of 80%. For a test that stops so would have succeeded with less than this chance, and
of tests that are as planned at most (1 - power) / 0.95 come into the situation."""


def conditional_power(test: HorizonTest, look: Look, effect: Effect, planned: float) -> float:
    """Give the chance that a test still proves the variant different on the planned side, if it is as planned.

    From where the score stands, a Brownian motion with the drift of the planned effect has what is left of the
    information to reach the boundary.

    Args:
        test: As it was fixed.
        look: The one just taken.
        effect: What it was taken of.
        planned: The difference that the test is for, in the unit of the figure; below 0 where less is better.

    Source: Lan, Simon, Halperin (1982), Stochastically Curtailed Tests, Sequential Analysis 1; with first passage by
    the reflection principle instead of the end alone, as the test may end at any look.
    """
    if look.direction:
        return 1.0 if look.direction * planned > 0 else 0.0
    left = 1.0 - look.fraction
    if left <= 0:
        return 0.0
    if not effect.is_normal or effect.standard_error <= 0:
        return 1.0
    drift = abs(planned) / (effect.standard_error * math.sqrt(look.fraction))
    distance = test.boundary - (look.score if planned > 0 else -look.score)
    return crossing_probability(distance, drift, left)


def is_futile(
    test: HorizonTest, look: Look, effect: Effect, planned: float, least_chance: float = LEAST_CHANCE
) -> bool:
    """Tell whether going on is futile; a test that has found something, or is at its end, is not."""
    if look.direction or look.is_final:
        return False
    return conditional_power(test, look, effect, planned) < least_chance


def most_power_lost(power: float, least_chance: float = LEAST_CHANCE) -> float:
    """Give the most that stopping for futility takes from the power of a test, whatever its looks."""
    return least_chance / (1 - least_chance) * (1 - power)
