"""What is kept of each verdict, so that anybody who was found can be told why, and it stays known how right a rule is.

A client's address is kept as the Campaign wants it (`edge.events.addresses`): as it is, or else as a keyed hash that
tells addresses apart and gives none of them away. Pure.
"""

import hashlib
import ipaddress
from collections.abc import Iterable
from functools import lru_cache
from typing import Literal

import msgspec

from flywheel.fraud.decisions import Done
from flywheel.fraud.explain import explain
from flywheel.fraud.policy import Policy
from flywheel.fraud.rulings import Case, Ruling
from flywheel.fraud.words import ActionKind, Verdict

Addresses = Literal["Hash", "Store", "Drop"]
SPARED: frozenset[Done] = frozenset({"Off", "Allowed", "Exempt", "Snoozed"})
"""What was decided on before anybody looked: that says nothing about how right the rule is."""
HARMLESS: frozenset[ActionKind] = frozenset({"Tag", "Review"})
"""Actions that stop nobody."""
KEEP = 90 * 86_400_000
"""Milliseconds for which verdicts are kept unless the Campaign says otherwise: its own default."""
LONGEST_VALUE = 512
JOINT = "\x1f"
"""Between the values of a key in one text."""
_DIGEST = 12
"""Bytes of the hash of an address."""
_OF_ADDRESSES = frozenset({"address", "addressPrefix"})


class Keeping(msgspec.Struct, frozen=True, rename="camel"):
    """How long verdicts of a campaign are kept, and with what of addresses; a part of its rules' document."""

    keep_for: int = KEEP
    """Milliseconds."""
    addresses: Addresses = "Hash"


class Kept(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One verdict with all that explains it."""

    campaign: str
    rule: str
    version: str
    event: str
    at: int
    """When the event happened, in milliseconds since 1970."""
    key: tuple[str, ...]
    names: tuple[str, ...]
    """Fields of the key, in its order; empty where the engine does not tell."""
    observed: float
    limit: float
    since: int
    done: Done
    action: str = ""
    """What was done, or would have been."""
    until: int = 0
    visitor: str = ""
    user: str = ""
    address: str = ""
    said: str = ""
    """All of it in a sentence."""
    stopped: bool = False
    """Whether the key was kept from what it was after, so that nobody will see any more whether it was dishonest."""
    chance: float = 1.0
    """With what chance a key that the rule found was left alone."""
    expires: int = 0
    """First moment at which nobody needs it any more."""
    by_list: bool = False
    """Whether no condition was met: a list names the sender, which says nothing about how right the rule is."""

    @property
    def unit(self) -> str:
        """The key as one text."""
        return JOINT.join(self.key)


@lru_cache(maxsize=16_384)
def masked(value: str, secret: bytes) -> str:
    """Give the name under which an address is known to whoever has the secret: the same one each time.

    Args:
        value: An address or network.
        secret: The worker's own; at most 64 bytes of it count.
    """
    digest = hashlib.blake2b(
        value.encode("utf-8", "surrogatepass"), key=secret[:64], digest_size=_DIGEST, person=b"fraud verdicts"
    )
    return f"#{digest.hexdigest()}"


def marked(kind: str, value: str, secret: bytes) -> str:
    """Give the hash by which somebody who was erased is known again: the same one each time, to the worker alone.

    Args:
        kind: What the id is of.
        value: The id.
        secret: The worker's own; at most 64 bytes of it count.
    """
    text = f"{kind}{JOINT}{value}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, key=secret[:64], digest_size=12, person=b"fraud erased").hexdigest()


def is_masked(value: str) -> bool:
    """Tell whether a value looks like such a name."""
    return len(value) == 1 + 2 * _DIGEST and value.startswith("#")


def known_as(values: Iterable[str], keeping: Keeping, secret: bytes) -> tuple[str, ...]:
    """Give values as they are kept: addresses and networks among them masked, where they are not to be kept."""
    if keeping.addresses == "Store":
        return tuple(values)
    return tuple(masked(each, secret) if _is_address(each) else each for each in values)


def _is_address(value: str) -> bool:
    try:
        ipaddress.ip_network(value, strict=False)
    except ValueError:
        return False
    return True


def kept_of(campaign: str, ruling: Ruling, keeping: Keeping, secret: bytes) -> Kept:
    """Make what is kept of a ruling.

    Args:
        campaign: Whose.
        ruling: What the engine said.
        keeping: How the campaign wants it.
        secret: By which addresses are masked.
    """
    verdict, case = ruling.verdict, ruling.case
    decision = ruling.decisions[0] if ruling.decisions else None
    if case is None:
        return Kept(
            campaign=campaign, rule=verdict.rule, version=verdict.version, event=verdict.event[:LONGEST_VALUE],
            at=verdict.at, key=known_as(verdict.key, keeping, secret), names=(),
            observed=verdict.observed, limit=verdict.limit, since=verdict.since, done=ruling.done,
            action=decision.action if decision else "", until=decision.until if decision else 0,
            stopped=decision is not None and decision.action not in HARMLESS, expires=verdict.at + keeping.keep_for,
        )  # fmt: skip
    told, event = _told(case, verdict, keeping, secret), case.event
    action = case.decided.action or case.decided.would or case.ruled.policy.action.kind
    return Kept(
        campaign=campaign, rule=told.rule, version=told.version, event=told.event[:LONGEST_VALUE], at=told.at,
        key=tuple(each[:LONGEST_VALUE] for each in told.key), names=case.ruled.rule.key, observed=told.observed,
        limit=told.limit, since=told.since, done=ruling.done, action=action, until=case.decided.until,
        visitor=event.visitor[:LONGEST_VALUE], user=event.user[:LONGEST_VALUE],
        address=_address(event.address, keeping, secret), said=explain(case.ruled, told, case.decided),
        stopped=ruling.done == "Acted" and action not in HARMLESS, chance=chance_of(case.ruled.policy, ruling.done),
        expires=event.arrived + keeping.keep_for, by_list=bool(told.listed),
    )  # fmt: skip


def chance_of(policy: Policy, done: Done) -> float:
    """Give the chance with which a key that a rule finds is left alone: by the holdout, or by being beside the share.

    The inverse of it is what such a key counts when it stands for those who were stopped: D. G. Horvitz and D. J.
    Thompson, "A generalization of sampling without replacement from a finite universe", JASA 47 (1952).
    """
    if policy.mode != "Enforce" or policy.action.kind in HARMLESS or done == "Watched":
        return 1.0
    held, acted = policy.holdout / 10_000, policy.share / 10_000
    return held + (1 - held) * (1 - acted)


def _told(case: Case, verdict: Verdict, keeping: Keeping, secret: bytes) -> Verdict:
    if keeping.addresses == "Store" or not _OF_ADDRESSES & set(case.ruled.rule.key):
        return verdict
    key = tuple(
        masked(value, secret) if name in _OF_ADDRESSES else value
        for name, value in zip(case.ruled.rule.key, verdict.key, strict=True)
    )
    return msgspec.structs.replace(verdict, key=key)


def _address(address: str, keeping: Keeping, secret: bytes) -> str:
    if not address or keeping.addresses == "Drop":
        return ""
    return address if keeping.addresses == "Store" else masked(address, secret)
