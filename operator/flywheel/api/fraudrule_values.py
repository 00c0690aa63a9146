"""The small values of fraud rules: fields of an event, values that they are compared with, digests, paths."""

import ipaddress
import re
from typing import Annotated

from pydantic import Field

from flywheel.api.quantities import Integer, IntegerOr, Text

ENTITIES = ("address", "addressPrefix", "device", "visitor", "user")
"""What stands for somebody: what the edge knows, and who the sender says to be."""
ALIASES = {"context.ip": "address", "userId": "user", "anonymousId": "visitor", "context.device.id": "device"}
"""Names of the event API under which the same is meant."""
PLAIN_FIELDS = (
    *("deviceKind", "service", "variant", "path", "region", "channel", "source", "referrer", "userAgent"),
    *("revenue", "currency", "orderId", "bot"),
)
"""What the edge and the intake tell of every event."""
_PART = "[^.\\x00-\\x20\\x7f]([^.\\x00-\\x1f\\x7f]*[^.\\x00-\\x20\\x7f])?"
_PATH = f"(properties|context|traits)([.]{_PART}){{1,3}}"
_NAMES = "|".join((*ENTITIES, "userId", "anonymousId", *PLAIN_FIELDS))
KEY_PATTERN = f"^({_NAMES}|{_PATH})$"
FIELD_PATTERN = KEY_PATTERN.replace("addressPrefix|", "")
NUMBER_FIELD = "^(revenue$|(properties|context|traits)[.])"
DECIMAL_PATTERN = "^-?(0|[1-9][0-9]{0,14})([.][0-9]{1,9})?$"
_MOST = 10_000_000

FIELDS_IN_WORDS = (
    "address, device, visitor, user, deviceKind, service, variant, path, region, channel, source, referrer, userAgent, "
    "revenue, currency, orderId, bot, or a path such as properties.amount or context.device.model, up to three levels "
    "deep"
)


def canonical(field: str) -> str:
    """The one name of a field: `context.ip` is `address`."""
    return ALIASES.get(field, field)


def one_name_cel(cel: str) -> str:
    """CEL for the one name of a field."""
    return f"({cel} in {ALIASES} ? {ALIASES}[{cel}] : {cel})"


FieldName = Annotated[
    str, Text(FIELD_PATTERN, f"a field of an event: {FIELDS_IN_WORDS}", 128, read=canonical, explain=True)
]
"""Read under its one name."""
KeyName = Annotated[
    str, Text(KEY_PATTERN, f"a field to count by: addressPrefix, {FIELDS_IN_WORDS}", 128, read=canonical, explain=True)
]
Value = Annotated[
    int | str,
    IntegerOr(
        Text(
            "^[^\\x00]*$",
            "text, or a whole number; put decimal numbers, true and false in quotes, and say type: Number or Boolean",
            256,
            min_length=0,
        ),
        minimum=-(2**53),
    ),
]
Digest = Annotated[
    str,
    Text(
        "^sha256:[0-9a-f]{64}$",
        "the digest of the file, sha256: and 64 hexadecimal digits, as sha256sum prints them",
        71,
        71,
        explain=True,
    ),
]
ModelKey = Annotated[
    str,
    Text(
        "^[-A-Za-z0-9_.]+[.]skops$",
        "a key that ends in .skops: other formats, such as pickle, run what is in them when they are read",
        253,
        explain=True,
    ),
]
DataKey = Annotated[str, Text("^[-A-Za-z0-9_.]+$", "a key of the ConfigMap or Secret, such as offices.txt", 253)]
ShortName = Annotated[
    str,
    Text(
        "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
        "lowercase letters, digits and '-', at most 40, such as coupon-desk",
        40,
        explain=True,
    ),
]
Path = Annotated[
    str,
    Text(
        "^/([-A-Za-z0-9/._~!$&'()+,;=:@]|%[0-9a-fA-F]{2})*$",
        "a path that starts with '/', without query, such as /coupon",
        512,
        explain=True,
    ),
]
Sentence = Annotated[
    str,
    Text("^[^\\x00-\\x20\\x7f]([^\\x00-\\x1f\\x7f]*[^\\x00-\\x20\\x7f])?$", "text on one line, for people", 256),
]
KeyValue = Annotated[str, Field(max_length=256)]
Threshold = Annotated[Integer, Field(ge=0, le=10_000)]
LinkLimit = Annotated[Integer, Field(ge=1, le=1000)]
ThresholdFromOne = Annotated[Integer, Field(ge=1, le=10_000)]
KeyLimit = Annotated[Integer, Field(ge=1, le=_MOST)]


def is_range(value: int | str) -> bool:
    """Whether a value is an address or a range of addresses, as the API server tells it."""
    if not isinstance(value, str) or not re.fullmatch("[0-9a-fA-F:.]+(/(0|[1-9][0-9]{0,2}))?", value):
        return False
    try:
        network = ipaddress.ip_network(value, strict=False)
    except ValueError:
        return False
    return network.version == 4 or network.network_address.ipv4_mapped is None


def is_decimal(value: int | str) -> bool:
    """Whether a value is a number, be it written as text."""
    return isinstance(value, int) or re.fullmatch(DECIMAL_PATTERN, value) is not None
