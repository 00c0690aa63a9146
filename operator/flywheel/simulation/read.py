"""From the text of a behaviour file to a Behaviour, or to everything that is wrong with it."""

import difflib
from collections.abc import Iterator

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from flywheel.api.model import BROKEN
from flywheel.api.problem import Problem
from flywheel.simulation.behaviour import Behaviour

MOST_TEXT = 1 << 20
MOST_PROBLEMS = 32
Location = tuple[int | str, ...]


class InvalidBehaviour(Exception):  # noqa: N818 - it is the file that is at fault
    """A file that cannot be used, with all its problems."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


def read_behaviour(text: str) -> Behaviour:
    """Read a behaviour file.

    Raises:
        InvalidBehaviour: It is none; at most 32 problems are named, each with the path of its field.
    """
    if len(text) > MOST_TEXT:
        raise InvalidBehaviour((Problem("", f"larger than {MOST_TEXT >> 20} MiB: no behaviour needs that much"),))
    try:
        loaded = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise InvalidBehaviour((Problem("", f"no YAML: {error}"),)) from error
    if not isinstance(loaded, dict):
        raise InvalidBehaviour((Problem("", "must be an object with channels, agents, journeys and steps"),))
    try:
        return Behaviour.model_validate(loaded, by_alias=True, by_name=False)
    except ValidationError as error:
        found = {problem for detail in error.errors(include_url=False) for problem in _problems(detail)}
        raise InvalidBehaviour(tuple(sorted(found)[:MOST_PROBLEMS])) from None


def _problems(detail: ErrorDetails) -> Iterator[Problem]:
    where = tuple(part for part in detail["loc"] if part != "[key]")
    if detail["type"] == BROKEN:
        for relative, message in detail["ctx"]["complaints"]:
            joint = "." if relative and where and not relative.startswith("[") else ""
            yield Problem(f"{_path(where)}{joint}{relative}", message)
    elif detail["type"] == "extra_forbidden":
        yield Problem(_path(where), _unknown(where))
    elif detail["type"] == "missing":
        yield Problem(_path(where), "is required: add it")
    else:
        yield Problem(_path(where), detail["msg"])


def _path(where: Location) -> str:
    path = ""
    for part in where:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path


def _unknown(where: Location) -> str:
    known = _fields(where[:-1])
    close = difflib.get_close_matches(str(where[-1])[:64], known, n=1)
    if close:
        return f"unknown field, did you mean {close[0]}?"
    return f"unknown field: remove it or correct its name; known here: {', '.join(known)}"


def _fields(where: Location) -> list[str]:
    """Names of the fields of the object at `where`, as they are spelled in YAML."""
    schema = Behaviour.model_json_schema(by_alias=True)
    here = schema
    for part in where:
        here = here.get("items", {}) if isinstance(part, int) else _child(here, part)
        here = _resolved(here, schema)
    return sorted(here.get("properties", {}))


def _child(here: dict[str, object], name: str) -> dict[str, object]:
    properties = here.get("properties")
    found = properties.get(name) if isinstance(properties, dict) else None
    patterns = here.get("patternProperties")
    rest = next(iter(patterns.values()), None) if isinstance(patterns, dict) else here.get("additionalProperties")
    return found if isinstance(found, dict) else rest if isinstance(rest, dict) else {}


def _resolved(here: dict[str, object], schema: dict[str, object]) -> dict[str, object]:
    options = here.get("anyOf")
    if isinstance(options, list):
        here = next((each for each in options if "$ref" in each), {})
    reference = here.get("$ref")
    definitions = schema.get("$defs")
    if isinstance(reference, str) and isinstance(definitions, dict):
        found = definitions.get(reference.rsplit("/", 1)[-1])
        return found if isinstance(found, dict) else {}
    return here
