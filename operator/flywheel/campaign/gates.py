"""The gates of a Campaign's releases: what is measured against what, by which Jobs, and what these found. Pure."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from flywheel.api.campaign import Campaign
from flywheel.api.release import Gate, Release
from flywheel.api.service import Service
from flywheel.campaign.observed import Observed, parse_timestamp
from flywheel.edge.naming import ENTRY_PORT, edge_name
from flywheel.plan import LiveObject, Manifest, ObjectKey
from flywheel.release.gate.browser.manifests import browser_job_parts, evidence_objects, plan_data
from flywheel.release.gate.browser.verdict import read_result
from flywheel.release.gate.machine import RUNS_ONCE, Due
from flywheel.release.gate.measurement import Measurement, Outcome, Target
from flywheel.release.jobs import gate_labels, is_finished, job_manifest, job_template, judged
from flywheel.release.naming import evidence_name, gate_name, slot_name
from flywheel.release.state import GateState, ReleaseState
from flywheel.release.step import Step
from flywheel.release.work import Look, Measuring

NODE_PATIENCE = timedelta(minutes=5)
"""How long a Job may wait for a node at most: a cluster autoscaler brings one within this time, or none."""


def target_of(campaign: Campaign, service: Service, state: ReleaseState, now: datetime) -> Target | None:
    """Say what the gates of a release look at, and against what."""
    active, preview = state.active, state.preview
    if active is None:
        return None
    port = service.listening_ports[0].port if service.listening_ports else 80
    looked_at = preview or active
    other = active if preview else state.previous
    since = (preview.ready_at or now) if preview else (state.promoted_at or active.since)
    edge = campaign.spec.edge
    return Target(
        namespace=campaign.namespace,
        campaign=campaign.name,
        service=service.name,
        revision=looked_at.revision,
        slot=looked_at.slot,
        active_slot=other.slot if other else active.slot,
        active_revision=other.revision if other else active.revision,
        address=f"http://{slot_name(campaign.name, service.name, looked_at.slot)}.{campaign.namespace}.svc:{port}",
        edge=f"http://{edge_name(campaign.name)}.{campaign.namespace}.svc:{ENTRY_PORT}" if edge else "",
        since=since,
        promoted=preview is None,
    )


def measuring(campaign: Campaign, service: Service, step: Step, now: datetime) -> Measuring | None:
    """Say what the operator itself is to measure now."""
    due, target = step.due, target_of(campaign, service, step.state, now)
    if due is None or target is None or due.gate.kind in RUNS_ONCE:
        return None
    look = Look(service.name, target.revision, step.state.number, due.stage, due.gate.name, due.number)
    return Measuring(look, due.gate, target)


def job_key(namespace: str, campaign: str, state: ReleaseState, gate: str, measured: int) -> ObjectKey:
    """Return the address of the Job of one measurement."""
    return ObjectKey("batch", "Job", namespace, gate_name(campaign, state.service, gate, state.number, measured))


def jobs_at_work(observed: Observed, state: ReleaseState) -> Iterator[tuple[GateState, LiveObject]]:
    """Give the Jobs of gates that have no verdict yet."""
    for gate in state.gates:
        if gate.kind in RUNS_ONCE and gate.verdict == "Running":
            live = observed.children.get(job_key(observed.namespace, observed.name, state, gate.name, gate.measured))
            if live is not None:
                yield gate, live


def job_questions(observed: Observed, state: ReleaseState) -> frozenset[str]:
    """Name the Jobs whose pods have to be asked."""
    return frozenset(
        live.key.name for _, live in jobs_at_work(observed, state) if live.key.name not in observed.job_pods
    )


def job_results(
    observed: Observed, state: ReleaseState, release: Release, now: datetime
) -> dict[tuple[str, str, int], Measurement]:
    """Give what Jobs have found, by stage, gate and number of the measurement."""
    found: dict[tuple[str, str, int], Measurement] = {}
    for gate, live in jobs_at_work(observed, state):
        waits = _waits_for_node(observed, gate, live, release, now)
        measurement = None if waits else _found(observed, state, gate, live)
        if measurement is not None:
            found[gate.stage, gate.name, gate.measured] = measurement
    return found


def job_hindrance(observed: Observed, state: ReleaseState, release: Release, now: datetime) -> str:
    """Say what a Job at work waits for, in words for people; empty where it waits for nothing."""
    for gate, live in jobs_at_work(observed, state):
        trouble = _waits_for_node(observed, gate, live, release, now)
        if trouble:
            return f"gate {gate.name} waits for a node: {trouble}"
    return ""


def _waits_for_node(observed: Observed, state: GateState, live: LiveObject, release: Release, now: datetime) -> str:
    pods = observed.job_pods.get(live.key.name)
    if is_finished(live) or pods is None or pods.trouble is None or pods.trouble.reason != "Unschedulable":
        return ""
    began = parse_timestamp(live.status.get("startTime")) or state.started_at or now
    # With half of its time gone the gate could hardly look any more.
    gates = release.before if state.stage == "before" else release.after
    patience = min([NODE_PATIENCE, *(each.timeout / 2 for each in gates if each.name == state.name)])
    return pods.trouble.message if now < began + patience else ""


def _found(observed: Observed, state: ReleaseState, gate: GateState, live: LiveObject) -> Measurement | None:
    pods = observed.job_pods.get(live.key.name)
    if pods is None:
        return None
    if not is_finished(live):
        # It waits for what does not come: an image that cannot be pulled, a Secret that is not there.
        return Measurement(Outcome.ERROR, pods.trouble.message) if pods.trouble else None
    if gate.kind == "browser" and pods.exit_code is not None:
        result = read_result(pods.message, pods.exit_code)
        evidence = f"configmap/{evidence_name(observed.name, state.service, gate.name)}"
        return Measurement(result.outcome, result.message, result.value, evidence)
    return judged(live, pods)


def gate_children(
    observed: Observed, campaign: Campaign, service: Service, step: Step, now: datetime
) -> tuple[list[Manifest], list[ObjectKey]]:
    """Build what gates run now, and keep what they ran before: its logs and pictures are looked at afterwards."""
    made: list[Manifest] = []
    state = step.state
    keep = [
        job_key(observed.namespace, observed.name, state, gate.name, number)
        for gate in state.gates
        if gate.kind in RUNS_ONCE
        for number in (gate.measured, gate.measured - 1)
    ]
    kept = [key for key in keep if key in observed.children]
    due, target = step.due, target_of(campaign, service, state, now)
    for gate in state.gates:
        if gate.kind == "browser":
            at_work = due.gate if due and target and (due.stage, due.gate.name) == (gate.stage, gate.name) else None
            made += _evidence(campaign, service, gate, at_work, target)
    if due is not None and target is not None and due.gate.kind in RUNS_ONCE:
        key = job_key(observed.namespace, observed.name, state, due.gate.name, due.number)
        if key not in observed.children:
            made.append(_job(observed, key.name, due, target))
    return made, kept


def _job(observed: Observed, name: str, due: Due, target: Target) -> Manifest:
    return job_manifest(name, due.gate, target, _template(observed, due.gate, target))


def _template(observed: Observed, gate: Gate, target: Target) -> Manifest:
    if gate.browser is not None:
        evidence = evidence_name(target.campaign, target.service, gate.name)
        return browser_job_parts(gate.browser, evidence, target, observed.images.browser, evidence)
    if gate.job is None:
        raise ValueError(f"the gate {gate.name} runs no Job")
    return job_template(gate.job, target)


def _evidence(
    campaign: Campaign, service: Service, gate: GateState, at_work: Gate | None, target: Target | None
) -> list[Manifest]:
    name = evidence_name(campaign.name, service.name, gate.name)
    labels = gate_labels(campaign.name, service.name, gate.name)
    metadata = {"name": name, "namespace": campaign.namespace, "labels": labels}
    data = plan_data(at_work.browser, target) if at_work and at_work.browser and target else {}
    return evidence_objects(metadata, metadata, data)
