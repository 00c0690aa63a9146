"""Whether a campaign's figures can be trusted: panels on the edge pods that count, and on the store that computes."""

from typing import Final

from flywheel.insight.monitoring import MonitoringSettings, Series
from flywheel.insight.panels import Panel, Query, Thresholds, course, stat

SPAN: Final = "$__rate_interval"
STALE_SECONDS: Final = 60


def edge_panels(series: Series, settings: MonitoringSettings) -> list[Panel]:
    """Show whether all edge pods are as they shall be, and whether they get rid of what they took in."""
    applying = [series.rate(f"flywheel_edge_apply_seconds_{part}", SPAN) for part in ("sum", "count")]
    return [
        course(
            "Pods by generation of their orders",
            [Query(f"count by (generation) ({series.of('flywheel_edge_generation_info')} == 1)", "{{generation}}")],
            "short",
            "After a change all pods go over to one generation.",
            stacked=True,
        ),
        course(
            "Reloads",
            [Query(f"sum by (result) ({series.increase('flywheel_edge_reloads_total', SPAN)})", "{{result}}")],
            "short",
            "Of HAProxy, for changes of structure.",
        ),
        course(
            "Time to apply a change",
            [Query(f"sum({applying[0]}) / (sum({applying[1]}) > 0)", "mean")],
            "s",
            "From hearing of a change to its effect, on average.",
        ),
        course(
            "Trouble",
            [Query(f"sum by (reason) ({series.of('flywheel_edge_trouble')})", "{{reason}}")],
            "short",
            "Pods that are not as they should be, and why.",
        ),
        course(
            "Undelivered events",
            [Query(f"max({series.of('flywheel_spool_oldest_seconds')})", "age of the oldest")],
            "s",
            "Of any edge pod: how long the store has not taken something.",
        ),
        course(
            "Undelivered bytes",
            [Query(f"sum({series.of('flywheel_spool_bytes')})", "spooled")],
            "bytes",
            f"On the disks of all edge pods; each may hold {settings.spool_bytes >> 20:,} MiB.",
        ),
    ]


def freshness_panels(series: Series) -> list[Panel]:
    """Show how old the figures are, what is missing in them, and how the store is doing."""
    inserting = [
        f"rate({series.of_store(f'flywheel_store_insert_seconds_{part}')}[{SPAN}])" for part in ("sum", "count")
    ]
    success = series.of("campaign_analytics_last_success_timestamp_seconds")
    return [
        stat(
            "Age of the key figures",
            Query(f"time() - max({success})"),
            "s",
            "Since the store last computed them.",
            width=4,
            bad=Thresholds(STALE_SECONDS, 2 * STALE_SECONDS),
        ),
        stat(
            "Lost access log",
            Query(f"sum({series.increase('flywheel_log_records_lost_total', '$__range')})"),
            "short",
            "Requests that were answered and not recorded, in the time shown.",
            width=4,
            bad=Thresholds(1, 1000),
        ),
        stat(
            "Lost events",
            Query(f"sum({series.increase('flywheel_spool_dropped_total', '$__range')}) or vector(0)"),
            "short",
            "Rows that can no longer be delivered, in the time shown.",
            width=4,
            bad=Thresholds(1, 1),
        ),
        stat(
            "Store",
            Query(f"sum(max by (table) ({series.of_store('flywheel_store_bytes')}))"),
            "bytes",
            "What all campaigns of the namespace keep.",
            width=4,
        ),
        stat(
            "Store can be used",
            Query(f"min({series.of_store('flywheel_store_up')})"),
            "bool_yes_no",
            "While it cannot, events wait in the edge pods.",
            width=4,
            bad=Thresholds(1, 0.5, low_is_bad=True),
        ),
        course(
            "Rows delivered",
            [Query(f"sum by (table) ({series.rate('flywheel_delivered_rows_total', SPAN)})", "{{table}}")],
            "cps",
            "By the edge pods, to the store.",
        ),
        course(
            "Failed deliveries",
            [Query(f"sum by (reason) ({series.rate('flywheel_delivery_failures_total', SPAN)})", "{{reason}}")],
            "cps",
            "They are tried again.",
        ),
        course(
            "Rows in the store",
            [
                Query(
                    f"sum by (table, result) ({series.rate('flywheel_store_rows_total', SPAN)})", "{{table}} {{result}}"
                )
            ],
            "cps",
            "What became of them there.",
        ),
        course(
            "Time to insert",
            [Query(f"sum({inserting[0]}) / (sum({inserting[1]}) > 0)", "mean")],
            "s",
            "For a commit of rows, whosever they are.",
        ),
    ]
