"""The back-test: what a FraudRule would have found among the events of the store, asked in SQL. Pure.

It is another way than the engine's to the same: no code is shared, so that each can be held against the other. They
agree on every event that came in the order of time. One that came late, but within `lateness`, is put here where it
belongs, and every event is judged as if it had been known; the engine judges a key as it stands when the event comes.
What came later than that neither of the two looks at. The store tells arrivals by the millisecond; of events of one
key that happened and arrived in the same one, the first by id is the first here.

The engine's bounds on its memory, `state.maximumKeys`, are not imitated, those on what it keeps of a key are.
"""

# ruff: noqa: S608 - all names in the SQL are our own; what comes from outside is a parameter

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from flywheel.api.fraudrule import AddressPrefix, FraudRule
from flywheel.api.fraudrule_condition import Sign
from flywheel.fraud.backtest_fields import Binder, Kept, Untried, field_of, network_of
from flywheel.fraud.backtest_filters import meant, spared
from flywheel.fraud.backtest_limits import Limits, limit_of, limits_of
from flywheel.fraud.backtest_signs import NOTHING, Measure, measure, raw
from flywheel.insight.kpi import Statement

MOST_SAMPLES = 8
_NOBODY = 0
"""Instead of a visitor's hash, of which none is that."""
LARGEST = 1e300
"""Instead of what is infinite, which JSON does not know."""


@dataclass(frozen=True, slots=True)
class Past:
    """The stretch of a campaign's past in which a rule is tried."""

    campaign: str
    start: int
    """Milliseconds since 1970; included. Windows look back beyond it."""
    end: int
    """Excluded."""
    order_event: str = "Order Completed"
    addresses: Kept | None = None
    """What the campaign keeps of addresses; None where that is not known."""


