"""Filling placeholders, and finding values in answers. Pure."""

import json
import random
import re
from collections.abc import Mapping
from functools import lru_cache
from itertools import islice
from typing import Any
from urllib.parse import quote

from flywheel.simulation.behaviour import PLACEHOLDER, Extract

Values = Mapping[str, str | int | float]
MOST_FOUND = 1000
"""Of several values in one answer, so many are looked at."""


class Missing(Exception):  # noqa: N818 - of a value
    """A value that a step needs was not found. The text says which."""


def fill(text: str, values: Values, *, in_path: bool = False) -> str:
    """Put values in place of `{name}`; in a path so that they stay one segment, except the entry, which is a path.

    Raises:
        Missing: No earlier step has found such a value.
    """

    def value(found: re.Match[str]) -> str:
        name = found[1]
        if name not in values:
            raise Missing(f"nothing has given {{{name}}} on this way")
        plain = str(values[name])
        return quote(plain, safe="") if in_path and name != "entry" else plain

    return PLACEHOLDER.sub(value, text)


def fill_all(value: Any, values: Values) -> Any:
    """Fill all texts in JSON. A text that is one placeholder and nothing else becomes the value, numbers too."""
    if isinstance(value, str):
        whole = PLACEHOLDER.fullmatch(value)
        if whole and whole[1] in values:
            return values[whole[1]]
        return fill(value, values)
    if isinstance(value, dict):
        return {name: fill_all(each, values) for name, each in value.items()}
    return [fill_all(each, values) for each in value] if isinstance(value, list) else value


def extract(what: Extract, body: str, url: str, values: Values, rng: random.Random) -> str | int | float | None:
    """Find a value in an answer; None where it is not there, or is not the number that it should be."""
    found: str | int | float | None
    if what.json_path is not None:
        found = _in_json(body, what.json_path)
    else:
        text, pattern = (url, what.url) if what.url is not None else (body, what.regex or "")
        matches = [match[1] for match in islice(_compiled(_filled(pattern, values)).finditer(text), MOST_FOUND)]
        found = rng.choice(matches) if matches else None
    if found is None or not what.number:
        return found
    try:
        # Six digits after the point: cents times 0.01 shall be an amount again.
        return round(float(str(found).replace(",", "")) * what.scale, 6)
    except ValueError:
        return None


def sees(pattern: str, body: str, values: Values) -> bool:
    """Tell whether an answer shows what a regex describes."""
    return _compiled(_filled(pattern, values)).search(body) is not None


def _filled(pattern: str, values: Values) -> str:
    """Put values in place of those placeholders that have one; `{3}` and the like are left as they are."""
    return PLACEHOLDER.sub(lambda found: re.escape(str(values[found[1]])) if found[1] in values else found[0], pattern)


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def _in_json(body: str, path: str) -> str | int | float | None:
    try:
        here: Any = json.loads(body)
        for part in path.split("."):
            here = here[int(part)] if isinstance(here, list) else here[part]
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        return None
    return here if isinstance(here, str | int | float) and not isinstance(here, bool) else None
