"""Rules between the parts of a FraudRule: what goes with what, and how much may be remembered."""

from typing import TYPE_CHECKING

from flywheel.api.durations import DURATION_CEL, seconds_cel
from flywheel.api.fraudrule_condition import WINDOWED, Sign
from flywheel.api.fraudrule_match import WITH_TRAITS
from flywheel.api.fraudrule_values import ALIASES, one_name_cel
from flywheel.api.model import Rule

if TYPE_CHECKING:
    from flywheel.api.fraudrule import FraudRuleSpec

MOST_ENTRIES = 200_000_000
"""Stamps and members that one rule may remember at most: some 3 GiB."""
MOST_OF_A_KEY = 100_000
"""Events of one key that may be remembered."""
_CLIENTS_OWN = ("path", "referrer", "userAgent", "orderId")
_NAMES_OF_ONE = (
    ("address", "context.ip", "addressPrefix"),
    ("user", "userId"),
    ("visitor", "anonymousId"),
    ("device", "context.device.id"),
)
_ENTITIES = {
    "Address": ["address", "context.ip"],
    "AddressPrefix": ["addressPrefix"],
    "User": ["user", "userId"],
    "Device": ["device", "context.device.id"],
}
_FIELD_OF_ENTITY = {entity: names[0] for entity, names in _ENTITIES.items()}


def _some(condition: str) -> str:
    """CEL: a condition on the sign `{c}` holds for one of them."""
    alone = condition.replace("{c}", "self.condition")
    each = condition.replace("{c}", "c")
    return (
        f"(({alone}) || (has(self.condition.all) && self.condition.all.exists(c, {each})) || "
        f"(has(self.condition.any) && self.condition.any.exists(c, {each})))"
    )


_LOOKS_BACK = _some(" || ".join(f"has({{c}}.{name})" for name in WINDOWED))
_KEY = f"self.key.map(k, {one_name_cel('k')})"
_OF_ITS_OWN_KEY = _some(f"has({{c}}.distinct) && {one_name_cel('{c}.distinct.field')} in {_KEY}")
_MOVES_IN_ITS_KEY = _some(
    f"has({{c}}.velocity) && has({{c}}.velocity.changes) && {one_name_cel('{c}.velocity.changes')} in {_KEY}"
)
_SCORED = _some("has({c}.score)")
_NOT_IN_FLINK = _some("has({c}.score) || has({c}.linked)")

_WINDOW = f"(has(self.window) && self.window.{DURATION_CEL} ? {seconds_cel('self.window')} : 0)"
_PER = (
    f"(!has({{c}}.rate.per) || !{{c}}.rate.per.{DURATION_CEL} || {seconds_cel('{c}.rate.per')} < 1 ? 1 : "
    f"{seconds_cel('{c}.rate.per')})"
)
_PER_KEY = "(has(self.state) && has(self.state.eventsPerKey) ? self.state.eventsPerKey : 100)"
_KEYS = "(has(self.state) && has(self.state.maximumKeys) ? self.state.maximumKeys : 1000000)"
_ENTRIES = (
    "(has({c}.count) ? {c}.count.moreThan + 1 : has({c}.distinct) ? {c}.distinct.moreThan + 1 : has({c}.rate) ? "
    f"int({{c}}.rate.moreThan * double({_WINDOW}) / double({_PER})) + 1 : has({{c}}.sum) || has({{c}}.linked) || "
    f"(has({{c}}.velocity) && has({{c}}.velocity.changes)) ? {_PER_KEY} : "
    "has({c}.sequence) ? {c}.sequence.steps.size() : 1)"
)


_TOO_BUSY = _some(
    f"has({{c}}.rate) && int({{c}}.rate.moreThan * double({_WINDOW}) / double({_PER})) + 1 > {MOST_OF_A_KEY}"
)
_LATENESS = f"(has(self.lateness) ? (self.lateness.{DURATION_CEL} ? {seconds_cel('self.lateness')} : 0) : 5)"
_WITHIN = f"({{c}}.sequence.within.{DURATION_CEL} ? {seconds_cel('{c}.sequence.within')} : 0)"
_BEYOND_WINDOW = _some(f"has({{c}}.sequence) && {_WITHIN} > {_WINDOW}")
_NEVER_SO_MANY = _some(f"has({{c}}.velocity) && has({{c}}.velocity.moreThan) && {{c}}.velocity.moreThan >= {_PER_KEY}")
_BORN_BY_TRAITS = _some(
    "has({c}.accountAge) && has({c}.accountAge.createdAt) && {c}.accountAge.createdAt.startsWith('traits.')"
)


