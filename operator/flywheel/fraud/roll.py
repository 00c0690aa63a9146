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
from flywheel.fraud.rulings import Shard
from flywheel.fraud.sharding import owner
from flywheel.fraud.where import matcher
from flywheel.fraud.words import Event, Listed, Verdict


@dataclass(frozen=True, slots=True)
class _Named:
    """The lists of one rule, and what verdicts by them need of it."""

    name: str
    version: str
    means: Callable[[Event], bool]
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

    def __bool__(self) -> bool:
        return bool(self._rules)

    def joined(
        self, events: Sequence[Event], fresh: Sequence[bool], verdicts: Sequence[tuple[int, Verdict]]
    ) -> list[tuple[int, Verdict]]:
        """Add the verdicts of lists to those of the engine, in the order of the events and of the rules' names.

        Args:
            events: As they were judged.
            fresh: Which of them did not come before.
            verdicts: What the engine said, by the place of the event: nobody breaks a rule twice with one event.
        """
        known = {(place, each.rule) for place, each in verdicts}
        added = [
            (place, verdict)
            for place, is_new in enumerate(fresh)
            if is_new
            for verdict in self._verdicts(events[place])
            if (place, verdict.rule) not in known
        ]
        return sorted([*verdicts, *added], key=lambda each: (each[0], each[1].rule)) if added else list(verdicts)

    def _verdicts(self, event: Event) -> Iterable[Verdict]:
        for rule in self._rules:
            if not rule.means(event):
                continue
            for listed, source, entries in rule.lists:
                if entries.has(event):
                    if rule.owns(event):
                        yield _verdict(rule, event, listed, source)
                    break


def _named(ruled: Ruled, lists: Lists, shard: Shard) -> _Named:
    rule, policy = ruled.rule, ruled.policy.lists

    def asked(kind: Listed, names: Iterable[ListOf]) -> list[tuple[Listed, str, Entries]]:
        return [(kind, of.source, lists[of]) for of in names if lists.get(of)]

    owns = owner(rule, shard.number, shard.of) if shard.of > 1 else lambda _: True
    return _Named(
        rule.name,
        rule.version,
        matcher(rule.match),
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
