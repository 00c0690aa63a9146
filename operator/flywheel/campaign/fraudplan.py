"""What shall become of a namespace's fraud worker, and which rules it judges by. Pure."""

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec
from msgspec.structs import replace

from flywheel.api.campaign import Campaign
from flywheel.api.fraudrule import FraudRule
from flywheel.api.problem import Problem
from flywheel.campaign.fraudflink import KIND, Beyond, Job, engine_of, flink_problems, job_name, job_of, leftovers
from flywheel.campaign.fraudlists import Wanted, wanted_lists
from flywheel.campaign.fraudmodels import Offers, unfit_models
from flywheel.campaign.fraudproof import as_it_works, rules_of
from flywheel.campaign.fraudrules import campaigns_of, problems_of
from flywheel.campaign.fraudshadow import watched
from flywheel.campaign.fraudshards import Layout
from flywheel.events.owners import deletions, owner_reference
from flywheel.events.volumeclaim import VolumeClaim
from flywheel.fraud import manifests
from flywheel.fraud.compiling import ruled_of
from flywheel.fraud.kafka_manifests import with_kafka
from flywheel.fraud.naming import RULES_KEY
from flywheel.fraud.policy import Ruled
from flywheel.fraud.rule import problems as unfit
from flywheel.plan import Deletion, LiveObject, Manifest, ObjectKey

KINDS = ("ServiceAccount", "ConfigMap", "NetworkPolicy", "Service", "PodDisruptionBudget", "StatefulSet", KIND)
"""In the order of creation."""
CLAIM = VolumeClaim("2Gi")
ALONE = Layout(1, 1)
Held = Mapping[str, tuple[Ruled, ...]]
"""By Campaign: what the worker judges by at present."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One rule: what is wrong with it, and whom it is about."""

    rule: FraudRule
    problems: tuple[Problem, ...] = ()
    campaigns: tuple[str, ...] = ()
    is_waiting: bool = False
    """None of them has an edge now that events could come from."""
    ruled: Ruled | None = None
    """What the worker shall judge by; None where the rule cannot be carried out."""
    shadow: str = ""
    """Why it is in Shadow although it is to be enforced; empty where it is not."""
    jobs: tuple[Job, ...] = ()
    """What it needs in Flink, where that judges by it or is about to."""


@dataclass(frozen=True, slots=True)
class FraudPlan:
    """What to do next, in this order."""

    delete: tuple[Deletion, ...] = ()
    apply: tuple[Manifest, ...] = ()
    references: tuple[Manifest, ...] = ()
    """Owner references of everything that is applied: one for each Campaign with rules."""
    judged: tuple[Judged, ...] = ()
    rules: str = ""
    """What the workers shall judge by, as the ConfigMap has it."""
    lists: Wanted = field(default_factory=dict)
    """What that names."""
    jobs: tuple[Job, ...] = ()
    """What rules need in Flink: applied after the worker, each owned by its rule."""


def plan_fraud(
    namespace: str,
    rules: Sequence[FraudRule],
    campaigns: Sequence[Campaign],
    opened: Collection[str],
    live: Mapping[ObjectKey, LiveObject],
    image: str,
    held: Held,
    now: datetime,
    operator: str = "",
    offers: Offers | None = None,
    statuses: Mapping[str, Mapping[str, Any]] | None = None,
    layout: Layout = ALONE,
    beyond: Beyond = Beyond(),  # noqa: B008 - frozen
) -> FraudPlan:
    """Decide the next step for the fraud worker of one namespace.

    A rule that cannot be carried out any more goes on as it was taken last.

    Args:
        namespace: Where.
        rules: All of the namespace that could be loaded.
        campaigns: All of the namespace that could be loaded.
        opened: Those of them that have an edge now: for others nobody judges.
        live: What there is of the worker.
        image: What it runs.
        held: What it judges by at present.
        now: The time: snoozes that are over are left out.
        operator: The operator's ServiceAccount as `namespace:name`; it may ask.
        offers: What has become of the models that rules ask.
        statuses: What was told last, by rule.
        layout: How many workers there are to be now, and how many of them are to share the keys.
        beyond: What else decides about rules that Flink shall judge by.
    """
    told = statuses or {}
    judged = tuple(
        in_flink(each, namespace, opened, live, told.get(each.rule.name) or {}, beyond)
        for rule in rules
        if not rule.metadata.deletion_timestamp
        for each in [judge(rule, campaigns, opened, now, offers or {}, told.get(rule.name) or {}, beyond)]
    )
    orders = {campaign: each for campaign, each in _orders(judged, held).items() if campaign in opened}
    staying = [each for each in campaigns if each.name in orders and not each.metadata.deletion_timestamp]
    if not staying:
        jobs_gone = leftovers(live, (), ())
        of_worker = {key: each for key, each in live.items() if key not in {gone.key for gone in jobs_gone}}
        worker_gone = deletions([each.metadata.uid for each in campaigns], of_worker, KINDS)
        return FraudPlan(delete=(*jobs_gone, *worker_gone), judged=judged)
    known = {each.name: each for each in campaigns}
    document = {name: msgspec.to_builtins(rules_of(known.get(name), orders[name])) for name in sorted(orders)}
    written = manifests.rules_manifest(namespace, document)
    apply = (
        manifests.account_manifest(namespace),
        written,
        *manifests.network_manifests(namespace, operator),
        manifests.disruption_budget(namespace),
        with_kafka(
            manifests.stateful_set(
                namespace, image, CLAIM, shards=layout.shards, workers=layout.workers, operator=operator
            ),
            beyond.outgrown,
        ),
    )
    jobs = tuple(job for each in judged for job in each.jobs)
    kept = {job_name(each.rule.name, name) for each in judged if each.ruled is None for name in known}
    references = tuple(owner_reference(each.name, each.metadata.uid) for each in staying)
    lists = wanted_lists(each for rules in orders.values() for each in rules)
    return FraudPlan(leftovers(live, jobs, kept), apply, references, judged, written["data"][RULES_KEY], lists, jobs)


