"""Alerts of the fraud worker: of what leaves hunters free, and of what may harm the honest."""

from typing import Final

from flywheel.insight.alerts import Rule, alert
from flywheel.insight.monitoring import Series

OF_CAMPAIGN: Final = "namespace, campaign"
OF_RULE: Final = "namespace, campaign, rule"
FEWEST_REFUSED: Final = 50
"""In 10 minutes: fewer say nothing of a rise."""
RISE: Final = 5
"""So many times the share of the hour before."""
SHARE: Final = 0.01
"""Of all requests: less of it harms few, even if all of them were honest."""
BEHIND_SECONDS: Final = 1
EVICTED: Final = 1_000
"""Keys in 10 minutes. A few go in any flood."""


def fraud_alerts(series: Series) -> list[Rule]:
    """Build them. Without rules on fraud there are no such series, and none fires."""
    return [_away(series), _behind(series), _lost(series), _not_loaded(series), _evicted(series), _rise(series)]


def _away(series: Series) -> Rule:
    connected = series.of("flywheel_fraud_connected")
    return alert(
        "FraudWorkerAway",
        # Each edge pod says it of each worker.
        f"max by ({OF_CAMPAIGN}, worker) ({connected}) == 0",
        "2m",
        "critical",
        "The fraud worker does not answer",
        "No edge pod hears from {{ $labels.worker }}: blocks hold until they end, and nobody new is stopped. Look at"
        " the pods flywheel-fraud and at their volumes.",
    )


def _behind(series: Series) -> Rule:
    buckets = f"rate({series.of_store('flywheel_fraud_event_seconds_bucket')}[5m])"
    return alert(
        "FraudWorkerBehind",
        f"histogram_quantile(0.99, sum by (namespace, le) ({buckets})) > {BEHIND_SECONDS}",
        "5m",
        "warning",
        "Hunters are judged late",
        "One event of a hundred is judged {{ $value | humanizeDuration }} after the edge took it in. Look at the CPU of"
        " the pods flywheel-fraud, and at how many keys their rules remember.",
    )


def _lost(series: Series) -> Rule:
    dropped = series.increase("flywheel_fraud_events_dropped_total", "10m")
    return alert(
        "FraudEventsDropped",
        f"sum by ({OF_CAMPAIGN}, reason) ({dropped}) > 0",
        "0s",
        "warning",
        "Events were never judged: {{ $labels.reason }}",
        "{{ $value | humanize }} events of 10 minutes are missing in the windows of the rules, which count too little"
        " until these have passed. The store has the events.",
    )


def _not_loaded(series: Series) -> Rule:
    return alert(
        "FraudRulesNotLoaded",
        f"max by ({OF_CAMPAIGN}) ({series.of('flywheel_fraud_rules_problem')}) == 1",
        "2m",
        "warning",
        "The fraud worker judges by old rules",
        "It cannot take the newest ones; those before hold on. kubectl get frule -n {{ $labels.namespace }} shows which"
        " are not Ready, and why.",
    )


def _evicted(series: Series) -> Rule:
    keys = series.increase("flywheel_fraud_keys_evicted_total", "10m")
    decisions = series.increase("flywheel_fraud_decisions_evicted_total", "10m")
    return alert(
        "FraudMemoryFull",
        f"sum by ({OF_RULE}) ({keys}) > {EVICTED} or sum by ({OF_CAMPAIGN}) ({decisions}) > 0",
        "5m",
        "warning",
        "There is no room for all that fraud rules should remember",
        "{{ $value | humanize }} {{ with $labels.rule }}keys of {{ . }}{{ else }}decisions{{ end }} went before their"
        " time in 10 minutes. Somebody may send keys without end to be forgotten: key by what a client cannot make up,"
        " or raise state.maximumKeys.",
    )


def _rise(series: Series) -> Rule:
    def share(span: str, before: str = "") -> str:
        refused = series.increase("flywheel_edge_refused_total", span, 'reason=~"fraud|challenge"', before=before)
        asked = series.increase("campaign_requests_total", span, before=before)
        return f"sum by ({OF_CAMPAIGN}) ({refused}) / (sum by ({OF_CAMPAIGN}) ({asked}) > 0)"

    now = share("10m")
    # Without any refusal before there is no such series, and nothing to compare with.
    usual = f"({share('1h', '10m')} or 0 * ({now}))"
    refused = series.increase("flywheel_edge_refused_total", "10m", 'reason=~"fraud|challenge"')
    return alert(
        "FraudRefusalsRise",
        f"({now}) > {SHARE} and ({now}) > {RISE} * {usual} and sum by ({OF_CAMPAIGN}) ({refused}) >= {FEWEST_REFUSED}",
        "2m",
        "warning",
        "Rules on fraud suddenly refuse many",
        f"It is {{{{ $value | humanizePercentage }}}} of all requests, more than {RISE} times the share of the hour"
        " before. That is an attack, or a rule that meets the honest, such as all who share an address: look at whom"
        " status.samples of the rules name, and set mode: Shadow if in doubt.",
    )
