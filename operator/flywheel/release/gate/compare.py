"""Figures against what was wanted, in words for people. Pure."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from flywheel.release.gate.measurement import Measurement, Outcome

_ROUNDING = 1e-9
"""Relative. Decimal fractions are no binary ones: 0.1 + 0.2 is at most 0.3 to whoever wrote it."""

_LONG = 1e15
"""From here on a figure is written with an exponent."""


@dataclass(frozen=True, slots=True)
class Unit:
    """How a figure is written."""

    suffix: str = ""
    factor: float = 1.0

    def write(self, value: float) -> str:
        """Write a figure with at most four digits that mean something."""
        if not math.isfinite(value):
            return {math.inf: "infinite", -math.inf: "minus infinite"}.get(value, "not a number")
        shown = f"{value * self.factor:.4g}"
        if "e+" in shown and abs(value * self.factor) < _LONG:
            shown = f"{float(shown):.0f}"
        return f"{shown}{self.suffix}"


PLAIN = Unit()
PERCENT = Unit("%", 100.0)
MILLISECONDS = Unit(" ms", 1000.0)


@dataclass(frozen=True, slots=True)
class Bound:
    """One demand on a figure."""

    limit: float
    is_upper: bool
    words: str
    """What the limit is: `at most 300 ms`."""

    def holds(self, value: float) -> bool:
        """Whether a figure keeps it; what is not a number keeps none."""
        slack = abs(self.limit) * _ROUNDING if math.isfinite(self.limit) else 0.0
        return value <= self.limit + slack if self.is_upper else value >= self.limit - slack


def at_most(limit: float, unit: Unit = PLAIN) -> Bound:
    """Demand no more than a figure."""
    return Bound(limit, is_upper=True, words=f"at most {unit.write(limit)}")


def at_least(limit: float, unit: Unit = PLAIN) -> Bound:
    """Demand no less than a figure."""
    return Bound(limit, is_upper=False, words=f"at least {unit.write(limit)}")


def at_most_above(active: float, increase: float, unit: Unit = PLAIN) -> Bound:
    """Demand at most a share above the active slot's figure; `increase` is 0.2 for 20%.

    Of a negative figure too, a share of its size is what may be added.
    """
    limit = active + abs(active) * increase
    above = f"{PERCENT.write(increase)} above the active slot's {unit.write(active)}"
    words = f"at most {above}, which is {unit.write(limit)}"
    return Bound(limit, is_upper=True, words=words)


def at_most_more(active: float, difference: float, unit: Unit = PLAIN, named: str = "") -> Bound:
    """Demand at most a figure more than the active slot's."""
    limit = active + difference
    more = named or unit.write(difference)
    words = f"at most {more} more than the active slot's {unit.write(active)}, which is {unit.write(limit)}"
    return Bound(limit, is_upper=True, words=words)


def at_least_share(active: float, share: float, unit: Unit = PLAIN) -> Bound:
    """Demand at least a share of the active slot's figure; `share` is 0.9 for 90%."""
    limit = active * share
    words = f"at least {PERCENT.write(share)} of the active slot's {unit.write(active)}, which is {unit.write(limit)}"
    return Bound(limit, is_upper=False, words=words)


def judge(what: str, value: float, bounds: Iterable[Bound], unit: Unit = PLAIN) -> Measurement:
    """Hold a figure against all demands.

    Args:
        what: What the figure is, as a sentence begins: `The result`.
        value: The figure.
        bounds: What is demanded of it.
        unit: How it is written.
    """
    demands = tuple(bounds)
    broken = tuple(each for each in demands if not each.holds(value))
    shown = unit.write(value)
    wanted = " and ".join(each.words for each in broken or demands)
    outcome = Outcome.FAILURE if broken else Outcome.SUCCESS
    sentence = f"{what} is {shown}, wanted {wanted}" if broken else f"{what} is {shown} ({wanted})"
    return Measurement(outcome, sentence, shown).bounded()


def no_data(message: str) -> Measurement:
    """There was nothing to see."""
    return Measurement(Outcome.NO_DATA, message).bounded()


def not_made(message: str) -> Measurement:
    """The measurement could not be made."""
    return Measurement(Outcome.ERROR, message).bounded()


def failed(message: str, value: str = "") -> Measurement:
    """It was made, and what was seen is not what was wanted."""
    return Measurement(Outcome.FAILURE, message, value).bounded()


def passed(message: str, value: str = "") -> Measurement:
    """It was made, and what was seen is what was wanted."""
    return Measurement(Outcome.SUCCESS, message, value).bounded()
