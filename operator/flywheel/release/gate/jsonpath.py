"""Paths into JSON such as `$.items[0].price` or `$['a key']`: what the models let through, and no more. Pure."""

import re
from typing import Any

_STEP = re.compile(r"[.](?P<name>[A-Za-z_][A-Za-z0-9_-]*)|\[(?P<place>[0-9]+)\]|\['(?P<key>[^']+)'\]")


def steps(path: str) -> tuple[str | int, ...]:
    """Read a path of the form that `flywheel.api.gate_values.JsonPath` checks.

    Raises:
        ValueError: It is none.
    """
    found: list[str | int] = []
    position = 1 if path.startswith("$") else len(path) + 1
    while position < len(path):
        step = _STEP.match(path, position)
        if step is None:
            break
        place = step["place"]
        found.append(int(place) if place is not None else step["name"] or step["key"])
        position = step.end()
    if position != len(path):
        raise ValueError(f"not a path into JSON: {path[:60]!r}")
    return tuple(found)


def find(document: Any, path: str) -> tuple[bool, Any]:
    """Say whether there is a value at a path, and give it.

    Raises:
        ValueError: The path is none.
    """
    value = document
    for step in steps(path):
        if isinstance(step, int):
            if not isinstance(value, list) or step >= len(value):
                return False, None
            value = value[step]
        else:
            if not isinstance(value, dict) or step not in value:
                return False, None
            value = value[step]
    return True, value
