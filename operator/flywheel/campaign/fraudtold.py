"""What is told about a FraudRule: conditions, and what the workers have seen. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from flywheel.api.campaign import Campaign
from flywheel.campaign.conditions import Condition, condition_list
from flywheel.campaign.fraudflink import ran_record, told_of_flink
from flywheel.campaign.fraudlists import ListStates, lists_condition
from flywheel.campaign.fraudpast import warm_condition
from flywheel.campaign.fraudplan import Judged
from flywheel.campaign.fraudproof import added, figures_of, mode_of, precise
from flywheel.campaign.fraudshadow import RECORD, digests_of, remembered
from flywheel.campaign.fraudtrialproof import known_of_the_past
from flywheel.campaign.fraudtrialtold import TrialTold
from flywheel.fraud.lags import rounded_up
from flywheel.fraud.modelfacts import ModelFacts
from flywheel.fraud.rulings import RuleFigures
from flywheel.fraud.subjects import network_of
from flywheel.fraud.words import Verdict
from flywheel.plan import LiveObject, Manifest, ObjectKey

MOST_CAMPAIGNS = 64
MESSAGE = 1_000
"""Characters of a message: of many workers each may have much to say."""
SHOWN = 316
"""Characters of one value of a key."""


@dataclass(frozen=True, slots=True)
class WorkerState:
    """What one worker says of the rules of one Campaign."""

    name: str
    figures: Mapping[str, RuleFigures]
    """By rule."""
    problem: str = ""
    decisions: int = 0
    active: Mapping[str, int] = field(default_factory=dict)
    """By rule: what holds at the edge."""
    lost: int = 0
    latency: float | None = None
    """Seconds from the edge to the verdict, p99."""
    models: frozenset[str] = frozenset()
    """Digests of those that it can ask."""
    kafka: str = ""
    """Why it does not reach Kafka; empty where it does, or need not."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What was learnt of the worker."""

    workers: Mapping[str, tuple[WorkerState, ...]]
    """By Campaign."""
    unseen: str = ""
    """Why nothing was."""
    lists: ListStates = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    """Which workers said nothing while others did, by name, and why."""
    live: Mapping[ObjectKey, LiveObject] = field(default_factory=dict)
    """The objects of the namespace's rules."""
    refused: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """By rule: why the API server has not taken what it needs in Flink."""
    campaigns: Mapping[str, Campaign] = field(default_factory=dict)
    """Those of the namespace, by name."""


def status_of(
    judged: Judged, held: Mapping[str, Any], seen: Seen, now: datetime, tried: TrialTold | None = None
) -> Manifest:
    """Write the status of a rule; figures that are not known now stay as they were told last."""
    tried = tried or TrialTold()
    rule = judged.rule
    states = [state for name in judged.campaigns for state in seen.workers.get(name, ())]
    told_of = [each for name in judged.campaigns for each in added(_told_of(seen.workers.get(name, ()), rule.name))]
    # Of some workers alone no sum is right: what all of them said last stays.
    figures = [] if seen.missing else told_of
    past = known_of_the_past(tried.record or {}, rule.metadata.generation)
    right = precise(rule, figures, held, past)
    said = [*_conditions(judged, states, figures, seen), *([right] if right else []), *tried.conditions]
    conditions = condition_list(said, held.get("conditions") or [], rule.metadata.generation, now)
    told: Manifest = {
        "observedGeneration": rule.metadata.generation,
        "conditions": conditions,
        "campaigns": list(judged.campaigns[:MOST_CAMPAIGNS]),
        "mode": "Shadow" if judged.shadow else mode_of(rule),
        **tried.fields,
    }
    if digests_of(rule):
        works = bool(figures) and _is_newest(judged, states, figures)
        evaluated = sum(each.evaluated for each in figures) if works else None
        record = held.get("record") if tried.record is None else tried.record
        told["record"] = {**(record or {}), RECORD: remembered(rule, held, evaluated, now)}
    told |= ran_record(judged.ruled, held, told.get("record") or {})
    if not figures:
        kept = {name: value for name, value in held.items() if name not in {*told, "loadedGeneration", *TrialTold.own}}
        return kept | told | _with_those_away(_workers(states, rule.name), held, seen.missing)
    told |= _figures(figures) | figures_of(figures) | _of_campaigns(states, rule.name)
    told |= _of_each_event([seen.workers.get(name, ()) for name in judged.campaigns], rule.name)
    told |= {"workers": _workers(states, rule.name)} | _samples(figures)
    stands = "updatedAt" in held and {**told, "updatedAt": held["updatedAt"]}.items() <= held.items()
    return told | {"updatedAt": held["updatedAt"] if stands else moment(round(now.timestamp() * 1000))}


