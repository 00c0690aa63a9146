"""From a JSON object to a resource, or to everything that is wrong with it. Total: nothing else ever comes out."""

import difflib
import json
import math
import re
from collections.abc import Iterator
from functools import cache
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from flywheel.api.abtest import ABTest
from flywheel.api.campaign import Campaign
from flywheel.api.fraudrule import FraudRule
from flywheel.api.model import BROKEN, Model
from flywheel.api.problem import Problem
from flywheel.api.schema import structural_schema

MAX_BYTES = 256 * 1024
MAX_DEPTH = 32
MAX_PROBLEMS = 32
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

Location = tuple[int | str, ...]
Resource = TypeVar("Resource", bound=Model)


class InvalidResource(Exception):  # noqa: N818 - it is the resource that is at fault
    """A resource that cannot be used, with all its problems in the order of their paths."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("; ".join(str(problem) for problem in problems))
        self.problems = problems


def load_campaign(manifest: dict[str, Any]) -> Campaign:
    """Read a Campaign from the object that the API server (or a YAML file) holds.

    Defaults are filled in; two questions stay open, since only a zone's history answers them: whether the time zone
    exists, and whether a wall time does.

    Raises:
        InvalidResource: It is no valid Campaign; at most 32 problems are named.
    """
    return _load(Campaign, manifest)


def load_abtest(manifest: dict[str, Any]) -> ABTest:
    """Read an ABTest from the object that the API server (or a YAML file) holds.

    Defaults are filled in. Whether the Campaign, the service and the events exist, and whether other tests are in the
    way, is not asked here.

    Raises:
        InvalidResource: It is no valid ABTest; at most 32 problems are named.
    """
    return _load(ABTest, manifest)


def load_fraudrule(manifest: dict[str, Any]) -> FraudRule:
    """Read a FraudRule from the object that the API server (or a YAML file) holds.

    Defaults are filled in, and fields have their one name. Whether the Campaign, its events and its paths exist, is not
    asked here.

    Raises:
        InvalidResource: It is no valid FraudRule; at most 32 problems are named.
    """
    return _load(FraudRule, manifest)


def _load(kind: type[Resource], manifest: dict[str, Any]) -> Resource:
    oversized = _oversized(manifest, kind)
    if oversized:
        raise InvalidResource((oversized,))
    try:
        return kind.model_validate(manifest, by_alias=True, by_name=False)
    except ValidationError as error:
        raise InvalidResource(_problems(error, kind)) from None


def unknown_fields(manifest: dict[str, Any], kind: type[Model] = Campaign) -> tuple[str, ...]:
    """Paths of fields that someone applied but no model knows, so that the API server dropped them silently.

    Found in kubectl's annotation of what was last applied; empty without that annotation. At most 32 paths.
    """
    metadata = manifest.get("metadata") if isinstance(manifest, dict) else None
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    text = annotations.get(LAST_APPLIED) if isinstance(annotations, dict) else None
    if not isinstance(text, str) or len(text) > MAX_BYTES:
        return ()
    try:
        applied = json.loads(text)
    except (ValueError, RecursionError):
        return ()
    if not isinstance(applied, dict) or _oversized(applied, kind):
        return ()
    try:
        kind.model_validate(applied, by_alias=True, by_name=False)
    except ValidationError as error:
        unknown = {_path(detail["loc"]) for detail in error.errors() if detail["type"] == "extra_forbidden"}
        return tuple(sorted(unknown)[:MAX_PROBLEMS])
    return ()


def _oversized(manifest: object, kind: type[Model]) -> Problem | None:
    """Whether the part that is read is too big, too deep (a cycle is infinitely deep) or no JSON at all.

    Every reference to a shared part counts, so that a few nested aliases cannot stand for gigabytes.
    """
    if not isinstance(manifest, dict):
        article = "an" if kind.__name__[0] in "AEIOU" else "a"
        return Problem("", f"{article} {kind.__name__} must be an object with apiVersion, kind, metadata and spec")
    seen = 0
    # Status is the operator's own, metadata is bounded by the API server; both may be larger than any spec.
    read = {key: value for key, value in manifest.items() if key not in {"status", "metadata"}}
    waiting: list[tuple[Location, object]] = [((), read)]
    while waiting:
        where, value = waiting.pop()
        if len(where) > MAX_DEPTH:
            return Problem(_path(where[:6]), f"nested deeper than {MAX_DEPTH} levels: make it flatter")
        seen += 1 + _weight(value)
        if seen > MAX_BYTES:
            return Problem("spec", f"larger than {MAX_BYTES // 1024} KiB: move bulky data into ConfigMaps or images")
        if isinstance(value, dict):
            if not all(isinstance(key, str) for key in value):
                return Problem(_path(where), "all keys must be text: quote them")
            waiting.extend(((*where, key), item) for key, item in value.items())
        elif isinstance(value, list):
            waiting.extend(((*where, index), item) for index, item in enumerate(value))
        elif not _is_scalar(value):
            return Problem(_path(where), "must be JSON: text, a finite number, true, false, null, a list or an object")
    return None


def _weight(value: object) -> int:
    if isinstance(value, dict):
        return sum(len(key) for key in value if isinstance(key, str))
    return len(value) if isinstance(value, str) else 1


def _is_scalar(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, str | bool | int)


def _problems(error: ValidationError, kind: type[Model]) -> tuple[Problem, ...]:
    found = {problem for detail in error.errors(include_url=False) for problem in _from_detail(detail, kind)}
    return tuple(sorted(found)[:MAX_PROBLEMS])


def _from_detail(detail: ErrorDetails, kind: type[Model]) -> Iterator[Problem]:
    where = detail["loc"]
    if detail["type"] == BROKEN:
        for relative, message in detail["ctx"]["complaints"]:
            joint = "." if relative and not relative.startswith("[") and where else ""
            yield Problem(f"{_path(where)}{joint}{relative}", message)
    elif where and where[-1] == "[key]":
        yield Problem(_path(where[:-2]), f"the key {_shown(where[-2])} {_words(detail)}")
    elif detail["type"] == "extra_forbidden":
        yield Problem(_path(where), _unknown(where, kind))
    elif not _miscounted(detail):
        yield Problem(_path(where), _sentence(detail))


def _miscounted(detail: ErrorDetails) -> bool:
    """The library counts only the valid items of a list; a list that is long enough as written is not too short."""
    return detail["type"] == "too_short" and len(detail["input"]) >= detail["ctx"]["min_length"]


_SENTENCES = {
    "missing": "is required: add it",
    "string_type": "must be text: put quotes around it",
    "string_unicode": "must be valid Unicode text",
    "string_too_short": "must have at least {min_length} character(s)",
    "string_too_long": "must have at most {max_length} characters: shorten it",
    "int_type": "must be a whole number, without quotes",
    "int_from_float": "must be a whole number",
    "int_parsing_size": "must be a smaller number",
    "bool_type": "must be true or false, without quotes",
    "dict_type": "must be an object (indented fields)",
    "model_type": "must be an object (indented fields)",
    "tuple_type": "must be a list (items that start with '-')",
    "greater_than_equal": "must be at least {ge}: raise it",
    "less_than_equal": "must be at most {le}: lower it",
    "literal_error": "must be one of {expected}",
}


def _sentence(detail: ErrorDetails) -> str:
    """What is wrong, and what was found instead where that is short enough to show."""
    given = detail["input"]
    return _words(detail) if isinstance(given, dict | list) else f"{_words(detail)} (found {_shown(given)})"


def _words(detail: ErrorDetails) -> str:
    """What is wrong in words for people; the library's own words for what nobody has met yet."""
    context = detail.get("ctx") or {}
    if detail["type"] in {"too_short", "too_long"}:
        few, kind = detail["type"] == "too_short", context.get("field_type", "List")
        bound = context["min_length"] if few else context["max_length"]
        return f"must have at {'least' if few else 'most'} {bound} {'entries' if kind == 'Dictionary' else 'items'}"
    form = _SENTENCES.get(detail["type"])
    return form.format(**context) if form else detail["msg"]


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=True, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _path(where: Location) -> str:
    path = ""
    for part in where:
        if isinstance(part, int):
            path += f"[{part}]"
        elif re.fullmatch("[A-Za-z][A-Za-z0-9_]*", part):
            path += f".{part}" if path else part
        else:
            path += f"[{_shown(part)[1:-1]}]"
    return path


def _unknown(where: Location, kind: type[Model]) -> str:
    name, known = str(where[-1]), _known_fields(where[:-1], kind)
    close = difflib.get_close_matches(name[:64], known, n=1, cutoff=0.6)
    if close:
        return f"unknown field, did you mean {close[0]}?"
    listed = f"; known here: {', '.join(known)}" if 0 < len(known) <= 12 else ""
    return f"unknown field: remove it or correct its name{listed}"


@cache
def _schema(kind: type[Model]) -> dict[str, Any]:
    return structural_schema(kind)


def _known_fields(where: Location, kind: type[Model]) -> list[str]:
    schema = _schema(kind)
    for part in where:
        step = schema.get("items") if isinstance(part, int) else schema.get("properties", {}).get(part)
        schema = step or schema.get("additionalProperties") or {}
    return sorted(schema.get("properties", {}))
