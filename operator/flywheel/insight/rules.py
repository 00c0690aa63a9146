"""Recording and alert rules of a campaign. Every alert about a share waits for a sample that can carry it."""

from typing import Any, Final

import yaml

from flywheel.insight.abtest_rules import abtest_alerts
from flywheel.insight.alerts import Rule, alert
from flywheel.insight.fraud_rules import fraud_alerts
from flywheel.insight.monitoring import MonitoringSettings, Series, monitoring_metadata
from flywheel.plan import Manifest

EVERY: Final = "30s"
FEWEST_REQUESTS: Final = 100
"""In 5 minutes, of one service: fewer say nothing of a share or a quantile."""
FEWEST_VISITORS: Final = 100
EXPECTED_ORDERS: Final = 7
"""Where so many orders are to be expected and none comes, that is chance in one of a thousand windows (e^-7)."""
STALE_SECONDS: Final = 120
OLD_SPOOL_SECONDS: Final = 300


def rules(campaign: str, namespace: str, settings: MonitoringSettings) -> dict[str, Any]:
    """Build the groups of rules, as the file of a Prometheus and the spec of a PrometheusRule hold them."""
    series = Series(namespace, campaign)
    name = f"flywheel-{namespace}-{campaign}"
    alerts = [
        *_service_alerts(series, settings),
        *_business_alerts(series),
        *_event_alerts(series, settings),
        *_edge_alerts(series),
        *(_silence(series) if settings.serving else []),
        *abtest_alerts(series),
        *fraud_alerts(series),
    ]
    own = {"namespace": namespace, "campaign": campaign}
    for each in alerts:
        each["labels"] = {**own, **each["labels"]}
    return {
        "groups": [
            {"name": f"{name}-figures", "interval": EVERY, "rules": _records(series)},
            {"name": f"{name}-alerts", "interval": EVERY, "rules": alerts},
        ]
    }


def prometheus_rule_manifest(campaign: str, namespace: str, settings: MonitoringSettings) -> Manifest:
    """Build the object that the Prometheus operator reads rules from."""
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": monitoring_metadata(campaign, namespace, "rules", settings.labels),
        "spec": rules(campaign, namespace, settings),
    }


def rules_config_map(campaign: str, namespace: str, settings: MonitoringSettings) -> Manifest:
    """Build a ConfigMap with a file of rules, for a Prometheus without operator."""
    text = yaml.safe_dump(rules(campaign, namespace, settings), sort_keys=False, allow_unicode=True, width=1000)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": monitoring_metadata(campaign, namespace, "rules", settings.labels),
        "data": {f"{namespace}-{campaign}.rules.yaml": text},
    }


def _records(series: Series) -> list[Rule]:
    requests, errors = _requests(series), _errors(series)
    buckets = series.rate("campaign_request_duration_seconds_bucket", "5m")
    conversion = series.of("campaign_conversion_ratio", 'window="1h"')
    visitors = series.of("campaign_unique_visitors", 'window="1h"')
    return [
        _record("campaign_service:requests:rate5m", requests),
        _record("campaign_service:request_errors:ratio_rate5m", f"{errors} / ({requests} > 0)"),
        *(
            _record(
                f"campaign_service:request_duration_seconds:p{percent}_rate5m",
                f"histogram_quantile({percent / 100}, sum by (namespace, campaign, service, le) ({buckets}))",
            )
            for percent in (50, 95, 99)
        ),
        _record("campaign_channel:page_views:rate5m", _by("channel", series.rate("campaign_page_views_total", "5m"))),
        _record("campaign_channel:orders:rate5m", _by("channel", series.rate("campaign_orders_total", "5m"))),
        _record(
            "campaign_channel:revenue_per_minute:rate5m",
            f"60 * {_by('channel, currency', series.rate('campaign_revenue_total', '5m'))}",
        ),
        _record("campaign:orders:rate5m", _all(series.rate("campaign_orders_total", "5m"))),
        _record(
            "campaign:revenue_per_minute:rate5m", f"60 * {_by('currency', series.rate('campaign_revenue_total', '5m'))}"
        ),
        # One value for each campaign, however many workers say it during a restart.
        _record(
            "campaign:conversion:ratio_1h",
            f"max by (namespace, campaign) ({conversion})"
            f" and max by (namespace, campaign) ({visitors}) >= {FEWEST_VISITORS}",
        ),
    ]


