"""A Grafana dashboard for each campaign: what it earns, how its services answer, whether its figures can be trusted."""

import json
from typing import Any, Final

from flywheel.insight.abtest_dashboard import abtest_dashboard
from flywheel.insight.dashboard_trust import SPAN, edge_panels, freshness_panels
from flywheel.insight.fraud_dashboard import fraud_dashboard
from flywheel.insight.monitoring import WINDOWS, MonitoringSettings, Series, fingerprint, monitoring_metadata
from flywheel.insight.panels import (
    DATASOURCE,
    Heading,
    Panel,
    Query,
    Row,
    Thresholds,
    bars,
    board,
    course,
    gauge,
    some_of,
    stat,
)
from flywheel.plan import Manifest

DASHBOARD_LABEL: Final = "grafana_dashboard"
"""By which Grafana's sidecar finds dashboards."""
WINDOW: Final = 'window="$window"'
SHOWN: Final = 'service=~"$service"'


def dashboard_manifest(campaign: str, namespace: str, title: str, settings: MonitoringSettings) -> Manifest:
    """Build the ConfigMap with a campaign's dashboards, as Grafana's sidecar looks for them."""
    metadata = monitoring_metadata(campaign, namespace, "dashboard", settings.labels)
    metadata["labels"][DASHBOARD_LABEL] = "1"
    boards = {
        f"{namespace}-{campaign}.json": dashboard(campaign, namespace, title, settings),
        # No Campaign can have such a name, so it is nobody's own.
        f"{namespace}-{campaign}.tests.json": abtest_dashboard(campaign, namespace, title),
        f"{namespace}-{campaign}.fraud.json": fraud_dashboard(campaign, namespace, title),
    }
    # Sidecars put the files of all namespaces into one directory.
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata,
        "data": {name: json.dumps(board, indent=1, ensure_ascii=False) + "\n" for name, board in boards.items()},
    }


def dashboard(campaign: str, namespace: str, title: str, settings: MonitoringSettings) -> dict[str, Any]:
    """Build the dashboard itself."""
    series = Series(namespace, campaign)
    heading = Heading(
        uid=f"flywheel-{fingerprint(namespace, campaign)}",
        title=f"{title or campaign} ({namespace}/{campaign})",
        description=f"Campaign {campaign} in {namespace}. Made by Flywheel: changes by hand do not last.",
        tags=(namespace, campaign),
        refresh="10s",
        since="now-3h",
    )
    rows = [
        Row("Overview", _overview(series, settings)),
        Row("Traffic", _traffic(series, settings)),
        Row("Events", _events(series)),
        Row("Channels", _channels(series, settings)),
        Row("Edge", edge_panels(series, settings)),
        Row("Freshness of the figures", freshness_panels(series)),
    ]
    services = {**some_of("service", series.of("campaign_requests_total")), "allValue": ".*"}
    return board(heading, rows, [_windows(), services], _annotations(series))


def _overview(series: Series, settings: MonitoringSettings) -> list[Panel]:
    def figure(metric: str) -> Query:
        return Query(f"max({series.of(metric, WINDOW)})")

    goal = []
    if settings.goal:
        wanted = f"{settings.goal.count:,} times {settings.goal.event}"
        query = Query(f"max({series.of('campaign_goal_ratio')})")
        goal = [gauge("Goal", query, "percentunit", f"Progress towards {wanted}.")]
    return [
        stat("Visitors", figure("campaign_unique_visitors"), "short", "Different visitors in the window."),
        stat("Sessions", figure("campaign_sessions"), "short", "Visits in the window."),
        stat("Orders", figure("campaign_orders"), "short", f"Different orders ({settings.order_event})."),
        stat("Revenue", figure("campaign_revenue"), _money(settings), "Value of these orders."),
        stat("Conversion", figure("campaign_conversion_ratio"), "percentunit", "Share of visitors who ordered."),
        stat("Average order", figure("campaign_average_order_value"), _money(settings), "Revenue by orders."),
        stat(
            "Errors",
            figure("campaign_error_ratio"),
            "percentunit",
            "Share of requests that failed.",
            bad=Thresholds(settings.error_rate / 2, settings.error_rate),
        ),
        *goal,
        course(
            "Orders per minute",
            [Query(f"60 * sum({series.rate('campaign_orders_total', SPAN)})", "orders")],
            "short",
            "As the edge pods count them.",
        ),
        course(
            "Revenue per minute",
            [Query(f"60 * sum({series.rate('campaign_revenue_total', SPAN)})", "revenue")],
            _money(settings),
            "As the edge pods count it, in the reporting currency.",
        ),
        course(
            "Page views per minute",
            [Query(f"60 * sum({series.rate('campaign_page_views_total', SPAN)})", "page views")],
            "short",
            "Pages seen by people.",
        ),
    ]