def _all_entries() -> str:
    each = _ENTRIES.replace("{c}", "c")
    return (
        f"(has(self.condition.all) ? self.condition.all.map(c, {each}).sum() : has(self.condition.any) ? "
        f"self.condition.any.map(c, {each}).sum() : {_ENTRIES.replace('{c}', 'self.condition')})"
    )


def entries_of(spec: "FraudRuleSpec") -> int:
    """How many stamps and members the rule remembers at most."""
    return spec.state.maximum_keys * sum(_entries(sign, spec) for sign in spec.condition.signs)


def _entries(sign: Sign, spec: "FraudRuleSpec") -> int:
    threshold = sign.count or sign.distinct
    if threshold is not None:
        return threshold.more_than + 1
    if sign.rate is not None:
        window = spec.window.total_seconds() if spec.window else 0.0
        return int(sign.rate.more_than * window / max(sign.rate.per.total_seconds(), 1.0)) + 1
    if sign.sum or sign.linked or (sign.velocity and sign.velocity.changes):
        return spec.state.events_per_key
    return len(sign.sequence.steps) if sign.sequence else 1


def _looks_back(spec: "FraudRuleSpec") -> bool:
    return any(sign.kind in WINDOWED for sign in spec.condition.signs)


def _is_clients_own(field: str) -> bool:
    return field in _CLIENTS_OWN or field.startswith(("properties.", "context.", "traits."))


def _has(spec: "FraudRuleSpec", *kinds: str) -> bool:
    return any(sign.kind in kinds for sign in spec.condition.signs)


def _asks_traits(spec: "FraudRuleSpec") -> bool:
    ages = (sign.account_age.created_at or "" for sign in spec.condition.signs if sign.account_age)
    return any(field.startswith("traits.") for field in (*spec.key, *ages))


def _acts_on_its_key(spec: "FraudRuleSpec") -> bool:
    action = spec.action.at_the_edge
    field = _FIELD_OF_ENTITY.get(action.of or "") if action else None
    return field is None or field in spec.key


def _each_one_once(key: tuple[str, ...]) -> bool:
    return all(sum(name in key for name in names) <= 1 for names in _NAMES_OF_ONE) and len(set(key)) == len(key)


_OF = (
    "(has(self.action.block) && has(self.action.block.of) ? self.action.block.of : has(self.action.throttle) && "
    "has(self.action.throttle.of) ? self.action.throttle.of : has(self.action.challenge) && "
    "has(self.action.challenge.of) ? self.action.challenge.of : 'Visitor')"
)

