"""The key figures for Prometheus: always those that were measured last; what cannot be told has no series."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from flywheel.insight.kpi import Figures, WindowFigures
from flywheel.insight.summary import Goal


@dataclass(slots=True)
class Measured:
    """What is known of one campaign."""

    currency: str = "USD"
    windows: dict[str, WindowFigures] = field(default_factory=dict)
    """By name of the window; by channel."""
    services: dict[str, dict[str, Figures]] = field(default_factory=dict)
    """By name of the window, by service."""
    goal: Goal | None = None
    succeeded_at: float | None = None
    """Seconds since 1970."""


Series = Iterator[tuple[list[str], float | None]]
Reader = Callable[[Measured], Series]


def _of_windows(read: Callable[[Figures], float | None]) -> Reader:
    return lambda measured: (([name], read(each.total)) for name, each in measured.windows.items())


def _of_money(read: Callable[[Figures], float | None]) -> Reader:
    return lambda measured: (([name, measured.currency], read(each.total)) for name, each in measured.windows.items())


def _latencies(measured: Measured) -> Series:
    for window, services in measured.services.items():
        for service, figures in services.items():
            yield [window, service, "0.5"], figures.latency_p50
            yield [window, service, "0.95"], figures.latency_p95
            yield [window, service, "0.99"], figures.latency_p99


def _channels(measured: Measured) -> Series:
    for window, figures in measured.windows.items():
        for channel, part in figures.parts.items():
            yield [window, channel], part.visitors


GAUGES: tuple[tuple[str, str, tuple[str, ...], Reader], ...] = (
    ("unique_visitors", "Different visitors.", ("window",), _of_windows(lambda each: each.visitors)),
    ("sessions", "Visits.", ("window",), _of_windows(lambda each: each.sessions)),
    ("orders", "Orders, each once.", ("window",), _of_windows(lambda each: each.orders)),
    ("revenue", "Revenue of these orders.", ("window", "currency"), _of_money(lambda each: each.revenue)),
    (
        "average_order_value",
        "Revenue of an order on average.",
        ("window", "currency"),
        _of_money(lambda each: each.average_order_value),
    ),
    ("conversion_ratio", "Share of visitors with an order.", ("window",), _of_windows(lambda each: each.conversion)),
    ("error_ratio", "Share of requests that failed.", ("window",), _of_windows(lambda each: each.error_rate)),
    ("latency_seconds", "Exact percentiles of latency.", ("window", "service", "quantile"), _latencies),
    ("visitors_by_channel", "Different visitors of each channel.", ("window", "channel"), _channels),
    (
        "goal_ratio",
        "Share of the goal that is reached.",
        (),
        lambda measured: iter([([], measured.goal.ratio if measured.goal else None)]),
    ),
    (
        "analytics_last_success_timestamp_seconds",
        "When the key figures were measured last.",
        (),
        lambda measured: iter([([], measured.succeeded_at)]),
    ),
)


class Gauges(Collector):
    """Gives Prometheus what is known at the moment it asks."""

    def __init__(self, namespace: str, campaigns: Mapping[str, Measured]) -> None:
        self._namespace = namespace
        self._campaigns = campaigns

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Give all gauges. The labels take their values from specs and from channels that these declare."""
        for name, text, labels, read in GAUGES:
            family = GaugeMetricFamily(f"campaign_{name}", text, labels=["namespace", "campaign", *labels])
            for campaign, measured in list(self._campaigns.items()):
                for values, number in read(measured):
                    if number is not None:
                        family.add_metric([self._namespace, campaign, *values], number)
            yield family
