"""What may stand in HAProxy's configuration, and how. Every text of a document goes through one of these functions."""

import hashlib
import ipaddress
import re
from collections.abc import Iterator, Sequence

_TOKEN = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_COOKIE = re.compile(r"[A-Za-z0-9!*+.^_~-]{1,128}")
_HEADER = re.compile(r"[A-Za-z0-9-]{1,128}")
_PARAMETER = re.compile(r"[A-Za-z0-9_.~-]{1,128}")
_HOST = re.compile(r"(\*\.)?[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_]([a-z0-9_-]{0,62}))*")
_DOMAIN = re.compile(r"\.?[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*")
_PATH = re.compile(r"/[\x21-\x7e]{0,1023}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_PLAIN = frozenset(b"-._/:0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
LONGEST_TEXT = 8192
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_WORDS = 40


class DocumentProblem(ValueError):  # noqa: N818 - it is a fact about the document, not a fault of ours
    """A document that cannot be carried out.

    Attributes:
        path: The field, as in the document's JSON.
    """

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path


def token(text: str) -> str:
    """Give a name for use inside the configuration, maps and log: the text itself, or a digest of an odd one."""
    if not text or _TOKEN.fullmatch(text):
        return text
    return f"_{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def quote(text: str, path: str) -> str:
    """Write any text as one word of the configuration, in which nothing has a meaning.

    Not for a condition in braces: HAProxy takes even a quoted closing brace for its end.

    Raises:
        DocumentProblem: It has a line break or another control character, or is endless.
    """
    if _CONTROL.search(text):
        raise DocumentProblem(path, f"{text!r} has a line break or another control character; take it out")
    if len(text.encode()) > LONGEST_TEXT:
        raise DocumentProblem(path, f"has {len(text.encode())} bytes; at most {LONGEST_TEXT} fit")
    # Between single quotes HAProxy knows no escape at all: a single quote ends them, stands escaped, and they go on.
    return "'" + text.replace("'", "'\\''") + "'"


def quote_format(text: str, path: str) -> str:
    """Like `quote`, for places where HAProxy would take a percent sign for a variable."""
    return quote(text.replace("%", "%%"), path)


def acl_lines(acl: str, fetch: str, match: str, patterns: Sequence[str], path: str) -> Iterator[str]:
    """Write an ACL that is true where what is fetched matches one of many texts; nothing where there are none."""
    # HAProxy takes at most 64 words on a line; lines of the same name count together.
    for start in range(0, len(patterns), _WORDS):
        words = " ".join(quote(each, path) for each in patterns[start : start + _WORDS])
        yield f"acl {acl} {fetch} -m {match} -- {words}"


def _checked(pattern: re.Pattern[str], text: str, path: str, wanted: str) -> str:
    if not pattern.fullmatch(text):
        raise DocumentProblem(path, f"{text!r} is not {wanted}")
    return text


def name_token(text: str, path: str) -> str:
    """Give the token of a name that must not be empty."""
    if not text:
        raise DocumentProblem(path, "is empty; give it a name")
    return token(text)


def cookie_name(text: str, path: str) -> str:
    """Check the name of a cookie."""
    return _checked(_COOKIE, text, path, "a name for a cookie: letters, digits and -._~!*+^")


def header_name(text: str, path: str) -> str:
    """Check the name of a header field."""
    return _checked(_HEADER, text, path, "a name for a header: letters, digits and -")


def parameter_name(text: str, path: str) -> str:
    """Check the name of a query parameter."""
    return _checked(_PARAMETER, text, path, "a name for a query parameter: letters, digits and -._~")


def host_name(text: str, path: str) -> str:
    """Check a host name in lower case, or one with `*.` before it."""
    return _checked(_HOST, text, path, "a host name in lower case, or *. and one")


def cookie_domain(text: str, path: str) -> str:
    """Check the domain of a cookie."""
    return _checked(_DOMAIN, text, path, "a domain such as shop.example")


def url_path(text: str, path: str) -> str:
    """Check the path of a route."""
    return _checked(_PATH, text, path, "a path: / and visible ASCII characters without spaces")


def network(text: str, path: str) -> Network:
    """Check an address or CIDR; its text is as HAProxy reads it."""
    try:
        # Without a zone of IPv6: it means something on one machine only.
        return ipaddress.ip_network(text.replace("%", "zone"), strict=False)
    except ValueError:
        raise DocumentProblem(path, f"{text!r} is not an address or CIDR such as 10.0.0.0/8") from None


def between(value: float, least: float, most: float, path: str) -> float:
    """Check a number."""
    if not least <= value <= most:
        raise DocumentProblem(path, f"{value:g} is not between {least:g} and {most:g}")
    return value


def percent_encoded(text: str) -> str:
    """Write any text without spaces and signs that mean something in a map; letters, digits and -._/: stay."""
    return "".join(chr(byte) if byte in _PLAIN else f"%{byte:02X}" for byte in text.encode())
