"""What is done about a rule's verdicts, apart from what they are judged by: changing it moves no window. Pure."""

from typing import Literal

import msgspec

from flywheel.fraud.rule import Filter, Rule, Struct
from flywheel.fraud.words import ActionKind, Mode


class Action(Struct, frozen=True, kw_only=True):
    """What is done to who broke the rule."""

    kind: ActionKind
    of: Literal["", "Address", "AddressPrefix", "Visitor", "User", "Device"] = ""
    """Whose requests it is about; empty for whom the rule's key names, else the visitor."""
    lasts: int = 0
    """Milliseconds for a block, a throttle or a challenge."""
    scope: tuple[str, ...] = ("/",)
    """Paths, each with all below it."""
    status: int = 403
    body: str = ""
    per_second: float = 0
    """Requests a second that a throttle leaves."""
    page: str = ""
    """Where a challenge leads."""
    pass_for: int = 0
    """Milliseconds for which whoever has met a challenge is not asked again."""
    queue: str = ""
    """Where a review waits."""
    tag: str = ""


class ListOf(Struct, frozen=True, kw_only=True):
    """A list of addresses, visitors, users or devices, kept in a ConfigMap or a Secret."""

    source: str
    """Names it: `configmap/name/key` or `secret/name/key`."""
    of: Literal["Address", "Visitor", "User", "Device"] = "Address"
    hashed: bool = False
    """Its lines are SHA-256 of what is meant, in hexadecimal digits."""


class ListNames(Struct, frozen=True, kw_only=True):
    """The lists of a rule."""

    allow: tuple[ListOf, ...] = ()
    deny: tuple[ListOf, ...] = ()
    watch: tuple[ListOf, ...] = ()


class Snooze(Struct, frozen=True, kw_only=True):
    """A key that is left alone for a while."""

    key: tuple[str, ...]
    until: int
    """Milliseconds since 1970, excluded."""
    reason: str = ""


class Policy(Struct, frozen=True, kw_only=True):
    """What is done, to whom, and how surely."""

    action: Action
    mode: Mode = "Shadow"
    share: int = 10_000
    """Basis points of keys that Enforce means; the others are Shadow's. More of it never takes a key out."""
    holdout: int = 0
    """Basis points of keys that nothing is ever done to, so that it stays known who they really are."""
    lists: ListNames = ListNames()
    exempt: tuple[tuple[Filter, ...], ...] = ()
    """An event of which all filters of one of these hold is left alone."""
    snoozes: tuple[Snooze, ...] = ()
    on_unavailable: Literal["Allow", "Review", "Deny"] = "Allow"


class Ruled(Struct, frozen=True, kw_only=True):
    """A rule, and what is done about it."""

    rule: Rule
    policy: Policy
    engine: Literal["Embedded", "Starting", "Flink"] = "Embedded"
    """Who judges by it. With Starting that is the worker still, while events go out for Flink to begin with."""
    generation: int = 0
    """Of the FraudRule that it was made from."""


class Rules(Struct, frozen=True, kw_only=True):
    """The document that the operator writes and workers read."""

    format: Literal[1] = 1
    rules: tuple[Ruled, ...] = ()
    keep_for: int = 90 * 86_400_000
    """Milliseconds for which verdicts are kept: as long as the Campaign keeps events."""
    addresses: Literal["Hash", "Store", "Drop"] = "Hash"
    """What is kept of clients' addresses in them."""


def write_rules(rules: Rules) -> bytes:
    """Write the document: of equal rules, equal bytes."""
    return msgspec.json.encode(rules, order="deterministic")


def read_rules(data: bytes | str) -> Rules:
    """Read the document.

    Raises:
        ValueError: It is not one, or has what this version does not know.
    """
    try:
        return msgspec.json.decode(data, type=Rules)
    except msgspec.MsgspecError as error:
        raise ValueError(f"the rules cannot be read: {error}") from error
