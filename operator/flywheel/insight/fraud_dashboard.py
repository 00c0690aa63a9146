"""A Grafana dashboard for a campaign's rules on fraud: what they find, what they stop, how quick and sure that is."""

from typing import Any, Final

from flywheel.insight.monitoring import Series, fingerprint
from flywheel.insight.panels import (
    Heading,
    Panel,
    Query,
    Row,
    Thresholds,
    bars,
    board,
    course,
    some_of,
    stat,
)

SPAN: Final = "$__rate_interval"
RULE: Final = 'rule=~"$rule"'
REFUSED: Final = 'reason=~"fraud|challenge|throttle"'
QUANTILES: Final = ((0.5, "p50"), (0.99, "p99"))


def fraud_dashboard(campaign: str, namespace: str, title: str) -> dict[str, Any]:
    """Build the dashboard."""
    series = Series(namespace, campaign)
    heading = Heading(
        uid=f"flywheel-fraud-{fingerprint(namespace, campaign)}",
        title=f"{title or campaign}: fraud ({namespace}/{campaign})",
        description=f"Rules on fraud of {campaign} in {namespace}. Made by Flywheel: changes by hand do not last.",
        tags=("fraud", namespace, campaign),
        refresh="10s",
        since="now-1h",
    )
    rows = [
        Row("Overview", _overview(series)),
        Row("What the rules find, and what follows", _found(series)),
        Row("Who is refused", _refused(series)),
        Row("How quick", _quick(series)),
        Row("How sure", _sure(series)),
    ]
    return board(heading, rows, [{**some_of("rule", series.of("flywheel_fraud_keys")), "allValue": ".*"}])


def _overview(series: Series) -> list[Panel]:
    verdicts = "flywheel_fraud_verdicts_total"
    return [
        stat(
            "Worker judges",
            Query(f"min({series.of_store('flywheel_fraud_ready')})"),
            "bool_yes_no",
            "While it does not, events wait at the edge and blocks hold until they end.",
            width=4,
            bad=Thresholds(1, 0.5, low_is_bad=True),
        ),
        stat(
            "Rules as written",
            Query(f"1 - max({series.of('flywheel_fraud_rules_problem')})"),
            "bool_yes_no",
            "No: the newest cannot be taken, and those before hold on.",
            width=4,
            bad=Thresholds(1, 0.5, low_is_bad=True),
        ),
        stat(
            "Decisions that hold",
            Query(f"sum({series.of('flywheel_fraud_decisions')})"),
            "short",
            "Blocks, challenges, limits, reviews and tags of now.",
            width=4,
        ),
        stat(
            "Hits",
            Query(f"sum({series.increase(verdicts, '$__range')}) or vector(0)"),
            "short",
            "Verdicts in the time shown, whatever followed.",
            width=4,
        ),
        stat(
            "Acted on",
            Query(f"sum({series.increase(verdicts, '$__range', _acted())}) or vector(0)"),
            "short",
            "Those of them that something followed.",
            width=4,
        ),
        stat(
            "Share of requests refused",
            Query(_share(series, "$__range")),
            "percentunit",
            "By rules on fraud, in the time shown. A sudden rise is an attack, or a rule that meets the honest.",
            width=4,
        ),
    ]


def _found(series: Series) -> list[Panel]:
    def by_rule(matchers: str) -> Query:
        verdicts = series.rate("flywheel_fraud_verdicts_total", SPAN, f"{RULE}{matchers}")
        return Query(f"sum by (rule) ({verdicts})", "{{rule}}")

    return [
        course("Hits", [by_rule("")], "cps", "Events that broke a rule."),
        course(
            "Acted on", [by_rule(f",{_acted()}")], "cps", "Hits that something followed, such as a block or a review."
        ),
        course(
            "Would have been acted on",
            [by_rule(',action="none"')],
            "cps",
            "Hits that nothing followed: in Shadow, outside the share, or in the holdout.",
        ),
        bars(
            "Hits in the time shown",
            [
                Query(
                    "sort_desc(sum by (rule, action)"
                    f" ({series.increase('flywheel_fraud_verdicts_total', '$__range', RULE)}))",
                    "{{rule}} {{action}}",
                )
            ],
            "short",
            "By rule and by what followed.",
            width=12,
        ),
        course(
            "Decisions that hold",
            [
                Query(f"sum({series.of('flywheel_fraud_decisions')})", "at the workers"),
                Query(f"min({series.of('flywheel_fraud_edge_decisions')})", "at the edge pod with the fewest"),
            ],
            "short",
            "Users and devices are known to the worker alone, so that the edge has fewer.",
            width=12,
        ),
    ]