def _service_alerts(series: Series, settings: MonitoringSettings) -> list[Rule]:
    asked = _by("service", series.increase("campaign_requests_total", "5m"))
    enough = f"{asked} >= {FEWEST_REQUESTS}"
    ratio = f"{_errors(series)} / ({_requests(series)} > 0)"
    buckets = series.rate("campaign_request_duration_seconds_bucket", "5m")
    p95 = f"histogram_quantile(0.95, sum by (namespace, campaign, service, le) ({buckets}))"
    return [
        alert(
            "CampaignErrorsHigh",
            f"({ratio} > {settings.error_rate:g}) and {enough}",
            "2m",
            "critical",
            "Requests to {{ $labels.service }} fail",
            f"{{{{ $value | humanizePercentage }}}} of the requests in 5 minutes were answered with 5xx or not at all;"
            f" {settings.error_rate:.0%} are accepted. Look at the pods of the service.",
        ),
        alert(
            "CampaignLatencyHigh",
            f"({p95} > {settings.latency:g}) and {enough}",
            "5m",
            "warning",
            "{{ $labels.service }} answers slowly",
            f"5 of 100 requests take longer than {{{{ $value | humanizeDuration }}}}; {settings.latency:g} s are"
            " accepted. Look at the load of the service and at its largest number of pods.",
        ),
    ]


def _business_alerts(series: Series) -> list[Rule]:
    orders, views = "campaign_orders_total", "campaign_page_views_total"
    before = {"span": "1h", "before": "15m"}
    usual = f"{_all(series.increase(orders, **before))} / {_all(series.increase(views, **before))}"
    expected = f"({usual}) * {_all(series.increase(views, '15m'))}"
    none = f"({_all(series.increase(orders, '15m'))} < 0.5)"
    missing = f"({_all(series.increase(orders, **before))} unless {_all(series.increase(orders, '15m'))})"
    return [
        alert(
            "CampaignOrdersStopped",
            f"({expected}) >= {EXPECTED_ORDERS} and ({none} or {missing})",
            "1m",
            "critical",
            "Visitors come and nobody orders",
            "By the hour before, about {{ $value | humanize }} orders were to be expected of the visitors of the last"
            " 15 minutes, and none came. Try to order something, and look at what was released last.",
        ),
    ]


