"""What is wrong with an ABTest that shows only beside its Campaign and the other tests. Pure.

The model says what is wrong with the test itself. Of two tests that are in each other's way the younger one is told, so
that a new test never stops one that runs.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from flywheel.api.abtest import ABTest
from flywheel.api.abtest_metrics import Measured
from flywheel.api.abtest_values import BUCKETS
from flywheel.api.analytics import Analytics
from flywheel.api.campaign import Campaign
from flywheel.api.edge import Edge
from flywheel.api.problem import Problem
from flywheel.api.service import Service
from flywheel.campaign.abtest_overrides import override_problems
from flywheel.campaign.abtest_time import END, Span, created, span_of, time_problems
from flywheel.campaign.known import declared_events, is_below, meant
from flywheel.edge.naming import applied_name, edge_name
from flywheel.release.naming import slot_name
from flywheel.release.state import SLOTS

OVER = frozenset({"Promoted", "Stopped", "Failed"})
"""States in which a test has no visitors any more."""
DAY = timedelta(days=1)
_NUMBERS = ("number", "integer")


def problems_of(test: ABTest, campaign: Campaign | None, others: Sequence[ABTest]) -> tuple[Problem, ...]:
    """Say everything that keeps a test from running, in the order of its paths.

    Args:
        test: A test that was loaded.
        campaign: The Campaign that it names, or None where there is none.
        others: Tests of the same namespace; the test itself may be among them.
    """
    if campaign is None:
        missing = f"there is no Campaign {test.spec.campaign} in this namespace: correct the name, or apply it"
        return (Problem("spec.campaign", missing),)
    service = next((each for each in campaign.spec.services if each.name == test.spec.service), None)
    if service is None:
        names = [each.name for each in campaign.spec.services]
        return (
            Problem(
                "spec.service",
                f"Campaign {campaign.name} has no such service: correct the name{meant(test.spec.service, names)}",
            ),
        )
    found = {
        *_entered(test, campaign, service),
        *_known_events(test, campaign),
        *_kept_long_enough(test, campaign),
        *override_problems(test, service, frozenset(declared_events(campaign))),
        *time_problems(test, campaign),
        *_taken_names(test, campaign, others),
        *_rivals(test, campaign, others),
    }
    return tuple(sorted(found))


def _entered(test: ABTest, campaign: Campaign, service: Service) -> Iterator[Problem]:
    edge = campaign.spec.edge
    if edge is None:
        yield Problem("spec.campaign", f"visitors are assigned at the edge: add spec.edge to Campaign {campaign.name}")
        return
    if not _prefixes(edge, service):
        yield Problem(
            "spec.service", f"the edge leads nobody to service {service.name}: add it to edge.routes of the Campaign"
        )
        return
    targeting = test.spec.targeting
    for index, path in enumerate(targeting.paths if targeting else ()):
        if not any(_leads(prefix, path) for prefix in _prefixes(edge, service)):
            yield Problem(
                f"spec.targeting.paths[{index}]",
                f"no route of the edge leads from there to service {service.name}: correct the path, or edge.routes of "
                "the Campaign",
            )
    if targeting and targeting.regions and edge.region_header is None:
        yield Problem(
            "spec.targeting.regions", "nobody tells the edge of regions: add edge.regionHeader to the Campaign"
        )


def _prefixes(edge: Edge, service: Service) -> list[str]:
    if edge.routes:
        return [route.path for route in edge.routes if route.service == service.name]
    return ["/"] if service.listening_ports else []


def _leads(prefix: str, path: str) -> bool:
    start = path.removesuffix("*")
    return is_below(prefix, start) or (path.endswith("*") and prefix.startswith(start))


def _known_events(test: ABTest, campaign: Campaign) -> Iterator[Problem]:
    if campaign.spec.edge is None:
        return  # said of the Campaign
    declared, metrics = declared_events(campaign), test.spec.metrics
    yield from _unknown(metrics.primary, "spec.metrics.primary", declared)
    for field, listed in (("secondary", metrics.secondary), ("guardrails", metrics.guardrails)):
        for index, metric in enumerate(listed):
            yield from _unknown(metric, f"spec.metrics.{field}[{index}]", declared)


def _unknown(metric: Measured, path: str, declared: dict[str, dict[str, str]]) -> Iterator[Problem]:
    where = f"{path}.{metric.kind}"
    for event in sorted(metric.events - declared.keys()):
        yield Problem(
            where,
            f"the Campaign declares no event {event}, so a slip of the pen would measure nothing for ever: add it to "
            f"edge.events.declared, or correct the name{meant(event, list(declared))}",
        )
    parts = (metric.ratio.numerator, metric.ratio.denominator) if metric.ratio else ()
    for summed in (metric.sum, *(part.sum for part in parts)):
        kind = declared.get(summed.event, {}).get(summed.name) if summed else None
        if kind is not None and kind not in _NUMBERS:
            yield Problem(where, f"{summed} is declared as {kind}, which has no sum: name a property that is a number")


def _kept_long_enough(test: ABTest, campaign: Campaign) -> Iterator[Problem]:
    metrics, longest = test.spec.metrics, test.spec.decision.maximum_duration
    needed = longest + metrics.window + (metrics.covariate.history if metrics.covariate else timedelta())
    retention = (campaign.spec.analytics or Analytics()).retention
    if needed > retention:
        yield Problem(
            "spec.decision.maximumDuration",
            f"with metrics.window and covariate.history it needs events of {-(-needed // DAY)} days, and the "
            f"Campaign keeps them for {retention // DAY}: lower one of the three, or raise analytics.retention",
        )


def _taken_names(test: ABTest, campaign: Campaign, others: Sequence[ABTest]) -> Iterator[Problem]:
    taken = {edge_name(campaign.name): "the edge", applied_name(campaign.name): "the edge"}
    for service in campaign.spec.services:
        taken[campaign.child_name(service.name)] = f"service {service.name}"
        for slot in SLOTS if service.release.strategy == "BlueGreen" else ():
            taken[slot_name(campaign.name, service.name, slot)] = f"slot {slot} of service {service.name}"
    for other in _older(test, others):
        for variant in other.spec.variants:
            if not variant.control:
                taken[other.spec.child_name(variant.name)] = f"a variant of ABTest {other.name}"
    for index, variant in enumerate(test.spec.variants):
        name = test.spec.child_name(variant.name)
        if not variant.control and name in taken:
            yield Problem(
                f"spec.variants[{index}].name",
                f"its objects would be called {name}, as those of {taken[name]}: choose another name",
            )


def _rivals(test: ABTest, campaign: Campaign, others: Sequence[ABTest]) -> Iterator[Problem]:
    rivals = [other for other in _older(test, others) if _at_the_same_time(test, other, campaign)]
    for other in rivals:
        apart = other.spec.layer_name != test.spec.layer_name
        if apart and other.spec.service == test.spec.service:
            yield Problem(
                "spec.layer",
                f"ABTest {other.name} varies service {test.spec.service} too, in layer {other.spec.layer_name}, and no "
                f"visitor can have both: use layer: {other.spec.layer_name}, or wait until it is over",
            )
        if apart and test.spec.salt is not None and test.spec.salt == other.spec.salt:
            yield Problem(
                "spec.salt",
                f"ABTest {other.name} in layer {other.spec.layer_name} has the same salt, so both would divide "
                "visitors alike and neither could be told from the other: choose another salt",
            )
    sharing = [other for other in rivals if other.spec.layer_name == test.spec.layer_name]
    left = BUCKETS - sum(other.spec.traffic for other in sharing)
    if test.spec.traffic > max(left, 0):
        names = ", ".join(sorted(other.name for other in sharing)[:3])
        yield Problem(
            "spec.traffic",
            f"in layer {test.spec.layer_name} there is {max(left, 0) / 100:g}% left beside ABTest {names}: lower "
            "traffic, lower theirs, or wait until they are over",
        )


def _older(test: ABTest, others: Sequence[ABTest]) -> list[ABTest]:
    """Tests of the same campaign that came first and are not over."""
    return [
        other
        for other in others
        if other.spec.campaign == test.spec.campaign
        and other.name != test.name
        and other.metadata.deletion_timestamp is None
        and other.status.get("state") not in OVER
        and _age(other) < _age(test)
    ]


def _age(test: ABTest) -> tuple[datetime, str]:
    return created(test) or END, test.name


def _at_the_same_time(test: ABTest, other: ABTest, campaign: Campaign) -> bool:
    spans = span_of(test, campaign), span_of(other, campaign)
    ours, theirs = spans
    return not isinstance(ours, Span) or not isinstance(theirs, Span) or ours.meets(theirs)
