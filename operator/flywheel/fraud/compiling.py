"""From a FraudRule as people write it to what the engine judges by and what is done about it. Pure."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from msgspec.structs import replace

from flywheel.api.fraudrule import FraudRule, FraudRuleSpec
from flywheel.api.fraudrule_condition import AccountAgeSign, Sign, VelocitySign
from flywheel.api.fraudrule_exceptions import ListSource
from flywheel.api.fraudrule_match import Filter, Match
from flywheel.fraud import rule as judged
from flywheel.fraud.policy import Action, ListNames, ListOf, Policy, Ruled, Snooze

READ_AS = {"context.ip": "address", "userId": "user", "anonymousId": "visitor", "context.device.id": "device"}
"""The names by which fields are known, for those that may be written in two ways."""
PLACE_SLACK = 50.0
"""Kilometres by which a place that comes from an address may be off."""


def ruled_of(rule: FraudRule, now: datetime) -> Ruled:
    """Make of a FraudRule what the worker needs of it.

    Args:
        rule: A rule that was loaded.
        now: The time: snoozes that are over are left out.
    """
    return Ruled(rule=rule_of(rule), policy=policy_of(rule, now), generation=rule.metadata.generation)


def rule_of(rule: FraudRule) -> judged.Rule:
    """Make of a FraudRule what its verdicts depend on."""
    spec = rule.spec
    prefix = spec.address_prefix
    return judged.Rule(
        name=rule.name,
        match=_match(spec.match),
        key=tuple(_field(name) for name in spec.key),
        **({"prefix_ipv4": prefix.ipv4, "prefix_ipv6": prefix.ipv6} if prefix else {}),
        window=_milliseconds(_window(spec)),
        conditions=tuple(_condition(sign, spec) for sign in spec.condition.signs),
        combine="Any" if spec.condition.any else "All",
        maximum_keys=spec.state.maximum_keys,
        when_full=spec.state.when_full,
        lateness=_milliseconds(spec.lateness),
    )


def policy_of(rule: FraudRule, now: datetime) -> Policy:
    """Make of a FraudRule what is done about its verdicts."""
    spec = rule.spec
    snoozes = (
        Snooze(key=each.key, until=round(each.until.timestamp() * 1000), reason=each.reason) for each in spec.snoozes
    )
    return Policy(
        action=_action(spec),
        mode=spec.mode,
        share=spec.share,
        holdout=spec.holdout,
        lists=ListNames(allow=_lists(spec.lists.allow), deny=_lists(spec.lists.deny), watch=_lists(spec.lists.watch)),
        exempt=tuple(_filters(each.where) for each in spec.exempt),
        snoozes=tuple(each for each in snoozes if each.until > now.timestamp() * 1000),
        on_unavailable=spec.on_unavailable,
    )


def _window(spec: FraudRuleSpec) -> timedelta:
    """Give the window; of a rule that needs none, one that holds its sequences and what comes late."""
    if spec.window is not None:
        return spec.window
    within = [sign.sequence.within for sign in spec.condition.signs if sign.sequence]
    return max([*within, spec.lateness + timedelta(seconds=1)])


def _match(match: Match) -> judged.Match:
    types = (match.type.lower(),) if match.type else ()
    return judged.Match(types=types, events=match.names, where=_filters(match.where))


def _filters(filters: Iterable[Filter]) -> tuple[judged.Filter, ...]:
    return tuple(
        judged.Filter(field=_field(each.field), operator=each.operator, values=each.wanted) for each in filters
    )


def _field(name: str) -> str:
    return READ_AS.get(name, name)


def _milliseconds(span: timedelta) -> int:
    return round(span.total_seconds() * 1000)


def _condition(sign: Sign, spec: FraudRuleSpec) -> judged.Condition:
    kept = spec.state.events_per_key
    if sign.count:
        return judged.Count(more_than=sign.count.more_than)
    if sign.distinct:
        return judged.Distinct(field=_field(sign.distinct.field), more_than=sign.distinct.more_than)
    if sign.sum:
        return judged.Sum(field=_field(sign.sum.field), more_than=sign.sum.more_than, maximum_events=kept)
    if sign.rate:
        return judged.Rate(more_than=sign.rate.more_than, per=_milliseconds(sign.rate.per))
    if sign.sequence:
        steps = tuple(judged.Match(events=(step.event,), where=_filters(step.where)) for step in sign.sequence.steps)
        return judged.Sequence(steps=steps, within=_milliseconds(sign.sequence.within))
    if sign.account_age:
        return _account_age(sign.account_age)
    if sign.velocity:
        return _velocity(sign.velocity, kept)
    if sign.linked:
        return judged.Linked(
            accounts=_field(sign.linked.accounts),
            through=_field(sign.linked.through),
            depth=sign.linked.depth,
            more_than=sign.linked.more_than,
            maximum_degree=kept,
        )
    if sign.score:
        features = tuple(_field(each) for each in sign.score.features)
        return judged.Score(model=sign.score.model.digest, features=features, more_than=sign.score.more_than)
    raise ValueError("a condition asks nothing: the model lets none such through")


def _account_age(sign: AccountAgeSign) -> judged.AccountAge:
    young = _milliseconds(sign.less_than)
    if sign.since is not None:
        return judged.AccountAge(less_than=young, since=judged.Match(events=(sign.since,)))
    return judged.AccountAge(less_than=young, created_at=_field(sign.created_at or ""))


def _velocity(sign: VelocitySign, kept: int) -> judged.Condition:
    if sign.changes is not None:
        return judged.Changes(field=_field(sign.changes), more_than=sign.more_than or 0, maximum_events=kept)
    return judged.Speed(
        latitude=_field(sign.latitude or ""),
        longitude=_field(sign.longitude or ""),
        kilometres_per_hour=float(sign.kilometres_per_hour or 0),
        slack_kilometres=PLACE_SLACK,
    )


def _lists(sources: Iterable[ListSource]) -> tuple[ListOf, ...]:
    return tuple(ListOf(source=source_of(each), of=each.of, hashed=each.hashed) for each in sources)


def source_of(source: ListSource) -> str:
    """Name where a list is kept, as the worker knows it."""
    kind, name = ("configmap", source.config_map) if source.config_map else ("secret", source.secret)
    return f"{kind}/{name}/{source.key}"


def _action(spec: FraudRuleSpec) -> Action:
    action, edge = spec.action, spec.action.at_the_edge
    made = Action(kind="Tag", of=spec.acted_on)
    if edge is not None:
        made = replace(made, lasts=_milliseconds(edge.for_), scope=edge.scope or ("/",))
    if action.block:
        return replace(made, kind="Block", status=action.block.status, body=action.block.body)
    if action.throttle:
        return replace(made, kind="Throttle", per_second=float(action.throttle.per_second))
    if action.challenge:
        lasts = _milliseconds(action.challenge.pass_for)
        return replace(made, kind="Challenge", page=action.challenge.page, pass_for=lasts)
    if action.review:
        return replace(made, kind="Review", queue=action.review.queue)
    return replace(made, tag=action.tag.name if action.tag else "")
