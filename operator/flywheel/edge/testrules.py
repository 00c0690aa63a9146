"""A/B tests in HAProxy's words: who is in which, what they see, and what is remembered of it.

Most of it is looked up in maps, so that a test begins, changes and ends without a reload; what a test asks of a request
(its target), and the cookie that remembers who is in, are written out for each test that has them.
"""

import hashlib
from collections.abc import Iterator

from flywheel.edge import segmentrules
from flywheel.edge.document import BUCKETS, EdgeDocument, Target, Test
from flywheel.edge.livemaps import BUSY_FIELD, MORE_FIELD, VISITOR_PATTERN
from flywheel.edge.naming import FORCED_COOKIE, FORCED_PARAMETER, NEW_COOKIE, SAME_PERSON_COOKIE
from flywheel.edge.quoting import DocumentProblem, acl_lines, header_name, token
from flywheel.edge.testmaps import FORCED, RANGES, SEGMENTS, VARIANTS

HEADER = "X-FW-Variant"
OFF = "off"
_SAID = "%[var(txn.arm),field(3,|)]"
_LOGGED = {"test": "field(3,|),field(1,=)", "var": "field(3,|),field(2,=)"}
LOGGED = ",".join(f'"{key}":%{{+Q}}[var(txn.arm),{part}]' for key, part in (_LOGGED | {"fb": "field(4,|)"}).items())
"""Of the access log: the test, the variant that was assigned, and `1` where the control answers in its place."""
MAY_TEST = f"{{ req.cook({FORCED_COOKIE}) -m found }}"
"""The condition that a request without a query may be a tester's."""
APART = "txn.apart"
"""The variable that is there where a request is shown what others are not, and its answer is for nobody else."""
_SEES = "var(txn.shown) -m found"
SHOWN = f"{{ {_SEES} }}"
_IN = "{ var(txn.arm) -m found }"


def quick_rules(directory: str) -> Iterator[str]:
    """Give the rules for a known visitor on the way from page to page, of whom tests ask for nothing but the bucket.

    That is most requests to a tested service. Each rule and each condition costs: `lay` is there only for such
    requests, one look at the cookies tells those who need more of them, and a test that asks for more has no ranges.
    """
    cookies = "|".join((SAME_PERSON_COOKIE, FORCED_COOKIE))
    yield f"acl linked req.fhdr(cookie) -m reg (?:{cookies})="
    yield f"acl more var(txn.pick),field({MORE_FIELD},|) -m found"
    yield "http-request set-var(txn.who) var(txn.vid) if !arriving !more !linked"
    known = "!{ var(txn.who) -m found } { var(txn.vid) -m found }"
    yield f"http-request set-var(txn.as) req.cook({SAME_PERSON_COOKIE}) if {known} !arriving !more !{MAY_TEST}"
    yield f"http-request set-var(txn.who) var(txn.as) if {{ var(txn.as) -m reg ^{VISITOR_PATTERN}$ }}"
    layer = f"var(txn.pick),field({BUSY_FIELD},|,2),set-var(txn.lay)"
    segment = f"{_bucket(layer)},add(txn.lay),map_beg({directory}/{SEGMENTS}.map),set-var(txn.seg)"
    arm = f"{_bucket(segment)},add(txn.seg),map_beg({directory}/{RANGES}.map),set-var(txn.arm)"
    yield f"http-request set-var(txn.pick) {arm} if {{ var(txn.who) -m found }}"
    yield f"http-request add-header {HEADER} {_SAID} if {_IN}"
    logged = ",".join(f'"{key}":"%[var(txn.arm),{part}]"' for key, part in _LOGGED.items())
    yield f"""http-request set-var-fmt(txn.more) '0,{logged},"_":' if {_IN}"""
    yield "http-request allow if { var(txn.lay) -m found } !{ var(txn.seg),field(3,|) -m found }"


