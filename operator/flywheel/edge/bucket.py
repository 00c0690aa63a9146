"""Which of 10,000 buckets a visitor is in: the same in HAProxy, which decides, and in Python, which calculates."""

from collections.abc import Sequence

import xxhash

from flywheel.edge.document import BUCKETS, Live, Test


def bucket(salt: str, visitor: str) -> int:
    """Give the bucket of a visitor, 0 to 9,999: xxh32 of "<salt>:<visitor>" in UTF-8, unsigned, modulo 10,000."""
    return xxhash.xxh32_intdigest(f"{salt}:{visitor}".encode()) % BUCKETS


def share_salt(service: str) -> str:
    """Give the salt under which the visitors of a service are shared out between its slots."""
    return f"share/{service}"


def assigned(live: Live, service: str, visitor: str) -> tuple[str, str] | None:
    """Give the test and the variant of a visitor, as far as buckets decide: targets and cookies come before them."""
    test = _test_of([each for each in live.tests if each.service == service], visitor)
    if test is None or bucket(live.holdout_salt, visitor) < test.holdout:
        return None
    at = bucket(test.salt, visitor)
    return next(((test.name, each.variant) for each in test.ranges if each.start <= at < each.end), None)


def _test_of(tests: Sequence[Test], visitor: str) -> Test | None:
    """Find the test of a visitor among those of one service, which are all of one layer."""
    at = bucket(tests[0].layer_salt, visitor) if tests else 0
    return next((test for test in tests if any(each.start <= at < each.end for each in test.segments)), None)