def _traffic(series: Series, settings: MonitoringSettings) -> list[Panel]:
    requests = series.rate("campaign_requests_total", SPAN, SHOWN)
    errors = series.rate("campaign_request_errors_total", SPAN, SHOWN)
    buckets = series.rate("campaign_request_duration_seconds_bucket", SPAN, SHOWN)
    # A service that never failed has no series of errors: it had none.
    ratio = f"(sum by (service) ({errors}) or 0 * sum by (service) ({requests})) / (sum by (service) ({requests}) > 0)"
    exact = 'window="$window",service=~"$service",quantile="0.95"'
    return [
        course(
            "Requests", [Query(f"sum by (service) ({requests})", "{{service}}")], "reqps", "By service.", stacked=True
        ),
        course(
            "Errors",
            [Query(ratio, "{{service}}")],
            "percentunit",
            "Share of requests answered with 5xx or not at all, by service.",
            bad=Thresholds(settings.error_rate / 2, settings.error_rate),
        ),
        course(
            "p95 latency",
            [Query(f"histogram_quantile(0.95, sum by (service, le) ({buckets}))", "{{service}}")],
            "s",
            "95 of 100 requests were answered faster, by service.",
            bad=Thresholds(settings.latency / 2, settings.latency),
        ),
        course(
            "Latency of all services shown",
            [
                Query(f"histogram_quantile({quantile}, sum by (le) ({buckets}))", name)
                for quantile, name in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
            ],
            "s",
            "Between two bounds of the histogram it is estimated.",
        ),
        course(
            "Answers", [Query(f"sum by (code) ({requests})", "{{code}}")], "reqps", "By class of status.", stacked=True
        ),
        bars(
            "p95 latency in the window",
            [Query(f"max by (service) ({series.of('campaign_latency_seconds', exact)})", "{{service}}")],
            "s",
            "From every single request in the store.",
        ),
    ]


def _events(series: Series) -> list[Panel]:
    return [
        course(
            "Events",
            [Query(f"sum by (event) ({series.rate('campaign_events_total', SPAN)})", "{{event}}")],
            "cps",
            "Of people, by declared name; undeclared ones are other.",
            width=12,
        ),
        bars(
            "Events in the time shown",
            [Query(f"sort_desc(sum by (event) ({series.increase('campaign_events_total', '$__range')}))", "{{event}}")],
            "short",
            "From the first step of a purchase to the last, side by side.",
            width=12,
        ),
        course(
            "Page views by variant",
            [
                Query(
                    f"sum by (service, variant) ({series.rate('campaign_page_views_total', SPAN, SHOWN)})",
                    "{{service}} {{variant}}",
                )
            ],
            "cps",
            "Who is shown which variant of a service.",
            width=12,
        ),
        course(
            "Events not taken in",
            [
                Query(f"sum by (reason) ({series.rate('flywheel_events_rejected_total', SPAN)})", "{{reason}}"),
                Query(f"sum({series.rate('flywheel_events_duplicate_total', SPAN)})", "duplicate"),
            ],
            "cps",
            "Why; each is in the table dead_letters. Duplicates were counted before.",
            width=12,
        ),
    ]


def _channels(series: Series, settings: MonitoringSettings) -> list[Panel]:
    orders = f"sum by (channel) ({series.increase('campaign_orders_total', '$__range')})"
    views = f"sum by (channel) ({series.increase('campaign_page_views_total', '$__range')})"
    revenue = series.rate("campaign_revenue_total", SPAN)
    return [
        bars(
            "Visitors in the window",
            [Query(f"max by (channel) ({series.of('campaign_visitors_by_channel', WINDOW)})", "{{channel}}")],
            "short",
            "Different visitors, by the channel through which they came.",
            width=6,
        ),
        course(
            "Page views",
            [Query(f"sum by (channel) ({series.rate('campaign_page_views_total', SPAN)})", "{{channel}}")],
            "cps",
            "By channel.",
            width=6,
            stacked=True,
        ),
        course(
            "Revenue per minute",
            [Query(f"60 * sum by (channel) ({revenue})", "{{channel}}")],
            _money(settings),
            "By channel.",
            width=6,
            stacked=True,
        ),
        bars(
            "Orders per page view in the time shown",
            [Query(f"{orders} / ({views} >= 100)", "{{channel}}")],
            "percentunit",
            "Of channels with at least 100 page views: fewer tell nothing.",
            width=6,
        ),
    ]


def _money(settings: MonitoringSettings) -> str:
    # Grafana has a unit of its own for some currencies; this form is there for all.
    return f"currency:{settings.currency} "


def _windows() -> dict[str, Any]:
    return {
        "name": "window",
        "label": "Window",
        "type": "custom",
        "query": ",".join(WINDOWS),
        "current": {"selected": True, "text": "campaign", "value": "campaign"},
        "options": [{"selected": each == "campaign", "text": each, "value": each} for each in WINDOWS],
        "includeAll": False,
        "multi": False,
    }


def _annotations(series: Series) -> list[dict[str, Any]]:
    generation = f"count by (generation) ({series.of('flywheel_edge_generation_info')} == 1)"
    earlier = f"count by (generation) ({series.of('flywheel_edge_generation_info')} offset 1m == 1)"
    alerts = series.of("ALERTS", 'alertstate="firing"')
    return [
        _annotation("Changes of the edge", "blue", f"{generation} unless {earlier}", "Generation {{generation}}"),
        _annotation(
            "Alerts", "red", f"max by (alertname, service, reason) ({alerts})", "{{alertname}} {{service}}{{reason}}"
        ),
    ]


def _annotation(name: str, color: str, expression: str, title: str) -> dict[str, Any]:
    return {
        "name": name,
        "datasource": DATASOURCE,
        "enable": True,
        "hide": False,
        "iconColor": color,
        "target": {"refId": "Anno", "expr": expression, "interval": "30s"},
        "titleFormat": title,
    }
