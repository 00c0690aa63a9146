"""What several workers say, put together for people: while a key moves, two of them know the same."""

from collections.abc import Callable, Iterable
from typing import Any

Told = dict[str, Any]


def decisions(said: Iterable[Told]) -> Told:
    """Put together what holds: each decision once, as long as it holds anywhere."""
    total, known = 0, dict[tuple[str, str], Told]()
    for each in said:
        total += each["total"]
        for decision in each["decisions"]:
            name = (decision["campaign"], decision["id"])
            if name in known:
                total -= 1
            if name not in known or decision["until"] > known[name]["until"]:
                known[name] = decision
    held = sorted(
        known.values(), key=lambda each: (each["campaign"], each.get("rule", ""), -each["until"], each["value"])
    )
    return {"total": total, "decisions": held}


def allowed(said: Iterable[list[Told]]) -> list[Told]:
    """Put together who is left alone by hand: all workers know all of them, but for those who came to it later."""
    return _once(
        said, lambda each: (each["campaign"], each["kind"], each["value"], each["rule"]), lambda each: each["until"]
    )


def verdicts(said: Iterable[list[Told]], limit: int) -> list[Told]:
    """Put together why somebody was found, the latest first.

    Args:
        said: By each worker.
        limit: Verdicts at most.
    """
    found = _once(
        said,
        lambda each: (each["campaign"], each["rule"], each["version"], each["event"], str(each["key"])),
        lambda each: -each["at"],
    )
    return found[:limit]


def ended(said: Iterable[list[Told]]) -> list[Told]:
    """Put together what has ended."""
    return _once(said, lambda each: each["id"], lambda each: (each.get("rule", ""), each["value"]))


def _once(said: Iterable[list[Told]], name: Callable[[Told], Any], order: Callable[[Told], Any]) -> list[Told]:
    known: dict[Any, Told] = {}
    for each in (told for one in said for told in one):
        known.setdefault(name(each), each)
    return sorted(known.values(), key=order)
