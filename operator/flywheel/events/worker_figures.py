"""What the worker says of itself to Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from flywheel.events.commit import Outcome

BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Figures:
    """Counters and gauges. Their labels come from names of Campaigns and tables, never from visitors."""

    def __init__(self, namespace: str, registry: CollectorRegistry) -> None:
        self._namespace = namespace
        self._rows = Counter(
            "flywheel_store_rows_total",
            "Rows that sidecars delivered, by what became of them.",
            ["namespace", "campaign", "table", "result"],
            registry=registry,
        )
        self._inserts = Histogram(
            "flywheel_store_insert_seconds",
            "Time of one commit into the store.",
            ["namespace", "table"],
            buckets=BUCKETS,
            registry=registry,
        )
        self._bytes = Gauge(
            "flywheel_store_bytes", "What the tables take on disk.", ["namespace", "table"], registry=registry
        )
        self._up = Gauge(
            "flywheel_store_up", "1 while the engine can be used, else 0.", ["namespace"], registry=registry
        )

    def count(self, campaign: str, table: str, outcome: Outcome) -> None:
        """Count a delivery."""
        for result, rows in (
            ("stored", outcome.stored),
            ("duplicate", outcome.duplicates),
            ("refused", outcome.refused),
        ):
            if rows:
                self._rows.labels(self._namespace, campaign, table, result).inc(rows)

    def commit(self, table: str, seconds: float) -> None:
        """Note how long a commit took."""
        self._inserts.labels(self._namespace, table).observe(seconds)

    def size(self, table: str, size: int) -> None:
        """Note the size of a table."""
        self._bytes.labels(self._namespace, table).set(size)

    def up(self, *, works: bool) -> None:
        """Note whether the engine can be used."""
        self._up.labels(self._namespace).set(int(works))
