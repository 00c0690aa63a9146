"""A Grafana dashboard for the A/B tests of a campaign: one at a time, chosen at its top."""

from typing import Any, Final

from flywheel.insight.monitoring import Series, fingerprint
from flywheel.insight.panels import (
    Heading,
    Panel,
    Query,
    Row,
    Thresholds,
    band,
    bars,
    board,
    course,
    gauge,
    one_of,
    some_of,
    stat,
)

SHOWN: Final = 'test="$test"'
VARIANT: Final = 'test="$test",variant="$variant"'
STALE_SECONDS: Final = 600
UNLIKELY: Final = 0.01


def abtest_dashboard(campaign: str, namespace: str, title: str) -> dict[str, Any]:
    """Build the dashboard."""
    series = Series(namespace, campaign)
    heading = Heading(
        uid=f"flywheel-tests-{fingerprint(namespace, campaign)}",
        title=f"{title or campaign}: A/B tests ({namespace}/{campaign})",
        description=f"A/B tests of {campaign} in {namespace}. Made by Flywheel: changes by hand do not last.",
        tags=("abtest", namespace, campaign),
        refresh="30s",
        since="now-7d",
    )
    rows = [
        Row("$test", _standing(series)),
        Row("Who is ahead", _ahead(series)),
        Row("Visitors", _visitors(series)),
        Row("Is it safe, and can it be trusted", _checks(series)),
    ]
    tests = one_of("test", series.of("flywheel_abtest_state"))
    return board(heading, rows, [tests, some_of("variant", _of(series, "weight"))])


def _of(series: Series, name: str, matchers: str = SHOWN) -> str:
    return series.of(f"flywheel_abtest_{name}", matchers)


def _standing(series: Series) -> list[Panel]:
    updated = _of(series, "updated_timestamp_seconds")
    return [
        stat(
            "State",
            Query(f"max by (state) ({_of(series, 'state')}) == 1", "{{state}}"),
            "none",
            "Decided: there is a verdict. Promoted: the winner is what the service runs.",
            width=4,
            is_named=True,
        ),
        stat(
            "Verdict",
            Query(f"max by (verdict, winner) ({_of(series, 'verdict')})", "{{verdict}} {{winner}}"),
            "none",
            "What was decided; empty as long as the test goes on.",
            width=4,
            is_named=True,
        ),
        gauge(
            "Planned visitors",
            Query(f"max({_of(series, 'progress_ratio')})"),
            "percentunit",
            "Share of them that is there. The test may end earlier, as soon as the data allow.",
            width=4,
        ),
        stat(
            "Days left",
            Query(f"max({_of(series, 'days_left')})"),
            "d",
            "Until the planned visitors are there, at the present rate.",
            width=4,
        ),
        stat(
            "Waits for a person",
            Query(f"max({_of(series, 'waits_for_person')})"),
            "bool_yes_no",
            "A winner is there, and with promote: Manual somebody has to say so.",
            width=4,
            bad=Thresholds(1, 2),
        ),
        stat(
            "Age of the figures",
            Query(f"time() - max({updated}) and on () max({_of(series, 'state', _running())}) == 1"),
            "s",
            "While the test runs.",
            width=4,
            bad=Thresholds(STALE_SECONDS / 2, STALE_SECONDS),
        ),
    ]


def _running() -> str:
    return f'{SHOWN},state="Running"'


def _ahead(series: Series) -> list[Panel]:
    def figure(name: str, legend: str) -> Query:
        return Query(f"max({_of(series, name, VARIANT)})", legend)

    planned = Query(f"max({_of(series, 'planned_lift')})", "worth knowing")
    zero = Query(f"0 * max({_of(series, 'planned_lift')})", "no difference")
    return [
        band(
            "Change with $variant",
            figure("lift", "estimate"),
            (figure("lift_lower", "lower bound"), figure("lift_upper", "upper bound")),
            [planned, zero],
            "percentunit",
            "Of the primary metric against the control. The band holds the truth at any look: while it holds 0, nothing"
            " is proven.",
            repeat="variant",
        ),
        bars(
            "Primary metric now",
            [Query(f"max by (variant) ({_of(series, 'value')})", "{{variant}}")],
            "short",
            "Of an event: the share of visitors with it, 0.05 is 5%.",
            width=12,
        ),
        bars(
            "Probability to be best (to look at, decides nothing)",
            [Query(f"max by (variant) ({_of(series, 'probability_best')})", "{{variant}}")],
            "percentunit",
            "Looked at again and again it errs often: decisions are made by the band above.",
            width=12,
        ),
    ]


def _visitors(series: Series) -> list[Panel]:
    return [
        course(
            "Visitors",
            [Query(f"max by (variant) ({_of(series, 'visitors')})", "{{variant}}")],
            "short",
            "Since the test began, each once.",
        ),
        course(
            "Conversions",
            [Query(f"max by (variant) ({_of(series, 'conversions')})", "{{variant}}")],
            "short",
            "Visitors with the event, where the primary metric is one.",
        ),
        course(
            "Share of new participants",
            [Query(f"max by (variant) ({_of(series, 'weight')})", "{{variant}}")],
            "percentunit",
            "It changes with method: Bandit alone, or when a variant is withdrawn.",
        ),
    ]


def _checks(series: Series) -> list[Panel]:
    estimate = f"max by (variant, metric) ({_of(series, 'guardrail_estimate')})"
    margin = f"max by (metric) ({_of(series, 'guardrail_margin')})"
    breached = f"max by (variant, metric) ({_of(series, 'guardrail_breached')})"
    return [
        course(
            "Guardrails",
            [Query(estimate, "{{metric}} of {{variant}}"), Query(margin, "{{metric}}: allowed")],
            "percentunit",
            "Change against the control, and how much of it is allowed.",
            has_sign=True,
        ),
        course(
            "Guardrails broken",
            [Query(breached, "{{metric}} of {{variant}}")],
            "bool_yes_no",
            "A variant that breaks one loses its visitors at once.",
            bad=Thresholds(1, 1),
        ),
        course(
            "Sample ratio (p)",
            [Query(f"max({_of(series, 'sample_ratio_p')})", "p")],
            "none",
            "Whether visitors were assigned as the weights say. Near 0 they were not, and nothing can be compared.",
            bad=Thresholds(10 * UNLIKELY, UNLIKELY, low_is_bad=True),
        ),
    ]