@dataclass(slots=True)
class Trial:
    """One rule in SQL: the parts that its questions are made of.

    Raises:
        Untried: The past cannot tell. The text says which part of the rule asks too much, and what to do.
    """

    rule: FraudRule
    past: Past
    binder: Binder = field(default_factory=Binder)
    measures: tuple[Measure, ...] = field(init=False)
    limits: Limits = field(init=False)

    def __post_init__(self) -> None:
        spec = self.rule.spec
        _require_addresses(self.rule, self.past.addresses)
        self.binder.parameters["campaign"] = self.past.campaign
        self.measures = tuple(
            measure(sign, number, self.window, spec.state.events_per_key, self.binder)
            for number, sign in enumerate(spec.condition.signs)
        )
        self.limits = limits_of(self.rule)
        # What the store does not have is told now, before anything is asked.
        self.judged()

    @property
    def window(self) -> int:
        """The rule's window in milliseconds; 0 where it has none."""
        window = self.rule.spec.window
        return round(window.total_seconds() * 1000) if window else 0

    @property
    def own(self) -> float:
        """The rule's own limit, as it is compared with what is measured."""
        return self.limits.raw[self.limits.current]

    def judged(self) -> str:
        """Select the events of the past that the rule judges: `k`, `who`, `happened`, `id`, `value`, `let_off`.

        `k` is the key and `who` the visitor. An event is a hit where its value is above the limit of `limits`. One that
        is exempt counts for those after it and is itself no hit; `let_off` says whether it would have been.
        """
        inner, layers = self._read(), [each.layers for each in self.measures]
        for level in range(max(map(len, layers))):
            added = [column for each in layers for columns in each[level : level + 1] for column in columns]
            inner = f"SELECT *, {', '.join(added)} FROM ({inner})"
        return (
            f"SELECT k, who, happened, id, {self._value()} AS measured, if(spared, {NOTHING}, measured) AS value, "
            f"spared AND measured > {self.own!r} AS let_off FROM ({inner}) "
            f"WHERE m AND happened >= {self.past.start:d}"
        )

    def _value(self) -> str:
        """Give what the sign whose limit is varied measures; of the others it counts only whether they are met."""
        signs, varied = self.rule.spec.condition.signs, self.limits.index
        others = [
            f"{each.value} > {raw(sign, limit_of(sign), self.window)!r}"
            for number, (sign, each) in enumerate(zip(signs, self.measures, strict=True))
            if number != varied
        ]
        value = self.measures[varied].value
        if not others:
            return value
        if self.rule.spec.condition.any:
            return f"if({' OR '.join(others)}, inf, {value})"
        return f"if({' AND '.join(others)}, {value}, -inf)"

    def _read(self) -> str:
        read = [column for each in self.measures for column in each.columns]
        also = [name for each in self.measures for name in each.also]
        reach = max(each.back for each in self.measures)
        return (
            f"SELECT time AS happened, ingest_time AS came, message_id AS id, visitor_key AS who, {self.key()} AS k, "
            f"k != 0 AND {self.meant()} AS m, {self._spared()} AS spared{''.join(f', {column}' for column in read)} "
            f"FROM events WHERE {self.within(reach)} AND {self.in_time()} AND ({' OR '.join(['m', *also])})"
        )

    def within(self, before: int = 0) -> str:
        """Say which events lie in the past that is looked at, or so many milliseconds before it."""
        return (
            f"campaign = {{campaign:String}} AND time >= {self.past.start - before:d} AND time < {self.past.end:d}"
            f"{self._names()}"
        )

    def _names(self) -> str:
        """Name all events that matter, if they have names: the store finds them by that."""
        spec = self.rule.spec
        if not spec.match.names:
            return ""
        names = list(spec.match.names)
        for sign in spec.condition.signs:
            names += [step.event for step in sign.sequence.steps] if sign.sequence else []
            names += [sign.account_age.since] if sign.account_age and sign.account_age.since else []
        return f" AND event IN ({self.binder.texts(list(dict.fromkeys(names)))})"

    def in_time(self) -> str:
        """Say which events came soon enough to be judged."""
        return f"ingest_time - time <= {round(self.rule.spec.lateness.total_seconds() * 1000):d}"

    def meant(self) -> str:
        """Say which events the rule looks at, whether they have its key or not."""
        return meant(self.rule.spec.match, self.binder)

    def _spared(self) -> str:
        """Say which events are counted, and nothing is done about them."""
        return spared(self.rule.spec.exempt, self.binder) or "false"

    def key(self) -> str:
        """Give the key of an event as a number; 0 where a field of it is missing."""
        if self.rule.spec.key == ("visitor",):
            return "visitor_key"
        texts = self.key_texts()
        there = " AND ".join(f"{text} != ''" for text in texts)
        return f"if({there}, cityHash64({', '.join(texts)}), 0)"

    def key_texts(self) -> list[str]:
        """Give the fields of the key as text."""
        return [self.text(name) for name in self.rule.spec.key]

    def text(self, name: str) -> str:
        """Give a field as text."""
        if name != "addressPrefix":
            return field_of(name, self.binder).text
        prefix = self.rule.spec.address_prefix or AddressPrefix()
        return network_of(prefix.ipv4, prefix.ipv6)

    def is_missing(self, name: str) -> str:
        """Say which events lack a field."""
        return "visitor_key = 0" if name == "visitor" else f"{self.text(name)} = ''"

    def needed(self) -> tuple[str, ...]:
        """Name the fields without which an event is not judged: those of the key first."""
        return tuple(dict.fromkeys((*self.rule.spec.key, *(name for each in self.measures for name in each.fields))))


def counts_statement(trial: Trial) -> Statement:
    """Ask how many events the rule matches, how many came too late, and how many lack which field."""
    lacking = [f", countIf({trial.is_missing(name)}) AS lacking{n}" for n, name in enumerate(trial.needed())]
    sql = (
        f"SELECT count() AS events, countIf(NOT ({trial.in_time()})) AS late{''.join(lacking)} FROM events "
        f"WHERE {trial.within()} AND {trial.meant()}"
    )
    return Statement(sql, dict(trial.binder.parameters))


def found_statement(trial: Trial) -> Statement:
    """Ask what each of the limits would have found: hits, keys, visitors and customers, and the worst keys.

    A key is found by a limit if one of its events is, and then all visitors who have sent an event of it are.
    """
    orders = (
        "SELECT visitor_key FROM events WHERE campaign = {campaign:String} AND event = "
        f"{trial.binder.text(trial.past.order_event)} AND type = 'track' AND visitor_key != 0"
    )
    reached = _ones("peak")
    whole = ", ".join(
        f"anyIf({given}, person = {_NOBODY}) AS {name}"
        for given, name in (
            ("all_hits", "hits"), ("all_keys", "keys"), ("all_nameless", "nameless"), ("all_left_alone", "exempt"),
            ("worst", "samples"),
        )
    )  # fmt: skip
    sql = (
        f"SELECT {whole}, sumForEachIf({reached}, person != {_NOBODY}) AS visitors, "
        f"sumForEachIf({reached}, person != {_NOBODY} AND person IN ({orders})) AS customers FROM ({_people(trial)})"
    )
    return Statement(sql, dict(trial.binder.parameters))