def _told_of(states: Sequence[WorkerState], rule: str) -> list[RuleFigures]:
    return [state.figures[rule] for state in states if rule in state.figures]


def _conditions(
    judged: Judged, states: Sequence[WorkerState], figures: Sequence[RuleFigures], seen: Seen
) -> list[Condition]:
    if judged.problems:
        message = "; ".join(str(each) for each in judged.problems)
        return [
            Condition("Ready", "False", "Invalid", message),
            Condition("Reconciling", "False", "Invalid", "a person must correct the rule"),
            Condition("Stalled", "True", "Invalid", message),
        ]
    if judged.is_waiting:
        message = "none of its campaigns is open now; it is judged by from Preparing to Draining"
        return [
            Condition("Ready", "True", "Waiting", message),
            Condition("Reconciling", "False", "Waiting", message),
            Condition("Stalled", "False", "Waiting", message),
        ]
    refused = next((state.problem for state in states if state.problem), "")
    newest = _is_newest(judged, states, figures)
    if newest and not refused:
        loaded = Condition("Ready", "True", "Loaded", "all workers judge by the latest spec")
    elif refused:
        loaded = Condition("Ready", "False", "Refused", refused)
    elif seen.missing:
        away = "; ".join(f"{name}: {why}" for name, why in sorted(seen.missing.items()))
        loaded = Condition("Ready", "Unknown", "WorkerMissing", f"the figures are those of before: {away}"[:MESSAGE])
    else:
        loaded = Condition("Ready", "Unknown", "Loading", seen.unseen or "the worker has not taken the latest spec yet")
    waits = loaded.status == "Unknown"
    found = [
        loaded,
        Condition("Reconciling", "True" if waits else "False", loaded.reason, loaded.message),
        Condition("Stalled", "True" if refused else "False", loaded.reason, loaded.message),
    ]
    found += _in_flink(judged, states, seen)
    if figures and judged.rule.spec.mode != "Off" and judged.rule.spec.engine == "Embedded":
        found.append(warm_condition(judged, seen.campaigns, figures))
    if digests_of(judged.rule) and judged.rule.spec.mode == "Enforce":
        watched = Condition("Shadowed", "True", "NewModel", judged.shadow)
        known = Condition("Shadowed", "False", "Known", "the model has been in Shadow for as long as it takes")
        found.append(watched if judged.shadow else known)
    if judged.ruled and (lists := lists_condition(judged.ruled.policy.lists, seen.lists, seen.unseen)):
        found.append(lists)
    return found


def _in_flink(judged: Judged, states: Sequence[WorkerState], seen: Seen) -> list[Condition]:
    if judged.ruled is None or judged.rule.spec.engine != "Flink":
        return []
    trouble = next((state.kafka for state in states if state.kafka), "")
    refused, ran = seen.refused.get(judged.rule.name, ()), judged.ruled.engine == "Flink"
    return [told_of_flink(judged.rule, judged.jobs, seen.live, refused, trouble, ran=ran)]


def _is_newest(judged: Judged, states: Sequence[WorkerState], figures: Sequence[RuleFigures]) -> bool:
    """Whether all workers judge by the latest spec, and can ask its models."""
    return (
        bool(figures)
        and len(figures) == len(states)
        and all(each.generation == judged.rule.metadata.generation for each in figures)
        and all(state.models.issuperset(digests_of(judged.rule)) for state in states)
    )


def _figures(figures: Sequence[RuleFigures]) -> Manifest:
    def total(name: str) -> int:
        return sum(int(getattr(each, name)) for each in figures)

    return {
        "loadedGeneration": min(each.generation for each in figures),
        "evaluated": total("evaluated"),
        "hits": total("hits"),
        "blocked": total("acted"),
        "wouldBlock": total("would"),
        "heldOut": total("held_out"),
        "withoutKey": total("without_key"),
        "late": total("late"),
        "evicted": total("evicted"),
        "unusable": total("unusable"),
    }


def _of_campaigns(states: Sequence[WorkerState], rule: str) -> Manifest:
    lags = [each.latency for each in states if each.latency is not None]
    return {
        "active": sum(each.active.get(rule, 0) for each in states),
        **({"latencyP99": f"{rounded_up(max(lags) * 1000)}ms"} if lags else {}),
    }


