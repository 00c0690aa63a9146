"""Windows that are filled with what was before them."""

from collections.abc import Iterable, Sequence

from flywheel.fraud.engine import Engine
from flywheel.fraud.rule import Rule
from flywheel.fraud.words import Event


def refill(engine: Engine, rules: Iterable[Rule], past: Sequence[Event]) -> None:
    """Have all windows of some rules of an engine see the past, in which no event comes twice."""
    if not len(past):
        return
    for rule in rules:
        engine.go_on_with(engine.refilled(rule.name, rule.windows(), [past], [], past[0].arrived))


def without_repetitions(events: Iterable[Event]) -> list[Event]:
    """Leave events out whose id came before."""
    ids = set[str]()
    kept = []
    for event in events:
        if not event.id or event.id not in ids:
            kept.append(event)
        ids.add(event.id)
    return kept
