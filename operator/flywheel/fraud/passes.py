"""Passes of those who have met a challenge: signed, for one address and visitor, until a moment. Pure.

The cookie `fw_pass` is `<key>.<until>.<code>`: the name of the worker's key, seconds since 1970, and the HMAC-SHA-256
of `<until>|<address>|<visitor>` in lower-case hex. HAProxy reckons it anew and compares it in constant time.
"""

import hashlib
import hmac


def sign(key_name: str, key: bytes, until: int, address: str, visitor: str) -> str:
    """Write the value of the cookie.

    Args:
        key_name: Letters and digits.
        key: The worker's.
        until: Seconds since 1970.
        address: The client's, as the edge sees it.
        visitor: The value of the cookie `fw_vid`; empty without one.
    """
    return f"{key_name}.{until}.{_code(key, until, address, visitor)}"


def is_good(value: str, keys: dict[str, bytes], now: int, address: str, visitor: str) -> bool:
    """Tell whether a cookie is a pass of this address and visitor at a moment in seconds, as HAProxy does."""
    name, _, rest = value.partition(".")
    until, _, code = rest.partition(".")
    key = keys.get(name)
    if key is None or not until.isascii() or not until.isdigit() or len(until) > 12:
        return False
    return hmac.compare_digest(_code(key, int(until), address, visitor), code) and now < int(until)


def _code(key: bytes, until: int, address: str, visitor: str) -> str:
    return hmac.new(key, f"{until}|{address}|{visitor}".encode(), hashlib.sha256).hexdigest()
