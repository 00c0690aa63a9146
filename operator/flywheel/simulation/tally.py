"""What became of the shoppers: live counts, and the report that can be laid beside the campaign's own key figures."""

from array import array
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from flywheel.simulation.fates import Fates

QUANTILES = ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))


@dataclass(slots=True)
class ChannelTally:
    """The people of one channel."""

    visits: int = 0
    visitors: set[str] = field(default_factory=set)
    page_views: int = 0
    requests: int = 0
    orders: int = 0
    revenue: float = 0.0
    buyers: set[str] = field(default_factory=set)

    def plain(self) -> dict[str, Any]:
        """Give it for JSON."""
        return {
            "visits": self.visits,
            "visitors": len(self.visitors),
            "page_views": self.page_views,
            "requests": self.requests,
            "orders": self.orders,
            "revenue": round(self.revenue, 2),
            "conversion": round(len(self.buyers) / len(self.visitors), 4) if self.visitors else None,
        }


@dataclass(slots=True)
class SightTally:
    """The people who have seen a thing that shoppers have a preference about."""

    visitors: set[str] = field(default_factory=set)
    next: Counter[str] = field(default_factory=Counter)
    """Where they went from there, by step."""

    def plain(self) -> dict[str, Any]:
        """Give it for JSON."""
        return {"visitors": len(self.visitors), "next": dict(sorted(self.next.items()))}


class Tally:
    """Counts while shoppers are about. Bots are counted apart, as the campaign does."""

    def __init__(self) -> None:
        self.started = self.finished = self.turned_away = self.cut_off = self.bots = 0
        self.returned = 0
        self.requests = 0
        self.bot_requests = 0
        self.statuses: Counter[int] = Counter()
        self.failures: Counter[str] = Counter()
        """Requests without an answer, and answers of 5xx, by kind."""
        self.refusals: Counter[str] = Counter()
        """Steps that the shop refused, as when all is sold out, by step."""
        self.events: Counter[str] = Counter()
        self.event_failures: Counter[str] = Counter()
        self.channels: defaultdict[str, ChannelTally] = defaultdict(ChannelTally)
        self.sights: defaultdict[str, SightTally] = defaultdict(SightTally)
        self.fates = Fates()
        self._milliseconds = array("d")

    def request(self, channel: str, milliseconds: float, status: int, *, bot: bool, page: bool) -> None:
        """Count one request that was answered."""
        self.statuses[status] += 1
        if status >= 500:
            self.failures[f"status {status}"] += 1
        if bot:
            self.bot_requests += 1
            return
        self.requests += 1
        self._milliseconds.append(milliseconds)
        own = self.channels[channel]
        own.requests += 1
        own.page_views += page

    def failure(self, kind: str) -> None:
        """Count one request that was not answered."""
        self.failures[kind] += 1

    def order(self, channel: str, visitor: str, revenue: float) -> None:
        """Count one order."""
        own = self.channels[channel]
        own.orders += 1
        own.revenue += revenue
        if visitor:
            own.buyers.add(visitor)

    def seen(self, channel: str, visitor: str) -> None:
        """Note the visitor as whom the site knows a shopper."""
        if visitor:
            self.channels[channel].visitors.add(visitor)

    def saw(self, sight: str, visitor: str) -> None:
        """Note what a visitor has seen."""
        if visitor:
            self.sights[sight].visitors.add(visitor)

    def went(self, sight: str, step: str) -> None:
        """Count where somebody went who had seen a thing."""
        self.sights[sight].next[step] += 1

    @property
    def orders(self) -> int:
        """Orders of all channels."""
        return sum(each.orders for each in self.channels.values())

    @property
    def revenue(self) -> float:
        """Revenue of all channels."""
        return sum(each.revenue for each in self.channels.values())

    @property
    def failed(self) -> int:
        """Requests that failed."""
        return self.failures.total()

    def percentiles(self) -> dict[str, float | None]:
        """Give latencies in milliseconds, as nearest ranks."""
        ordered = sorted(self._milliseconds)
        ranks = {name: max(0, -int(-share * len(ordered) // 1) - 1) for share, name in QUANTILES}
        return {f"{name}_ms": round(ordered[rank], 1) if ordered else None for name, rank in ranks.items()}

    def report(self, seconds: float, seed: int) -> dict[str, Any]:
        """Tell everything, in the words of the campaign's key figures."""
        visitors = set[str]().union(*(each.visitors for each in self.channels.values()))
        buyers = set[str]().union(*(each.buyers for each in self.channels.values()))
        orders = self.orders
        return {
            "seed": seed,
            "seconds": round(seconds, 1),
            "visits": {
                "started": self.started,
                "finished": self.finished,
                "returned": self.returned,
                "turned_away": self.turned_away,
                "cut_off": self.cut_off,
                "bots": self.bots,
            },
            "page_views": sum(each.page_views for each in self.channels.values()),
            "visitors": len(visitors),
            "orders": orders,
            "revenue": round(self.revenue, 2),
            "average_order_value": round(self.revenue / orders, 2) if orders else None,
            "conversion": round(len(buyers) / len(visitors), 4) if visitors else None,
            "requests": self.requests,
            "bot_requests": self.bot_requests,
            "failed": self.failed,
            "failures": dict(self.failures.most_common()),
            "refusals": dict(self.refusals.most_common()),
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            **self.percentiles(),
            "events": dict(self.events.most_common()),
            "event_failures": dict(self.event_failures.most_common()),
            "sights": {name: each.plain() for name, each in sorted(self.sights.items())},
            "fates": self.fates.report(),
            "channels": {name: each.plain() for name, each in sorted(self.channels.items())},
        }
