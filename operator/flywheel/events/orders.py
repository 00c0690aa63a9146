"""What an order is worth, in the currency that the campaign reports in."""

import math
from typing import Any

import msgspec

from flywheel.edge.document import Collect

LARGEST_REVENUE = 1e12
"""Beyond this a value is a mistake, and one such would spoil every sum it enters."""
_LONGEST_CODE = 8
LONGEST_IDENTITY = 200
_NUMBERS = (float, int, str)
"""True and false are none, though Python counts them among the integers."""


class Value(msgspec.Struct, frozen=True, gc=False):
    """The value of one order."""

    revenue: float = 0.0
    currency: str = ""
    unknown: bool = False


NOTHING = Value()


def order_value(revenue: Any, currency: Any, collect: Collect) -> Value:
    """Convert an order's revenue; what is not given is worth nothing, what cannot be read or converted is unknown."""
    if currency is None and type(revenue) is float and abs(revenue) <= LARGEST_REVENUE:
        # Nearly every order; the rest of this is for what clients do besides.
        return Value(revenue, collect.currency)
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
    if type(value) is str:
        return value[:LONGEST_IDENTITY]
    return str(value)[:LONGEST_IDENTITY] if type(value) in (int, float) else ""


def _number(value: Any) -> float | None:
    if type(value) not in _NUMBERS:
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
