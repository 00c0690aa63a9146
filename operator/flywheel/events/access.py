"""Who may send events: a known write key, from the site itself or an origin that the campaign declares.

A write key is no secret - every visitor's browser has it -, it tells campaigns apart. It is compared in constant time
all the same.
"""

import base64
import binascii
import hmac
from collections.abc import Iterable, Mapping

from flywheel.edge.document import Collect
from flywheel.events.refusal import Refused

_LONGEST_KEY = 256
PREFLIGHT_AGE = 600
_METHODS = "POST, OPTIONS"
_HEADERS = "authorization, content-type, content-encoding"


class Access:
    """The rules of one document."""

    def __init__(self, collect: Collect) -> None:
        self._keys = tuple(each.encode() for each in collect.write_keys)
        self._origins = frozenset(each.lower().rstrip("/") for each in collect.origins)

    def check_key(self, candidates: Iterable[str | None]) -> None:
        """Check the first write key that was given.

        Raises:
            Refused: There is none, or it is not one of the campaign's.
        """
        given = next((each for each in candidates if each), None)
        if given is None:
            wanted = "as user name of HTTP Basic authentication, or as writeKey in the body"
            raise Refused("unknown_key", f"A write key is needed: {wanted}.")
        text = given[:_LONGEST_KEY].encode("utf-8", "replace")
        # All are compared: how long it takes says nothing about which was close.
        if not sum([hmac.compare_digest(text, each) for each in self._keys]):
            raise Refused("unknown_key", "This campaign does not know the write key: see edge.events.writeKeys.")

    def check_origin(self, origin: str, host: str) -> None:
        """Check that a page may send from where it is.

        Raises:
            Refused: It is of a site that the campaign does not declare.
        """
        if origin and not self.is_allowed(origin, host):
            raise Refused("foreign_origin", "Pages of this origin may not send: see edge.events.origins.")

    def is_allowed(self, origin: str, host: str) -> bool:
        """Tell whether an origin is the site itself or a declared one."""
        lowered = origin.lower()
        own = host.lower()
        # As browsers write it, and nothing more: the whole of it goes back in a header.
        return lowered in self._origins or (bool(own) and lowered in (f"https://{own}", f"http://{own}"))

    def headers(self, origin: str, host: str, *, preflight: bool = False) -> dict[str, str]:
        """Give the headers with which a browser lets the page read the answer."""
        if not origin or not self.is_allowed(origin, host):
            return {"Vary": "Origin"}
        found = {
            "Vary": "Origin",
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Allow-Credentials": "true",
        }
        if preflight:
            found |= {
                "Access-Control-Allow-Methods": _METHODS,
                "Access-Control-Allow-Headers": _HEADERS,
                "Access-Control-Max-Age": str(PREFLIGHT_AGE),
            }
        return found


def basic_user(headers: Mapping[str, str]) -> str | None:
    """Read the user name of HTTP Basic authentication."""
    scheme, _, value = headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(value.strip(), validate=True).decode("utf-8", "replace").partition(":")[0]
    except (binascii.Error, ValueError):
        return None
