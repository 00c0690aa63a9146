"""What is wrong with a FraudRule that shows only beside its Campaigns. Pure.

The model says what is wrong with the rule itself; what is in lists and model files, the worker that reads them.
"""

from collections.abc import Iterator, Sequence
from datetime import timedelta

from flywheel.api.analytics import Analytics
from flywheel.api.campaign import Campaign
from flywheel.api.edge import Edge
from flywheel.api.fraudrule import FraudRule
from flywheel.api.fraudrule_match import ORDERING, PARTIAL, Filter
from flywheel.api.problem import Problem
from flywheel.campaign.known import declared_events, is_below, meant

DAY = timedelta(days=1)
_NUMBERS = ("number", "integer")
_JSON_TYPES = {"Text": ("string",), "Number": _NUMBERS, "Boolean": ("boolean",)}
_OF_ADDRESSES = ("address", "addressPrefix")


def campaigns_of(rule: FraudRule, campaigns: Sequence[Campaign]) -> tuple[Campaign, ...]:
    """The Campaigns that a rule is about, by name or by labels, in the order of their names.

    Args:
        rule: A rule that was loaded.
        campaigns: All Campaigns of its namespace that could be loaded.
    """
    selector = rule.spec.selector
    wanted = selector.match_labels if selector else {}
    found = (
        each
        for each in campaigns
        if (wanted.items() <= each.metadata.labels.items() if selector else each.name == rule.spec.campaign)
    )
    return tuple(sorted(found, key=lambda each: each.name))


def problems_of(rule: FraudRule, campaigns: Sequence[Campaign]) -> tuple[Problem, ...]:
    """Say everything that keeps a rule from being judged or enforced, in the order of its paths.

    Args:
        rule: A rule that was loaded.
        campaigns: All Campaigns of its namespace that could be loaded; others among them are passed over.
    """
    asked = campaigns_of(rule, campaigns)
    if not asked and rule.spec.selector:
        missing = "no Campaign of this namespace has these labels: correct them, or label one"
        return (Problem("spec.selector.matchLabels", missing),)
    if not asked:
        known = meant(rule.spec.campaign or "", [each.name for each in campaigns])
        missing = f"there is no Campaign {rule.spec.campaign} in this namespace: correct the name, or apply it{known}"
        return (Problem("spec.campaign", missing),)
    return tuple(sorted({problem for campaign in asked for problem in _beside(rule, campaign)}))


def _beside(rule: FraudRule, campaign: Campaign) -> Iterator[Problem]:
    edge = campaign.spec.edge
    if edge is None:
        where = "spec.selector" if rule.spec.selector else "spec.campaign"
        yield Problem(where, f"events come in at the edge: add spec.edge to Campaign {campaign.name}")
        return
    yield from _known_events(rule, campaign)
    yield from _typed(rule, campaign)
    yield from _within_routes(rule, campaign, edge)
    yield from _told_by_the_edge(rule, campaign, edge)
    yield from _tried(rule, campaign, edge)


def _known_events(rule: FraudRule, campaign: Campaign) -> Iterator[Problem]:
    declared = declared_events(campaign)
    if campaign.spec.edge is None or not campaign.spec.edge.events.declared:
        return  # a campaign without a catalogue takes whatever comes
    for path, event in _named_events(rule):
        if event not in declared:
            yield Problem(
                path,
                f"Campaign {campaign.name} declares no event {event}, so a slip of the pen would find nobody for ever: "
                f"add it to edge.events.declared, or correct the name{meant(event, list(declared))}",
            )


def _named_events(rule: FraudRule) -> Iterator[tuple[str, str]]:
    match = rule.spec.match
    if match.type in (None, "Track"):  # pages and screens have names, too, and nobody declares them
        for index, event in enumerate(match.names):
            yield "spec.match.event" if match.event else f"spec.match.events[{index}]", event
    for place, sign in rule.spec.condition.placed():
        for index, step in enumerate(sign.sequence.steps if sign.sequence else ()):
            yield f"spec.{place}.steps[{index}].event", step.event
        if sign.account_age and sign.account_age.since:
            yield f"spec.{place}.since", sign.account_age.since


