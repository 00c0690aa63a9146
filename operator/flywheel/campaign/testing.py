"""What one A/B test is decided from: its spec, its Campaign, the pods of its variants. Pure."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from flywheel.api.abtest import ABTest
from flywheel.api.campaign import Campaign
from flywheel.api.problem import Problem
from flywheel.campaign.abtest_overrides import overridden
from flywheel.campaign.abtest_time import END, Span, span_of
from flywheel.campaign.conditions import Condition
from flywheel.campaign.stages import Stage, Timeline, resolve
from flywheel.experiment.assignment import Segments, allocate
from flywheel.experiment.plan import challengers, design_digest
from flywheel.experiment.state import ENDED, ABTestState, read_state
from flywheel.experiment.told import Pods
from flywheel.plan import LiveObject, ObjectKey

_LATEST = datetime.max.replace(tzinfo=UTC)
LOOK_EVERY = timedelta(seconds=15)
LOOK_AT_LEAST_EVERY = timedelta(seconds=60)
LOOKS = 240
"""Over the time that a test has run, from which a quick one is told from a long one."""
OVER = (Stage.DRAINING, Stage.RETAINED, Stage.RETIRED)
STOP_ANNOTATION = "flywheel.dev/stop"
PROMOTE_ANNOTATION = "flywheel.dev/promote"


def shipping(test: ABTest, state: ABTestState) -> str:
    """Name the variant that the service shall run instead of what its spec says; empty where there is none.

    A person may name any variant once there is a verdict; otherwise it is the one that was found better.
    """
    decision = test.spec.decision
    if state.decision is None or state.state not in ("Decided", "Promoted") or decision.promote == "Never":
        return ""
    asked = test.metadata.annotations.get(PROMOTE_ANNOTATION)
    if asked in {each.name for each in challengers(test)}:
        return str(asked)
    is_asked = decision.promote == "Automatic" or asked is not None
    return state.winner if is_asked and state.decision.verdict == "Ship" else ""


def is_adopted(test: ABTest, campaign: Campaign, variant: str) -> bool:
    """Tell whether the Campaign's own spec says what a variant makes of the service."""
    override = next((each.override for each in challengers(test) if each.name == variant), None)
    service = next((each for each in campaign.spec.services if each.name == test.spec.service), None)
    return override is not None and service is not None and overridden(service, override) == service


def segments_of(test: ABTest, state: ABTestState, others: Sequence[ABTest]) -> Segments:
    """Give the buckets of its layer that a test is to have."""
    older: list[Segments] = []
    younger: list[Segments] = []
    for other in others:
        held = read_state(other.status)
        if other.spec.layer_name == test.spec.layer_name and held.state not in ENDED:
            # The order in which the edge lets them take visitors.
            is_older = began(other, held) < began(test, state)
            (older if is_older else younger).append(held.segments)
    return allocate(state.segments, test.spec.traffic, older, younger)


def began(test: ABTest, state: ABTestState) -> tuple[datetime, str]:
    """Give the place of a test among those of its layer."""
    return state.started_at or _LATEST, test.name


def changed_design(test: ABTest, state: ABTestState) -> tuple[Problem, ...]:
    """Say that a test asks another question than the one that its visitors were counted for."""
    if not state.design or state.design == design_digest(test):
        return ()
    why = (
        "variants, metrics.primary, statistics or salt are not what they were when the test began, so what was counted "
        "is of another test: put them back, or delete this ABTest and make a new one"
    )
    return (Problem("spec", why),)


def pods_of(test: ABTest, children: Mapping[ObjectKey, LiveObject]) -> dict[str, Pods]:
    """Tell of the pods of each variant; control's are told on the Campaign."""
    found = {}
    for variant in challengers(test):
        name = test.spec.child_name(variant.name)
        live = children.get(ObjectKey("apps", "Deployment", test.namespace, name))
        if live is not None:
            ready = int(live.status.get("availableReplicas") or 0)
            found[variant.name] = Pods(name, live.replicas or 0, ready, _trouble(live) if not ready else "")
    return found


def _trouble(live: LiveObject) -> str:
    """Say what the Deployment says of pods that do not come."""
    for wanted, status in (("ReplicaFailure", "True"), ("Progressing", "False"), ("Available", "False")):
        for each in live.status.get("conditions") or ():
            if each.get("type") == wanted and each.get("status") == status:
                return str(each.get("message") or "")[:500]
    return ""


def unready(test: ABTest, pods: Mapping[str, Pods]) -> str:
    """Say which variants do not serve yet; empty where all do."""
    waiting = [each.name for each in challengers(test) if each.name not in pods or not pods[each.name].ready]
    if not waiting:
        return ""
    why = next((pods[name].message for name in waiting if name in pods and pods[name].message), "")
    return f"no pod of {', '.join(waiting)} is ready yet" + (f": {why}" if why else "")


