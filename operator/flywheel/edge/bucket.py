"""Which of 10,000 buckets a visitor is in: the same in HAProxy, which decides, and in Python, which calculates."""

import xxhash

from flywheel.edge.document import BUCKETS


def bucket(salt: str, visitor: str) -> int:
    """Give the bucket of a visitor, 0 to 9,999: xxh32 of "<salt>:<visitor>" in UTF-8, unsigned, modulo 10,000."""
    return xxhash.xxh32_intdigest(f"{salt}:{visitor}".encode()) % BUCKETS


def share_salt(service: str) -> str:
    """Give the salt under which the visitors of a service are shared out between its slots."""
    return f"share/{service}"
