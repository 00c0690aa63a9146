"""From a verdict to what is done: who goes before whom, for how long, and for which share of keys. Pure.

In this order, the first that holds: the rule is off; an allow list names the sender; the event is exempt; the key is
snoozed; a watch list is all that the event is kept for; an allow list has never been read, and nobody knows whom it
protects; the key is held out; the rule is in Shadow; a deny list names the sender, and the action is taken whatever the
share; a watch list names the sender, and the event is reviewed instead; the key is outside the share; otherwise the
action is taken. What was not done says what would have been.
"""

from collections.abc import Iterable
from typing import Literal

import msgspec
import xxhash

from flywheel.fraud.blocks import STRENGTH
from flywheel.fraud.listed import Lists
from flywheel.fraud.policy import ListOf, Policy, Ruled
from flywheel.fraud.where import holds
from flywheel.fraud.words import ActionKind, Event, Verdict

BUCKETS = 10_000
Done = Literal[
    "Acted", "Off", "Allowed", "Exempt", "Snoozed", "Unprotected", "HeldOut", "Shadow", "OutsideShare", "Watched"
]


class Decision(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is done about one verdict."""

    rule: str
    version: str
    key: tuple[str, ...]
    names: tuple[str, ...]
    """Fields of the key, in its order."""
    event: str
    done: Done
    action: ActionKind | None = None
    """What is done; None where nothing is."""
    would: ActionKind | None = None
    """What would have been done, where it was not."""
    until: int = 0
    """First moment at which it is over, in milliseconds since 1970; 0 for what does not last."""
    scope: tuple[str, ...] = ()
    status: int = 0
    because: str = ""
    """The list, the snooze's reason, or what else decided."""


def decide(ruled: Ruled, verdict: Verdict, event: Event, now: int, lists: Lists) -> Decision:
    """Say what is done about a verdict.

    Args:
        ruled: The rule that the verdict is of, and its policy.
        verdict: What the engine said.
        event: What it said it of.
        now: The time, in milliseconds since 1970: what lasts, lasts from now on.
        lists: What the lists of the policy hold.
    """
    policy, action = ruled.policy, ruled.policy.action
    done, because = _done(policy, verdict, event, now, lists)
    kind: ActionKind = "Review" if done == "Watched" else action.kind
    # In Shadow nothing follows, be it no more than that a person looks.
    acted = done in ("Acted", "Watched") and policy.mode == "Enforce"
    lasts = acted and kind == action.kind and action.lasts > 0
    broken = verdict.listed != "Watch"
    return Decision(
        rule=verdict.rule,
        version=verdict.version,
        key=verdict.key,
        names=ruled.rule.key,
        event=verdict.event,
        done=done,
        action=kind if acted else None,
        would=action.kind if broken and done not in ("Acted", "Off") else None,
        until=now + action.lasts if lasts else 0,
        scope=action.scope if lasts else (),
        status=action.status if lasts and kind == "Block" else 0,
        because=because,
    )


def _done(policy: Policy, verdict: Verdict, event: Event, now: int, lists: Lists) -> tuple[Done, str]:
    if policy.mode == "Off":
        return "Off", ""
    if spared := _spared(policy, verdict, event, now, lists):
        return spared
    if verdict.listed == "Watch":
        return "Watched", verdict.detail
    if unread := next((of.source for of in policy.lists.allow if of not in lists), ""):
        return "Unprotected", unread
    if bucket("holdout", verdict) < policy.holdout:
        return "HeldOut", ""
    return ("Shadow", "") if policy.mode == "Shadow" else _enforced(policy, verdict, event, lists)


def _enforced(policy: Policy, verdict: Verdict, event: Event, lists: Lists) -> tuple[Done, str]:
    if source := named(policy.lists.deny, event, lists):
        return "Acted", source
    if source := named(policy.lists.watch, event, lists):
        return "Watched", source
    return ("OutsideShare", "") if bucket("share", verdict) >= policy.share else ("Acted", "")


def _spared(policy: Policy, verdict: Verdict, event: Event, now: int, lists: Lists) -> tuple[Done, str] | None:
    """Say why nothing must be done, whatever the mode."""
    if source := named(policy.lists.allow, event, lists):
        return "Allowed", source
    if any(holds(where, event) for where in policy.exempt):
        return "Exempt", ""
    for snooze in policy.snoozes:
        if snooze.key == verdict.key and now < snooze.until:
            return "Snoozed", snooze.reason
    return None


def named(wanted: Iterable[ListOf], event: Event, lists: Lists) -> str:
    """Give the first list that names the sender of an event; empty where none does."""
    return next((of.source for of in wanted if of in lists and lists[of].has(event)), "")


def bucket(purpose: str, verdict: Verdict) -> int:
    """Give the bucket of a verdict's key, 0 to 9,999: another one for each rule and purpose, and always the same."""
    text = "\x1f".join((purpose, verdict.rule, *verdict.key))
    return xxhash.xxh32_intdigest(text.encode("utf-8", "surrogatepass")) % BUCKETS


def strongest(decisions: Iterable[Decision]) -> Decision | None:
    """Of what is decided about one event, give what is carried out: the severest, and of equal ones the longest.

    What spares the sender by one rule, such as its allow list, says nothing about another one.
    """
    acting = [each for each in decisions if each.action]
    return max(acting, key=lambda each: (STRENGTH[each.action or "Tag"], each.until), default=None)
