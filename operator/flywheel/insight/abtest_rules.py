"""Alerts of the A/B tests of a campaign: of what only a person can mend, or has been asked for."""

from typing import Final

from flywheel.insight.alerts import Rule, alert
from flywheel.insight.monitoring import Series

BLIND_SECONDS: Final = 600
OF_TEST: Final = "namespace, campaign, test"


def abtest_alerts(series: Series) -> list[Rule]:
    """Build them."""
    return [_ratio(series), _guardrail(series), _waiting(series), _blind(series)]


def _ratio(series: Series) -> Rule:
    return alert(
        "ABTestSampleRatioViolated",
        f"max by ({OF_TEST}) ({series.of('flywheel_abtest_sample_ratio_violated')}) == 1",
        "1m",
        "warning",
        "Nothing can be compared in {{ $labels.test }}",
        "The variants do not have the visitors that their weights say, so some are lost or counted wrongly."
        " status.checks.sampleRatio.hint of the ABTest says where to look; then start the test anew.",
    )


def _guardrail(series: Series) -> Rule:
    return alert(
        "ABTestGuardrailBreached",
        f"max by ({OF_TEST}, variant, metric) ({series.of('flywheel_abtest_guardrail_breached')}) == 1",
        "0s",
        "warning",
        "{{ $labels.variant }} of {{ $labels.test }} does harm: {{ $labels.metric }}",
        "It is surely worse than the margin allows, and the visitors of the variant get the control again."
        " Nothing has to be done at once; find out why before the variant is tried anew.",
    )


def _waiting(series: Series) -> Rule:
    return alert(
        "ABTestWaitsForPerson",
        f"max by ({OF_TEST}) ({series.of('flywheel_abtest_waits_for_person')}) == 1",
        "5m",
        "info",
        "{{ $labels.test }} has a winner that waits for you",
        "With promote: Manual somebody has to say so: flywheel abtest promote {{ $labels.test }} -n"
        " {{ $labels.namespace }}.",
    )


def _blind(series: Series) -> Rule:
    running = series.of("flywheel_abtest_state", 'state="Running"')
    updated = series.of("flywheel_abtest_updated_timestamp_seconds")
    return alert(
        "ABTestBlind",
        f"time() - max by ({OF_TEST}) ({updated}) > {BLIND_SECONDS} and max by ({OF_TEST}) ({running}) == 1",
        "1m",
        "warning",
        "{{ $labels.test }} runs without figures",
        "The last ones were made {{ $value | humanizeDuration }} ago, and without new ones no guardrail protects"
        " anybody. The condition Measured of the ABTest says why; look at the pod flywheel-analytics-0.",
    )