RULE_RULES: tuple[Rule, ...] = (
    Rule(
        cel=f"has(self.window) || !{_LOOKS_BACK}",
        holds=lambda spec: spec.window is not None or not _looks_back(spec),
        message=f"{', '.join(WINDOWED)} look back over a window: add window, such as 60s",
        field="window",
    ),
    Rule(
        cel=f"!has(self.window) || {_LOOKS_BACK}",
        holds=lambda spec: spec.window is None or _looks_back(spec),
        message="sequence, accountAge and score do not look at the window, so it would say nothing: take it out; "
        "sequence has within, accountAge has lessThan",
        field="window",
    ),
    Rule(
        cel=" && ".join(f"self.key.filter(k, k in {list(names)}).size() <= 1" for names in _NAMES_OF_ONE),
        holds=lambda spec: _each_one_once(spec.key),
        message="two of key mean the same, or one lies within the other (context.ip is address, userId is user, "
        "anonymousId is visitor, context.device.id is device): remove one",
        field="key",
    ),
    Rule(
        cel="!has(self.addressPrefix) || 'addressPrefix' in self.key",
        holds=lambda spec: spec.address_prefix is None or "addressPrefix" in spec.key,
        message="addressPrefix says what addressPrefix in key means, and key has none: use key: [addressPrefix], or "
        "take it out",
        field="addressPrefix",
    ),
    Rule(
        cel="(has(self.state) && has(self.state.maximumKeys)) || !self.key.exists(k, "
        f"!(k in {list(ALIASES)}) && (k in {list(_CLIENTS_OWN)} || "
        "k.matches('^(properties|context|traits)[.]')))",
        holds=lambda spec: "maximum_keys" in spec.state.model_fields_set or not any(map(_is_clients_own, spec.key)),
        message="a client may make up as many values of a field of key as it likes, and each is remembered: say how "
        "many with state.maximumKeys, such as 100000, or use address, addressPrefix, device, visitor or user",
        field="key",
    ),
    Rule(
        cel=f"{_all_entries()} * {_KEYS} <= {MOST_ENTRIES}",
        holds=lambda spec: entries_of(spec) <= MOST_ENTRIES,
        message="it would remember more than 200000000 entries, some 3 GiB: state.maximumKeys (default 1000000) times "
        "moreThan + 1, for rate moreThan times window by per, for sum, linked and velocity state.eventsPerKey "
        "(default 100): lower one of them, or shorten window",
        field="state",
    ),
    Rule(
        cel=f"!{_TOO_BUSY}",
        holds=lambda spec: not any(sign.rate and _entries(sign, spec) > MOST_OF_A_KEY for sign in spec.condition.signs),
        message="so high a rate over so long a window are more than 100000 events of one key: shorten window, or lower "
        "moreThan of rate",
        field="window",
    ),
    Rule(
        cel=f"!has(self.window) || {_WINDOW} > {_LATENESS} || !self.window.{DURATION_CEL}",
        holds=lambda spec: spec.window is None or spec.window > spec.lateness,
        message="an event that came as late as that would be out of the window: window must be longer than lateness "
        "(default 5s); lower lateness, such as 0s, or raise window",
        field="window",
    ),
    Rule(
        cel=f"!has(self.window) || !self.window.{DURATION_CEL} || !{_BEYOND_WINDOW}",
        holds=lambda spec: (
            spec.window is None
            or not any(sign.sequence and sign.sequence.within > spec.window for sign in spec.condition.signs)
        ),
        message="nothing is remembered for longer than window, where there is one: lower within of sequence, or raise "
        "window",
        field="window",
    ),
    Rule(
        cel=f"!{_NEVER_SO_MANY}",
        holds=lambda spec: (
            not any(
                sign.velocity
                and sign.velocity.more_than is not None
                and sign.velocity.more_than >= spec.state.events_per_key
                for sign in spec.condition.signs
            )
        ),
        message="so many changes are never seen, since no more than state.eventsPerKey (default 100) events of a key "
        "are remembered: raise it, or lower moreThan of velocity",
        field="condition",
    ),
    Rule(
        cel=f"(has(self.match.type) && self.match.type in {list(WITH_TRAITS)}) || (!self.key.exists(k, "
        f"k.startsWith('traits.')) && !{_BORN_BY_TRAITS})",
        holds=lambda spec: spec.match.type in WITH_TRAITS or not _asks_traits(spec),
        message="only Identify and Group calls have traits: use context.traits in key and createdAt, such as "
        "context.traits.createdAt, or match.type: Identify",
        field="match",
    ),
    Rule(
        cel=f"!{_OF_ITS_OWN_KEY}",
        holds=lambda spec: not any(sign.distinct and sign.distinct.field in spec.key for sign in spec.condition.signs),
        message="events of one key have one value of each field of key, so distinct would always find one: name "
        "another field",
        field="condition",
    ),
    Rule(
        cel=f"!{_MOVES_IN_ITS_KEY}",
        holds=lambda spec: (
            not any(sign.velocity and sign.velocity.changes in spec.key for sign in spec.condition.signs)
        ),
        message="events of one key have one value of each field of key, so velocity would never find a change: name "
        "another field in changes",
        field="condition",
    ),
    Rule(
        cel="!has(self.snoozes) || self.snoozes.all(s, s.key.size() == self.key.size())",
        holds=lambda spec: all(len(snooze.key) == len(spec.key) for snooze in spec.snoozes),
        message="key of each of snoozes must have a value for each field of the rule's key, in its order: add what is "
        "missing, or remove what is too much",
        field="snoozes",
    ),
    Rule(
        cel=f"!({_OF} in {_ENTITIES}) || {_ENTITIES}[{_OF}].exists(n, n in self.key)",
        holds=_acts_on_its_key,
        message="what is not in key has not been judged, and others may share it: add to key what the action's of "
        "names, or use of: Visitor",
        field="action",
    ),
    Rule(
        cel=f"!has(self.mode) || self.mode != 'Enforce' || has(self.minimumPrecision) || !{_SCORED}",
        holds=lambda spec: spec.mode != "Enforce" or spec.minimum_precision is not None or not _has(spec, "score"),
        message="a score is enforced only as long as it is right: add minimumPrecision, such as 95%, or use mode: "
        "Shadow",
        field="minimumPrecision",
    ),
    Rule(
        cel="!has(self.minimumPrecision) || !has(self.holdout) || !self.holdout.matches('^0([.]0+)?%$')",
        holds=lambda spec: spec.minimum_precision is None or spec.holdout > 0,
        message="without a holdout nobody sees whether the rule is right, so minimumPrecision has nothing to go by: "
        "raise holdout, such as 5%",
        field="holdout",
    ),
    Rule(
        cel=f"!has(self.engine) || self.engine != 'Flink' || !{_NOT_IN_FLINK}",
        holds=lambda spec: spec.engine != "Flink" or not _has(spec, "score", "linked"),
        message="score and linked cannot be said in Flink SQL: use engine: Embedded, or another condition",
        field="engine",
    ),
)