def _event_alerts(series: Series, settings: MonitoringSettings) -> list[Rule]:
    success = series.of("campaign_analytics_last_success_timestamp_seconds")
    rejected = _all(series.increase("flywheel_events_rejected_total", "10m"))
    taken = _all(series.increase("campaign_events_total", "10m"))
    lost = _all(series.increase("flywheel_log_records_lost_total", "5m"))
    asked = _all(series.increase("campaign_requests_total", "5m"))
    dropped = series.of("flywheel_spool_dropped_total")
    # A reason has no series before it first happens, and no growth from nothing to its first value.
    grown = series.increase("flywheel_spool_dropped_total", "10m")
    spooled = f"max by (namespace, campaign) (sum without (table) ({series.of('flywheel_spool_bytes')}))"
    return [
        alert(
            "CampaignAnalyticsStale",
            f"time() - max by (namespace, campaign) ({success}) > {STALE_SECONDS}",
            "1m",
            "warning",
            "The key figures are old",
            "They were last computed {{ $value | humanizeDuration }} ago. Look at the pod flywheel-analytics-0.",
        ),
        alert(
            "CampaignStoreDown",
            f"min({series.of_store('flywheel_store_up')}) == 0",
            "2m",
            "critical",
            "The store cannot be used",
            "Events wait in the edge pods and the key figures stand still. Look at the pod flywheel-analytics-0, at its"
            " volume, and where there is one at the ClickHouse of analytics.store.",
        ),
        alert(
            "CampaignDeliveryStuck",
            f"max by (namespace, campaign) ({series.of('flywheel_spool_oldest_seconds')}) > {OLD_SPOOL_SECONDS}",
            "1m",
            "warning",
            "The store does not take the events",
            "The oldest one has waited in an edge pod for {{ $value | humanizeDuration }}. Nothing is lost while there"
            " is room. Look at the pod flywheel-analytics-0 and at flywheel_delivery_failures_total.",
        ),
        alert(
            "CampaignSpoolFilling",
            f"{spooled} > {settings.spool_bytes // 2}",
            "1m",
            "critical",
            "An edge pod runs out of room for events",
            f"{{{{ $value | humanize1024 }}}}B of {settings.spool_bytes >> 20} MiB are taken by events that the store"
            " does not have. When they are full, new events are refused.",
        ),
        alert(
            "CampaignEventsLost",
            f"{_by('reason', f'{grown} > 0 or ({dropped} > 0 unless {dropped} offset 10m)')} > 0",
            "0s",
            "critical",
            "Events were lost: {{ $labels.reason }}",
            "{{ $value | humanize }} rows that were taken in will never be in the store.",
        ),
        alert(
            "CampaignAccessLogLost",
            f"({lost} / ({asked} >= {FEWEST_REQUESTS})) > 0.001",
            "5m",
            "warning",
            "Requests are answered and not recorded",
            "{{ $value | humanizePercentage }} of the requests are missing in the figures: the analytics sidecars do"
            " not keep up. Give them more CPU (edge.sidecarResources).",
        ),
        alert(
            "CampaignEventsRejected",
            f"({rejected} / ({rejected} + {taken} >= {FEWEST_REQUESTS})) > 0.05",
            "5m",
            "warning",
            "Clients send events that are not taken in",
            "It is {{ $value | humanizePercentage }} of all events. flywheel_events_rejected_total names the reasons,"
            " and the table dead_letters holds what was sent.",
        ),
    ]


def _edge_alerts(series: Series) -> list[Rule]:
    generation = series.of("flywheel_edge_generation_info")
    return [
        alert(
            "CampaignEdgeNotApplied",
            f"count by (namespace, campaign) (count by (namespace, campaign, generation) ({generation} == 1)) > 1",
            "2m",
            "warning",
            "Edge pods follow different orders",
            "{{ $value }} generations are in effect at the same time. The condition EdgeReady of the Campaign names"
            " the pods.",
        ),
        alert(
            "CampaignEdgeTrouble",
            f"{_by('reason', series.of('flywheel_edge_trouble'))} > 0",
            "2m",
            "warning",
            "Edge pods are in trouble: {{ $labels.reason }}",
            "{{ $value }} of them. The last good configuration keeps serving; the condition EdgeReady of the Campaign"
            " says more.",
        ),
    ]


def _silence(series: Series) -> list[Rule]:
    figures = series.of("campaign_analytics_last_success_timestamp_seconds")
    return [
        alert(
            "CampaignEdgeSilent",
            f"absent({series.of('flywheel_edge_generation_info')})",
            "5m",
            "critical",
            "Nothing is heard of the edge",
            "No edge pod is scraped, so nothing is known of the campaign. Look at the pods of the edge, and at the"
            " targets of Prometheus.",
        ),
        alert(
            "CampaignAnalyticsSilent",
            f"absent({figures})",
            "5m",
            "warning",
            "Nothing is heard of the key figures",
            "The analytics worker is not scraped or does not know the campaign. Look at the pod flywheel-analytics-0.",
        ),
    ]


def _requests(series: Series) -> str:
    return _by("service", series.rate("campaign_requests_total", "5m"))


def _errors(series: Series) -> str:
    """A service that never failed has no series of errors: it had none."""
    return f"({_by('service', series.rate('campaign_request_errors_total', '5m'))} or 0 * {_requests(series)})"


def _by(labels: str, expression: str) -> str:
    return f"sum by (namespace, campaign, {labels}) ({expression})"


def _all(expression: str) -> str:
    return f"sum by (namespace, campaign) ({expression})"


def _record(name: str, expression: str) -> Rule:
    return {"record": name, "expr": expression}
