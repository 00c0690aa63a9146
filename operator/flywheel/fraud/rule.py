"""What a fraud rule judges by: frozen, strict on reading, and with a digest by which windows are kept. Pure.

The operator makes these from a FraudRule, the worker reads them. All times are in milliseconds.
"""

import hashlib
from fractions import Fraction
from typing import Literal

import msgspec

from flywheel.api.comparisons import Operator
from flywheel.fraud.words import Value

LONGEST_WINDOW = 31 * 86_400_000
MOST_KEPT = 100_000
"""Stamps, members or values that a rule may keep of one key."""
DEEPEST = 4
"""Steps from account to account that `linked` may take."""
UNIT = 10_000
"""A sum counts ten-thousandths, in whole numbers: it is exact, in whatever order values come."""
LARGEST_VALUE = 1e9
"""Of one value that is summed up: more, or no number, is counted as unusable."""


class Struct(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel", omit_defaults=True):
    """Base of all parts: strict on decoding, frozen, camelCase on the wire."""


class Filter(Struct, frozen=True, kw_only=True):
    """One thing that must hold of an event."""

    field: str
    operator: Operator
    values: tuple[Value, ...] = ()
    """One for most operators, several for In, NotIn and InRange (CIDR), none for Exists and DoesNotExist."""


class Match(Struct, frozen=True, kw_only=True):
    """Which events are meant: all that is said must hold."""

    types: tuple[str, ...] = ()
    """`track`, `page`, `identify` ..; empty for every type."""
    events: tuple[str, ...] = ()
    """Names; empty for every name."""
    where: tuple[Filter, ...] = ()


class Count(Struct, frozen=True, kw_only=True, tag="Count", tag_field="kind"):
    """More events than that in the window."""

    more_than: int


class Rate(Struct, frozen=True, kw_only=True, tag="Rate", tag_field="kind"):
    """More events in the window than `more_than` in each `per` milliseconds, on average."""

    more_than: float
    per: int = 1000


class Distinct(Struct, frozen=True, kw_only=True, tag="Distinct", tag_field="kind"):
    """More different values of a field than that in the window."""

    field: str
    more_than: int


class Sum(Struct, frozen=True, kw_only=True, tag="Sum", tag_field="kind"):
    """The values of a field in the window add up to more than that."""

    field: str
    more_than: float
    maximum_events: int = 1000
    """Kept of a key: where more are in the window, the oldest are left out, and the verdict says `saturated`."""


class Sequence(Struct, frozen=True, kw_only=True, tag="Sequence", tag_field="kind"):
    """The steps in their order, and then the event that is judged, all of one key and within so many milliseconds."""

    steps: tuple[Match, ...]
    within: int


class AccountAge(Struct, frozen=True, kw_only=True, tag="AccountAge", tag_field="kind"):
    """The account of the event's user is younger than that."""

    less_than: int
    since: Match | None = None
    """The event by which accounts begin; its last one of the same user counts."""
    created_at: str = ""
    """Or the field that says when it began: RFC 3339, or seconds or milliseconds since 1970."""


class Changes(Struct, frozen=True, kw_only=True, tag="Changes", tag_field="kind"):
    """A field has changed its value more often than that from one event of the window to the next."""

    field: str
    more_than: int
    maximum_events: int = 1000
    """Kept of a key, as with Sum."""


class Speed(Struct, frozen=True, kw_only=True, tag="Speed", tag_field="kind"):
    """Two events of one key that follow each other in the window are too far apart for the time between them."""

    latitude: str
    longitude: str
    kilometres_per_hour: float
    slack_kilometres: float = 50
    """How far off a place may be: it is taken from the distance."""


class Linked(Struct, frozen=True, kw_only=True, tag="Linked", tag_field="kind"):
    """More accounts than that hang together with the event's: they have used the same thing within the window."""

    accounts: str
    through: str
    depth: int = 2
    """Steps from account to account."""
    more_than: int
    maximum_degree: int = 100
    """Accounts kept of one thing, and things of one account: the latest."""


class Score(Struct, frozen=True, kw_only=True, tag="Score", tag_field="kind"):
    """A model finds the event suspicious."""

    model: str
    """Digest of the model's file: `sha256:` and 64 digits."""
    features: tuple[str, ...]
    """Fields, in the order in which the model wants them."""
    more_than: float


Condition = Count | Rate | Distinct | Sum | Sequence | AccountAge | Changes | Speed | Linked | Score


class Rule(Struct, frozen=True, kw_only=True):
    """All that verdicts depend on."""

    name: str
    match: Match = Match()
    key: tuple[str, ...]
    """Fields: `address`, `addressPrefix`, `visitor`, `user`, or a path of an event's fields."""
    prefix_ipv4: int = 24
    prefix_ipv6: int = 56
    window: int
    conditions: tuple[Condition, ...]
    combine: Literal["All", "Any"] = "All"
    maximum_keys: int = 1_000_000
    when_full: Literal["EvictOldest", "Refuse"] = "EvictOldest"
    """EvictOldest forgets a key not seen for long; Refuse does not judge new ones. Either is counted."""
    lateness: int = 5000
    """How far an event may lie behind the newest arrival and still be judged."""

    @property
    def version(self) -> str:
        """Digest of all but the name: rules of equal versions give equal verdicts."""
        return digest(msgspec.structs.replace(read_again(self), name=""))

    def windows(self) -> tuple[str, ...]:
        """Give, by condition, the digest of what its state depends on: equal ones can take the state over.

        `combine` does not change what is kept, nor does it matter which conditions stand beside.
        """
        alone = msgspec.structs.replace(read_again(self), name="", conditions=(), combine="All")
        return tuple(digest([alone, condition]) for condition in read_again(self).conditions)


def read_again(rule: Rule) -> Rule:
    """Give a rule as whoever reads it gets it: 20 and 20.0 are one limit then."""
    return msgspec.json.decode(msgspec.json.encode(rule), type=Rule)


def digest(value: object) -> str:
    """Give 16 hexadecimal digits that equal values share."""
    encoded = msgspec.json.encode(value, order="deterministic")
    return hashlib.blake2b(encoded, digest_size=8).hexdigest()


def problems(rule: Rule) -> list[str]:
    """Tell what the engine cannot carry out; empty for a rule that it can."""
    found = []
    if not rule.name or not rule.key or not all(rule.key):
        found.append("a rule needs a name and a key of at least one field")
    if not 0 < rule.window <= LONGEST_WINDOW:
        found.append(f"window is {rule.window} ms: it must be above 0 and at most {LONGEST_WINDOW}")
    if not 0 <= rule.lateness < max(rule.window, 1):
        found.append(f"lateness is {rule.lateness} ms: it must be less than the window")
    if not 0 < rule.maximum_keys <= 50_000_000:
        found.append(f"maximumKeys is {rule.maximum_keys}: it must be from 1 to 50,000,000")
    if not (0 <= rule.prefix_ipv4 <= 32 and 0 <= rule.prefix_ipv6 <= 128):
        found.append("an address prefix has 0 to 32 bits, or 0 to 128 with IPv6")
    if not rule.conditions:
        found.append("a rule needs at least one condition")
    return found + [problem for condition in rule.conditions for problem in _problems(rule, condition)]


def _problems(rule: Rule, condition: Condition) -> list[str]:
    match condition:
        case Count() | Rate() | Distinct():
            return _between(kept(rule, condition), 1, MOST_KEPT, "events or members kept of a key")
        case Sum() | Changes():
            return _between(condition.maximum_events, 2, MOST_KEPT, "maximumEvents")
        case Sequence():
            inside = _between(condition.within, 1, rule.window, "within")
            return inside + _between(len(condition.steps), 1, 8, "number of steps")
        case AccountAge():
            one = (condition.since is None) != (not condition.created_at)
            return [] if one else ["accountAge needs either since or createdAt"]
        case Linked():
            return _between(condition.depth, 1, DEEPEST, "depth") + _between(condition.more_than, 1, 1000, "moreThan")
        case Speed():
            return [] if condition.kilometres_per_hour > 0 else ["kilometresPerHour must be above 0"]
        case Score():
            return [] if condition.features else ["score needs features"]


def _between(value: int, low: int, high: int, name: str) -> list[str]:
    return [] if low <= value <= high else [f"{name} is {value}: it must be from {low} to {high}"]


def kept(rule: Rule, condition: Condition) -> int:
    """Tell how many stamps, members or values are kept of one key at most."""
    match condition:
        case Count() | Distinct():
            return condition.more_than + 1
        case Rate():
            return int(Fraction(repr(condition.more_than)) * rule.window / condition.per) + 1
        case Sum() | Changes():
            return condition.maximum_events
        case _:
            return 1
