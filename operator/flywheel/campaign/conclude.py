"""What to tell after a decision was carried out: the status, and the Events for what changed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from flywheel.api.load import unknown_fields
from flywheel.campaign.conditions import condition_list, timestamp
from flywheel.campaign.decision import Course, Decision
from flywheel.campaign.desired import ROUTE_API
from flywheel.campaign.entry import edge_state
from flywheel.campaign.inventory import entries
from flywheel.campaign.observed import Observed
from flywheel.campaign.releasetold import content_field, release_fields, serving_fields
from flywheel.campaign.releasework import serving_key
from flywheel.campaign.report import finished_report, unfinished_report
from flywheel.campaign.stages import BEGINNING, Stage
from flywheel.campaign.verdict import Facts, conditions
from flywheel.edge.naming import edge_name
from flywheel.events.state import AnalyticsState, analytics_state, store_conflict
from flywheel.plan import LiveObject, Manifest, Notice, ObjectKey, Outcome, content_hash
from flywheel.workload.naming import child_name
from flywheel.workload.state import Health, ServiceState, service_state

TRANSITIONS_KEPT = 20
REFUSED_AGAIN_AFTER = timedelta(minutes=2)
WAITING_AGAIN_AFTER = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What is told about a Campaign, and when to look at it again."""

    status: Manifest
    notices: tuple[Notice, ...] = ()
    wake_at: datetime | None = None


def conclude(observed: Observed, decision: Decision, outcomes: Iterable[Outcome], now: datetime) -> Conclusion:
    """Write the status that follows from what was decided and what became of it."""
    outcomes = tuple(outcomes)
    facts = _facts(observed, decision, outcomes)
    stage = _shown_stage(observed, decision)
    status: Manifest = {
        "observedGeneration": observed.generation,
        "conditions": condition_list(
            conditions(observed, decision, facts), observed.conditions, observed.generation, now
        ),
        "inventory": {"entries": entries(decision.plan.inventory)},
        **_stage_fields(observed, decision, stage, now),
        **_service_fields(observed, decision, facts),
        **release_fields(observed, decision),
        **_winner_fields(observed, decision, facts),
        **_edge_field(observed, decision, facts),
        **_report_field(observed, decision, stage, now),
    }
    return Conclusion(status, _notices(observed, decision, status), _wake_at(decision, facts, now))


def _facts(observed: Observed, decision: Decision, outcomes: tuple[Outcome, ...]) -> Facts:
    lives: dict[ObjectKey, LiveObject] = dict(observed.children)
    lives.update({each.key: each.live for each in outcomes if each.live})
    states = {
        name: service_state(
            name, lives.get(serving_key(observed, name, decision.releases)), size, observed.troubles.get(name)
        )
        for name, size in decision.sizes.items()
    }
    return Facts(
        states=states,
        refused=[each.problem for each in outcomes if each.problem and each.terminal],
        waiting=[each.problem for each in outcomes if each.problem and not each.terminal],
        analytics=_analytics(observed) if decision.edge else None,
        edge=edge_state(observed, decision.edge, lives) if decision.edge else None,
        route=lives.get(ObjectKey(*ROUTE_API, observed.namespace, observed.name)),
        unknown_fields=unknown_fields(observed.manifest),
    )


def _analytics(observed: Observed) -> AnalyticsState:
    conflict = store_conflict(observed.manifest, observed.neighbours)
    if conflict:
        return AnalyticsState(False, "StoreConflict", conflict)
    return analytics_state(observed.shared, observed.shared_trouble)


def _shown_stage(observed: Observed, decision: Decision) -> Stage:
    """Retired is said only when nothing is left; until then the stage before it stands."""
    stage = decision.stage or Stage.SCHEDULED
    if stage is not Stage.RETIRED or decision.course is Course.REST:
        return stage
    if decision.teardown and decision.teardown.complete:
        return stage
    reached = observed.reached
    return reached if reached and reached.rank >= Stage.DRAINING.rank else Stage.DRAINING


def _stage_fields(observed: Observed, decision: Decision, stage: Stage, now: datetime) -> Manifest:
    fields: Manifest = {"stage": stage.value}
    following = decision.next_transition
    if following and decision.course is not Course.FREEZE:
        fields["nextTransition"] = {"stage": following.stage.value, "at": timestamp(following.at)}
    if decision.timeline:
        fields["schedule"] = {
            "digest": decision.timeline.digest,
            "transitions": [
                {"stage": each.stage.value, "at": timestamp(each.at)}
                for each in decision.timeline.transitions
                if each.at != BEGINNING
            ],
        }
    elif "schedule" in observed.status:
        fields["schedule"] = observed.status["schedule"]
    transitions = list(observed.status.get("transitions") or [])
    if stage is not observed.reached:
        transitions.append({"stage": stage.value, "at": timestamp(now)})
    fields["transitions"] = transitions[-TRANSITIONS_KEPT:]
    return fields


def _service_fields(observed: Observed, decision: Decision, facts: Facts) -> Manifest:
    if decision.course is Course.FREEZE:
        return {"services": observed.status["services"]} if "services" in observed.status else {}
    if decision.course is not Course.RUN or decision.campaign is None:
        return {}
    revisions = {
        each["metadata"]["name"]: content_hash(each["spec"]["template"])
        for each in decision.plan.apply
        if each["kind"] == "Deployment"
    }
    services = []
    for service in decision.campaign.spec.services:
        name = child_name(observed.name, service.name)
        entry = _service_entry(service.name, facts.states[service.name], revisions.get(name, ""))
        entry |= serving_fields(decision, service.name)
        entry |= content_field(observed, service)
        if service.listening_ports:
            entry["url"] = f"http://{name}.{observed.namespace}.svc:{service.listening_ports[0].port}"
        services.append(entry)
    return {"services": services}


