"""How the number of a namespace's fraud workers changes: growth at once, shrinking in two steps. Pure.

Windows move from worker to worker, and whoever gives some up has to be there until whoever takes them has done so. How
far that is the workers themselves say; nothing is remembered but the StatefulSet. One move ends before the next begins.
"""

import contextlib
import re
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from flywheel.plan import LiveObject, Manifest, ObjectKey

_SHARDS = re.compile(r"--shards=(\d{1,4})")


class Layout(NamedTuple):
    """What the StatefulSet says."""

    workers: int
    """How many there are."""
    shards: int
    """How many of them are to share the keys: fewer, while the others hand over what they have."""


class Standing(NamedTuple):
    """What one worker says of itself. One that does not answer, or is not ready, has none."""

    shards: int = 1
    """How many workers share the keys, by what it does."""
    taking: bool = False
    """Whether it is taking over windows of others."""


Standings = Mapping[int, Standing]
"""By the worker's number."""


class _State(msgspec.Struct):
    ready: bool = True
    shards: int = 1
    taking: bool = msgspec.field(default=False, name="takingOver")


def next_layout(wanted: int, now: Layout | None, standings: Standings) -> Layout:
    """Decide what the StatefulSet is to say next.

    Args:
        wanted: How many workers there shall be.
        now: What it says; None where there is none.
        standings: What its workers say.
    """
    if now is None:
        return Layout(wanted, wanted)
    if now.workers > now.shards:
        # A move that has begun is ended, also where somebody wants something else by now.
        return Layout(now.shards, now.shards) if holds(now.shards, standings) else now
    if wanted == now.shards:
        return now
    first = standings.get(0)
    if first is not None and first.shards < now.shards and holds(first.shards, standings):
        # Nobody gave anything up yet: those who would have taken it can go, be it that they never started.
        return Layout(first.shards, first.shards)
    if wanted > now.shards:
        return Layout(wanted, wanted) if holds(now.shards, standings) else now
    # Whoever goes may be broken: those who stay wait for it only for so long.
    stay = [standings.get(number) for number in range(wanted)]
    if all(each is not None and each == Standing(now.shards) for each in stay):
        return Layout(now.workers, wanted)
    return now


def holds(shards: int, standings: Standings) -> bool:
    """Tell whether so many workers have all keys between them, with nothing on its way."""
    return all(standings.get(number) == Standing(shards) for number in range(shards))


def counting(standings: Standings, workers: int) -> int:
    """Give how many workers have to be asked for figures: those who have all keys between them, or else all.

    While a move is under way, others have some keys as well, and would count what they judge a second time.
    """
    first = standings.get(0)
    return first.shards if first is not None and holds(first.shards, standings) else workers


def workers_of(live: Mapping[ObjectKey, LiveObject], wanted: int) -> int:
    """Say how many workers edges send to: as many as there are, and before there are any, as many as there will be.

    Args:
        live: The objects of the namespace's workers.
        wanted: How many workers there shall be.
    """
    worker = next((each for key, each in live.items() if key.kind == "StatefulSet"), None)
    return (worker and worker.replicas) or wanted


def layout_of(stateful_set: Manifest | None) -> Layout | None:
    """Read what a StatefulSet says; None where there is none that could be read."""
    spec = (stateful_set or {}).get("spec") or {}
    workers = spec.get("replicas")
    containers = ((spec.get("template") or {}).get("spec") or {}).get("containers") or ()
    found = [_SHARDS.fullmatch(str(each)) for container in containers for each in container.get("args") or ()]
    shards = next((int(each[1]) for each in found if each), 1)
    # By hand it may have been made smaller than it says: then it is as large as it is.
    return Layout(workers, min(workers, shards)) if isinstance(workers, int) and workers > 0 and shards > 0 else None


def standings_of(bodies: Mapping[int, bytes]) -> dict[int, Standing]:
    """Read what workers say of themselves; one that cannot judge, or cannot be understood, has said nothing."""
    found = {}
    for number, body in bodies.items():
        with contextlib.suppress(ValueError):
            state = _read(body)
            if state.ready:
                found[number] = Standing(state.shards, state.taking)
    return found


def not_ready(body: bytes) -> str:
    """Say what keeps a worker from judging; empty where nothing does.

    Raises:
        ValueError: It cannot be read.
    """
    state = _read(body)
    if state.ready:
        return ""
    return "it takes over windows of the others" if state.taking else "it is starting"


def takes_over(body: bytes) -> bool:
    """Tell whether a worker takes windows of others over.

    Raises:
        ValueError: It cannot be read.
    """
    return _read(body).taking


def _read(body: bytes) -> _State:
    try:
        return msgspec.json.decode(body, type=_State)
    except msgspec.MsgspecError as error:
        raise ValueError(f"the fraud worker says what cannot be read: {error}") from error
