"""A/B tests in HAProxy's words: who is in which, what they see, and what is remembered of it.

Most of it is looked up in maps, so that a test begins, changes and ends without a reload; what a test asks of a request
(its target), and the cookie that remembers who is in, are written out for each test that has them.
"""

import hashlib
from collections.abc import Iterator

from flywheel.edge.document import BUCKETS, EdgeDocument, Target, Test
from flywheel.edge.livemaps import VISITOR_PATTERN
from flywheel.edge.naming import FORCED_COOKIE, FORCED_PARAMETER, NEW_COOKIE, SAME_PERSON_COOKIE
from flywheel.edge.previewrules import CACHES
from flywheel.edge.quoting import acl_lines, header_name, token
from flywheel.edge.testmaps import FORCED, RANGES, SEGMENTS, TESTS, VARIANTS

HEADER = "X-FW-Variant"
OFF = "off"
_IN = "{ var(txn.arm) -m found }"
_SHOWN = "{ var(txn.shown) -m found }"


def request_rules(document: EdgeDocument, directory: str) -> Iterator[str]:
    """Give the rules that choose a variant; where there is no test each of them fails at once, which costs least."""
    yield from _person(document)
    yield f"http-request set-var(txn.lay) var(txn.svc),map({directory}/{TESTS}.map) if {{ var(txn.who) -m found }}"
    yield "http-request set-var(txn.base) var(txn.lay),field(1,|),add(0)"
    yield f"http-request set-var(txn.seg) {bucket_of('lay', 2)},add(txn.base),map_int({directory}/{SEGMENTS}.map)"
    if any(each.holdout for each in document.live.tests):
        yield f"http-request set-var(txn.held) {bucket_of('seg', 5)}"
        yield "http-request unset-var(txn.seg) if { var(txn.seg),field(4,|),sub(txn.held) gt 0 }"
    yield from _remembered(document, directory)
    yield "http-request set-var(txn.from) var(txn.seg),field(2,|),add(0)"
    drawn = f"{bucket_of('seg', 3)},add(txn.from),map_int({directory}/{RANGES}.map)"
    yield f"http-request set-var(txn.arm) {drawn} if !{_IN}"
    yield from _kept(document)
    yield from _forced(directory)
    yield "http-request set-var(txn.test) var(txn.arm),field(1,|)"
    yield "http-request set-var(txn.var) var(txn.arm),field(2,|)"
    yield "http-request set-var(txn.pick) var(txn.arm),field(3,|,2)"
    yield f"http-request add-header {HEADER} %[var(txn.test)]=%[var(txn.var)] if {{ var(txn.test) -m found }}"


def bucket_of(entry: str, salt: int) -> str:
    """Give a bucket of the person, with the salt in a field of the map's entry that a variable has."""
    return f"var(txn.{entry}),field({salt},|),url_dec,concat(:,txn.who),xxh32(0),mod({BUCKETS})"


def _person(document: EdgeDocument) -> Iterator[str]:
    """A person whom the store knows by another visitor, of another device, is assigned as that one."""
    yield "http-request set-var(txn.who) var(txn.vid)"
    known = "{ var(txn.who) -m found }"
    yield f"http-request set-var(txn.as) req.cook({SAME_PERSON_COOKIE}) if {known}"
    yield f"http-request set-var(txn.who) var(txn.as) if {{ var(txn.as) -m reg ^{VISITOR_PATTERN}$ }}"


def remembering(document: EdgeDocument) -> list[tuple[int, Test]]:
    """Give the tests that keep a cookie, with their numbers."""
    return [(index, test) for index, test in enumerate(document.live.tests) if test.remembers]


def _cookie_of(test: Test) -> str:
    # Another salt is another test: whoever was in the old one is not in it.
    digest = hashlib.sha256(f"{test.name}/{test.salt}".encode()).hexdigest()
    return f"fw_in_{digest[:8]}"


def _remembered(document: EdgeDocument, directory: str) -> Iterator[str]:
    """Who is in is found by the cookie; who is not must be meant by the target."""
    tests = remembering(document)
    if any(test.target and test.target.devices for _, test in tests):
        yield from _devices()
    for index, test in tests:
        name, here = token(test.name), f"in{index}"
        yield f"acl {here} var(txn.seg),field(1,|) -m str {name}"
        yield f"http-request set-var(txn.kept) req.cook({_cookie_of(test)}) if {here}"
        kept = f"str({name}/),concat(,txn.kept),map_str({directory}/{VARIANTS}.map)"
        yield f"http-request set-var(txn.arm) {kept} if {here} {{ var(txn.kept) -m found }}"
        yield f"http-request set-var(txn.stays) int(1) if {here} {_IN}"
        if test.target is not None:
            yield from _acls(test.target, index)
            for outside in _outside(test.target, index):
                yield f"http-request unset-var(txn.seg) if {here} !{_IN} {outside}"


