"""The conditions of a Campaign: what Ready, Reconciling, Stalled and their companions say, and why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flywheel.api.problem import Problem
from flywheel.campaign.conditions import Condition, timestamp
from flywheel.campaign.decision import Course, Decision, Teardown
from flywheel.campaign.entry import EdgeState
from flywheel.campaign.observed import Observed
from flywheel.campaign.releasetold import RELEASE_TYPES, release_at_work, release_conditions, release_waiting
from flywheel.campaign.stages import Stage
from flywheel.events.state import AnalyticsState
from flywheel.plan import LiveObject
from flywheel.workload.keda import obstacle
from flywheel.workload.provider import counts_traffic
from flywheel.workload.state import Health, ServiceState

SHOWN = 3
"""How many of many things a message names."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What became of a decision."""

    states: Mapping[str, ServiceState]
    refused: Sequence[Problem] = ()
    """Objects that cannot be as the plan wants them until a person changes something."""
    waiting: Sequence[Problem] = ()
    """Objects that could not be applied yet."""
    edge: EdgeState | None = None
    analytics: AnalyticsState | None = None
    """The store that the Campaigns of the namespace share."""
    route: LiveObject | None = None
    unknown_fields: Sequence[str] = ()


def conditions(observed: Observed, decision: Decision, facts: Facts) -> list[Condition]:
    """Say how a Campaign stands. Reconciling, Stalled and their like are present only while they are true."""
    companions = [
        *_suspended(decision),
        *_services_ready(decision, facts),
        *release_conditions(observed, decision),
        *_edge_ready(facts),
        *_analytics_ready(facts),
        *_scaling_limited(observed, decision),
        *_route_ready(decision, facts),
        *_teardown_blocked(decision),
        *_unknown_fields(facts),
    ]
    return [*_summary(observed, decision, facts, companions), *companions]


def _summary(
    observed: Observed, decision: Decision, facts: Facts, companions: Sequence[Condition]
) -> tuple[Condition, ...]:
    stalled = _stalled(decision, facts, companions)
    if stalled:
        reason, message = stalled
        return Condition("Ready", "False", reason, message), Condition("Stalled", "True", reason, message)
    working = _working(decision, facts)
    if working:
        reason, message = working
        return Condition("Ready", "Unknown", reason, message), Condition("Reconciling", "True", reason, message)
    if decision.suspended:
        return (Condition("Ready", "Unknown", "Suspended", "suspended: every service is at zero replicas"),)
    waiting = release_waiting(decision)
    if waiting:
        return (Condition("Ready", "Unknown", *waiting),)
    return (Condition("Ready", "True", *_good(observed, decision, facts)),)


def _stalled(decision: Decision, facts: Facts, companions: Sequence[Condition]) -> tuple[str, str] | None:
    """What only a person can resolve, the gravest first."""
    if decision.problems:
        return "InvalidSpec", f"{_several(decision.problems)}. What runs is left as it is"
    blocked = next((each for each in companions if each.type == "TeardownBlocked"), None)
    if blocked:
        return blocked.reason, blocked.message
    if facts.refused:
        return "Refused", _several(facts.refused)
    failed = [state for state in _states(facts) if state.health is Health.FAILED]
    if failed:
        return failed[0].reason, _several([state.message for state in failed])
    if facts.edge and facts.edge.serving:
        return facts.edge.serving.reason, facts.edge.serving.message
    against = [each for each in companions if each.type in ("RouteReady", *RELEASE_TYPES) and each.status == "False"]
    return (against[0].reason, against[0].message) if against else None


def _working(decision: Decision, facts: Facts) -> tuple[str, str] | None:
    if decision.teardown and not decision.teardown.complete:
        return "TearingDown", _tearing_down(decision.teardown)
    if facts.waiting:
        return "Waiting", _several(facts.waiting)
    unready = [state for state in _states(facts) if state.health is not Health.READY]
    if unready:
        return "Progressing", _several([state.message for state in unready])
    if facts.edge and not facts.edge.followed:
        return "Progressing", _following(facts.edge)
    return release_at_work(decision)


def _states(facts: Facts) -> list[ServiceState]:
    return [*facts.states.values(), *([facts.edge.service] if facts.edge else [])]


def _following(edge: EdgeState) -> str:
    return f"{edge.applied} of {edge.pods} edge pods have taken up the newest configuration"


def _tearing_down(teardown: Teardown) -> str:
    if not teardown.waiting_for:
        return "removing everything"
    return f"still there: {_several(teardown.waiting_for)}"


def _good(observed: Observed, decision: Decision, facts: Facts) -> tuple[str, str]:
    stage = decision.stage or Stage.SCHEDULED
    if stage is Stage.RETIRED:
        return stage.value, f"over and removed: {_searched(observed)}"
    if decision.course is Course.REST or not facts.states:
        return stage.value, "nothing runs yet" + _until(decision)
    return stage.value, f"{len(facts.states)} of {len(facts.states)} services are ready" + _until(decision)


