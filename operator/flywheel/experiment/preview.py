"""What lets a tester see a variant: a token that nobody can guess who may not read the test. Pure."""

import hashlib
import hmac

LENGTH = 32
"""Hexadecimal digits."""


def token(uid: str, variant: str) -> str:
    """Sign the name of a variant with the test's own uid, which only those know who may read the test.

    Args:
        uid: Of the ABTest.
        variant: Name of the variant.
    """
    return hmac.new(uid.encode(), variant.encode(), hashlib.sha256).hexdigest()[:LENGTH]
