"""What a Campaign's status says of its key figures: rounded, so that it is only written when it tells something new."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flywheel.insight.kpi import Figures, WindowFigures

ORDER_OF_WINDOWS = ("campaign", "1h", "15m", "1m")
DIGITS = 4
"""Of numbers of things and of money: enough for people, and few enough to stand still for a while."""


@dataclass(frozen=True, slots=True)
class Goal:
    """What the campaign is to reach, and how far it is."""

    event: str
    count: int
    reached: int

    @property
    def ratio(self) -> float:
        """Share of the goal; may be more than 1."""
        return self.reached / self.count if self.count > 0 else 0.0


def summary(windows: Mapping[str, WindowFigures], currency: str, goal: Goal | None) -> dict[str, Any]:
    """Write `status.kpis` without the moment of writing. A figure that cannot be told is left out."""
    told: dict[str, Any] = {"currency": currency}
    if goal is not None:
        told["goal"] = {
            "event": goal.event,
            "count": goal.count,
            "reached": floored(goal.reached),
            # Never rounded up: a goal is reached when it is reached.
            "progress": f"{math.floor(goal.ratio * 1000) / 10:g}%",
        }
    told["windows"] = [_figures(name, windows[name].total) for name in ORDER_OF_WINDOWS if name in windows]
    return told


def differs(written: Mapping[str, Any] | None, wanted: Mapping[str, Any]) -> bool:
    """Tell whether a summary says something else than the one that was written last."""
    if written is None:
        return True
    return {name: value for name, value in written.items() if name != "updatedAt"} != dict(wanted)


def rounded(count: int) -> int:
    """Round a number of things to the digits that people read."""
    return round(count, min(0, DIGITS - len(str(abs(count)))))


def floored(count: int) -> int:
    """Like `rounded`, but never more than there are."""
    step: int = 10 ** max(0, len(str(count)) - DIGITS)
    return count // step * step


def money(amount: float) -> str:
    """Write an amount: with cents where they are among the digits that people read."""
    if abs(amount) < 1000:
        return f"{amount:.2f}"
    return str(rounded(round(amount)))


def percent(ratio: float) -> str:
    """Write a share: `3.2%`; what is more than nothing but less than a tenth of a percent is `<0.1%`."""
    if 0 < ratio < 0.0005:
        return "<0.1%"
    return f"{round(ratio * 100, 1):g}%"


def latency(seconds: float) -> str:
    """Write a latency with two digits: `0.8ms`, `35ms`, `1.2s`."""
    milliseconds = _significant(seconds * 1000, 2)
    return f"{milliseconds:g}ms" if milliseconds < 1000 else f"{milliseconds / 1000:g}s"


def _significant(value: float, digits: int) -> float:
    if value <= 0:
        return 0.0
    return round(value, digits - 1 - math.floor(math.log10(value)))


def _figures(window: str, figures: Figures) -> dict[str, Any]:
    told: dict[str, Any] = {
        "window": window,
        "pageViews": rounded(figures.page_views),
        "visitors": rounded(figures.visitors),
        "sessions": rounded(figures.sessions),
        "orders": rounded(figures.orders),
        "revenue": money(figures.revenue),
    }
    written: Sequence[tuple[str, float | None, Any]] = (
        ("averageOrderValue", figures.average_order_value, money),
        ("conversion", figures.conversion, percent),
        ("errorRate", figures.error_rate, percent),
        ("latencyP50", figures.latency_p50, latency),
        ("latencyP95", figures.latency_p95, latency),
        ("latencyP99", figures.latency_p99, latency),
    )
    return told | {name: write(value) for name, value, write in written if value is not None}