def _devices() -> Iterator[str]:
    """Tell kinds of devices by the user agent, as `flywheel.events.agents` does."""
    says = "var(txn.ua) -m sub -i"
    yield "http-request set-var(txn.dev) str(Desktop)"
    yield f"http-request set-var(txn.dev) str(Phone) if {{ {says} mobi iphone ipod }}"
    yield f"http-request set-var(txn.dev) str(Tablet) if {{ {says} ipad tablet }}"
    yield f"http-request set-var(txn.dev) str(Tablet) if {{ {says} android }} !{{ {says} mobile }}"


def _acls(target: Target, index: int) -> Iterator[str]:
    path = f"live.tests[{index}].target"
    exact = [each for each in target.paths if not each.endswith("*")]
    begins = [each.removesuffix("*") for each in target.paths if each.endswith("*")]
    yield from acl_lines(f"path{index}", "var(txn.path)", "str", exact, f"{path}.paths")
    yield from acl_lines(f"path{index}", "var(txn.path)", "beg", begins, f"{path}.paths")
    for number, header in enumerate(target.headers):
        fetch = f"req.fhdr({header_name(header.name, f'{path}.headers[{number}].name').lower()})"
        yield from acl_lines(f"header{index}x{number}", fetch, "str", header.values, f"{path}.headers[{number}]")
    yield from acl_lines(f"device{index}", "var(txn.dev)", "str", target.devices, f"{path}.devices")
    yield from acl_lines(f"region{index}", "var(txn.reg)", "str", target.regions, f"{path}.regions")
    if target.visitors != "All":
        yield f"acl new{index} var(txn.nv) -m found"
        yield f"acl new{index} req.cook({NEW_COOKIE}) -m found"


def _outside(target: Target, index: int) -> Iterator[str]:
    """Give the conditions of which each one tells that somebody is not meant."""
    if target.paths:
        yield f"!path{index}"
    yield from (f"!header{index}x{number}" for number in range(len(target.headers)))
    if target.devices:
        yield f"!device{index}"
    if target.regions:
        yield f"!region{index}"
    if target.visitors != "All":
        yield f"!new{index}" if target.visitors == "New" else f"new{index}"


def _kept(document: EdgeDocument) -> Iterator[str]:
    for index, _ in remembering(document):
        yield f"http-request set-var(txn.keep) int({index}) if in{index} {_IN} !{{ var(txn.stays) -m found }}"


def _forced(directory: str) -> Iterator[str]:
    """A tester sees what a link names, and is not counted: as of a page that is fetched ahead, nobody has looked at it.

    There with or without tests, so that a test that begins costs no reload.
    """
    yield f"http-request set-var(txn.asks) url_param({FORCED_PARAMETER})"
    yield f"http-request set-var(txn.force) req.cook({FORCED_COOKIE})"
    yield "http-request set-var(txn.force) var(txn.asks)"
    yield f"http-request set-var(txn.shown) var(txn.force),concat(/,txn.svc),map_str({directory}/{FORCED}.map)"
    yield f"http-request set-var(txn.ahead) int(1) if {_SHOWN}"
    yield f"http-request unset-var(txn.arm) if {_SHOWN}"
    yield f"http-request unset-var(txn.keep) if {_SHOWN}"
    yield "http-request set-var(txn.pick) var(txn.shown),field(3,|,2)"
    yield f"http-request add-header {HEADER} {_shown()} if {_SHOWN}"


def _shown() -> str:
    return "%[var(txn.shown),field(1,|)]=%[var(txn.shown),field(2,|)]"


def cookies(document: EdgeDocument, age: int) -> Iterator[tuple[str, str]]:
    """Give the cookies that an answer may set, each with the condition: name and value, and how long it lives."""
    for index, test in remembering(document):
        kept = "{ var(txn.var) -m found } " + f"{{ var(txn.keep) -m int {index} }}"
        yield f"{_cookie_of(test)}=%[var(txn.var)]; Max-Age={age}", kept
    if any(test.target and test.target.visitors != "All" for _, test in remembering(document)):
        yield f"{NEW_COOKIE}=1", "{ var(txn.nv) -m found }"
    yield f"{FORCED_COOKIE}=%[var(txn.force)]", f"{_SHOWN} {{ var(txn.asks) -m found }}"
    yield f"{FORCED_COOKIE}=; Max-Age=0", f"{{ var(txn.asks) -m str {OFF} }}"


def answer_rules() -> Iterator[str]:
    """Give the rules of an answer to a tester: no cache may give it to others."""
    yield f"http-after-response set-header {HEADER} {_shown()} if {_SHOWN}"
    yield f"http-after-response del-header {CACHES} -m reg if {_SHOWN}"
    yield f"http-after-response set-header Cache-Control 'private, no-store' if {_SHOWN}"
