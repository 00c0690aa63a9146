"""What people and services ask of a worker by hand, as JSON: labels, exceptions, and the end of decisions. Pure."""

import ipaddress
from collections.abc import Iterator, Sequence

import msgspec

from flywheel.fraud.blocks import SubjectKind
from flywheel.fraud.labels import LONGEST, LONGEST_WORD, Label, LabelKind, Said
from flywheel.fraud.pardons import LONGEST_REASON, Pardon

MOST_LABELS = 1_000
"""Labels in one request."""
LONGEST_PARDON = 90 * 86_400_000
"""Milliseconds. Whoever is to be left alone for longer belongs on a list."""
SLACK = 86_400_000
"""Milliseconds by which clocks may differ."""
KINDS: tuple[SubjectKind, ...] = ("address", "visitor", "user", "device")


class BadWish(Exception):  # noqa: N818 - of what people wrote
    """It makes no sense. The text says where, why, and what to do."""


class LabelWish(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One label; exactly one of `event`, `visitor`, `user` and `key` says of what."""

    label: Said
    event: str = ""
    visitor: str = ""
    user: str = ""
    key: tuple[str, ...] = ()
    rule: str = ""
    source: str = ""
    at: int = 0
    by: str = ""


class LabelsWish(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Labels for one campaign."""

    campaign: str
    labels: list[LabelWish]


class UnblockWish(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Which decisions are to end: one, all of a subject, or all of a rule."""

    campaign: str
    decision: str = ""
    kind: SubjectKind | None = None
    value: str = ""
    rule: str = ""


class AllowWish(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Who is to be left alone, and until when."""

    campaign: str
    kind: SubjectKind
    value: str
    until: int
    rule: str = ""
    reason: str = ""
    by: str = ""


def labels_of(wishes: Sequence[LabelWish], now: int, by: str = "") -> tuple[Label, ...]:
    """Make labels of what was asked.

    Args:
        wishes: As they were sent.
        now: The time, in milliseconds since 1970.
        by: Who says so; empty to believe what each of them says of that.

    Raises:
        BadWish: One of them makes no sense; none of them is taken then.
    """
    if not 0 < len(wishes) <= MOST_LABELS:
        raise BadWish(f"labels: there are {len(wishes)}; send 1 to {MOST_LABELS} at once.")
    return tuple(_label(f"labels[{index}]", each, now, by) for index, each in enumerate(wishes))


def _label(where: str, wish: LabelWish, now: int, by: str) -> Label:
    named = list(_named(wish))
    if len(named) != 1:
        raise BadWish(
            f"{where}: it names {' and '.join(kind for kind, _ in named) or 'nobody'}; give exactly one of event, "
            "visitor, user and key."
        )
    kind, value = named[0]
    if bool(wish.rule) != (kind == "key"):
        raise BadWish(f"{where}.rule: a key is that of a rule, and nothing else is: give both, or neither.")
    if len(value) > 4 or any(not 0 < len(each) <= LONGEST for each in value):
        raise BadWish(f"{where}.{kind}: 1 to {LONGEST} characters are taken, and at most 4 values of a key.")
    for name, text in (("source", wish.source), ("by", wish.by), ("rule", wish.rule)):
        if len(text) > LONGEST_WORD:
            raise BadWish(f"{where}.{name}: {len(text)} characters are more than {LONGEST_WORD}; shorten it.")
    if wish.at < 0 or wish.at > now + SLACK:
        raise BadWish(
            f"{where}.at: {wish.at} is not in the past: give milliseconds since 1970, or leave it out for now."
        )
    return Label(
        kind=kind, value=value, said=wish.label, at=wish.at or now, rule=wish.rule, source=wish.source,
        by=by or wish.by,
    )  # fmt: skip


def _named(wish: LabelWish) -> Iterator[tuple[LabelKind, tuple[str, ...]]]:
    if wish.event:
        yield "event", (wish.event,)
    if wish.visitor:
        yield "visitor", (wish.visitor,)
    if wish.user:
        yield "user", (wish.user,)
    if wish.key:
        yield "key", wish.key


def pardon_of(wish: AllowWish, now: int) -> Pardon:
    """Make a pardon of what was asked; an `until` that is over takes one back.

    Raises:
        BadWish: It makes no sense.
    """
    if not 0 < len(wish.value) <= LONGEST:
        raise BadWish(f"value: 1 to {LONGEST} characters are taken.")
    if wish.until > now + LONGEST_PARDON:
        raise BadWish(
            f"until: at most {LONGEST_PARDON // 86_400_000} days from now; whoever is to be left alone for longer "
            "belongs into lists.allow of the rule, or into its snoozes."
        )
    if wish.until > now and not wish.reason.strip():
        raise BadWish("reason: say why, for whoever finds it later.")
    for name, text, most in (
        ("reason", wish.reason, LONGEST_REASON),
        ("by", wish.by, LONGEST_WORD),
        ("rule", wish.rule, LONGEST_WORD),
    ):
        if len(text) > most:
            raise BadWish(f"{name}: {len(text)} characters are more than {most}; shorten it.")
    value = wish.value
    if wish.kind == "address":
        try:
            network = ipaddress.ip_network(value, strict=False)
        except ValueError as error:
            raise BadWish(f"value: {value[:80]!r} is no address or network: {error}") from None
        if network.prefixlen < (8 if network.version == 4 else 16):
            raise BadWish(f"value: {network} is half of the world; name a smaller network.")
        value = str(network.network_address if network.num_addresses == 1 else network)
    return Pardon(kind=wish.kind, value=value, until=wish.until, rule=wish.rule, reason=wish.reason, by=wish.by)
