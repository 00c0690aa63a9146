"""What the releases of a Campaign want from outside, and when they are to be looked at again. Pure."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from flywheel.api.campaign import Campaign
from flywheel.api.service import Service
from flywheel.campaign.gates import measuring
from flywheel.campaign.observed import Observed
from flywheel.campaign.releasing import Releasing, deployment_of_slot, released
from flywheel.campaign.slots import is_probed
from flywheel.plan import ObjectKey
from flywheel.release.facts import Facts, full_size, preview_size
from flywheel.release.gate.machine import RUNS_ONCE
from flywheel.release.naming import slot_name
from flywheel.release.revision import named_by
from flywheel.release.state import Leaving, ReleaseState
from flywheel.release.step import DRAIN_DELAY
from flywheel.release.work import Pods, Probing, Source, Telling, Work
from flywheel.workload.naming import child_name

CONFIGURATION_LOOK_AGAIN = timedelta(seconds=30)
JOB_LOOK_AGAIN = timedelta(seconds=5)


def serving_key(observed: Observed, service: str, going_on: Releasing) -> ObjectKey:
    """Return the address of the Deployment that has the traffic of a service."""
    step = going_on.steps.get(service)
    if step is None or step.state.active is None:
        return ObjectKey("apps", "Deployment", observed.namespace, child_name(observed.name, service))
    return deployment_of_slot(observed, service, step.state.active.slot)


def release_wakes(observed: Observed, campaign: Campaign, going_on: Releasing, now: datetime) -> list[datetime]:
    """Say when the clock alone makes another look at the releases necessary."""
    wakes = [step.wake_at for step in going_on.steps.values() if step.wake_at is not None]
    if any(step.due is not None and step.due.gate.kind in RUNS_ONCE for step in going_on.steps.values()):
        wakes.append(now + JOB_LOOK_AGAIN)
    if any(named_by(observed.name, service) for service in released(campaign)):
        wakes.append(now + CONFIGURATION_LOOK_AGAIN)
    return wakes


def work_of(
    observed: Observed, campaign: Campaign, going_on: Releasing, now: datetime, variants: Sequence[Service] = ()
) -> Work:
    """Gather what is wanted from outside; `variants` are the services that A/B tests make of others."""
    measured, telling, probing = [], [], []
    for service in released(campaign):
        step = going_on.steps[service.name]
        wanted = measuring(campaign, service, step, now)
        if wanted is not None:
            measured.append(wanted)
        telling += _telling(service, step.state, now) if going_on.facts[service.name].followed else []
        if is_probed(campaign, service):
            probing += _probing(observed, service, step.state, going_on.facts[service.name])
    sources = tuple(
        Source(service.name, service.content.git)
        for service in (*campaign.spec.services, *variants)
        if service.content and service.content.git
    )
    if not (measured or telling or probing or sources):
        return Work()
    return Work(campaign.name, tuple(measured), tuple(telling), tuple(probing), sources)


def _telling(service: Service, state: ReleaseState, now: datetime) -> list[Telling]:
    drain = service.release.drain
    if drain is None or state.promoted_at is None or now < state.promoted_at + DRAIN_DELAY:
        return []
    port = drain.port or service.listening_ports[0].container_port
    leaving: list[Leaving] = [each for each in (state.previous, state.failed) if each and each.drained_at is None]
    told = [Telling(Pods(service.name, each.slot, each.revision), drain, port) for each in leaving]
    if state.resume and state.active:
        told.append(Telling(Pods(service.name, state.active.slot, state.active.revision), drain, port, resume=True))
    return told


def _probing(observed: Observed, service: Service, state: ReleaseState, facts: Facts) -> list[Probing]:
    preview = state.preview
    if preview is None or state.phase != "Preparing":
        return []
    # Before its pods are ready, those of an earlier attempt that are on their way out would answer.
    if not facts.slot(preview.slot).holds(preview.revision, preview_size(facts, full_size(state, facts))):
        return []
    host = f"{slot_name(observed.name, service.name, preview.slot)}.{observed.namespace}.svc"
    return [Probing(Pods(service.name, preview.slot, preview.revision), host, service.listening_ports[0].port)]
