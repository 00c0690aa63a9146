r"""What HAProxy does with clients that the fraud worker has decided on, line by line. Pure.

Five maps, of which no rule of the operator's document knows, so that neither erases what the other says:

- `fraud-addresses` and `fraud-visitors`: network or visitor -> `until|policy|decision`
- `fraud-scopes`: `<policy><path>/` -> `B`, `C` or `T` (blocked, challenged, slowed down), `F` for paths let through
- `fraud-policies`: policy -> `status|body|limit|page`, body and page in base64
- `fraud-keys`: name of a key of passes -> the key in base64

A client that nobody has decided on costs two look-ups.
"""

from collections.abc import Iterator

from flywheel.fraud.naming import PASS_COOKIE

ADDRESSES = "fraud-addresses"
VISITORS = "fraud-visitors"
SCOPES = "fraud-scopes"
POLICIES = "fraud-policies"
KEYS = "fraud-keys"
FRAUD_MAPS = (KEYS, POLICIES, SCOPES, ADDRESSES, VISITORS)
"""In the order in which they are brought up to date: whoever is pointed to is there first."""
STRICTEST = "*"
"""In place of a path that two servers may read differently: the strongest of a policy's actions holds."""
STATUSES = (403, 404, 410, 429, 451, 503)
"""That a block may answer with: HAProxy wants to know them beforehand."""
BLOCKED, CHALLENGED, THROTTLED, FREE = "B", "C", "T", "F"
THROTTLE_PERIOD = 10
"""Seconds over which a throttled client's requests are counted."""
THROTTLE_TABLE = "_throttled"
_STATUS, _BODY, _LIMIT, _PAGE = 1, 2, 3, 4
_UNCLEAR = r"'(//|/\.\.?(/|$)|\\\\)'"


def request_rules(directory: str, address: str) -> Iterator[str]:
    """Give the rules that decide on a request.

    Args:
        directory: Where the maps are.
        address: Fetch of the client's address.
    """
    refuse = "http-request set-var(txn.rf) str"
    yield f"http-request set-var(txn.fa) {address},map_ip({directory}/{ADDRESSES}.map)"
    yield f"http-request set-var(txn.fv) var(txn.vid),map_str({directory}/{VISITORS}.map)"
    yield "acl decided var(txn.fa) -m found"
    yield "acl decided var(txn.fv) -m found"
    # Parameters of path segments and percent-encoding are taken off, as services do.
    yield "http-request set-var(txn.fp) path,url_dec,regsub(;[^/]*,,g) if decided"
    yield f"http-request set-var(txn.fp) str({STRICTEST}) if decided {{ var(txn.fp) -m reg {_UNCLEAR} }}"
    for who, action in (("fa", "xa"), ("fv", "xv")):
        yield (
            f"http-request set-var(txn.{action}) var(txn.{who}),field(2,|),concat(,txn.fp,/),"
            f"map_beg({directory}/{SCOPES}.map) if {_lasts(who)}"
        )
    yield from _stronger()
    found = "{ var(txn.fx) -m found }"
    yield (
        f"http-request set-var(txn.fd) var(txn.fw),field(2,|),map_str({directory}/{POLICIES}.map) "
        f"if {found} !{{ var(txn.fx) -m str {FREE} }}"
    )
    yield f"{refuse}(fraud) if {{ var(txn.fx) -m str {BLOCKED} }}"
    yield from _challenge(directory, address, refuse)
    yield from _throttle(refuse)


def _lasts(who: str) -> str:
    """Give the condition that the end of a decision is yet to come."""
    return f"{{ var(txn.{who}),field(1,|),add(0),set-var(txn.until) -m found }} {{ date(),sub(txn.until) lt 0 }}"


