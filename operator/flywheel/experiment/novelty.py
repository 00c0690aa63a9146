"""Whether a change wears off, or grows: what is new draws attention, and what is useful has to be learnt. Pure.

Visitors of the first half of the days are compared with those of the second half. Only a difference between both that
is more than chance is told as one: days differ anyhow.
"""

import math
from collections.abc import Iterator, Sequence

from flywheel.experiment.report_model import Day

FEWEST_DAYS = 4
LEAST_CONVERSIONS = 50
"""Of each half and arm, before the halves are compared."""
SURELY = 2.5
"""Standard errors between the halves, from which on people are told: one note without cause in eighty tests."""


def novelty(days: Sequence[Day], control: str, variants: Sequence[str]) -> Iterator[str]:
    """Say of each variant how its change went on; only where the metric is a share, whose sums say how sure it is.

    Args:
        days: With the visitors who were new on each of them, and those among them with the event.
        control: Name of the control.
        variants: Names of the others.
    """
    if len(days) < FEWEST_DAYS:
        return
    half = len(days) // 2
    for variant in variants:
        early, late = (_log_ratio(part, variant, control) for part in (days[:half], days[half:]))
        if early is None or late is None:
            yield (
                f"Whether the change with {variant} wears off cannot be told: too few visitors came in each half of "
                "the test."
            )
            continue
        first, second = (f"{math.expm1(each[0]) * 100:+.3g}%" for each in (early, late))
        told = f"The change with {variant} was {first} for visitors of the first half of the days and {second}"
        if abs(early[0] - late[0]) > SURELY * math.hypot(early[1], late[1]):
            yield (
                f"{told} for later ones. That is more than chance: it may be news that wears off, something that has "
                "to be learnt, or something that happened meanwhile. Look at it again in some weeks."
            )
        else:
            yield f"{told} for later ones: no sign that it wears off."


def _log_ratio(days: Sequence[Day], variant: str, control: str) -> tuple[float, float] | None:
    """Give the logarithm of the ratio of two shares, and its standard error."""
    sums = []
    for name in (variant, control):
        arms = [each.arms[name] for each in days if name in each.arms]
        visitors, total = sum(each.visitors for each in arms), sum(each.total or 0.0 for each in arms)
        if total < LEAST_CONVERSIONS or visitors <= total:
            return None
        sums.append((total / visitors, 1 / total - 1 / visitors))
    (mine, spread), (other, noise) = sums
    return math.log(mine / other), math.sqrt(spread + noise)