def _service_entry(name: str, state: ServiceState, revision: str) -> dict[str, Any]:
    entry = {"name": name, "desired": state.desired, "ready": state.ready, "revision": revision}
    return {field: value for field, value in entry.items() if value != ""}


def _winner_fields(observed: Observed, decision: Decision, facts: Facts) -> Manifest:
    """Say where the Campaign runs what an A/B test has found better than its spec."""
    if decision.course is Course.FREEZE:
        return {"winners": observed.status["winners"]} if "winners" in observed.status else {}
    told = [
        {"service": service, "test": test, "variant": variant, "serves": _serves(decision, facts, service)}
        for service, (test, variant) in sorted(decision.winners.items())
    ]
    return {"winners": told} if told else {}


def _serves(decision: Decision, facts: Facts, service: str) -> bool:
    """Whether visitors get what the Campaign wants of a service, and nothing else any more."""
    step = decision.releases.steps.get(service)
    if step is None:
        return facts.states[service].health is Health.READY
    draft, active = decision.releases.drafts[service].revision, step.state.active
    wanted = draft is not None and active is not None and active.revision == draft.name
    return wanted and step.state.phase == "Stable"


def _edge_field(observed: Observed, decision: Decision, facts: Facts) -> Manifest:
    if decision.course is Course.FREEZE:
        return {"edge": observed.status["edge"]} if "edge" in observed.status else {}
    if decision.edge is None or facts.edge is None:
        return {}
    return {
        "edge": {
            "generation": decision.edge.generation,
            "pods": facts.edge.pods,
            "applied": facts.edge.applied,
            "url": f"http://{edge_name(observed.name)}.{observed.namespace}.svc",
        }
    }


def _report_field(observed: Observed, decision: Decision, stage: Stage, now: datetime) -> Manifest:
    if decision.teardown and not decision.teardown.complete:
        return {"report": unfinished_report(observed, decision.teardown)}
    if decision.teardown and stage is Stage.RETIRED:
        return {"report": finished_report(observed, decision.teardown, timestamp(now))}
    keep = decision.course is Course.FREEZE or stage is Stage.RETIRED
    return {"report": observed.status["report"]} if keep and "report" in observed.status else {}


def _wake_at(decision: Decision, facts: Facts, now: datetime) -> datetime | None:
    wakes = [decision.plan.wake_at]
    if facts.refused:
        wakes.append(now + REFUSED_AGAIN_AFTER)
    if facts.waiting:
        wakes.append(now + WAITING_AGAIN_AFTER)
    if decision.teardown and decision.teardown.complete:
        wakes.append(now)
    return min((each for each in wakes if each), default=None)


def _notices(observed: Observed, decision: Decision, status: Manifest) -> tuple[Notice, ...]:
    notices = []
    if decision.course is not Course.FREEZE and status["stage"] != observed.status.get("stage"):
        notices.append(_stage_notice(observed, status))
    notices += [*_raised(observed, status, "Stalled"), *_raised(observed, status, "UnknownFields")]
    if decision.stage is not Stage.RETIRED:
        notices += _suspension(observed, status)
    if observed.is_deleting and decision.teardown and decision.teardown.complete:
        checked = observed.sweep.checked if observed.sweep else 0
        message = f"everything is removed: {checked} API resources were searched and nothing is left"
        notices.append(Notice("Normal", "Removed", message, f"removed/{observed.generation}"))
    return tuple(notices)


def _stage_notice(observed: Observed, status: Manifest) -> Notice:
    stage = status["stage"]
    before = observed.status.get("stage")
    came = f"{before} -> {stage}" if before else f"{stage}"
    following = status.get("nextTransition")
    what_next = f"; {following['stage']} at {following['at']}" if following else ""
    identity = f"stage/{before}/{stage}/{status.get('schedule', {}).get('digest')}/{len(status['transitions'])}"
    return Notice("Normal", stage, came + what_next, identity)


def _condition(status: Mapping[str, Any], type_: str) -> Mapping[str, Any]:
    return next((each for each in status["conditions"] if each["type"] == type_), {})


def _raised(observed: Observed, status: Manifest, type_: str) -> list[Notice]:
    """Announce a trouble once for each spec that has it: its message may count things, and change all the time."""
    now, before = _condition(status, type_), observed.condition(type_)
    told = (before.get("reason"), before.get("observedGeneration"))
    if not now or (now["reason"], now["observedGeneration"]) == told:
        return []
    identity = f"{type_}/{observed.generation}/{now['reason']}"
    return [Notice("Warning", now["reason"], now["message"], identity)]


def _suspension(observed: Observed, status: Manifest) -> list[Notice]:
    now, before = _condition(status, "Suspended"), observed.condition("Suspended")
    if now and not before:
        return [Notice("Normal", "Suspended", now["message"], f"suspended/{observed.generation}")]
    if before and not now:
        message = "resumed: the services come back to the size of the stage"
        return [Notice("Normal", "Resumed", message, f"resumed/{observed.generation}")]
    return []
