"""The small values of gates: latencies, shares, increases, paths into JSON, PromQL with placeholders."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import PydanticCustomError, core_schema

from flywheel.api.quantities import TEXT_FORM, IntegerOr, Text

PLACEHOLDERS = (
    "namespace",
    "campaign",
    "service",
    "revision",
    "slot",
    "activeSlot",
    "activeRevision",
    "window",
)
"""What may stand in double braces in a query."""
LARGEST_NUMBER = 1e15
_JSON_PATH = "^[$]([.][A-Za-z_][A-Za-z0-9_-]*|\\[(0|[1-9][0-9]{0,5})\\]|\\['[^'\\x00-\\x1f\\x7f]+'\\])*$"
_QUERY = f"^([^{{]|[{{][^{{]|[{{][{{]({'|'.join(PLACEHOLDERS)})[}}][}}])+[{{]?$"


def read_latency(text: str) -> timedelta:
    """Read `250ms` or `2s`."""
    digits = text.rstrip("ms")
    return timedelta(milliseconds=int(digits)) if text.endswith("ms") else timedelta(seconds=int(digits))


def read_share(text: str) -> float:
    """Read `0.5%` as 0.005."""
    return float(text[:-1]) / 100


@dataclass(frozen=True, slots=True)
class DecimalNumber:
    """A number, whole or not, without quotes."""

    minimum: float | None = None

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """Check that it is one."""
        return core_schema.no_info_plain_validator_function(self.check)

    def check(self, value: Any) -> float:
        """Return the number, or raise the error that says what is wrong."""
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST_NUMBER:
            number = float(value)
            if self.minimum is None or number >= self.minimum:
                return number
        least = "" if self.minimum is None else f" of at least {self.minimum:g}"
        raise PydanticCustomError(
            TEXT_FORM, "{message}", {"message": f"must be a number{least} such as 0.01, without quotes"}
        )

    def __get_pydantic_json_schema__(
        self, core: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """The same as the API server checks it."""
        least = -LARGEST_NUMBER if self.minimum is None else self.minimum
        return {"type": "number", "minimum": least, "maximum": LARGEST_NUMBER}


Latency = Annotated[
    timedelta,
    Text(
        "^([1-9][0-9]{0,5}ms|[1-9][0-9]{0,2}s)$",
        "a time in whole milliseconds or seconds, such as 250ms or 2s",
        8,
        2,
        read_latency,
        True,
    ),
]
Share = Annotated[
    float,
    Text(
        "^(100([.]0{1,4})?|[1-9]?[0-9]([.][0-9]{1,4})?)%$",
        'a share with the sign, "0%" to "100%", such as 0.5%',
        9,
        2,
        read_share,
        True,
    ),
]
Increase = Annotated[
    float,
    Text(
        "^(0|[1-9][0-9]{0,4})([.][0-9]{1,2})?%$",
        "a percentage with the sign such as 20% or 0.5%",
        9,
        2,
        read_share,
        True,
    ),
]
Number = Annotated[float, DecimalNumber()]
NumberFromZero = Annotated[float, DecimalNumber(0)]
JsonPath = Annotated[
    str,
    Text(
        _JSON_PATH,
        "a path such as $.status, $.items[0].price or $['a key']: names, places in lists from 0, and keys in quotes",
        256,
    ),
]
JsonText = Annotated[
    int | str,
    IntegerOr(
        Text(
            "^[^\\x00]*$",
            "text, or a whole number; put true, false, null and decimal numbers in quotes",
            256,
            min_length=0,
        ),
        minimum=-(2**53),
    ),
]
Query = Annotated[
    str,
    Text(
        _QUERY,
        f"a PromQL query of at most 4096 characters; in double braces may stand {', '.join(PLACEHOLDERS)}, such as "
        '{{slot}} in {slot="{{slot}}"}',
        4096,
    ),
]
PathAndQuery = Annotated[
    str, Text('^/[!"$-~]*$', "a path that starts with '/', such as /healthz or /search?q=tea", 1024)
]
PathPrefix = Annotated[str, Text("^(/[A-Za-z0-9._~-]+)+$", "a path without '/' at its end, such as /prometheus", 256)]