def request_rules(document: EdgeDocument, directory: str) -> Iterator[str]:
    """Give the rules that choose a variant for all others; where there is no test each of them fails at once.

    HAProxy reads a text as a number up to the first character that is no digit: so entries begin with their base.
    """
    yield from _person()
    yield f"http-request set-var(txn.lay) var(txn.pick),field({BUSY_FIELD},|,2) if {{ var(txn.who) -m found }}"
    yield f"http-request set-var(txn.seg) {bucket_of('lay', 2)},add(txn.lay),map_beg({directory}/{SEGMENTS}.map)"
    held = f"{{ {bucket_of('seg', 6)},set-var(txn.held) -m found }}"
    yield f"http-request unset-var(txn.seg) if {held} {{ var(txn.seg),field(5,|),sub(txn.held) gt 0 }}"
    yield from _remembered(document, directory)
    yield "http-request set-var(txn.base) var(txn.seg)"
    yield "http-request set-var(txn.base) var(txn.seg),field(4,|)"
    drawn = f"{bucket_of('seg', 2)},add(txn.base),map_beg({directory}/{RANGES}.map)"
    yield f"http-request set-var(txn.arm) {drawn} if !{_IN}"
    yield from _kept(document)
    yield "http-request set-var(txn.pick) var(txn.arm)"
    yield f"http-request add-header {HEADER} {_SAID} if {_IN}"


def bucket_of(entry: str, salt: int) -> str:
    """Give a bucket of the person, with the salt in a field of the map's entry that a variable has."""
    return _bucket(f"var(txn.{entry})", salt)


def _bucket(fetch: str, salt: int = 2) -> str:
    return f"{fetch},field({salt},|),url_dec,concat(:,txn.who),xxh32(0),mod({BUCKETS})"


def _person() -> Iterator[str]:
    """A person whom the store knows by another visitor, of another device, is assigned as that one."""
    yield f"http-request set-var(txn.who) req.cook({SAME_PERSON_COOKIE}) if {{ var(txn.vid) -m found }}"
    yield f"http-request set-var(txn.who) var(txn.vid) if !{{ var(txn.who) -m reg ^{VISITOR_PATTERN}$ }}"


def remembering(document: EdgeDocument) -> list[tuple[str, int, Test]]:
    """Give the tests that keep a cookie, with what names them in the configuration, and their numbers.

    The name does not tell of the other tests: those come and go without a reload.
    """
    return [(_digest(test), index, test) for index, test in enumerate(document.live.tests) if test.remembers]


def _digest(test: Test) -> str:
    # Another salt is another test: whoever was in the old one is not in it.
    return hashlib.sha256(f"{test.name}/{test.salt}".encode()).hexdigest()[:8]


def _cookie_of(digest: str) -> str:
    return f"fw_in_{digest}"


def _remembered(document: EdgeDocument, directory: str) -> Iterator[str]:
    """Who is in is found by the cookie; who is not must be meant by the target."""
    tests = remembering(document)
    if any(test.target and test.target.devices for _, _, test in tests):
        yield from _devices()
    if any(test.target and test.target.segments for _, _, test in tests):
        yield from segmentrules.request_rules(document)
    for digest, index, test in tests:
        name, here = token(test.name), f"in_{digest}"
        # Names of tests are one to a campaign, and so one to a service.
        yield f"acl {here} var(txn.seg),field(3,|) -m str {name}"
        yield f"http-request set-var(txn.kept) req.cook({_cookie_of(digest)}) if {here}"
        kept = f"str({name}/),concat(,txn.kept),map_str({directory}/{VARIANTS}.map)"
        yield f"http-request set-var(txn.arm) {kept} if {here} {{ var(txn.kept) -m found }}"
        yield f"http-request set-var(txn.stays) int(1) if {here} {_IN}"
        if test.target is not None:
            where = f"live.tests[{index}].target"
            yield from _acls(test.target, digest, where)
            yield from segmentrules.acl(document, f"segment_{digest}", test.target.segments, f"{where}.segments")
            for outside in _outside(test.target, digest):
                yield f"http-request unset-var(txn.seg) if {here} !{_IN} {outside}"


def _devices() -> Iterator[str]:
    """Tell kinds of devices by the user agent, as `flywheel.events.agents` does."""
    says = "var(txn.ua) -m sub -i"
    yield "http-request set-var(txn.dev) str(Desktop)"
    yield f"http-request set-var(txn.dev) str(Phone) if {{ {says} mobi iphone ipod }}"
    yield f"http-request set-var(txn.dev) str(Tablet) if {{ {says} ipad tablet }}"
    yield f"http-request set-var(txn.dev) str(Tablet) if {{ {says} android }} !{{ {says} mobile }}"


