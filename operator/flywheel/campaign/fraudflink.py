"""Rules that Flink judges by: whether that can be, what the Flink Kubernetes operator is given, and what it says. Pure.

A rule goes over from the worker to Flink when its job runs, and not before: until then the worker judges on, while it
already writes the events from which Flink's windows fill.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from flywheel.api.fraudrule import FraudRule
from flywheel.api.problem import Problem
from flywheel.campaign.conditions import Condition
from flywheel.fraud import naming
from flywheel.fraud.compiling import rule_of
from flywheel.fraud.flink_manifests import LONGEST_NAME, Deployment, manifests
from flywheel.fraud.flink_refusals import unsaid
from flywheel.fraud.flink_sql import script, statements
from flywheel.fraud.flink_topics import Topics
from flywheel.fraud.kafka import files_of, flink_properties
from flywheel.fraud.outgrown import NOTHING, Outgrown
from flywheel.fraud.policy import Ruled
from flywheel.plan import (
    GROUP,
    MANAGED_BY_LABEL,
    REVISION_LABEL,
    SHARED_LABEL,
    Deletion,
    LiveObject,
    Manifest,
    ObjectKey,
)

API_GROUP, API_VERSION, KIND = "flink.apache.org", "v1beta1", "FlinkDeployment"
RECORD = "flink"
"""Where it stands in `status.record` that the rule's jobs have run."""
MARKS = {MANAGED_BY_LABEL: "flywheel", SHARED_LABEL: naming.COMPONENT}
TYPE = "Flink"
LONGEST_MESSAGE = 1024
Live = Mapping[ObjectKey, LiveObject]


@dataclass(frozen=True, slots=True)
class Beyond:
    """What else decides about rules that Flink shall judge by."""

    outgrown: Outgrown = NOTHING
    is_served: bool = False
    """Whether the cluster knows FlinkDeployments."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a rule needs in Flink for one Campaign, in the order in which it is made."""

    rule: str
    key: ObjectKey
    """Of the FlinkDeployment."""
    revision: str
    """Digest of its SQL."""
    apply: tuple[Manifest, ...]
    owner: Manifest
    """The reference to the rule: Kubernetes removes all of it with the rule, even while no operator runs."""


def flink_problems(rule: FraudRule, beyond: Beyond) -> tuple[Problem, ...]:
    """Tell why Flink cannot judge by a rule here, and what to do; nothing of a rule that it shall not judge by.

    Args:
        rule: A rule that was loaded.
        beyond: What the operator was told of Kafka and Flink, and whether the cluster knows FlinkDeployments.
    """
    if rule.spec.engine != "Flink":
        return ()
    if missing := beyond.outgrown.missing():
        names = ", ".join(missing)
        return (
            Problem("spec.engine", f"this operator knows no Flink: set {names} of its chart, or use engine: Embedded"),
        )
    if not beyond.is_served:
        return (
            Problem(
                "spec.engine",
                f"the cluster has no {KIND}: install the Flink Kubernetes operator, and let this one use it "
                "(rbac.flink of its chart); or use engine: Embedded",
            ),
        )
    return unsaid(rule)


def job_name(rule: str, campaign: str) -> str:
    """Name the FlinkDeployment of a rule for one Campaign."""
    digest = hashlib.sha256(f"{rule}/{campaign}".encode()).hexdigest()[:8]
    return f"{f'fraud-{rule}'[: LONGEST_NAME - 9].rstrip('-')}-{digest}"


def job_of(rule: FraudRule, namespace: str, campaign: str, outgrown: Outgrown) -> Job:
    """Build what a rule that Flink judges by needs there.

    Args:
        rule: One without problems.
        namespace: Where.
        campaign: Whose events.
        outgrown: What the operator was told of Kafka and Flink.

    Raises:
        ValueError: Kafka is not known, or the rule cannot be said in SQL.
    """
    kafka, judged = outgrown.kafka, rule_of(rule)
    if kafka is None:
        raise ValueError("Kafka is not known")
    topics = Topics(kafka.servers, namespace, campaign, kafka.prefix, flink_properties(kafka))
    sql = script(statements(judged, topics.source(rule.name), topics.sink(), outgrown.disorder))
    name, revision = job_name(rule.name, campaign), hashlib.sha256(sql.encode()).hexdigest()[:8]
    wanted = Deployment(
        namespace,
        campaign,
        outgrown.image,
        outgrown.directory,
        outgrown.parallelism,
        outgrown.service_account,
        outgrown.memory,
        name=name,
        marks={**MARKS, REVISION_LABEL: revision},
        secret=kafka.secret if files_of(kafka) else "",
        suspended=rule.spec.mode == "Off",
    )
    owner = {"apiVersion": f"{GROUP}/v1alpha1", "kind": "FraudRule", "name": rule.name, "uid": rule.metadata.uid}
    key = ObjectKey(API_GROUP, KIND, namespace, name)
    return Job(rule.name, key, revision, manifests(rule.name, sql, wanted), owner)


def engine_of(
    rule: FraudRule, jobs: Sequence[Job], live: Live, status: Mapping[str, Any]
) -> Literal["Starting", "Flink"]:
    """Say whether Flink judges by a rule already.

    Args:
        rule: One that Flink shall judge by.
        jobs: Those of the rule.
        live: What there is.
        status: What was told of the rule last.
    """
    if not jobs:
        return "Starting"
    runs = has_run(status) or rule.spec.mode == "Off" or all(_runs(live.get(each.key)) for each in jobs)
    return "Flink" if runs else "Starting"