def _of_each_event(campaigns: Iterable[Sequence[WorkerState]], rule: str) -> Manifest:
    """Give what is counted by event: each worker gets all of them, so that the one that counted most is right."""
    again, lost = 0, 0
    for states in campaigns:
        again += max((each.figures[rule].duplicates for each in states if rule in each.figures), default=0)
        lost += max((each.lost for each in states), default=0)
    return {"duplicates": again, "dropped": lost}


def _with_those_away(seen: list[Manifest], held: Mapping[str, Any], missing: Mapping[str, str]) -> Manifest:
    """Give what each worker judges by where some say nothing: of those what they said last, and that they are away."""
    if not missing:
        return {}
    found = {str(each["name"]): dict(each) for each in held.get("workers") or () if each["name"] in missing}
    away = [{**found.get(name, {"name": name}), "message": why[:MESSAGE]} for name, why in missing.items()]
    return {"workers": sorted([*seen, *away], key=lambda each: str(each["name"]))}


def _workers(states: Sequence[WorkerState], rule: str) -> list[Manifest]:
    told: dict[str, Manifest] = {}
    for state in states:
        found = state.figures.get(rule)
        if found is not None:
            known = told.get(state.name, {}).get("keys", 0)
            told[state.name] = {
                "name": state.name,
                "generation": found.generation,
                "version": found.version,
                "keys": known + found.keys,
                "warm": found.warm,
            }
    return [told[name] for name in sorted(told)]


def _samples(figures: Sequence[RuleFigures]) -> Manifest:
    told = [pair for each in figures for pair in zip(each.latest, _outcomes(each), strict=True)]
    latest = sorted(told, key=lambda pair: pair[0].at)[-8:]
    return {"samples": [_sample(*each) for each in latest]} if latest else {}


def _outcomes(figures: RuleFigures) -> list[str]:
    """Give what followed from each of the latest verdicts; an empty word where that is not known."""
    known = figures.outcomes[-len(figures.latest) :] if figures.latest else ()
    return [*[""] * (len(figures.latest) - len(known)), *known]


def _sample(verdict: Verdict, outcome: str) -> Manifest:
    """Addresses are shortened to their network: a status is read by more people than may know who came."""
    more = " or more" if verdict.saturated else ""
    told = {"outcome": outcome} if outcome else {}
    return told | {
        "event": verdict.event[:253],
        "at": moment(verdict.at),
        "version": verdict.version,
        "key": [(network_of(value, 24, 48) or value)[:SHOWN] for value in verdict.key],
        "observed": f"{verdict.listed} list {verdict.detail}"[:316]
        if verdict.listed
        else f"{verdict.observed:g}{more}",
        "limit": f"{verdict.limit:g}",
        "since": moment(verdict.since),
    }


def moment(milliseconds: int) -> str:
    """Write a moment for a status."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def read_state(name: str, body: bytes) -> dict[str, WorkerState]:
    """Read what a worker says of itself, by Campaign.

    Raises:
        ValueError: It cannot be read.
    """
    try:
        found = msgspec.json.decode(body, type=_State)
    except msgspec.MsgspecError as error:
        raise ValueError(f"{name} says what cannot be read: {error}") from error
    return {
        campaign: WorkerState(
            name,
            {each.rule: each for each in told.rules},
            told.problem,
            told.decisions,
            told.active,
            told.lost,
            told.latency,
            frozenset(found.models),
            told.kafka.problem,
        )
        for campaign, told in found.campaigns.items()
    }


def generation_of(body: bytes) -> str:
    """Give the digest of the rules that a worker judges by.

    Raises:
        ValueError: It cannot be read.
    """
    try:
        return msgspec.json.decode(body, type=_State).generation
    except msgspec.MsgspecError as error:
        raise ValueError(f"the fraud worker says what cannot be read: {error}") from error


class _Kafka(msgspec.Struct, frozen=True):
    problem: str = ""


class _Told(msgspec.Struct):
    problem: str = ""
    decisions: int = 0
    active: dict[str, int] = {}
    lost: int = 0
    latency: float | None = None
    rules: tuple[RuleFigures, ...] = ()
    kafka: _Kafka = _Kafka()


class _State(msgspec.Struct):
    generation: str = ""
    campaigns: dict[str, _Told] = {}
    models: dict[str, ModelFacts] = {}
