"""What to do about one Campaign, decided from its spec, what there is of it, and the time. No I/O, no clock.

    observed, now -> Decision(course, plan, questions)

A decision may need to know more than is at hand; then it carries questions, and is made again with the answers.
"""

from dataclasses import replace
from datetime import datetime, timedelta

import msgspec

from flywheel.api.campaign import Campaign
from flywheel.api.load import InvalidResource, load_campaign
from flywheel.api.problem import Problem
from flywheel.campaign.decision import Course, Decision
from flywheel.campaign.desired import ROUTE_API, desired, optional_apis
from flywheel.campaign.entry import EdgeOrders, deployment_of, gone, needs_pods
from flywheel.campaign.inventory import in_creation_order, owned, recorded
from flywheel.campaign.observed import Observed, Questions
from flywheel.campaign.releasework import release_wakes, serving_key, work_of
from flywheel.campaign.releasing import Releasing, Revisions, States, edge_live, edge_slots, releasing
from flywheel.campaign.report import report_config_map, report_key
from flywheel.campaign.stages import Stage, Timeline, current_stage, resolve
from flywheel.campaign.teardown import tear_down
from flywheel.campaign.variants import (
    Standing,
    differing,
    edge_tests,
    holdout_salt,
    pods_gone_at,
    segments_key,
    tests_of,
    variant_backends,
    variant_sources,
    winners,
    with_winners,
)
from flywheel.edge.compose import compose
from flywheel.edge.document import Fraud
from flywheel.edge.manifests import edge_size
from flywheel.edge.naming import COMPONENT as EDGE
from flywheel.fraud.naming import worker_urls
from flywheel.plan import Deletion, LiveObject, ObjectKey, Plan
from flywheel.workload.scaling import Phase, Size, size_of
from flywheel.workload.state import Health, service_state

SCALERS = ("HorizontalPodAutoscaler", "ScaledObject")
ROUTE_LOOK_AGAIN = timedelta(seconds=15)
PODS_LOOK_AGAIN = timedelta(seconds=10)


def decide(observed: Observed, now: datetime) -> Decision:
    """Decide the next step for one Campaign. Total: any Campaign and any world give a decision."""
    if observed.is_deleting:
        return _delete(observed, now)
    try:
        campaign = load_campaign(observed.manifest)
    except InvalidResource as invalid:
        return _freeze(observed, None, invalid.problems)
    timeline = resolve(campaign.spec.schedule)
    if not isinstance(timeline, Timeline):
        return _freeze(observed, campaign, timeline)
    return _follow(observed, campaign, timeline, now)


def _delete(observed: Observed, now: datetime) -> Decision:
    if not observed.has_finalizer:
        return Decision(Course.REST, plan=Plan(finalizer=False))
    if not observed.orphans:
        return replace(tear_down(observed, now), stage=observed.reached)
    keys = in_creation_order(owned(observed))
    return Decision(Course.LET_GO, plan=Plan(inventory=keys, release=keys, finalizer=False), stage=observed.reached)


def _freeze(observed: Observed, campaign: Campaign | None, problems: tuple[Problem, ...]) -> Decision:
    """The last good state keeps serving: nothing is applied and nothing is taken away until the spec makes sense."""
    plan = Plan(inventory=recorded(observed), finalizer=observed.has_finalizer)
    return Decision(Course.FREEZE, plan=plan, campaign=campaign, stage=observed.reached, problems=problems)


def _follow(observed: Observed, campaign: Campaign, timeline: Timeline, now: datetime) -> Decision:
    reached = observed.reached if observed.timeline_digest == timeline.digest else None
    stage = current_stage(timeline, now, reached)
    decision = _in_stage(observed, campaign, stage, timeline, now)
    following = timeline.after(stage)
    wakes = [decision.plan.wake_at, following.at if following else None]
    if stage is Stage.LIVE and timeline.hold_until and timeline.hold_until > now:
        wakes.append(timeline.hold_until)
    return replace(
        decision,
        campaign=campaign,
        stage=stage,
        timeline=timeline,
        next_transition=following,
        # What is over is over: nothing would come back if the author took the suspension away.
        suspended=is_suspended(campaign) and stage is not Stage.RETIRED,
        plan=replace(decision.plan, wake_at=min((each for each in wakes if each), default=None)),
    )


def _in_stage(observed: Observed, campaign: Campaign, stage: Stage, timeline: Timeline, now: datetime) -> Decision:
    if stage.runs:
        return _run(observed, campaign, _phase(campaign, stage, timeline, now), now)
    if stage is Stage.RETIRED and _is_reported(observed):
        return _rest_in_retirement(observed)
    if recorded(observed) or owned(observed) or stage is Stage.RETIRED:
        return tear_down(observed, now)
    return Decision(Course.REST, plan=Plan(finalizer=False))


def _phase(campaign: Campaign, stage: Stage, timeline: Timeline, now: datetime) -> Phase:
    live = stage is Stage.LIVE
    held = live and timeline.hold_until is not None and now < timeline.hold_until
    return Phase(
        zero=is_suspended(campaign) or stage is Stage.RETAINED,
        warm=stage is Stage.WARM or held,
        live=live,
        capped=stage is Stage.DRAINING,
    )


def is_suspended(campaign: Campaign) -> bool:
    """Tell whether the author holds the Campaign at zero replicas."""
    return campaign.spec.schedule is not None and campaign.spec.schedule.suspend