def has_run(status: Mapping[str, Any]) -> bool:
    """Tell whether Flink has judged by a rule since it was told to."""
    return bool((status.get("record") or {}).get(RECORD))


def ran_record(ruled: Ruled | None, held: Mapping[str, Any], record: Mapping[str, Any]) -> Manifest:
    """Write down that Flink judges by a rule, or that it does not any more; while a person must correct it, as it was.

    Args:
        ruled: What the worker shall judge by.
        held: The rule's status so far.
        record: What else stands in the record.
    """
    before = has_run(held)
    ran = before if ruled is None else ruled.engine == "Flink" and ruled.policy.mode != "Off"
    if ran:
        return {"record": {**record, RECORD: {"ran": True}}}
    return {"record": dict(record)} if before else {}


def leftovers(live: Live, jobs: Iterable[Job], kept: Collection[str]) -> tuple[Deletion, ...]:
    """Name what nobody needs any more, FlinkDeployments first.

    The SQL that a job began with stays until it runs by the newest: its pods may have to be started again by then.

    Args:
        live: What there is of the namespace's rules.
        jobs: What is wanted.
        kept: Names of FlinkDeployments that stay as they are, with their SQL.
    """
    wanted = {job.key.name: job for job in jobs}
    found = []
    for key, each in live.items():
        if each.deleting or not _is_of_flink(key):
            continue
        name = key.name if key.kind == KIND else key.name.rpartition("-")[0]
        if name in kept or (name in wanted and not _is_old(key, wanted[name], live)):
            continue
        found.append(Deletion(key, each.uid))
    return tuple(sorted(found, key=lambda each: (each.key.kind != KIND, each.key)))


def _is_of_flink(key: ObjectKey) -> bool:
    """Tell objects of rules in Flink from those of the worker, by what they are and by their names."""
    return (key.group, key.kind) == (API_GROUP, KIND) or (key.kind == "ConfigMap" and key.name.startswith("fraud-"))


def _is_old(key: ObjectKey, job: Job, live: Live) -> bool:
    is_wanted = any(ObjectKey.of(each) == key for each in job.apply)
    found = live.get(job.key)
    is_newest = found is not None and found.revision == job.revision and _has_taken(found)
    return not is_wanted and is_newest and _runs(found)


def _runs(live: LiveObject | None) -> bool:
    return live is not None and live.status.get("jobState") == "RUNNING"


def _has_taken(live: LiveObject) -> bool:
    is_seen = int(live.status.get("observedGeneration") or 0) >= live.generation
    return is_seen and live.status.get("reconciled") == "DEPLOYED"


def told_of_flink(
    rule: FraudRule, jobs: Sequence[Job], live: Live, refused: Sequence[str], trouble: str, *, ran: bool
) -> Condition:
    """Say how a rule is doing in Flink.

    Args:
        rule: One that Flink shall judge by.
        jobs: Those of the rule.
        live: What there is.
        refused: Why the API server has not taken what the jobs need.
        trouble: What the worker says of Kafka.
        ran: Whether Flink has judged by the rule before.
    """
    found = {job.key.name: live.get(job.key) for job in jobs}
    errors = [f"{name}: {why}" for name, each in found.items() if each is not None and (why := _error(each))]
    who = "Flink judges by what its windows have" if ran else "the worker judges until it runs"
    if refused:
        return Condition(TYPE, "False", "Refused", "; ".join(refused)[:LONGEST_MESSAGE])
    if rule.spec.mode == "Off":
        return Condition(TYPE, "True", "Suspended", "the rule is off: its job is stopped, with a savepoint")
    if errors:
        return Condition(TYPE, "False", "Failed", f"{'; '.join(errors)}; {who}"[:LONGEST_MESSAGE])
    if trouble:
        return Condition(TYPE, "False", "KafkaAway", f"the fraud worker says of Kafka: {trouble}"[:LONGEST_MESSAGE])
    waits = [f"{name} is {_state(each)}" for name, each in found.items() if not _runs(each)]
    if waits and ran:
        return Condition(TYPE, "Unknown", "Restarting", "; ".join(waits)[:LONGEST_MESSAGE])
    if waits or not jobs:
        message = "; ".join([*waits, "until it runs the worker judges"])
        return Condition(TYPE, "Unknown", "Starting", message[:LONGEST_MESSAGE])
    return Condition(TYPE, "True", "Running", f"Flink runs {', '.join(found)}"[:LONGEST_MESSAGE])


def _state(live: LiveObject | None) -> str:
    if live is None:
        return "about to be made"
    return str(
        live.status.get("jobState") or live.status.get("lifecycleState") or "not seen to by Flink's operator yet"
    )


def _error(live: LiveObject) -> str:
    """Give what Flink's operator says of a failure: the innermost message of its JSON."""
    state, error = live.status.get("jobState"), str(live.status.get("error") or "")
    if not error:
        return f"the job is {state}" if state in ("FAILED", "FAILING") else ""
    if state == "RUNNING" and _has_taken(live):
        # Told of an attempt before the one that runs.
        return ""
    try:
        said = json.loads(error)
        return str(said.get("message") or error) if isinstance(said, dict) else error
    except ValueError:
        return error