def _refused(series: Series) -> list[Panel]:
    refused = series.rate("flywheel_edge_refused_total", SPAN, REFUSED)
    return [
        course(
            "Requests refused at the edge",
            [Query(f"sum by (reason) ({refused})", "{{reason}}")],
            "reqps",
            "fraud: blocked; challenge: led to a page that asks; throttle: too many.",
            width=12,
            stacked=True,
        ),
        course(
            "Share of requests refused",
            [Query(_share(series, SPAN), "share")],
            "percentunit",
            "Of all requests to services.",
            width=12,
        ),
    ]


def _quick(series: Series) -> list[Panel]:
    lag = f"rate({series.of_store('flywheel_fraud_event_seconds_bucket')}[{SPAN}])"
    asked = f"rate({series.of_store('flywheel_fraud_question_seconds_bucket')}[{SPAN}])"
    return [
        course(
            "Events judged",
            [Query(f"max({series.rate('flywheel_fraud_events_total', SPAN)})", "events")],
            "cps",
            "Each of several workers gets all of them.",
        ),
        course(
            "From the edge to the decision",
            [Query(f"histogram_quantile({rank}, sum by (le) ({lag}))", name) for rank, name in QUANTILES],
            "s",
            "From an event's arrival at the edge until it is judged, of all campaigns of the namespace.",
            bad=Thresholds(0.1, 1),
        ),
        course(
            "Answers to services",
            [
                Query(f"histogram_quantile(0.99, sum by (kind, le) ({asked}))", "p99 of {{kind}}"),
            ],
            "s",
            "Time of an answer of the check API and its likes.",
        ),
    ]


def _sure(series: Series) -> list[Panel]:
    def of_rule(metric: str, legend: str) -> Query:
        return Query(f"sum by (rule) ({series.rate(metric, SPAN, RULE)})", f"{{{{rule}}}} {legend}")

    return [
        course(
            "Events that do not count as they should",
            [
                of_rule("flywheel_fraud_events_late_total", "late"),
                of_rule("flywheel_fraud_events_without_key_total", "without key"),
                Query(f"sum({series.rate('flywheel_fraud_events_again_total', SPAN)})", "came again, judged once"),
                Query(
                    f"sum by (reason) ({series.rate('flywheel_fraud_events_dropped_total', SPAN)})",
                    "never judged: {{reason}}",
                ),
            ],
            "cps",
            "Late ones came after the rule's lateness; dropped ones are in the store and in no window.",
            width=12,
        ),
        course(
            "Keys remembered",
            [Query(f"sum by (rule) ({series.of('flywheel_fraud_keys', RULE)})", "{{rule}}")],
            "short",
            "Of at most state.maximumKeys for each worker.",
            width=6,
        ),
        course(
            "Forgotten before their time",
            [
                of_rule("flywheel_fraud_keys_evicted_total", "keys"),
                Query(f"sum({series.rate('flywheel_fraud_decisions_evicted_total', SPAN)})", "decisions"),
            ],
            "cps",
            "For want of room.",
            width=6,
        ),
        course(
            "Edge pods without their worker",
            [Query(f"sum by (worker) (1 - {series.of('flywheel_fraud_connected')})", "{{worker}}")],
            "short",
            "They keep the blocks that they were told of.",
        ),
        course(
            "Events that wait at the edge",
            [Query(f"max by (worker) ({series.of('flywheel_fraud_events_waiting')})", "{{worker}}")],
            "short",
            "Of the edge pod with the most; beyond 20,000 the oldest are dropped.",
        ),
        course(
            "What a restart would judge again",
            [Query(f"max({series.of_store('flywheel_fraud_journal_uncovered_records')})", "batches")],
            "short",
            "Written since the last snapshot.",
        ),
    ]


def _acted() -> str:
    return 'action!="none"'


def _share(series: Series, span: str) -> str:
    refused = series.increase("flywheel_edge_refused_total", span, REFUSED)
    asked = series.increase("campaign_requests_total", span)
    return f"(sum({refused}) or vector(0)) / (sum({asked}) > 0)"
