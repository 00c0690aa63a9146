"""The forms of the web that people write: addresses, origins, host names, cookies, headers.

They end up in the configuration of a proxy, so each form is as narrow as its use allows.
"""

import ipaddress
from typing import Annotated

from flywheel.api.quantities import Text

_BYTE = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4 = f"({_BYTE}\\.){{3}}{_BYTE}"
_GROUP = "[0-9a-fA-F]{1,4}"
_IPV6 = "|".join(
    [
        f"({_GROUP}:){{7}}{_GROUP}",
        *(f"({_GROUP}:){{1,{left}}}(:{_GROUP}){{1,{7 - left}}}" for left in range(1, 7)),
        f"({_GROUP}:){{1,7}}:",
        f":(:{_GROUP}){{1,7}}",
    ]
)
ADDRESS_RANGE_PATTERN = f"^({_IPV4}(/(3[0-2]|[12][0-9]|[1-9]))?|({_IPV6})(/(12[0-8]|1[01][0-9]|[1-9][0-9]|[1-9]))?)$"
_PORT = "(:([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?"
_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
# The last part of a name begins with a letter: what has only digits there is an address, or means to hide one.
_LAST_LABEL = "[a-z]([-a-z0-9]*[a-z0-9])?"
_HOST = f"({_IPV4}|({_LABEL}\\.)*{_LAST_LABEL})"
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def _network(text: str) -> str:
    return str(ipaddress.ip_network(text, strict=False))


def _origin(text: str) -> str:
    """As browsers write it: the port of the scheme is left out."""
    return text.removesuffix(_DEFAULT_PORTS[text.partition(":")[0]])


Hostname = Annotated[
    str,
    Text(
        "^(\\*\\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
        "a lowercase host name without port, such as 618.shop.example or *.shop.example",
        253,
        explain=True,
    ),
]
AddressRange = Annotated[
    str,
    Text(
        ADDRESS_RANGE_PATTERN,
        "an address or range such as 10.0.0.0/8 or 2001:db8::/32; never /0, which would believe everybody",
        64,
        2,
        _network,
        True,
    ),
]
Origin = Annotated[
    str,
    Text(
        f"^https?://{_HOST}{_PORT}$",
        "an origin such as https://m.shop.example: lower case, without path",
        270,
        read=_origin,
        explain=True,
    ),
]
HttpAddress = Annotated[
    str,
    Text(
        f"^https?://{_HOST}{_PORT}$",
        "an address such as https://clickhouse.example:8443: lower case, without user and path",
        270,
        explain=True,
    ),
]
Domain = Annotated[
    str,
    Text(
        f"^({_LABEL}\\.)+{_LAST_LABEL}$", "a domain such as shop.example, in lower case, no address", 253, explain=True
    ),
]
ReferrerHost = Annotated[
    str, Text(f"^{_HOST}$", "a host name such as baidu.com: lower case, without scheme, port and path", 253)
]
HEADER_NAME = Text("^[A-Za-z0-9-]+$", "the name of a header such as X-Region", 64, explain=True)
HeaderName = Annotated[str, HEADER_NAME]
HeaderValue = Annotated[
    str, Text("^[!-~]([ -~]*[!-~])?$", "printable ASCII on one line, without spaces around it", 2048)
]
CookieName = Annotated[str, Text("^[A-Za-z0-9_-]+$", "the name of a cookie such as fw_consent", 64, explain=True)]
CookieValue = Annotated[str, Text("^[!#-+\\--:<-\\[\\]-~]+$", "the value of a cookie such as granted", 128)]