def _searched(observed: Observed) -> str:
    """Say how far the search went, and no more: what could not be searched is named in the report."""
    report = observed.status.get("report")
    told = report if isinstance(report, dict) else {}
    sweep = observed.sweep
    checked = sweep.checked if sweep else told.get("checkedResources", 0)
    unchecked = len(sweep.unchecked if sweep else told.get("uncheckedResources") or ())
    text = f"{checked} API resources were searched and nothing is left"
    return f"{text}; {unchecked} could not be searched, see status.report" if unchecked else text


def _until(decision: Decision) -> str:
    following = decision.next_transition
    return f"; {following.stage.value} at {timestamp(following.at)}" if following else ""


def _suspended(decision: Decision) -> list[Condition]:
    if not decision.suspended:
        return []
    message = "spec.schedule.suspend is true: nothing runs while it holds, and the clock goes on"
    return [Condition("Suspended", "True", "SuspendedBySpec", message)]


def _services_ready(decision: Decision, facts: Facts) -> list[Condition]:
    if decision.course is not Course.RUN:
        return []
    unready = [state for state in facts.states.values() if state.health is not Health.READY]
    if not unready:
        message = f"{len(facts.states)} of {len(facts.states)} services are ready"
        return [Condition("ServicesReady", "True", "AllReady", message)]
    worst = min(unready, key=lambda state: state.health is not Health.FAILED)
    return [Condition("ServicesReady", "False", worst.reason, _several([state.message for state in unready]))]


def _edge_ready(facts: Facts) -> list[Condition]:
    edge = facts.edge
    if edge is None:
        return []
    if edge.serving:
        return [Condition("EdgeReady", "False", edge.serving.reason, edge.serving.message)]
    if edge.service.health is not Health.READY:
        return [Condition("EdgeReady", "False", edge.service.reason, edge.service.message)]
    if not edge.followed:
        return [Condition("EdgeReady", "False", "Applying", _following(edge))]
    return [Condition("EdgeReady", "True", "Applied", _following(edge))]


def _analytics_ready(facts: Facts) -> list[Condition]:
    """Say whether what is measured is kept. The site serves either way, so this does not make a Campaign unready."""
    if facts.edge is None or facts.analytics is None:
        return []
    said = facts.analytics
    if not said.ready:
        return [Condition("AnalyticsReady", "False", said.reason, said.message)]
    if facts.edge.delivery:
        return [Condition("AnalyticsReady", "False", facts.edge.delivery.reason, facts.edge.delivery.message)]
    return [Condition("AnalyticsReady", "True", said.reason, said.message)]


def _scaling_limited(observed: Observed, decision: Decision) -> list[Condition]:
    if observed.provider.adapter != "KEDA" or decision.campaign is None:
        return []
    said = [
        f"spec.services[{index}].{limit}"
        for index, service in enumerate(decision.campaign.spec.services)
        if counts_traffic(service) and (limit := obstacle(service))
    ]
    return [Condition("ScalingLimited", "True", "NotWithKEDA", _several(said))] if said else []


def _route_ready(decision: Decision, facts: Facts) -> list[Condition]:
    if decision.course is not Course.RUN or decision.campaign is None or decision.campaign.spec.route is None:
        return []
    if decision.route_missing:
        message = (
            "spec.route: the cluster does not serve HTTPRoute (gateway.networking.k8s.io/v1): install the Gateway API "
            "or take spec.route out; it is picked up as soon as it is there"
        )
        return [Condition("RouteReady", "False", "GatewayAPIMissing", message)]
    parents = facts.route.status.get("parents", []) if facts.route else []
    if not parents:
        message = "no gateway has taken up the route yet: does spec.route.parentRefs name one that exists?"
        return [Condition("RouteReady", "Unknown", "NotAccepted", message)]
    said = [each for parent in parents for each in parent.get("conditions", [])]
    against = [each for each in said if each.get("type") in ("Accepted", "ResolvedRefs") and each["status"] == "False"]
    if against:
        message = f"spec.route: a gateway refused the route: {against[0].get('message', '')}"
        return [Condition("RouteReady", "False", str(against[0].get("reason") or "Refused"), message)]
    return [Condition("RouteReady", "True", "Accepted", f"{len(parents)} gateways carry the route")]


def _teardown_blocked(decision: Decision) -> list[Condition]:
    if not decision.teardown or not decision.teardown.blocked_by:
        return []
    return [Condition("TeardownBlocked", "True", "ObjectsRemain", _several(decision.teardown.blocked_by))]


def _unknown_fields(facts: Facts) -> list[Condition]:
    if not facts.unknown_fields:
        return []
    message = f"fields that do not exist were dropped: {', '.join(facts.unknown_fields[:10])}: correct their spelling"
    return [Condition("UnknownFields", "True", "Pruned", message)]


def _several(things: Sequence[object]) -> str:
    text = "; ".join(str(each) for each in things[:SHOWN])
    return text if len(things) <= SHOWN else f"{text}; and {len(things) - SHOWN} more"
