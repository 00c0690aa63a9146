"""From a verdict to what is done: who goes before whom, for how long, and for which share of keys. Pure.

In this order, the first that holds: the rule is off; an allow list names the sender; the event is exempt; the key is
snoozed; the key is held out; the rule is in Shadow; a deny list names the sender, and the action is taken whatever the
share; the key is outside the share; a watch list names the sender, and the event is reviewed instead; otherwise the
action is taken. What was not done says what would have been.
"""

import hashlib
import ipaddress
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Literal

import msgspec
import xxhash

from flywheel.fraud.blocks import STRENGTH
from flywheel.fraud.policy import ListOf, Policy, Ruled
from flywheel.fraud.where import holds
from flywheel.fraud.words import ActionKind, Event, Verdict

BUCKETS = 10_000
Done = Literal["Acted", "Off", "Allowed", "Exempt", "Snoozed", "HeldOut", "Shadow", "OutsideShare", "Watched"]


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


class Entries:
    """The lines of one list, ready to be asked."""

    def __init__(self, of: ListOf, lines: Iterable[str]) -> None:
        """Read lines; empty ones and those that begin with `#` say nothing, and wrong ones are kept in `wrong`."""
        self.wrong: list[str] = []
        self._of, self._texts = of, set[str]()
        networks: set[ipaddress.IPv4Network | ipaddress.IPv6Network] = set()
        for line in (each.strip() for each in lines):
            if not line or line.startswith("#"):
                continue
            if of.of == "Address" and not of.hashed:
                try:
                    networks.add(ipaddress.ip_network(line, strict=False))
                except ValueError:
                    self.wrong.append(line)
            elif of.hashed and (len(line) != 64 or set(line.lower()) - set("0123456789abcdef")):
                self.wrong.append(line)
            else:
                self._texts.add(line.lower() if of.hashed else line)
        self._networks = {(each.version, each.prefixlen, int(each.network_address)) for each in networks}
        self._lengths = sorted({(each.version, each.prefixlen) for each in networks})

    def has(self, event: Event) -> bool:
        """Say whether the list names the sender of an event."""
        value = _sender(self._of, event)
        if not value:
            return False
        if self._of.hashed:
            return hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest() in self._texts
        return self._has_address(value) if self._of.of == "Address" else value in self._texts

    def _has_address(self, value: str) -> bool:
        parsed = _address(value)
        if parsed is None:
            return False
        for version, length in self._lengths:
            if version == parsed.version:
                shift = parsed.max_prefixlen - length
                if (version, length, int(parsed) >> shift << shift) in self._networks:
                    return True
        return False


@lru_cache(maxsize=65_536)
def _address(value: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        parsed = ipaddress.ip_address(value)
    except ValueError:
        return None
    return getattr(parsed, "ipv4_mapped", None) or parsed


def _sender(of: ListOf, event: Event) -> str:
    match of.of:
        case "Address":
            return event.address
        case "Visitor":
            return event.visitor
        case "User":
            return event.user
        case "Device":
            device = event.fields.get("device", "")
            return device if isinstance(device, str) else ""


Lists = Mapping[ListOf, Entries]
"""What has been read of lists. One that is missing names nobody."""


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
    kind: ActionKind | None = "Review" if done == "Watched" else action.kind
    acted = done in ("Acted", "Watched")
    lasts = acted and kind == action.kind and action.lasts > 0
    return Decision(
        rule=verdict.rule,
        version=verdict.version,
        key=verdict.key,
        names=ruled.rule.key,
        event=verdict.event,
        done=done,
        action=kind if acted else None,
        would=None if done in ("Acted", "Off") else action.kind,
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
    if policy.mode == "Shadow":
        return "Shadow", ""
    if source := named(policy.lists.deny, event, lists):
        return "Acted", source
    if bucket("share", verdict) >= policy.share:
        return "OutsideShare", ""
    source = named(policy.lists.watch, event, lists)
    return ("Watched", source) if source else ("Acted", "")


def _spared(policy: Policy, verdict: Verdict, event: Event, now: int, lists: Lists) -> tuple[Done, str] | None:
    """Say why nothing must be done, whatever the mode."""
    if source := named(policy.lists.allow, event, lists):
        return "Allowed", source
    if any(holds(where, event) for where in policy.exempt):
        return "Exempt", ""
    for snooze in policy.snoozes:
        if snooze.key == verdict.key and now < snooze.until:
            return "Snoozed", snooze.reason
    return ("HeldOut", "") if bucket("holdout", verdict) < policy.holdout else None


def named(wanted: Iterable[ListOf], event: Event, lists: Lists) -> str:
    """Give the first list that names the sender of an event; empty where none does."""
    return next((of.source for of in wanted if of in lists and lists[of].has(event)), "")


def bucket(purpose: str, verdict: Verdict) -> int:
    """Give the bucket of a verdict's key, 0 to 9,999: another one for each rule and purpose, and always the same."""
    text = "\x1f".join((purpose, verdict.rule, *verdict.key))
    return xxhash.xxh32_intdigest(text.encode("utf-8", "surrogatepass")) % BUCKETS


def strongest(decisions: Iterable[Decision]) -> Decision | None:
    """Of what is decided about one event, give what is carried out. Allow beats block, whichever rule says so.

    Where one rule's allow list names the sender, no other rule acts on the event either. Of several actions the
    severest is carried out, and of equal ones the longest.
    """
    decisions = list(decisions)
    if any(each.done == "Allowed" for each in decisions):
        return None
    acting = [each for each in decisions if each.action]
    return max(acting, key=lambda each: (STRENGTH[each.action or "Tag"], each.until), default=None)
