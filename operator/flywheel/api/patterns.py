"""Regular expressions that people write, of the RE2 kind: matched in time that grows with the text and no faster."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any

import re2
from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import PydanticCustomError, core_schema

from flywheel.api.model import VALIDATIONS
from flywheel.api.quantities import TEXT_FORM

MOST_MEMORY = 8 << 20
"""Bytes that one pattern may take; a larger one is refused when it is compiled."""
_MESSAGE = (
    "must be a regular expression of the RE2 kind such as ^v[0-9]+$: check its brackets; look-ahead, look-behind and "
    "back-references do not exist there"
)


@dataclass(frozen=True, slots=True)
class PatternText:
    """Text that is a regular expression; the model holds the text."""

    max_length: int

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """Compile it once, to see that it can be."""
        return core_schema.no_info_plain_validator_function(self.check)

    def check(self, value: Any) -> str:
        """Return the text, or raise the error that says what is wrong."""
        if isinstance(value, str) and 0 < len(value) <= self.max_length:
            try:
                compiled(value)
            except ValueError:
                pass
            else:
                return value
        raise PydanticCustomError(TEXT_FORM, "{message}", {"message": _MESSAGE})

    def __get_pydantic_json_schema__(
        self, core: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Have the API server compile it too: it refuses with the message where that fails."""
        return {
            "type": "string",
            "minLength": 1,
            "maxLength": self.max_length,
            VALIDATIONS: [{"rule": "''.matches(self) in [true, false]", "message": _MESSAGE}],
        }


PatternOf256 = Annotated[str, PatternText(256)]


@lru_cache(maxsize=256)
def compiled(pattern: str) -> "re2._Regexp[str]":
    """Compile a pattern.

    Raises:
        ValueError: It is none, or too large.
    """
    options = re2.Options()
    options.max_mem = MOST_MEMORY
    options.log_errors = False
    options.never_capture = True
    try:
        return re2.compile(pattern, options)
    except (re2.error, UnicodeError) as error:
        raise ValueError(f"not a regular expression: {error}") from None


def is_found(pattern: str, text: str) -> bool:
    """Tell whether a pattern that was checked matches somewhere in a text."""
    return compiled(pattern).search(text) is not None