def _stronger() -> Iterator[str]:
    """Choose between what holds for the address and what holds for the visitor."""
    blocks, challenges = "{ var(txn.xv) -m str B }", "{ var(txn.xv) -m str C }"
    yield "http-request set-var(txn.fx) var(txn.xa)"
    yield "http-request set-var(txn.fw) var(txn.fa) if { var(txn.xa) -m found }"
    for condition in (
        "{ var(txn.xv) -m found } !{ var(txn.fx) -m found }",
        "{ var(txn.xv) -m found } { var(txn.fx) -m str F }",
        blocks,
        f"{challenges} {{ var(txn.fx) -m str T }}",
    ):
        yield f"http-request set-var(txn.fw) var(txn.fv) if {condition}"
        yield f"http-request set-var(txn.fx) var(txn.xv) if {condition}"


def _challenge(directory: str, address: str, refuse: str) -> Iterator[str]:
    """Send whoever is challenged to the page, unless they have a pass."""
    challenged = f"{{ var(txn.fx) -m str {CHALLENGED} }}"
    cookie = f"req.cook({PASS_COOKIE})"
    if not address.startswith("var("):
        yield f"http-request set-var(txn.ip) {address} if {challenged}"
    yield f"http-request set-var(txn.pk) {cookie},field(1,.),map_str({directory}/{KEYS}.map) if {challenged}"
    yield f"http-request set-var(txn.pu) {cookie},field(2,.) if {challenged}"
    yield f"http-request set-var(txn.pc) {cookie},field(3,.) if {challenged}"
    yield (
        "http-request set-var(txn.pm) var(txn.pu),concat(|,txn.ip,|),concat(,txn.vid),hmac(sha256,txn.pk),hex,lower "
        f"if {challenged} {{ var(txn.pk) -m found }}"
    )
    yield (
        f"http-request set-var(txn.fx) str({FREE}) if {challenged} {{ var(txn.pm),secure_memcmp(txn.pc) -m bool }} "
        "{ var(txn.pu),add(0),set-var(txn.until) -m found } { date(),sub(txn.until) lt 0 }"
    )
    # What the page itself tells must arrive.
    yield f"{refuse}(challenge) if {challenged} !collect"


def _throttle(refuse: str) -> Iterator[str]:
    throttled = f"{{ var(txn.fx) -m str {THROTTLED} }}"
    yield f"http-request track-sc1 var(txn.fw),field(3,|) table {THROTTLE_TABLE} if {throttled}"
    yield f"http-request set-var(txn.limit) var(txn.fd),field({_LIMIT},|),add(0) if {throttled}"
    yield f"{refuse}(throttle) if {throttled} {{ sc1_http_req_rate({THROTTLE_TABLE}),sub(txn.limit) gt 0 }}"


def answers() -> Iterator[str]:
    """Give the answers to those who are refused for fraud, for the backend that refuses."""
    body = "'%[var(txn.fd),field(2,|),b64dec]'"
    plain = "hdr Cache-Control no-store"
    for status in STATUSES:
        here = f"{{ var(txn.rf) -m str fraud }} {{ var(txn.fd),field({_STATUS},|) -m str {status} }}"
        is_json = f"{{ var(txn.fd),field({_BODY},|),b64dec -m beg {{ }}"
        for kind, condition in (("application/json", f"{here} {is_json}"), ("text/plain", here)):
            yield f"http-request return status {status} content-type {kind} lf-string {body} {plain} if {condition}"
    yield (
        f"http-request return status 403 content-type text/plain string 'Access is refused.' {plain} "
        "if { var(txn.rf) -m str fraud }"
    )
    yield (
        f"http-request return status 303 hdr Location '%[var(txn.fd),field({_PAGE},|),b64dec]?return="
        f"%[pathq,url_enc(query)]' {plain} if {{ var(txn.rf) -m str challenge }}"
    )
    yield (
        "http-request return status 429 content-type text/plain "
        f"string 'Too many requests. Try again in a few seconds.' hdr Retry-After {THROTTLE_PERIOD} {plain} "
        "if { var(txn.rf) -m str throttle }"
    )


def throttle_table() -> list[str]:
    """Give the table in which requests of throttled clients are counted."""
    return [f"stick-table type string len 40 size 100k expire 60s store http_req_rate({THROTTLE_PERIOD}s)"]
