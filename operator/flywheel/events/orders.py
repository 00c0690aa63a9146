"""What an order is worth, in the currency that the campaign reports in."""

import math
from typing import Any, NamedTuple

from flywheel.edge.document import Collect

LARGEST_REVENUE = 1e12
"""Beyond this a value is a mistake, and one such would spoil every sum it enters."""
_LONGEST_CODE = 8
LONGEST_IDENTITY = 200


class Value(NamedTuple):
    """The value of one order."""

    revenue: float = 0.0
    currency: str = ""
    unknown: bool = False


def order_value(revenue: Any, currency: Any, collect: Collect) -> Value:
    """Convert an order's revenue; what is not given is worth nothing, what cannot be read or converted is unknown."""
    code = str(currency).strip().upper()[:_LONGEST_CODE] if currency else collect.currency
    if revenue is None:
        return Value(currency=code)
    amount = _number(revenue)
    rate = 1.0 if code == collect.currency else collect.rates.get(code)
    if amount is None or rate is None or not abs(amount * rate) <= LARGEST_REVENUE:
        return Value(0.0, code, unknown=True)
    return Value(amount * rate, code)


def order_identity(value: Any) -> str:
    """Write an order's id; a number is as good as text."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    return str(value)[:LONGEST_IDENTITY]


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