def _is_reported(observed: Observed) -> bool:
    report = observed.status.get("report")
    finished = isinstance(report, dict) and bool(report.get("finishedAt"))
    return finished and not owned(observed).keys() - {report_key(observed)}


def _rest_in_retirement(observed: Observed) -> Decision:
    key = report_key(observed)
    children = owned(observed)
    if key not in children and key not in observed.absent:
        return Decision(Course.REST, questions=Questions(lookups=frozenset({key})))
    # The report belongs to the Campaign and goes with it by itself, so nothing needs the operator any more.
    return Decision(Course.REST, plan=Plan(inventory=(key,), apply=(report_config_map(observed),), finalizer=False))


def _run(observed: Observed, campaign: Campaign, phase: Phase, now: datetime) -> Decision:
    now = now.replace(microsecond=now.microsecond // 1000 * 1000)
    standing = tests_of(observed, campaign, now)
    better = winners(standing)
    differs = differing(campaign, better)
    campaign = with_winners(campaign, better)

    def ordered(states: States, revisions: Revisions) -> str | None:
        orders = _edge_orders(observed, campaign, phase, states, revisions, standing)
        return orders.generation if orders and not phase.zero else None

    going_on = releasing(observed, campaign, phase, now, ordered)
    if going_on.questions:
        return Decision(Course.RUN, questions=going_on.questions)
    orders = _edge_orders(observed, campaign, phase, going_on.states, going_on.revisions, standing)
    wanted = desired(observed, campaign, phase, orders, going_on, standing, now)
    keys = [ObjectKey.of(each) for each in wanted.apply]
    questions = _questions(observed, campaign, phase, orders, [*keys, *wanted.keep], going_on)
    if questions:
        return Decision(Course.RUN, questions=questions)
    stay = {*keys, *wanted.keep}
    stale = {key: live for key, live in owned(observed).items() if key not in stay}
    route_missing = campaign.spec.route is not None and not observed.served.get(ROUTE_API, False)
    wakes = [now + ROUTE_LOOK_AGAIN] if route_missing else []
    if observed.troubles:
        wakes.append(now + PODS_LOOK_AGAIN)
    wakes += release_wakes(observed, campaign, going_on, now)
    wakes += pods_gone_at(standing, now)
    going = tuple(Deletion(k, stale[k].uid) for k in reversed(in_creation_order(stale)) if not stale[k].deleting)
    return Decision(
        Course.RUN,
        plan=Plan(
            inventory=in_creation_order([*keys, *(key for key in wanted.keep if key in observed.children), *stale]),
            apply=wanted.apply,
            # An autoscaler goes first: it would argue with the fixed size that takes its place.
            delete=tuple(each for each in going if each.key.kind in SCALERS),
            prune=tuple(each for each in going if each.key.kind not in SCALERS),
            wake_at=min(wakes, default=None),
        ),
        sizes=_sizes(campaign, phase),
        edge=orders,
        gone_edge_pods=gone(observed) if orders else (),
        origins=wanted.origins,
        route_missing=route_missing,
        releases=going_on,
        winners=differs,
        work=work_of(observed, campaign, going_on, now, variant_sources(standing)),
    )


def _edge_orders(
    observed: Observed,
    campaign: Campaign,
    phase: Phase,
    states: States,
    revisions: Revisions,
    standing: tuple[Standing, ...],
) -> EdgeOrders | None:
    edge = campaign.spec.edge
    if edge is None:
        return None
    live, slots = edge_live(campaign, states), edge_slots(campaign, states, revisions)
    tests = edge_tests(observed, campaign, standing, live.active)
    live = msgspec.structs.replace(live, tests=tests, holdout_salt=holdout_salt(campaign) if tests else "")
    variants = variant_backends(standing)
    fraud = Fraud(workers=worker_urls(campaign.namespace, observed.fraud_workers)) if observed.judged else None
    key = segments_key(campaign, standing)
    made = compose(campaign, edge, live, slots, variants, fraud, key)
    return EdgeOrders(made, edge_size(edge, zero=phase.zero))


def _questions(
    observed: Observed,
    campaign: Campaign,
    phase: Phase,
    orders: EdgeOrders | None,
    wanted: list[ObjectKey],
    going_on: Releasing,
) -> Questions:
    apis = optional_apis(campaign) - observed.served.keys()
    known = recorded(observed)
    lookups = frozenset(known) - set(wanted) - observed.children.keys() - observed.absent
    unready = _unready(observed, campaign, phase, going_on)
    if orders and _is_unready(EDGE, observed.children.get(deployment_of(observed)), orders.size):
        unready.append(EDGE)
    asks_edge = orders is not None and observed.edge_pods is None and needs_pods(observed, orders)
    pods = frozenset(unready) - observed.troubles.keys()
    return Questions(lookups=lookups, apis=apis, pods=pods, edge_pods=asks_edge)


def _unready(observed: Observed, campaign: Campaign, phase: Phase, going_on: Releasing) -> list[str]:
    unready = []
    for name, size in _sizes(campaign, phase).items():
        if _is_unready(name, observed.children.get(serving_key(observed, name, going_on)), size):
            unready.append(name)
    return unready


def _is_unready(name: str, deployment: LiveObject | None, size: Size) -> bool:
    return deployment is not None and service_state(name, deployment, size, None).health is not Health.READY


def _sizes(campaign: Campaign, phase: Phase) -> dict[str, Size]:
    return {service.name: size_of(service, phase) for service in campaign.spec.services}
