"""Whom the deny and watch lists of rules name among those whose events come by. Pure. Needs the extra `fraud`.

Whoever is on such a list breaks the rule, or is watched, with each event that the rule means: nothing has to be
counted for that. So neither a missing field of the key nor a late event is a way around it; an event that comes again
is still judged once.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from flywheel.fraud.fields import key_reader
from flywheel.fraud.listed import Entries, Lists
from flywheel.fraud.policy import ListOf, Ruled
from flywheel.fraud.quick import Matching
from flywheel.fraud.rule import Match
from flywheel.fraud.rulings import Shard
from flywheel.fraud.sharding import owner
from flywheel.fraud.snapshot import key_of_secret
from flywheel.fraud.words import Event, Listed, Verdict


@dataclass(frozen=True, slots=True)
class _Named:
    """The lists of one rule, and what verdicts by them need of it."""

    name: str
    version: str
    match: Match
    owns: Callable[[Event], bool]
    key: Callable[[Event], tuple[str, ...]]
    lists: tuple[tuple[Listed, str, Entries], ...]
    """Those that deny first."""


class Roll:
    """The deny and watch lists of some rules. It is false where no list names anybody: nothing is asked then."""

    def __init__(self, rules: Iterable[Ruled], lists: Lists, shard: Shard) -> None:
        """Look up the lists of rules that are not off."""
        found = (_named(each, lists, shard) for each in rules if each.policy.mode != "Off")
        self._rules = [each for each in found if each.lists]
        self._matching = Matching([each.match for each in self._rules])
        asked = {id(entries): entries for rule in self._rules for *_, entries in rule.lists}
        self._asked = [(entries, self._rules_of(entries)) for entries in asked.values()]
        """Each list once, with a bit for each rule that names it."""

    def _rules_of(self, entries: Entries) -> int:
        return sum(1 << i for i, rule in enumerate(self._rules) if any(each is entries for *_, each in rule.lists))

    def __bool__(self) -> bool:
        return bool(self._rules)

    def joined(
        self, events: Sequence[Event], fresh: Sequence[bool], found: Sequence[tuple[int, Verdict]]
    ) -> list[tuple[int, Verdict]]:
        """Add the verdicts of lists to those of the engine, in the order of the events and of the rules' names.

        Args:
            events: As they were judged.
            fresh: Which of them did not come before.
            found: What the engine said, with the places of its events: nobody breaks a rule twice with one event.
        """
        known = {(place, verdict.rule) for place, verdict in found}
        added = [
            (place, verdict)
            for place, (event, is_new) in enumerate(zip(events, fresh, strict=True))
            if is_new
            for verdict in self._verdicts(event)
            if (place, verdict.rule) not in known
        ]
        return sorted([*found, *added], key=lambda each: (each[0], each[1].rule)) if added else list(found)

    def _verdicts(self, event: Event) -> Iterable[Verdict]:
        bits = self._matching.bits(event)
        if not bits:
            return
        named = [entries for entries, rules in self._asked if rules & bits and entries.has(event)]
        for i, rule in enumerate(self._rules) if named else ():
            if bits >> i & 1 and rule.owns(event):
                first = next(((listed, source) for listed, source, each in rule.lists if each in named), None)
                if first is not None:
                    yield _verdict(rule, event, *first)


def _named(ruled: Ruled, lists: Lists, shard: Shard) -> _Named:
    rule, policy = ruled.rule, ruled.policy.lists

    def asked(kind: Listed, names: Iterable[ListOf]) -> list[tuple[Listed, str, Entries]]:
        return [(kind, of.source, lists[of]) for of in names if lists.get(of)]

    owns = owner(rule, shard.share, key_of_secret(shard.secret))
    return _Named(
        rule.name,
        rule.version,
        rule.match,
        owns,
        key_reader(rule.key, rule.prefix_ipv4, rule.prefix_ipv6),
        (*asked("Deny", policy.deny), *asked("Watch", policy.watch)),
    )


def _verdict(rule: _Named, event: Event, listed: Listed, source: str) -> Verdict:
    time = min(event.time, event.arrived)
    return Verdict(
        rule=rule.name,
        version=rule.version,
        event=event.id,
        at=time,
        key=rule.key(event),
        observed=1,
        limit=0,
        since=time - 1,
        detail=source,
        listed=listed,
    )
