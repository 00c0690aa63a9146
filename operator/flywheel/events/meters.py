"""What the sidecar counts, for Prometheus.

Plain dictionaries: counting an event costs a fraction of what the labels of prometheus_client cost. The values of
labels come from the campaign's own declarations, never from what visitors send: nobody can make series at will.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from flywheel.edge.document import EdgeDocument
from flywheel.edge.naming import CHANNELS_BUILT_IN
from flywheel.edge.rules import REFUSALS

OTHER = "other"
UNKNOWN = "unknown"
COLLECT_SERVICE = "_collect"
KINDS = {each: f"({each})" for each in ("page", "screen", "identify", "group", "alias")}
"""How calls that are no track are named where events are counted by name."""
REFUSED = frozenset((*REFUSALS, "fraud", "challenge", "throttle"))
"""Why the edge answers a request itself: by its limits, and by what the fraud worker has decided."""
MOST_SERIES = 5_000
"""Of one metric, over all documents that this process has seen."""
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
Labels = tuple[str, ...]


class Vocabulary:
    """The values that labels may have, by one document."""

    def __init__(self, document: EdgeDocument) -> None:
        collect = document.collect
        self.events = frozenset({each.name for each in collect.events} | {collect.order.event})
        self.channels = frozenset({*CHANNELS_BUILT_IN, *(rule.name for rule in document.channels)})
        self.services = frozenset(each.name for each in document.services)
        slots = {backend.slot for service in document.services for backend in service.backends}
        ranges = [each for test in document.live.tests for each in test.ranges]
        self.slots = frozenset(slots | {each.slot for each in ranges} | {""})
        self.variants = frozenset({each.variant for each in ranges} | {""})

    def service(self, name: str) -> str:
        """Label a service."""
        return name if name in self.services else UNKNOWN

    def channel(self, name: str) -> str:
        """Label a channel."""
        return name if name in self.channels else OTHER

    def slot(self, name: str) -> str:
        """Label a slot."""
        return name if name in self.slots else UNKNOWN

    def variant(self, name: str) -> str:
        """Label a variant."""
        return name if name in self.variants else UNKNOWN

    def event(self, kind: str, name: str) -> str:
        """Label an event."""
        return KINDS.get(kind) or (name if name in self.events else OTHER)


class Counter:
    """A family of counters, or of gauges."""

    def __init__(self, name: str, text: str, labels: Labels = (), *, gauge: bool = False) -> None:
        self.name, self.text, self.labels, self.gauge = name, text, labels, gauge
        self.values: dict[Labels, float] = {} if labels else {(): 0.0}

    def add(self, labels: Labels = (), amount: float = 1.0) -> None:
        """Count."""
        if labels in self.values:
            self.values[labels] += amount
        elif len(self.values) < MOST_SERIES:
            self.values[labels] = amount
        else:
            rest = (OTHER,) * len(labels)
            self.values[rest] = self.values.get(rest, 0.0) + amount

    def only(self, labels: Labels, value: float) -> None:
        """Set the value of one series, and let the others go."""
        self.values = {labels: value}

    def family(self, prefix: Mapping[str, str]) -> Metric:
        """Write the family for Prometheus."""
        kind = GaugeMetricFamily if self.gauge else CounterMetricFamily
        family = kind(self.name.removesuffix("_total"), self.text, labels=(*prefix, *self.labels))
        for labels, value in list(self.values.items()):
            family.add_metric((*prefix.values(), *labels), value)
        return family


class Histogram:
    """A family of histograms."""

    def __init__(self, name: str, text: str, labels: Labels) -> None:
        self.name, self.text, self.labels = name, text, labels
        self.values: dict[Labels, list[float]] = {}
        """For each series: a count per bound, one beyond them, and the sum."""

    def observe(self, labels: Labels, value: float) -> None:
        """Count a value."""
        series = self.values.get(labels)
        if series is None:
            if len(self.values) >= MOST_SERIES:
                labels = (OTHER,) * len(labels)
            series = self.values.setdefault(labels, [0.0] * (len(BOUNDS) + 2))
        series[bisect_left(BOUNDS, value)] += 1
        series[-1] += value

    def family(self, prefix: Mapping[str, str]) -> Metric:
        """Write the family for Prometheus."""
        family = HistogramMetricFamily(self.name, self.text, labels=(*prefix, *self.labels))
        for labels, series in list(self.values.items()):
            count, buckets = 0.0, []
            for bound, here in zip((*map(str, BOUNDS), "+Inf"), series, strict=False):
                count += here
                buckets.append((bound, count))
            family.add_metric((*prefix.values(), *labels), buckets, series[-1])
        return family


class Source(Protocol):
    """Something that can write families."""

    def family(self, prefix: Mapping[str, str]) -> Metric:
        """Write one."""


class Meters:
    """All counters of a sidecar; a collector in the sense of prometheus_client."""

    def __init__(self, namespace: str, campaign: str) -> None:
        self._prefix = {"namespace": namespace, "campaign": campaign}
        request = ("service", "slot", "variant")
        self.events = Counter(
            "campaign_events_total", "Events of people, by declared name; others as other.", ("event", "channel")
        )
        self.orders = Counter("campaign_orders_total", "Orders of people.", ("channel",))
        self.revenue = Counter(
            "campaign_revenue_total", "Value of orders in the reporting currency.", ("channel", "currency")
        )
        self.page_views = Counter(
            "campaign_page_views_total", "Pages seen by people.", ("service", "channel", "variant")
        )
        self.requests = Counter("campaign_requests_total", "Requests answered by the edge.", (*request, "code"))
        self.errors = Counter("campaign_request_errors_total", "Requests answered with 5xx, or not at all.", request)
        self.refused = Counter("flywheel_edge_refused_total", "Requests refused by the edge, by reason.", ("reason",))
        self.durations = Histogram("campaign_request_duration_seconds", "Until a request was answered whole.", request)
        self.rejected = Counter("flywheel_events_rejected_total", "Events not taken in, by reason.", ("reason",))
        self.duplicates = Counter("flywheel_events_duplicate_total", "Events that this pod had seen before.")
        self.log_lost = Counter(
            "flywheel_log_records_lost_total", "Requests that HAProxy counted and whose record never came."
        )
        self.log_bad = Counter("flywheel_log_records_unreadable_total", "Records of the access log that make no sense.")
        self.spool_bytes = Counter(
            "flywheel_spool_bytes", "Bytes that the store does not have yet.", ("table",), gauge=True
        )
        self.spool_oldest = Counter("flywheel_spool_oldest_seconds", "Age of the oldest undelivered row.", gauge=True)
        self.spool_dropped = Counter(
            "flywheel_spool_dropped_total", "Rows that will never be delivered.", ("table", "reason")
        )
        self.delivery_failures = Counter(
            "flywheel_delivery_failures_total", "Deliveries that the store did not take.", ("reason",)
        )
        self.delivered = Counter("flywheel_delivered_rows_total", "Rows that the store has taken.", ("table",))
        self.edge_generation = Counter(
            "flywheel_edge_generation_info", "The generation that this pod carries out.", ("generation",), gauge=True
        )
        self.edge_reloads = Counter("flywheel_edge_reloads_total", "Reloads of HAProxy, by result.", ("result",))
        self.edge_apply = Histogram("flywheel_edge_apply_seconds", "From hearing of a change to its effect.", ())
        self.edge_trouble = Counter(
            "flywheel_edge_trouble", "What keeps this pod from being as it should.", ("reason",), gauge=True
        )
        self.sources: list[Source] = [each for each in vars(self).values() if isinstance(each, Counter | Histogram)]
        """What is written; others may add theirs."""

    def collect(self) -> Iterator[Metric]:
        """Write everything."""
        for source in self.sources:
            yield source.family(self._prefix)

    def event(self, vocabulary: Vocabulary, kind: str, name: str, channel: str, count: int = 1) -> None:
        """Count events of people."""
        self.events.add((vocabulary.event(kind, name), vocabulary.channel(channel)), count)

    def order(self, vocabulary: Vocabulary, channel: str, revenue: float, currency: str) -> None:
        """Count an order; what is paid back does not run a counter backwards."""
        label = vocabulary.channel(channel)
        self.orders.add((label,))
        if revenue > 0:
            self.revenue.add((label, currency), revenue)

    def refuse(self, reason: str) -> None:
        """Count a request that the edge refused."""
        self.refused.add((reason if reason in REFUSED else OTHER,))

    def page_view(self, vocabulary: Vocabulary, service: str, channel: str, variant: str) -> None:
        """Count a page that a person saw."""
        labels = (vocabulary.service(service), vocabulary.channel(channel), vocabulary.variant(variant))
        self.page_views.add(labels)

    def reject(self, reasons: Iterable[str]) -> None:
        """Count events that were not taken in."""
        for reason in reasons:
            self.rejected.add((reason,))

    def dropped(self, table: str, reason: str, rows: int) -> None:
        """Count rows that will never be delivered."""
        self.spool_dropped.add((table, reason), rows)