def _acls(target: Target, digest: str, path: str) -> Iterator[str]:
    exact = [each for each in target.paths if not each.endswith("*")]
    begins = [each.removesuffix("*") for each in target.paths if each.endswith("*")]
    yield from acl_lines(f"path_{digest}", "var(txn.path)", "str", exact, f"{path}.paths")
    yield from acl_lines(f"path_{digest}", "var(txn.path)", "beg", begins, f"{path}.paths")
    for number, header in enumerate(target.headers):
        if not header.values:
            raise DocumentProblem(f"{path}.headers[{number}].values", "there is none; a header needs one at least")
        fetch = f"req.fhdr({header_name(header.name, f'{path}.headers[{number}].name').lower()})"
        yield from acl_lines(f"header_{digest}_{number}", fetch, "str", header.values, f"{path}.headers[{number}]")
    yield from acl_lines(f"device_{digest}", "var(txn.dev)", "str", target.devices, f"{path}.devices")
    yield from acl_lines(f"region_{digest}", "var(txn.reg)", "str", target.regions, f"{path}.regions")
    if target.visitors != "All":
        yield f"acl new_{digest} var(txn.nv) -m found"
        yield f"acl new_{digest} req.cook({NEW_COOKIE}) -m found"


def _outside(target: Target, digest: str) -> Iterator[str]:
    """Give the conditions of which each one tells that somebody is not meant."""
    if target.paths:
        yield f"!path_{digest}"
    yield from (f"!header_{digest}_{number}" for number in range(len(target.headers)))
    if target.devices:
        yield f"!device_{digest}"
    if target.regions:
        yield f"!region_{digest}"
    if target.segments:
        yield f"!segment_{digest}"
    if target.visitors != "All":
        yield f"!new_{digest}" if target.visitors == "New" else f"new_{digest}"


def _kept(document: EdgeDocument) -> Iterator[str]:
    tests = remembering(document)
    for digest, _, _ in tests:
        yield f"http-request set-var(txn.keep) str({digest}) if in_{digest} {_IN} !{{ var(txn.stays) -m found }}"
    if tests:
        yield "http-request set-var(txn.gives) var(txn.keep)"


def tester_rules(directory: str) -> Iterator[str]:
    """A tester sees what a link names, and is not counted: as of a page that is fetched ahead, nobody has looked at it.

    There with or without tests, so that a test that begins costs no reload.
    """
    yield f"http-request set-var(txn.asks) url_param({FORCED_PARAMETER})"
    yield f"http-request set-var(txn.force) req.cook({FORCED_COOKIE})"
    yield "http-request set-var(txn.force) var(txn.asks)"
    yield f"http-request set-var(txn.shown) var(txn.force),concat(/,txn.svc),map_str({directory}/{FORCED}.map)"
    yield f"acl shown {_SEES}"
    yield "http-request set-var(txn.ahead) int(1) if shown"
    yield f"http-request set-var({APART}) int(1) if shown"
    for name in ("arm", "keep"):
        yield f"http-request unset-var(txn.{name}) if shown"
    yield "http-request set-var(txn.pick) var(txn.shown)"
    yield f"http-request set-header {HEADER} %[var(txn.shown),field(3,|)] if shown"


def cookies(document: EdgeDocument, age: int) -> Iterator[tuple[str, str]]:
    """Give the cookies that an answer may set, each with the condition: name and value, and how long it lives."""
    tests = remembering(document)
    for digest, _, _ in tests:
        value = f"{_cookie_of(digest)}=%[var(txn.arm),{_LOGGED['var']}]; Max-Age={age}"
        yield value, f"{{ var(txn.keep) -m str {digest} }}"
    if any(test.target and test.target.visitors != "All" for _, _, test in tests):
        yield f"{NEW_COOKIE}=1", "{ var(txn.nv) -m found }"
    yield f"{FORCED_COOKIE}=%[var(txn.force)]", f"{SHOWN} {{ var(txn.asks) -m found }}"
    yield f"{FORCED_COOKIE}=; Max-Age=0", f"{{ var(txn.asks) -m str {OFF} }}"


def backend_rules(condition: str) -> Iterator[str]:
    """Give the rules of a variant's backend for answers of others than its own pods: the log and a tester are told."""
    yield f"""http-response set-var-fmt(txn.more) '%[var(txn.more)]0,"fb":"1","_":' if {condition} {_IN}"""
    yield f"http-response set-var(txn.away) str(;away) if {condition} {SHOWN}"


def answer_rules() -> Iterator[str]:
    """Give the rule of an answer to a tester."""
    yield f"http-after-response set-header {HEADER} %[var(txn.shown),field(3,|)]%[var(txn.away)] if {SHOWN}"
