"""Removing everything a Campaign made, and knowing that nothing is left.

An object that is gone from our memory is not proof. So when the last known child is gone, every API resource of the
cluster is searched by the Campaign's label; only an empty answer ends the teardown.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from flywheel.campaign.decision import Course, Decision, Teardown
from flywheel.campaign.inventory import in_creation_order, owned, recorded
from flywheel.campaign.observed import Observed, Questions, parse_timestamp
from flywheel.plan import Deletion, LiveObject, ObjectKey, Plan, Remaining

COLLECTED_BY_KUBERNETES = frozenset({"foregroundDeletion", "orphan"})
"""Finalizers that the garbage collector takes off by itself."""

PATIENCE = timedelta(seconds=60)
"""How long what needs no finalizer's owner may take to go before it counts as blocking: twice a pod's usual grace."""

LOOK_AGAIN = timedelta(seconds=2)
LOOK_AGAIN_WHEN_BLOCKED = timedelta(seconds=15)


def tear_down(observed: Observed, now: datetime) -> Decision:
    """Decide the next step of removing everything; the caller adds stage and timeline."""
    known = recorded(observed)
    children = owned(observed)
    unseen = frozenset(known) - children.keys() - observed.absent
    if unseen:
        return Decision(Course.TEAR_DOWN, questions=Questions(lookups=unseen))
    if not children and observed.sweep is None:
        return Decision(Course.TEAR_DOWN, questions=Questions(sweep=True))
    teardown = _progress(observed, children, now)
    plan = Plan(
        inventory=() if teardown.complete else in_creation_order([*known, *children]),
        delete=_deletions(children),
        finalizer=observed.has_finalizer and not (teardown.complete and observed.is_deleting),
        wake_at=_wake_at(teardown, now),
    )
    return Decision(Course.TEAR_DOWN, plan=plan, teardown=teardown)


def _deletions(children: dict[ObjectKey, LiveObject]) -> tuple[Deletion, ...]:
    order = reversed(in_creation_order(children))
    return tuple(Deletion(key, children[key].uid) for key in order if not children[key].deleting)


def _progress(observed: Observed, children: dict[ObjectKey, LiveObject], now: datetime) -> Teardown:
    started_at = _started_at(observed) or now
    waiting_for = tuple(_remaining(live) for live in children.values())
    if observed.sweep is not None and not children:
        waiting_for = observed.sweep.remaining
    if not waiting_for:
        return Teardown(started_at, complete=True)
    impatient = now - started_at > PATIENCE
    blocked_by = tuple(reason for each in waiting_for if (reason := _obstacle(each, impatient)))
    return Teardown(started_at, waiting_for, blocked_by)


def _started_at(observed: Observed) -> datetime | None:
    report = observed.status.get("report")
    if not isinstance(report, dict) or report.get("finishedAt"):
        return None
    return parse_timestamp(report.get("startedAt"))


def _remaining(live: LiveObject) -> Remaining:
    return Remaining(live.key.kind, live.key.namespace, live.key.name, live.finalizers, live.deleting)


def _obstacle(remaining: Remaining, impatient: bool) -> str | None:
    finalizers = _held_by(remaining.finalizers)
    if remaining.deleting and finalizers:
        return (
            f"{remaining} is held by the finalizer {', '.join(finalizers)}: whoever set it has to finish or remove it"
        )
    if not impatient:
        return None
    if remaining.deleting:
        return f"{remaining} is being deleted and does not go: look at its node and its events"
    return f"{remaining} carries this Campaign's label and was not made by it: delete it or take the label off"


def _held_by(finalizers: Iterable[str]) -> list[str]:
    return [each for each in finalizers if each not in COLLECTED_BY_KUBERNETES]


def _wake_at(teardown: Teardown, now: datetime) -> datetime | None:
    if teardown.complete:
        return None
    return now + (LOOK_AGAIN_WHEN_BLOCKED if teardown.blocked_by else LOOK_AGAIN)