def _typed(rule: FraudRule, campaign: Campaign) -> Iterator[Problem]:
    """Whether what is compared and added up can be so, by the types that the events declare."""
    declared = declared_events(campaign)
    for path, events, asked in _asked(rule):
        for event in events:
            yield from _of_type(path, event, declared.get(event, {}), asked)
    for place, sign in rule.spec.condition.placed():
        for event in rule.spec.match.names if sign.sum else ():
            kind = declared.get(event, {}).get(sign.sum.field.removeprefix("properties.")) if sign.sum else None
            if kind is not None and kind not in _NUMBERS:
                yield Problem(
                    f"spec.{place}.field",
                    f"{event} declares it as {kind}, which has no sum: name a property that is a number",
                )


def _asked(rule: FraudRule) -> Iterator[tuple[str, tuple[str, ...], Filter]]:
    """Every filter on events of known names: its path, the names, and the filter."""
    match = rule.spec.match
    for index, each in enumerate(match.where):
        yield f"spec.match.where[{index}]", match.names, each
    for number, exemption in enumerate(rule.spec.exempt):
        for index, each in enumerate(exemption.where):
            yield f"spec.exempt[{number}].where[{index}]", match.names, each
    for place, sign in rule.spec.condition.placed():
        for number, step in enumerate(sign.sequence.steps if sign.sequence else ()):
            for index, each in enumerate(step.where):
                yield f"spec.{place}.steps[{number}].where[{index}]", (step.event,), each


def _of_type(path: str, event: str, properties: dict[str, str], asked: Filter) -> Iterator[Problem]:
    kind = properties.get(asked.field.removeprefix("properties.")) if asked.field.startswith("properties.") else None
    if kind is None or not (asked.operator in (*ORDERING, *PARTIAL) or asked.written):
        return
    if kind not in _JSON_TYPES[asked.kind]:
        yield Problem(
            f"{path}.value" if asked.value is not None else f"{path}.values",
            f"{event} declares {asked.field} as {kind}, and {asked.operator} compares it as {asked.kind}, so it would "
            "never fit: correct the value, type or operator, or edge.events.declared of the Campaign",
        )


def _within_routes(rule: FraudRule, campaign: Campaign, edge: Edge) -> Iterator[Problem]:
    prefixes = [route.path for route in edge.routes] or ["/"]
    action = rule.spec.action.at_the_edge
    for index, path in enumerate(action.scope if action else ()):
        if not any(is_below(prefix, path) or is_below(path, prefix) for prefix in prefixes):
            yield Problem(
                f"spec.action.{rule.spec.action.kind}.scope[{index}]",
                f"no route of Campaign {campaign.name} leads there, so nobody would be stopped: correct the path"
                f"{meant(path, prefixes)}",
            )
    challenge = rule.spec.action.challenge
    if challenge and not any(is_below(prefix, challenge.page) for prefix in prefixes):
        yield Problem(
            "spec.action.challenge.page",
            f"no route of Campaign {campaign.name} leads there, so nobody could prove anything: add the page to a "
            "service and to edge.routes, or correct the path",
        )


def _told_by_the_edge(rule: FraudRule, campaign: Campaign, edge: Edge) -> Iterator[Problem]:
    if edge.region_header is not None:
        return
    nobody = f"nobody tells the edge of regions: add edge.regionHeader to Campaign {campaign.name}"
    if "region" in rule.spec.key:
        yield Problem(f"spec.key[{rule.spec.key.index('region')}]", nobody)
    for path, _, asked in _asked(rule):
        if asked.field == "region":
            yield Problem(f"{path}.field", nobody)


def _tried(rule: FraudRule, campaign: Campaign, edge: Edge) -> Iterator[Problem]:
    backtest = rule.spec.backtest
    if backtest is None:
        return
    retention = (campaign.spec.analytics or Analytics()).retention
    if backtest.since > retention:
        yield Problem(
            "spec.backtest.since",
            f"Campaign {campaign.name} keeps events for {retention // DAY}d: shorten it, or raise analytics.retention",
        )
    lost = {"Hash": ("addressPrefix",), "Store": (), "Drop": _OF_ADDRESSES}[edge.events.addresses]
    for index, field in enumerate(rule.spec.key):
        if field in lost:
            yield Problem(
                f"spec.key[{index}]",
                f"the store of Campaign {campaign.name} does not hold it (edge.events.addresses: "
                f"{edge.events.addresses}), so the past cannot be tried: take backtest out, or keep more of addresses",
            )
