"""The maps of A/B tests: which buckets are whose, and where each variant is. Pure."""

import hashlib
import re
from collections.abc import Iterator, Mapping

from flywheel.edge.document import BUCKETS, EdgeDocument, EdgeService, Test
from flywheel.edge.quoting import DocumentProblem, between, percent_encoded, token
from flywheel.edge.routing import slot_destination

SEGMENTS = "segments"
"""Beginning of a number -> `base|salt`: where the test's buckets begin in `ranges`, and its salt.

`0|salt|test|base`, and `|holdout|salt` behind it, of a test that asks for more than the bucket: its `0` has no ranges.
"""
RANGES = "ranges"
"""Beginning of a number -> `backend|slot|test=variant`; `|1` behind it where the control stands in for the variant."""
VARIANTS = "variants"
"""`<test>/<variant>` -> likewise, of tests that remember who is in."""
FORCED = "forced"
"""`<token>/<service>` -> likewise, of variants that testers may see."""
TESTS_PER_SERVICE = 16
LONGEST_SALT = 256
_TOKEN = re.compile(r"[A-Za-z0-9]{16,64}")
Entries = dict[str, str]


def test_maps(document: EdgeDocument, services: Mapping[str, EdgeService]) -> tuple[dict[str, Entries], Entries]:
    """Give the entries of all maps of tests; and of each tested service `base|salt` of the layer of its tests.

    The base is where the buckets of the layer begin in `segments`.

    Raises:
        DocumentProblem: A test is of a service or slot that is not there, or shares visitors out wrongly.
    """
    found: dict[str, Entries] = {name: {} for name in (RANGES, VARIANTS, SEGMENTS, FORCED)}
    layered: Entries = {}
    layers: dict[str, list[tuple[int, Test]]] = {}
    for index, test in enumerate(document.live.tests):
        path = f"live.tests[{index}]"
        _check(test, services, path)
        layers.setdefault(test.service, []).append((index, test))
        arms = _arms(test, services, path)
        base = _base(test.service, test.name, test.salt, sorted(arms.items()))
        found[RANGES] |= _entries(base, arms)
        if test.remembers:
            found[VARIANTS] |= {_said(value).replace("=", "/"): value for value in arms.values()}
        for number, forced in enumerate(test.forced):
            where = f"{path}.forced[{number}]"
            if not _TOKEN.fullmatch(forced.token):
                raise DocumentProblem(f"{where}.token", "is not 16 to 64 letters and digits")
            destination = slot_destination(services, test.service, forced.slot, f"{where}.slot")
            value = f"{destination}|{token(test.name)}={token(forced.variant)}"
            found[FORCED][f"{forced.token}/{token(test.service)}"] = value
    for service, tests in layers.items():
        segments = _segments(document, tests, services)
        base = _base(service, tests[0][1].layer_salt, sorted(segments.items()))
        found[SEGMENTS] |= _entries(base, segments)
        layered[token(service)] = f"{base}|{percent_encoded(tests[0][1].layer_salt)}"
    # HAProxy knows the maps alone that its configuration names.
    if not any(test.remembers for test in document.live.tests):
        del found[VARIANTS]
    return found, layered


def _check(test: Test, services: Mapping[str, EdgeService], path: str) -> None:
    for name, salt in (("salt", test.salt), ("layerSalt", test.layer_salt)):
        if not salt or len(salt) > LONGEST_SALT:
            raise DocumentProblem(f"{path}.{name}", f"has {len(salt)} characters; 1 to {LONGEST_SALT} are wanted")
    if test.service not in services:
        raise DocumentProblem(f"{path}.service", f"there is no service {test.service!r}")
    between(test.holdout, 0, BUCKETS, f"{path}.holdout")


def _arms(test: Test, services: Mapping[str, EdgeService], path: str) -> dict[tuple[int, int], str]:
    arms: dict[tuple[int, int], str] = {}
    last = 0
    for arm in sorted(test.ranges, key=lambda each: (each.start, each.end)):
        if not last <= arm.start <= arm.end <= BUCKETS:
            raise DocumentProblem(
                f"{path}.ranges",
                f"{arm.start} to {arm.end} of {arm.variant!r} overlaps another or leaves 0 to {BUCKETS}",
            )
        last = arm.end
        where = slot_destination(services, test.service, arm.slot, f"{path}.ranges")
        if arm.end > arm.start:
            away = "|1" if arm.fallback else ""
            arms[arm.start, arm.end] = f"{where}|{token(test.name)}={token(arm.variant)}{away}"
    return arms


def _segments(
    document: EdgeDocument, tests: list[tuple[int, Test]], services: Mapping[str, EdgeService]
) -> dict[tuple[int, int], str]:
    """Share the layer of a service out to its tests."""
    if len(tests) > TESTS_PER_SERVICE:
        path = f"live.tests[{tests[TESTS_PER_SERVICE][0]}]"
        raise DocumentProblem(path, f"{tests[0][1].service!r} has more than {TESTS_PER_SERVICE} tests at once")
    found: list[tuple[int, int, str]] = []
    for index, test in tests:
        path = f"live.tests[{index}]"
        if test.layer_salt != tests[0][1].layer_salt:
            raise DocumentProblem(f"{path}.layerSalt", f"is not that of the other tests of {test.service!r}")
        base = _base(test.service, test.name, test.salt, sorted(_arms(test, services, path).items()))
        value = f"{base}|{percent_encoded(test.salt)}"
        if test.remembers or test.holdout or any(arm.fallback for arm in test.ranges):
            value = f"0|{percent_encoded(test.salt)}|{token(test.name)}|{base}"
        if test.holdout:
            value += f"|{test.holdout}|{percent_encoded(document.live.holdout_salt)}"
        found += [(each.start, each.end, value) for each in test.segments if each.end > each.start]
    last = 0
    for start, end, _ in sorted(found):
        if not last <= start < end <= BUCKETS:
            message = f"buckets {start} to {end} are somebody else's, or not within 0 to {BUCKETS}"
            raise DocumentProblem(f"live.tests[{tests[0][0]}].segments", message)
        last = end
    return {(start, end): value for start, end, value in found}


def _said(value: str) -> str:
    return value.split("|")[2]


def _entries(base: int, values: Mapping[tuple[int, int], str]) -> Entries:
    return {prefix: value for (start, end), value in values.items() for prefix in prefixes(base, start, end)}


def prefixes(base: int, start: int, end: int) -> Iterator[str]:
    """Write the numbers from `base + start` to before `base + end` as the fewest beginnings of decimal numbers.

    HAProxy finds the longest beginning in a tree, and a range of numbers only by trying one range after the other.
    """
    while start < end:
        size = 1
        while start % (size * 10) == 0 and start + size * 10 <= end and size < BUCKETS:
            size *= 10
        yield str((base + start) // size)
        start += size


def _base(*parts: object) -> int:
    """Give each form of a test its own stretch of numbers, so that an old and a new one never mix while maps change.

    All have as many digits: none begins with all digits of another one.
    """
    return (10**12 + int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:5])) * BUCKETS
