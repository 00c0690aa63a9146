"""The small values that people write as text: durations, percentages, moments, names, amounts.

Each is checked by a regular expression of the RE2 kind (the API server's), and says its form in words when refused.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler, Strict
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import PydanticCustomError, core_schema

from flywheel.api.model import VALIDATIONS

TEXT_FORM = "text_form"


def _same(text: str) -> str:
    return text


@dataclass(frozen=True, slots=True)
class Text:
    """Text of a known form. `read` turns it into the value that the model holds."""

    pattern: str
    form: str
    """Completes the sentence "must be ..."; names an example."""
    max_length: int
    min_length: int = 1
    read: Callable[[str], Any] = _same
    explain: bool = False
    """Give the API server the form in words too, beside the pattern. Costs CEL budget, so only for our own forms."""

    @property
    def message(self) -> str:
        """The sentence for whoever wrote something else."""
        return f"must be {self.form}"

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """Match, then read; values that were read before pass."""
        return core_schema.no_info_plain_validator_function(self.check)

    def matches(self, text: str) -> bool:
        """Whether `text` has the form."""
        return self.min_length <= len(text) <= self.max_length and re.fullmatch(self.pattern, text) is not None

    def check(self, value: Any) -> Any:
        """Read `value`, or raise the error that says its form."""
        if not isinstance(value, str):
            if isinstance(value, datetime | timedelta):
                return value
            raise PydanticCustomError(TEXT_FORM, "{message}", {"message": f"must be text: {self.form}"})
        if not self.matches(value):
            raise PydanticCustomError(TEXT_FORM, "{message}", {"message": self.message})
        try:
            return self.read(value)
        except (ValueError, OverflowError) as error:
            raise PydanticCustomError(TEXT_FORM, "{message}", {"message": self.message}) from error

    def __get_pydantic_json_schema__(
        self, core: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """The form as the API server checks it."""
        schema: JsonSchemaValue = {"type": "string", "pattern": self.pattern, "maxLength": self.max_length}
        if self.min_length:
            schema["minLength"] = self.min_length
        if self.explain:
            schema[VALIDATIONS] = [{"rule": f"self.matches({cel_text(self.pattern)})", "message": self.message}]
        return schema


def cel_text(text: str) -> str:
    """`text` as a literal of CEL."""
    return json.dumps(text)  # the two notations agree on what needs a backslash


@dataclass(frozen=True, slots=True)
class IntegerOr:
    """A whole number, or text of the given form: int-or-string of the API server."""

    text: Text
    minimum: int = 0
    maximum: int = 2**53

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """Check the one or the other."""
        return core_schema.no_info_plain_validator_function(self.check)

    def check(self, value: Any) -> Any:
        """Return `value` if it is a number within bounds or text of the form."""
        if isinstance(value, str):
            return self.text.check(value)
        if isinstance(value, int) and not isinstance(value, bool) and self.minimum <= value <= self.maximum:
            return value
        raise PydanticCustomError(TEXT_FORM, "{message}", {"message": self.text.message})

    def __get_pydantic_json_schema__(
        self, core: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Both forms; the bounds bind numbers only, the pattern text only."""
        schema: JsonSchemaValue = {
            "x-kubernetes-int-or-string": True,
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "pattern": self.text.pattern,
            "maxLength": self.text.max_length,
            "minimum": self.minimum,
            "maximum": self.maximum,
        }
        if self.text.explain:
            rule = f"type(self) == int || string(self).matches({cel_text(self.text.pattern)})"
            schema[VALIDATIONS] = [{"rule": rule, "message": self.text.message}]
        return schema


