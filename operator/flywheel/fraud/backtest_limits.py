"""Which other limits of a rule are tried beside its own: such as could stand in it. Pure."""

from dataclasses import dataclass

from flywheel.api.fraudrule import FraudRule
from flywheel.api.fraudrule_condition import Sign
from flywheel.fraud.backtest_signs import UNIT, raw

_COUNTS = (1, 2, 3, 4, 5, 7, 10, 15, 20, 30, 40, 50, 70, 100, 150, 200, 300, 500, 700, 1000, 2000, 5000, 10_000)
_FACTORS = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 7.0, 10.0)
_NEAR = 50
"""Times of its own limit beyond which counts are not tried."""
_DAY = 86_400_000
_OLDEST_ACCOUNT, _LONGEST_SEQUENCE = 90 * _DAY, 7 * _DAY
_FASTEST = 100_000
_BUSIEST = 100_000


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one sign of a rule, each finding less than the one before."""

    index: int
    """Which of the rule's signs is varied."""
    path: str
    """The limit below the rule's spec, such as condition.count.moreThan."""
    given: tuple[float, ...]
    """As they are written in a rule; of times, in milliseconds."""
    raw: tuple[float, ...]
    """As they are compared with what is measured."""
    current: int
    """Which of them is the rule's own."""
    unit: float = 1.0
    """What is measured, by that, is in the unit of the limit as it is written; negative where less is worse."""

    @property
    def is_time(self) -> bool:
        """Whether an event breaks the rule by less than the limit, not by more."""
        return self.unit < 0

    def written(self, value: float) -> float:
        """Give what was measured in the unit of the limit; of times, in milliseconds."""
        return value / self.unit


def limits_of(rule: FraudRule) -> Limits:
    """Choose what is tried: the first sign with a number of its own, else the first with a time."""
    placed = list(rule.spec.condition.placed())
    index = next((number for number, (_, sign) in enumerate(placed) if not _is_time(sign)), 0)
    path, sign = placed[index]
    window = round(rule.spec.window.total_seconds() * 1000) if rule.spec.window else 0
    own = limit_of(sign)
    given = tuple(sorted({own, *_around(sign, own, window, rule.spec.state.events_per_key)}))
    if _is_time(sign):
        given = given[::-1]
    return Limits(
        index,
        f"{path}.{_name(sign)}",
        given,
        tuple(raw(sign, each, window) for each in given),
        given.index(own),
        _unit(sign, window),
    )


def limit_of(sign: Sign) -> float:
    """Give the limit of a sign as it is written; of times, in milliseconds."""
    if sign.sequence:
        return round(sign.sequence.within.total_seconds() * 1000)
    if sign.account_age:
        return round(sign.account_age.less_than.total_seconds() * 1000)
    if sign.velocity:
        return float(sign.velocity.more_than or sign.velocity.kilometres_per_hour or 0)
    numbers = (sign.count, sign.distinct, sign.sum, sign.rate)
    return float(next(each.more_than for each in numbers if each is not None))


def _unit(sign: Sign, window: int) -> float:
    if sign.rate:
        return window / (sign.rate.per.total_seconds() * 1000)
    if sign.sum:
        return UNIT
    return -1.0 if _is_time(sign) else 1.0


def _is_time(sign: Sign) -> bool:
    return sign.sequence is not None or sign.account_age is not None


def _name(sign: Sign) -> str:
    if sign.sequence:
        return "within"
    if sign.account_age:
        return "lessThan"
    return "kilometresPerHour" if sign.velocity and sign.velocity.changes is None else "moreThan"


def _around(sign: Sign, own: float, window: int, kept: int) -> list[float]:
    """Give limits near a sign's own, within the bounds that the resource sets."""
    changes = sign.velocity is not None and sign.velocity.changes is not None
    if sign.count or sign.distinct or changes:
        # With a limit of 0 each event breaks a rule: that is no answer to anything.
        most = min(kept - 1 if changes else _COUNTS[-1], max(10, own * _NEAR))
        return [float(each) for each in _COUNTS if each <= most]
    near = [float(f"{own * factor:.6g}") for factor in _FACTORS]
    if _is_time(sign):
        longest = _OLDEST_ACCOUNT if sign.account_age else min(_LONGEST_SEQUENCE, window or _LONGEST_SEQUENCE)
        return [each for each in (round(each / 1000) * 1000.0 for each in near) if 1000 <= each <= longest]
    if sign.velocity:
        return [each for each in map(float, map(round, near)) if 1 <= each <= _FASTEST]
    return [each for each in near if not sign.rate or each <= _BUSIEST]
