"""Where the browser of a gate may go, and what is said on its behalf there. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from flywheel.release.gate.browser.steps import Plan, host_and_port

Headers = tuple[tuple[str, str], ...]
_OF_ONE_CONNECTION = {
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "upgrade",
}


class BadRequestError(Exception):
    """What came is not HTTP as a browser speaks it to a proxy."""


@dataclass(frozen=True, slots=True)
class Head:
    """The first line and the headers of a message."""

    first: tuple[str, str, str]
    headers: Headers

    def value(self, name: str) -> str:
        """Give the first value of a header; empty without it."""
        return next((value for key, value in self.headers if key.lower() == name), "")

    def encode(self) -> bytes:
        """Write it as it goes over the wire."""
        lines = [" ".join(self.first), *(f"{name}: {value}" for name, value in self.headers)]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


@dataclass(frozen=True, slots=True)
class Destination:
    """Where to connect to."""

    host: str
    port: int
    own: bool
    """The address that the gate looks at."""


def parse_head(raw: bytes) -> Head:
    """Read the head of a request or an answer.

    Raises:
        BadRequestError: It is none.
    """
    first, *lines = raw.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    parts = first.split(" ", 2)
    if len(parts) == 2:
        parts.append("")
    headers = [(name, value.strip()) for name, colon, value in (line.partition(":") for line in lines) if colon]
    if len(parts) != 3 or len(headers) != len(lines):
        raise BadRequestError("the head of a message is no HTTP")
    return Head((parts[0], parts[1], parts[2]), tuple(headers))


def destination(plan: Plan, host: str, port: int) -> Destination | None:
    """Decide where a connection that the browser asked for leads; None where it must not go."""
    if (host, port) == host_and_port(plan.origin):
        return Destination(*host_and_port(plan.dial), own=True)
    if host in plan.allow_hosts and port in (80, 443):
        return Destination(host, port, own=False)
    return None


def asked_for(head: Head) -> tuple[str, int, str]:
    """Give host, port and path that a request names.

    Raises:
        BadRequestError: It names none.
    """
    method, target, _ = head.first
    try:
        parts = urlsplit(f"//{target}" if method == "CONNECT" else target)
        host, port = (parts.hostname or "").lower(), parts.port or (443 if method == "CONNECT" else 80)
    except ValueError as error:
        raise BadRequestError("a request names no host") from error
    if not host or (method != "CONNECT" and parts.scheme != "http"):
        raise BadRequestError("a request names no host")
    return host, port, (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def outgoing(head: Head, path: str, given: Mapping[str, str], *, upgrade: bool = False) -> Head:
    """Make the head that goes to a server: of one connection, with the headers `given` instead of the browser's own."""
    ours = {name.lower() for name in given} | (set() if upgrade else _OF_ONE_CONNECTION)
    kept = [(name, value) for name, value in head.headers if name.lower() not in ours]
    closing = [] if upgrade else [("Connection", "close")]
    return Head((head.first[0], path, "HTTP/1.1"), (*kept, *given.items(), *closing))


def incoming(head: Head) -> Head:
    """Make the head that goes to the browser: one answer for each connection."""
    kept = [(name, value) for name, value in head.headers if name.lower() not in {"connection", "keep-alive"}]
    return Head(head.first, (*kept, ("Connection", "close")))
