"""Reading steps from a file, for people who write them. Pure."""

from typing import Any

import yaml
from pydantic import ValidationError

from flywheel.api.gate_browser import BrowserGate
from flywheel.api.model import BROKEN

LONGEST_FILE = 256 * 1024


class InvalidStepsError(Exception):
    """A file that holds no browser gate; the text has one problem a line, with the path of the field."""


def read_steps(text: str) -> BrowserGate:
    """Read a browser gate from YAML: a list of steps, or what a gate has under `browser`, with or without that word.

    Raises:
        InvalidStepsError: It is none.
    """
    if len(text) > LONGEST_FILE:
        raise InvalidStepsError(f"it is longer than {LONGEST_FILE // 1024} KiB")
    try:
        read: Any = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise InvalidStepsError(f"it is no YAML: {error}") from error
    if isinstance(read, dict) and isinstance(read.get("browser"), dict):
        read = read["browser"]
    try:
        return BrowserGate.model_validate({"steps": read} if isinstance(read, list) else read, by_name=False)
    except ValidationError as error:
        raise InvalidStepsError("\n".join(_problems(error))) from None


def _problems(error: ValidationError) -> list[str]:
    found = []
    for detail in error.errors(include_url=False):
        where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in detail["loc"]).lstrip(".")
        if detail["type"] == BROKEN:
            found += [
                f"{'.'.join(part for part in (where, relative) if part)}: {message}"
                for relative, message in detail["ctx"]["complaints"]
            ]
        elif detail["type"] == "extra_forbidden":
            found.append(f"{where}: unknown field: remove it or correct its name")
        elif detail["type"] != "too_short" or not detail["input"]:
            found.append(f"{where}: {detail['msg']}")
    return found