def ends_at(test: ABTest, campaign: Campaign | None, state: ABTestState, now: datetime) -> datetime | None:
    """Tell when a test ends at the latest: by its schedule, with its campaign, or as its time is used up."""
    found = []
    if campaign is not None:
        timeline, own = resolve(campaign.spec.schedule), span_of(test, campaign)
        if isinstance(own, Span):
            found.append(own.closes)
        after = timeline.after(Stage.LIVE) if isinstance(timeline, Timeline) else None
        if after is not None:
            found.append(after.at)
    if state.started_at is not None:
        paused = timedelta(seconds=state.paused_seconds) + (now - state.paused_at if state.paused_at else timedelta())
        found.append(state.started_at + test.spec.decision.maximum_duration + paused)
    known = [each for each in found if each != END]
    return min(known) if known else None


def early(test: ABTest, campaign: Campaign | None, stage: str, now: datetime) -> str:
    """Say why it is not the test's time yet; empty where it is."""
    if stage != Stage.LIVE.value:
        return f"the campaign is {stage or 'new'}, and is tested once it is Live"
    opens = starts_at(test, campaign)
    return f"it starts at {opens:%Y-%m-%dT%H:%M:%SZ}" if opens is not None and now < opens else ""


def starts_at(test: ABTest, campaign: Campaign | None) -> datetime | None:
    """Tell when its own schedule lets it begin."""
    own = span_of(test, campaign) if campaign is not None and test.spec.schedule is not None else None
    return own.opens if isinstance(own, Span) and test.spec.schedule and test.spec.schedule.starts_at else None


def over(test: ABTest, campaign: Campaign | None, stage: str, state: ABTestState, now: datetime) -> str:
    """Say why its time is over; empty where it is not.

    A test that runs into the end of its own schedule is decided on; one that does not run by then is over.
    """
    if stage in {each.value for each in OVER}:
        return f"the campaign is {stage}"
    if campaign is None and not stage and state.started_at is not None:
        return "the campaign is gone"
    own = span_of(test, campaign) if campaign is not None else None
    if isinstance(own, Span) and now >= own.closes and state.state in ("Waiting", "Paused"):
        return "the time of its schedule is over"
    return ""


def next_look(state: ABTestState, now: datetime) -> datetime | None:
    """Give when figures are to be looked at; None where they are not."""
    if state.state != "Running":
        return None
    if state.asked_at is None:
        return now
    return state.asked_at + min(max(LOOK_EVERY, state.elapsed(now) / LOOKS), LOOK_AT_LEAST_EVERY)


def conditions_of(
    state: ABTestState, problems: Sequence[Problem], *, is_waiting_for_pods: str, unknown: Sequence[str] = ()
) -> tuple[Condition, ...]:
    """Say how a test stands, for programs that wait."""
    conditions = [*_standing(state, problems)]
    if state.state not in ENDED and state.state != "Decided":
        pods = is_waiting_for_pods
        conditions.append(
            Condition("VariantsReady", "False", "PodsNotReady", pods)
            if pods
            else Condition("VariantsReady", "True", "AllReady", "each variant has a pod that serves")
        )
    if state.reason == "FiguresUnavailable":
        conditions.append(Condition("Measured", "False", state.reason, state.message))
    elif state.looked_at is not None:
        conditions.append(Condition("Measured", "True", "UpToDate", "figures come from the event store"))
    if state.decision is not None:
        conditions.append(Condition("Decided", "True", state.decision.verdict, state.decision.sentence))
    if state.changes:
        conditions.append(_changed(state))
    if state.state == "Promoted":
        conditions.append(Condition("Promoted", "True", "ServiceRunsIt", state.message))
    if state.reason == "Suspended":
        conditions.append(Condition("Suspended", "True", "SuspendedBySpec", state.message))
    if unknown:
        told = f"{', '.join(unknown)}: no such field; correct the spelling or remove it"
        conditions.append(Condition("UnknownFields", "True", "FieldsIgnored", told))
    return tuple(conditions)


def _changed(state: ABTestState) -> Condition:
    times = ", ".join(f"{each:%Y-%m-%dT%H:%M:%SZ}" for each in state.changes[-3:])
    message = (
        f"the service was released while the test ran ({times}): all variants are made of it, so they stay comparable, "
        "but figures from before and after are of two versions"
    )
    return Condition("ServiceChanged", "True", "ReleasedMeanwhile", message)


def _standing(state: ABTestState, problems: Sequence[Problem]) -> tuple[Condition, ...]:
    reason, message = state.reason or state.state, state.message or state.state
    if problems:
        told = "; ".join(str(each) for each in problems)
        return Condition("Ready", "False", "InvalidTest", told), Condition("Stalled", "True", "InvalidTest", told)
    if state.state == "Failed":
        return Condition("Ready", "False", reason, message), Condition("Stalled", "True", reason, message)
    if state.state in ENDED or state.state in ("Running", "Decided"):
        return (Condition("Ready", "True", reason, message),)
    return Condition("Ready", "Unknown", reason, message), Condition("Reconciling", "True", reason, message)


def stage_of(status: Mapping[str, Any]) -> str:
    """Read the stage off a Campaign's status."""
    return str(status.get("stage") or "")
