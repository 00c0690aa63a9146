"""Figures in words back into numbers: what the status tells people, charts and gauges need as numbers. Pure."""

import math
import re

_FIGURE = re.compile(r"([+-]?)([0-9][0-9,]*(?:\.[0-9]+)?(?:e[+-]?[0-9]{1,3})?)\s*(%|points?|ms|s)?")
_UNITS = {"%": 0.01, "point": 0.01, "points": 0.01, "ms": 0.001}


def figure(text: str) -> float | None:
    """Read `+9.8%` as 0.098, `-0.5 points` as -0.005, `240 ms` as 0.24 and `1,250` as 1250; None for anything else."""
    found = _FIGURE.fullmatch(text.strip())
    if found is None:
        return None
    sign, digits, unit = found.groups()
    value = float(digits.replace(",", "")) * _UNITS.get(unit or "", 1.0)
    # An underflow or overflow of what nobody writes is no figure either.
    return math.copysign(value, -1.0 if sign == "-" else 1.0) if math.isfinite(value) else None