def read_duration(text: str) -> timedelta:
    """Read `90s`, `10m`, `48h`, `7d` or a sum such as `1h30m`.

    Raises:
        ValueError: The text is not a duration.
    """
    found = re.fullmatch(DURATION_PATTERN, text)
    if not found or not text:
        raise ValueError(f"not a duration: {text[:40]!r}")
    days, hours, minutes, seconds = (int(part[:-1]) if part else 0 for part in found.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


def read_moment(text: str) -> datetime:
    """Read RFC 3339: aware where an offset is given, naive (wall time) where it is not.

    Raises:
        ValueError: No such day or time exists in the calendar.
    """
    return datetime.fromisoformat(text)


DURATION_PATTERN = "^([0-9]{1,4}d)?([0-9]{1,5}h)?([0-9]{1,7}m)?([0-9]{1,8}s)?$"
# Years 2000 to 2199 keep every sum of a moment and a few durations within the calendar.
_MONTH_AND_DAY = "(0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8])"
_LEAP_YEAR = "20(0[048]|[2468][048]|[13579][26])|21(0[48]|[2468][048]|[13579][26])"
MOMENT_PATTERN = (
    f"^(2[01][0-9][0-9]-({_MONTH_AND_DAY})|({_LEAP_YEAR})-02-29)"
    "T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,6})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])?$"
)
QUANTITY_PATTERN = "^([0-9]+(\\.[0-9]*)?|\\.[0-9]+)(([KMGTPE]i)|[numkMGTPE]|([eE][+-]?[0-9]{1,3}))?$"
DNS_LABEL_PATTERN = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
DNS_NAME_PATTERN = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
LABEL_KEY_PATTERN = "^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$"
PERCENT_PATTERN = "^[1-9][0-9]{0,2}%$"

Duration = Annotated[
    timedelta,
    Text(
        DURATION_PATTERN,
        "a duration such as 90s, 10m, 48h, 7d or a sum such as 1h30m (units d, h, m, s in this order; never negative)",
        max_length=32,
        min_length=2,
        read=read_duration,
        explain=True,
    ),
]
Moment = Annotated[
    datetime,
    Text(
        MOMENT_PATTERN,
        "a moment that exists in the calendar, with an offset such as 2027-06-16T00:00:00+08:00 (or Z), "
        "or local wall time such as 2027-06-16T00:00:00",
        max_length=32,
        min_length=19,
        read=read_moment,
        explain=True,
    ),
]
Percentage = Annotated[
    int,
    Text(
        PERCENT_PATTERN,
        'a percentage with the sign, "1%" to "999%", such as 60%',
        max_length=4,
        min_length=2,
        read=lambda text: int(text[:-1]),
        explain=True,
    ),
]
IntegerOrPercent = Annotated[
    int | str,
    IntegerOr(
        Text(
            "^(100|[1-9]?[0-9])%$",
            "a whole number of pods such as 1, or a percentage from 0% to 100%",
            max_length=4,
            min_length=2,
            explain=True,
        )
    ),
]
_QUANTITY = Text(QUANTITY_PATTERN, 'a Kubernetes quantity such as "250m", "0.5", "128Mi" or "2Gi" (text or whole)', 64)
Quantity = Annotated[int | str, IntegerOr(_QUANTITY)]
ResourceQuantity = Annotated[int | str, IntegerOr(replace(_QUANTITY, explain=True))]
"""A quantity where people often mistype one; everywhere else CEL's budget does not reach."""
_UNITS = {"": 1, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}


def read_bytes(text: str) -> int:
    """Read `512`, `16Ki`, `1Mi` or `1Gi` as a number of bytes."""
    digits = text.rstrip("KMGi")
    return int(digits) * _UNITS[text[len(digits) :]]


PortNumberOrName = Annotated[
    int | str,
    IntegerOr(
        Text("^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "a port number from 1 to 65535, or the name of a port", 15),
        minimum=1,
        maximum=65535,
    ),
]

Label = Annotated[str, Text(DNS_LABEL_PATTERN, "lowercase letters, digits and '-', at most 63, such as web-1", 63)]
Name = Annotated[str, Text(DNS_NAME_PATTERN, "the name of a Kubernetes object such as shop-settings", 253)]
LabelKey = Annotated[
    str,
    Text(
        LABEL_KEY_PATTERN,
        "a label key such as team or example.com/team",
        317,
    ),
]
LabelValue = Annotated[
    str,
    Text(
        "^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$",
        "a label value: letters, digits, '-', '_', '.', at most 63",
        63,
        min_length=0,
    ),
]
EnvironmentName = Annotated[
    str,
    Text(
        "^[ -<>-~]+$",
        "the name of an environment variable such as DATABASE_URL: printable, without '='",
        256,
        explain=True,
    ),
]
ImageReference = Annotated[
    str,
    Text(
        "^[A-Za-z0-9][-A-Za-z0-9_.:/@]*$",
        "a container image such as registry.example/shop/web:1.4.2",
        512,
        explain=True,
    ),
]

ByteSize = Annotated[
    int,
    Text(
        "^[1-9][0-9]{0,8}(Ki|Mi|Gi)?$",
        "a number of bytes such as 1Mi, 512Ki or 2Gi",
        11,
        read=read_bytes,
        explain=True,
    ),
]

Flag = Annotated[bool, Strict()]
Integer = Annotated[int, Strict()]
Count = Annotated[int, Strict(), Field(ge=0, le=2_147_483_647)]
Replicas = Annotated[int, Strict(), Field(ge=0, le=1000)]
PortNumber = Annotated[int, Strict(), Field(ge=1, le=65535)]
Word = Annotated[str, Field(min_length=1, max_length=253)]
Line = Annotated[str, Field(max_length=1024)]
LongText = Annotated[str, Field(max_length=32768)]