def _ones(rung: str) -> str:
    """Count for all rungs up to one: arrays of different lengths are added place by place."""
    return f"arrayWithConstant({rung}, toUInt64(1))"


def _people(trial: Trial) -> str:
    """Select visitors with the highest rung of a key of theirs; and, in the place of nobody, what keys add up to."""
    of_keys = f"person = {_NOBODY}"
    people = f"arrayPushFront(arrayFilter(who -> who != {_NOBODY}, members), {_NOBODY})"
    return (
        f"SELECT person, max(highest) AS peak, sumForEachIf(key_hits, {of_keys}) AS all_hits, "
        f"sumForEachIf({_ones('highest')}, {of_keys}) AS all_keys, sumIf(unknown, {of_keys}) AS all_nameless, "
        f"sumIf(left_alone, {of_keys}) AS all_left_alone, "
        f"groupArraySortedIf({MOST_SAMPLES})((-most, worst_at, worst_id), {of_keys}) AS worst "
        f"FROM (SELECT *, arrayJoin({people}) AS person FROM ({_keys(trial)})) GROUP BY person"
    )


def _keys(trial: Trial) -> str:
    """Select the keys that any limit finds: hits by rung, which is the number of a limit, and visitors."""
    # Most events are above no limit: to count for none of them costs nothing.
    rung = " + ".join(f"(value > {limit!r})" for limit in trial.limits.raw)
    return (
        f"SELECT greatest(least(max(value), {LARGEST!r}), {-LARGEST!r}) AS most, "
        f"sumForEach({_ones(rung)}) AS key_hits, length(key_hits) AS highest, "
        "argMax((happened, cityHash64(id)), value) AS worst, worst.1 AS worst_at, worst.2 AS worst_id, "
        f"groupUniqArray(who) AS members, countIf(who = {_NOBODY} AND value > {trial.own!r}) AS unknown, "
        f"countIf(let_off) AS left_alone FROM ({trial.judged()}) GROUP BY k HAVING highest > 0 OR left_alone > 0"
    )


def hits_statement(trial: Trial, most: int) -> Statement:
    """Ask for the ids of the events that break the rule, by time; at most so many."""
    sql = f"SELECT id FROM ({trial.judged()}) WHERE value > {trial.own!r} ORDER BY happened, id LIMIT {most:d}"
    return Statement(sql, dict(trial.binder.parameters))


def samples_statement(trial: Trial, samples: Sequence[tuple[int, int]]) -> Statement:
    """Ask what some events are, each given by its time and the hash of its id."""
    times, hashes = (", ".join(str(int(each)) for each in column) for column in zip(*samples, strict=True))
    sql = (
        f"SELECT cityHash64(message_id) AS number, message_id AS id, visitor, [{', '.join(trial.key_texts())}] AS key "
        f"FROM events WHERE {trial.within()} AND time IN ({times}) AND number IN ({hashes}) LIMIT {MOST_SAMPLES}"
    )
    return Statement(sql, dict(trial.binder.parameters))


def _require_addresses(rule: FraudRule, kept: Kept | None) -> None:
    """Refuse what the campaign keeps too little of addresses for."""
    if kept in (None, "Store"):
        return
    spec = rule.spec
    what = "hashes of addresses" if kept == "Hash" else "no addresses"
    instead = f"the campaign keeps {what} (edge.events.addresses: {kept}), so the past does not tell"
    lost = ("addressPrefix",) if kept == "Hash" else ("addressPrefix", "address")
    asked = [(f"spec.key[{index}]", name) for index, name in enumerate(spec.key)]
    asked += [(f"spec.{path}", name) for path, sign in spec.condition.placed() for name in _asked_by(sign)]
    for path, name in asked:
        if name in lost:
            raise Untried(f"{path} is {name}, and {instead}")
    for filter_ in spec.filters:
        if filter_.field == "address" and (kept == "Drop" or filter_.operator not in ("Exists", "DoesNotExist")):
            raise Untried(f"a filter looks at address, and {instead}")


def _asked_by(sign: Sign) -> Iterator[str]:
    if sign.distinct:
        yield sign.distinct.field
    if sign.velocity and sign.velocity.changes:
        yield sign.velocity.changes
