"""What one A/B test is decided from: its spec, its Campaign, the pods of its variants. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from flywheel.api.abtest import ABTest, Variant
from flywheel.api.campaign import MAX_CHILD_NAME, Campaign
from flywheel.api.problem import Problem
from flywheel.campaign.conditions import Condition
from flywheel.campaign.stages import Stage
from flywheel.edge.compose import routes_of
from flywheel.experiment.assignment import MOST_AT_ONCE
from flywheel.experiment.state import ENDED, ABTestState
from flywheel.plan import LiveObject, ObjectKey
from flywheel.workload.naming import child_name

LOOK_EVERY = timedelta(seconds=15)
OVER = (Stage.DRAINING, Stage.RETAINED, Stage.RETIRED)
STOP_ANNOTATION = "flywheel.dev/stop"


def problems_of(test: ABTest, campaign: Campaign | None, others: Sequence[ABTest]) -> tuple[Problem, ...]:
    """Find what only shows across objects.

    Args:
        test: The test.
        campaign: The Campaign that it names; None if there is none, or its spec makes no sense.
        others: The tests of the same Campaign that have not ended, without this one.
    """
    spec = test.spec
    if campaign is None:
        message = f"there is no usable Campaign {spec.campaign!r} in {test.metadata.namespace}: create or correct it"
        return (Problem("spec.campaign", message),)
    return tuple(_problems(test, campaign, others))


def _problems(test: ABTest, campaign: Campaign, others: Sequence[ABTest]) -> Iterator[Problem]:
    spec = test.spec
    names = [service.name for service in campaign.spec.services]
    if spec.service not in names:
        yield Problem("spec.service", f"{campaign.name} has no service {spec.service!r}, only {', '.join(names)}")
        return
    if campaign.spec.edge is None:
        yield Problem("spec.campaign", f"{campaign.name} has no edge, which shares visitors out: add spec.edge to it")
    elif spec.service not in {route.service for route in routes_of(campaign, campaign.spec.edge)}:
        yield Problem("spec.service", f"no route of {campaign.name}'s edge leads to {spec.service}: add one")
    same = [other for other in others if other.spec.service == spec.service]
    if len(same) >= MOST_AT_ONCE:
        told = ", ".join(other.name for other in same)
        message = f"{spec.service} has {len(same)} tests already ({told}): wait until one has ended"
        yield Problem("spec.service", message)
    taken = {variant.name: other.name for other in same for variant in other.challengers}
    for index, variant in enumerate(spec.variants):
        path = f"spec.variants[{index}].name"
        if variant.control:
            continue
        full = f"{spec.service}-{variant.name}"
        if full in names:
            yield Problem(path, f"{campaign.name} has a service {full} already: take another name")
        if variant.name in taken:
            yield Problem(path, f"the test {taken[variant.name]} has a variant {variant.name} too: take another name")
        if len(child_name(campaign.name, full)) > MAX_CHILD_NAME:
            name = child_name(campaign.name, full)
            yield Problem(path, f"objects would be called {name}, longer than {MAX_CHILD_NAME} characters: shorten it")


def unready(test: ABTest, children: Mapping[ObjectKey, LiveObject]) -> str:
    """Say which variants do not serve yet; empty where all do."""
    waiting = [each.name for each in test.challengers if not _serves(test, each, children)]
    return f"no pod of {', '.join(waiting)} is ready yet" if waiting else ""


def _serves(test: ABTest, variant: Variant, children: Mapping[ObjectKey, LiveObject]) -> bool:
    name = child_name(test.spec.campaign, f"{test.spec.service}-{variant.name}")
    live = children.get(ObjectKey("apps", "Deployment", test.metadata.namespace, name))
    return live is not None and not live.deleting and int(live.status.get("availableReplicas") or 0) > 0


def early(stage: str) -> str:
    """Say why it is not the test's time yet; empty where it is."""
    return "" if stage == Stage.LIVE.value else f"the campaign is {stage or 'new'}, and is tested once it is Live"


def over(stage: str) -> str:
    """Say why its time is over; empty where it is not."""
    return f"the campaign is {stage}" if stage in {each.value for each in OVER} else ""


def next_look(state: ABTestState, now: datetime) -> datetime | None:
    """Give when figures are to be looked at; None where they are not."""
    if state.state != "Running":
        return None
    return now if state.looked_at is None else state.looked_at + LOOK_EVERY


def test_conditions(state: ABTestState, problems: Sequence[Problem]) -> tuple[Condition, ...]:
    """Say how a test stands, for programs that wait."""
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
