"""Which new windows of fraud rules are filled from the event store, and what a status says of that. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from flywheel.api.analytics import Analytics
from flywheel.api.campaign import Campaign
from flywheel.campaign.conditions import Condition, timestamp
from flywheel.campaign.fraudplan import Judged
from flywheel.fraud.rule import AccountAge, Changes, Distinct, Linked, Match, Rule, Speed, Sum
from flywheel.fraud.rule import Sequence as Ordered
from flywheel.fraud.rulings import RuleFigures
from flywheel.fraud.warmup import names_of, reach_of

_ADDRESSES = frozenset({"address", "addressPrefix", "context.ip"})


@dataclass(frozen=True, slots=True)
class WantedPast:
    """New windows of one rule at one worker that wait for what was before."""

    campaign: str
    rule: str
    version: str
    worker: str
    """Name of its pod."""
    since: int
    """From when on the worker has seen everything itself, in milliseconds since 1970."""
    reach: int
    """How far back events matter, in milliseconds."""
    lateness: int
    names: tuple[str, ...]
    """Of the events that matter; empty for all."""


class Told(Protocol):
    """What one worker says of the rules of a Campaign."""

    @property
    def name(self) -> str:
        """Name of its pod."""

    @property
    def figures(self) -> Mapping[str, RuleFigures]:
        """By rule."""


class Pasts(Protocol):
    """Who fills windows, while other things go on."""

    def look(self, namespace: str, wanted: Sequence[WantedPast]) -> None:
        """Begin with what is wanted, where nothing is under way in the namespace."""


class NoPasts:
    """Nobody."""

    def look(self, namespace: str, wanted: Sequence[WantedPast]) -> None:
        """Do nothing."""


def wanted_pasts(
    judged: Sequence[Judged], campaigns: Mapping[str, Campaign], workers: Mapping[str, Sequence[Told]]
) -> list[WantedPast]:
    """Give the windows that wait for their past, of rules whose past the event store knows.

    Args:
        judged: The rules.
        campaigns: By name.
        workers: What they say of themselves, by Campaign.
    """
    found = []
    for each in judged:
        if each.ruled is None:
            continue
        rule = each.ruled.rule
        for name in each.campaigns:
            if name not in campaigns or unfillable(rule, campaigns[name]):
                continue
            for worker in workers.get(name, ()):
                figures = worker.figures.get(rule.name)
                if figures and figures.awaits and figures.version == rule.version:
                    found.append(
                        WantedPast(
                            name, rule.name, rule.version, worker.name, figures.awaits,
                            min(reach_of(rule), _kept_for(campaigns[name])), rule.lateness, names_of(rule),
                        )
                    )  # fmt: skip
    return found


def _kept_for(campaign: Campaign) -> int:
    return (campaign.spec.analytics or Analytics()).retention // timedelta(milliseconds=1)


def unfillable(rule: Rule, campaign: Campaign) -> str:
    """Say why the event store of a Campaign cannot tell the past of a rule; empty where it can."""
    fields, edge = set(_fields(rule)), campaign.spec.edge
    kept = edge.events.addresses if edge else "Hash"
    if kept != "Store" and fields & _ADDRESSES:
        what = "hashes of addresses" if kept == "Hash" else "no addresses"
        return f"the event store has {what} (edge.events.addresses: {kept}), so the windows fill by themselves"
    if "deviceKind" in fields:
        return "the event store does not have deviceKind, so the windows fill by themselves"
    return ""


def _fields(rule: Rule) -> Iterator[str]:
    yield from rule.key
    yield from _filtered(rule.match)
    for each in rule.conditions:
        match each:
            case Distinct() | Sum() | Changes():
                yield each.field
            case Speed():
                yield from (each.latitude, each.longitude)
            case Linked():
                yield from (each.accounts, each.through)
            case Ordered():
                for step in each.steps:
                    yield from _filtered(step)
            case AccountAge() if each.since:
                yield from _filtered(each.since)


def _filtered(match: Match) -> Iterator[str]:
    return (each.field for each in match.where)


def warm_condition(judged: Judged, campaigns: Mapping[str, Campaign], figures: Sequence[RuleFigures]) -> Condition:
    """Say whether a rule's windows have seen all that they look at, and what of it comes from the event store.

    Args:
        judged: The rule.
        campaigns: By name.
        figures: What the workers say of it.
    """
    since = max((each.from_store for each in figures), default=0)
    filled = f"filled from the event store, from {_moment(since)}" if since else ""
    if all(each.warm for each in figures):
        if since:
            return Condition("Warm", "True", "FromStore", f"each window is full: {filled}")
        return Condition("Warm", "True", "Full", "each window is full")
    told = "windows fill: there may have been more than is counted"
    if filled:
        return Condition("Warm", "False", "Filling", f"{told}; they were {filled}")
    whys = (
        unfillable(judged.ruled.rule, campaigns[name])
        for name in judged.campaigns
        if judged.ruled and name in campaigns
    )
    why = next(filter(None, whys), "")
    if not why and any(each.awaits for each in figures):
        why = "they are to be filled from the event store"
    return Condition("Warm", "False", "Filling", f"{told}; {why}" if why else told)


def _moment(milliseconds: int) -> str:
    return timestamp(datetime.fromtimestamp(milliseconds / 1000, UTC))
