"""The lists that rules on fraud name: which are wanted, whether they are in force, and what is told of them. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec

from flywheel.campaign.conditions import Condition
from flywheel.fraud.listing import Reading
from flywheel.fraud.policy import ListNames, ListOf, Ruled
from flywheel.plan import Manifest

MOST_TOGETHER = 1_000_000
"""Entries of all lists of a namespace: the worker holds them in memory, and writes them into each snapshot."""
Wanted = Mapping[ListOf, bool]
"""The lists of all rules that are carried out, and whether one of the rules denies by it."""


class Kept(msgspec.Struct, frozen=True):
    """What a worker says of one list that it has."""

    source: str
    digest: str
    entries: int
    of: str = "Address"
    hashed: bool = False


class _State(msgspec.Struct):
    lists: tuple[Kept, ...] = ()


@dataclass(frozen=True, slots=True)
class ListState:
    """How a list is doing."""

    reading: Reading | None = None
    """What was found in it; without the entries. None where it could not be read at all."""
    problem: str = ""
    """Why the list as it is now is not in force."""
    entries: int | None = None
    """Of what all workers judge by; None where one of them has never had the list."""


ListStates = Mapping[ListOf, ListState]


def wanted_lists(rules: Iterable[Ruled]) -> Wanted:
    """Give the lists that rules name, in a stable order."""
    wanted: dict[ListOf, bool] = {}
    for ruled in rules:
        lists = ruled.policy.lists
        for of in (*lists.allow, *lists.watch):
            wanted.setdefault(of, False)
        wanted |= dict.fromkeys(lists.deny, True)
    return {of: wanted[of] for of in sorted(wanted, key=lambda each: (each.source, each.of, each.hashed))}


def kept_lists(body: bytes) -> dict[ListOf, Kept]:
    """Read from what a worker says of itself which lists it has.

    Raises:
        ValueError: It cannot be read.
    """
    try:
        found = msgspec.json.decode(body, type=_State).lists
        return {msgspec.convert({"source": k.source, "of": k.of, "hashed": k.hashed}, ListOf): k for k in found}
    except msgspec.MsgspecError as error:
        raise ValueError(f"the fraud worker says what cannot be read: {error}") from error


def lists_condition(lists: ListNames, states: ListStates, unseen: str) -> Condition | None:
    """Say how the lists of a rule are doing; None for a rule without lists.

    Nothing that is in a list is told, as those who read a status may not be those who may read the list.
    """
    named: dict[ListOf, str] = {}
    for kind, sources in (("allow", lists.allow), ("deny", lists.deny), ("watch", lists.watch)):
        for of in sources:
            named.setdefault(of, kind)
    if not named:
        return None
    if not all(of in states for of in named):
        return Condition("Lists", "Unknown", "NotSeen", unseen or "the worker has not been asked yet")
    told = {of: states[of] for of in named}
    said = "; ".join(
        _said(kind, of, told[of]) for of, kind in sorted(named.items(), key=lambda each: not told[each[0]].problem)
    )
    if any(each.problem for each in told.values()):
        return Condition("Lists", "False", "NotTaken", said)
    if any(each.reading and each.reading.wrong for each in told.values()):
        return Condition("Lists", "False", "LinesLeftOut", said)
    return Condition("Lists", "True", "Taken", said)


def count_not_taken(rules: Iterable[Manifest]) -> int:
    """Count the rules of which a list is not in force as it is now."""
    conditions = (each for rule in rules for each in (rule.get("status") or {}).get("conditions") or ())
    return sum(1 for each in conditions if each.get("type") == "Lists" and each.get("reason") == "NotTaken")


def _said(kind: str, of: ListOf, state: ListState) -> str:
    if state.problem:
        return f"{of.source}: {state.problem}; {_instead(kind, state)}"
    said = f"{of.source}: {_counted(state.entries or 0)}"
    reading = state.reading
    if reading is None or not reading.wrong:
        return said
    more = reading.wrong - len(reading.lines)
    lines = ", ".join(map(str, reading.lines)) + (f" and {more} more" if more else "")
    return f"{said}, and without line{'' if reading.wrong == 1 else 's'} {lines}, which cannot be read"


def _instead(kind: str, state: ListState) -> str:
    if state.entries is not None:
        return f"it holds as it was taken last, with {_counted(state.entries)}"
    if kind == "allow":
        return "until it is there the rule stops nobody"
    return "until it is there the rule does without it"


def _counted(entries: int) -> str:
    return "1 entry" if entries == 1 else f"{entries} entries"