def judge(
    rule: FraudRule,
    campaigns: Sequence[Campaign],
    opened: Collection[str],
    now: datetime,
    offers: Offers,
    status: Mapping[str, Any],
    beyond: Beyond,
) -> Judged:
    """Say what is wrong with a rule, whom it is about, and what the worker is to judge by."""
    found = (*problems_of(rule, campaigns), *flink_problems(rule, beyond), *unfit_models(rule, offers))
    about = tuple(each.name for each in campaigns_of(rule, campaigns))
    waits = not set(about) & set(opened)
    if found:
        return Judged(rule, found, about, waits)
    ruled, shadow = as_it_works(ruled_of(rule, now), rule), watched(rule, status, now)
    if shadow:
        ruled = replace(ruled, policy=replace(ruled.policy, mode="Shadow"))
    found = tuple(Problem("spec", each) for each in unfit(ruled.rule))
    return Judged(rule, found, about, waits, None if found else ruled, shadow)


def in_flink(
    judged: Judged,
    namespace: str,
    opened: Collection[str],
    live: Mapping[ObjectKey, LiveObject],
    status: Mapping[str, Any],
    beyond: Beyond,
) -> Judged:
    """Add what a rule needs in Flink, and whether Flink judges by it already."""
    rule, ruled = judged.rule, judged.ruled
    if ruled is None or rule.spec.engine != "Flink":
        return judged
    about = [name for name in judged.campaigns if name in opened]
    jobs = tuple(job_of(rule, namespace, name, beyond.outgrown) for name in about)
    return dataclasses.replace(judged, jobs=jobs, ruled=replace(ruled, engine=engine_of(rule, jobs, live, status)))


def is_judged(campaign: Manifest, rules: Iterable[Manifest]) -> bool:
    """Tell whether events of a Campaign go to the fraud worker: a rule that is not off names it or its labels."""
    specs = (rule.get("spec") or {} for rule in rules)
    return any(spec.get("mode") != "Off" and _means(spec, campaign["metadata"]) for spec in specs)


def _means(spec: Manifest, campaign: Manifest) -> bool:
    if "selector" not in spec:
        return bool(spec.get("campaign") == campaign["name"])
    wanted = (spec["selector"] or {}).get("matchLabels") or {}
    return bool(wanted) and wanted.items() <= (campaign.get("labels") or {}).items()


def _orders(judged: Iterable[Judged], held: Held) -> dict[str, tuple[Ruled, ...]]:
    """Give the rules of each Campaign, by their names."""
    orders: dict[str, dict[str, Ruled]] = {}
    for each in judged:
        if each.ruled is not None:
            for campaign in each.campaigns:
                orders.setdefault(campaign, {})[each.rule.name] = each.ruled
            continue
        for campaign, known in held.items():
            last = next((ruled for ruled in known if ruled.rule.name == each.rule.name), None)
            if last is not None:
                orders.setdefault(campaign, {})[each.rule.name] = last
    return {campaign: tuple(rules[name] for name in sorted(rules)) for campaign, rules in orders.items()}
