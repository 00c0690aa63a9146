"""What HAProxy does with each request and answer, line by line. Pure; `render` puts the lines into their sections."""

from collections.abc import Iterator

from flywheel.edge import channelrules, fraudrules, livemaps, previewrules, segmentrules, testrules
from flywheel.edge.bucket import share_salt
from flywheel.edge.channelrules import agreement, if_agreed
from flywheel.edge.document import BUCKETS, EdgeDocument
from flywheel.edge.naming import CHANNEL_COOKIE, VISITOR_COOKIE
from flywheel.edge.quoting import acl_lines, cookie_domain, cookie_name, header_name, quote_format
from flywheel.edge.routing import ANY, routes_by_host

UNSIZED_BODY = 16_384
"""Bytes of a body whose length is not said beforehand: it must fit the buffer, where it is counted."""
LONGEST_URI = 8192
HOPS = 5
"""Trusted proxies in a row."""
CHANNEL_COOKIE_AGE = 30 * 86400

REFUSALS = {
    "method": (405, "This method is not allowed here.", ""),
    "host": (400, "The Host header is missing or cannot be one.", ""),
    "malformed": (400, "A header has a character that none may have.", ""),
    "blocked": (403, "Access is refused.", ""),
    "rate": (429, "Too many requests. Try again in a few seconds.", "10"),
    "header": (431, "The headers of the request are too large.", ""),
    "uri": (414, "The address is too long.", ""),
    "body": (413, "The body of the request is too large.", ""),
    "path": (404, "There is nothing at this address.", ""),
}
"""Reason as in the access log -> status, text, Retry-After."""

_STRIPPED = f"x-fw-(?!{previewrules.KEPT}(?:,|$))|x-forwarded-|(forwarded|x-real-ip|x-request-id|proxy|http2-settings)"
_CLEAN = r"[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"
_LONGEST_REPEAT = 65_535
_HOST = r"^([A-Za-z0-9._-]{1,255}|\[[0-9a-fA-F:.]{2,45}\])(:[0-9]{1,5})?$"
_TRUSTED = "{ src -f %s/trusted.lst }"


def yes(name: str) -> str:
    """Write the action that sets a variable which the access log shows as 1; it shows 0 where it is not set.

    A request that HAProxy cannot even parse has no variables, and the log prints "-" for them. So the log has a zero
    behind each: "-0" is a number, and `1,"_":` makes the zero the value of a key that nobody reads.
    """
    return f"""set-var-fmt(txn.{name}) '1,"_":'"""


def request_rules(document: EdgeDocument, directory: str) -> Iterator[str]:
    """Give the rules of a request, in order.

    Every rule costs each request, whether it applies or not; an `allow` ends the list. So what all requests need comes
    first, and what few need (somebody arrives, a test runs) last. HAProxy finds a variable by walking through all of
    them: an expression that fails where there is nothing to work on is cheaper than a condition that asks beforehand.
    """
    yield from _client(document, directory)
    yield from _visitor(document)
    yield from _refusals(document, directory)
    if document.tls is not None and document.tls.redirect:
        yield "http-request redirect code 308 location https://%[var(txn.host)]%[pathq] if has_certificate !secure"
    yield from _cleaned(document)
    yield "http-request set-var(txn.ahead) int(1) if { req.hdr(sec-purpose) -m sub prefetch }"
    yield "http-request set-var(txn.html) int(1) if { req.hdr(accept) -m sub text/html }"
    yield from channelrules.remembered(document, directory)
    yield from _destination(document, directory)
    yield "http-request add-header X-FW-Visitor %[var(txn.vid)] if { var(txn.vid) -m found }"
    yield from _seldom(document, directory)


def _seldom(document: EdgeDocument, directory: str) -> Iterator[str]:
    """What a known visitor who goes from page to page has no need of; where a test runs, they need that alone."""
    yield "acl arriving query -m found"
    yield "acl arriving var(txn.out) -m found"
    yield f"acl arriving {previewrules.ASKED} -m found"
    yield from previewrules.conditions(directory)
    busy = f"{{ var(txn.pick),field({livemaps.BUSY_FIELD},|) -m found }}"
    yield f"http-request allow if {{ var(txn.vid) -m found }} !{busy} !arriving"
    yield from testrules.quick_rules(directory)
    yield from _newcomer(document)
    yield from testrules.request_rules(document, directory)
    yield f"http-request set-var(txn.share) var(txn.svc),map({directory}/{livemaps.SHARES}.map)"
    yield from _share(document)
    yield f"""http-request set-var-fmt(txn.more) '0,{testrules.LOGGED},"_":' if {{ var(txn.arm) -m found }}"""
    yield f"http-request allow if !{{ var(txn.nv) -m found }} !arriving !hosted !{testrules.MAY_TEST}"
    yield from channelrules.arrivals(document)
    yield from testrules.tester_rules(directory)
    yield f"http-request set-var-fmt(txn.more) '{seldom_logged()}'"
    yield "http-request set-var(txn.gives) int(1)"
    yield from previewrules.request_rules(directory)


def seldom_logged() -> str:
    """Give what the access log has of the few requests to which something happens beside being answered."""
    parts = ["%[var(txn.nv)]0", testrules.LOGGED]
    parts += [f'"{name}":%{{+Q}}[var(txn.{name}),bytes(0,128),json(utf8s)]' for name in channelrules.UTM]
    # As in `yes`: the log has a zero behind it.
    return ",".join([*parts, '"_":'])


def _client(document: EdgeDocument, directory: str) -> Iterator[str]:
    trusted = _TRUSTED % directory
    # HAProxy's own timers have whole milliseconds, and many a page is quicker.
    yield "http-request set-var(txn.began) date(0,us)"
    yield "http-request set-var(txn.id) uuid()"
    yield "http-request set-var(txn.svc) str(_collect) if collect"
    yield "acl secure ssl_fc"
    if document.trusted_proxies:
        yield "http-request set-var(txn.ip) src"
        yield f"http-request set-var(txn.hop) int(0) if {trusted}"
        for hop in range(1, HOPS + 1):
            fetch = f"req.hdr_ip(x-forwarded-for,-{hop})"
            here = f"{{ var(txn.hop) -m int {hop - 1} }} {{ {fetch} -m found }}"
            yield f"http-request set-var(txn.ip) {fetch} if {here}"
            yield f"http-request set-var(txn.hop) int({hop}) if {here} {{ {fetch} -f {directory}/trusted.lst }}"
        proxied = "{ var(txn.hop) -m found }"
        yield from _believed("id", "x-request-id", "[A-Za-z0-9._-]{1,128}", proxied)
        yield f"http-request set-var(txn.tls) int(1) if {proxied} {{ req.hdr(x-forwarded-proto) -m str -i https }}"
        yield "acl secure var(txn.tls) -m found"
        if document.region_header:
            name = header_name(document.region_header, "regionHeader").lower()
            yield from _believed("reg", name, "[A-Za-z0-9_-]{1,32}", proxied)
        # Some proxies write IPv4 as IPv6; all of those would be one client, as they share their first 64 bits.
        yield "http-request set-var(txn.ip) var(txn.ip),regsub(^::ffff:,,i) if { var(txn.ip) -m beg ::ffff: }"
    yield "http-request set-var(txn.host) req.hdr(host),host_only"
    yield "http-request set-var(txn.path) path"
    yield "http-request set-var(txn.ua) req.fhdr(user-agent)"


def address(document: EdgeDocument) -> str:
    """Give the fetch of the client's address."""
    return "var(txn.ip)" if document.trusted_proxies else "src"


def may_be_secure(document: EdgeDocument) -> bool:
    """Tell whether anybody can come by HTTPS, as far as the edge can know."""
    return document.tls is not None or bool(document.trusted_proxies)


def _believed(variable: str, header: str, pattern: str, proxied: str) -> Iterator[str]:
    """Take the value of a proxy's header that is there once: of several, one would be judged and another one taken."""
    fetch = f"req.fhdr({header})"
    once = f"{{ req.fhdr_cnt({header}) eq 1 }} {{ {fetch} -m reg ^{pattern}$ }}"
    yield f"http-request set-var(txn.{variable}) {fetch} if {proxied} {once}"


def _visitor(document: EdgeDocument) -> Iterator[str]:
    consent = document.visitor.consent
    if consent is not None:
        name = cookie_name(consent.cookie, "visitor.consent.cookie")
        yield from acl_lines("consents", f"req.cook({name})", "str", consent.granted, "visitor.consent.granted")
        if consent.granted:
            yield f"http-request {yes('cns')} if consents"
    yield f"http-request set-var(txn.vid) req.cook({VISITOR_COOKIE})" + if_agreed(document)
    # What was taken is judged, not the cookies anew: there may be several, and any of them would do.
    yield f"http-request unset-var(txn.vid) if !{{ var(txn.vid) -m reg ^{livemaps.VISITOR_PATTERN}$ }}"


def _refusals(document: EdgeDocument, directory: str) -> Iterator[str]:
    limits, client = document.limits, address(document)
    # The first that applies is the one that counts.
    yield f"http-request track-sc0 {client},ipmask(32,64) table _events if collect"
    yield f"http-request track-sc0 {client},ipmask(32,64) table _requests"
    # The last that applies is what is told.
    refuse = "http-request set-var(txn.rf) str"
    yield f"{refuse}(body) if {{ req.hdr_val(content-length) gt {limits.body_bytes} }}"
    # HAProxy 2.6 lets control characters pass; what a service makes of them is anybody's guess.
    yield f"{refuse}(malformed) if !{{ req.hdrs -m reg '{_sound(limits.header_bytes)}' }}"
    yield f"{refuse}(header) if refused {{ req.hdrs,length gt {limits.header_bytes} }}"
    yield f"{refuse}(uri) if {{ url,length gt {LONGEST_URI} }}"
    yield f"{refuse}(host) if {{ req.fhdr_cnt(host) gt 1 }}"
    yield f"{refuse}(host) if !{{ req.hdr(host) -m reg '{_HOST}' }}"
    yield f"{refuse}(method) if {{ method TRACE CONNECT }}"
    for which, rate in (("collect", limits.events_per_second), ("!collect", limits.requests_per_second)):
        yield f"{refuse}(rate) if {{ sc0_http_req_rate gt {rate * 10} }} {which}"
    for fetch, kind, name in ((client, "ip", livemaps.ADDRESSES), ("var(txn.vid)", "str", livemaps.VISITORS)):
        yield f"{refuse}(blocked) if {_yet_to_come(fetch, kind, f'{directory}/{name}.map')}"
    if document.fraud is not None:
        yield from fraudrules.request_rules(directory, client)
    room = min(UNSIZED_BODY, limits.body_bytes + 1)
    wait = max(1, round(limits.client_timeout * 1000))
    yield f"http-request wait-for-body time {wait}ms at-least {room} if !refused"
    yield f"{refuse}(body) if {{ req.body_len ge {room} }} !{{ req.hdr(content-length) -m found }} !refused"
    yield "http-request allow if refused"


def _sound(longest: int) -> str:
    """Give the pattern of headers without control characters that are not too long."""
    parts, rest = divmod(longest, _LONGEST_REPEAT)
    repeats = [_LONGEST_REPEAT] * parts + [rest]
    # Possessive: what was taken is never tried anew. The dump of the headers ends with an empty line of its own.
    return "^" + "".join(f"{_CLEAN}{{0,{each}}}+" for each in repeats) + r"\z"


def _yet_to_come(fetch: str, kind: str, file: str) -> str:
    """Give the condition that a map has a moment for what is fetched, and that it is yet to come."""
    return f"{{ {fetch},map_{kind}_int({file}),set-var(txn.until) -m found }} {{ date(),sub(txn.until) lt 0 }}"


def _cleaned(document: EdgeDocument) -> Iterator[str]:
    # A client that names other headers here has a proxy behind us take them off, our own too.
    yield "http-request del-header connection"
    yield "acl upgrades req.fhdr(upgrade) -m found"
    yield "http-request del-header upgrade if upgrades { req.fhdr_cnt(upgrade) gt 1 }"
    yield "http-request del-header upgrade if upgrades !{ req.fhdr(upgrade) -m str -i websocket }"
    yield "http-request set-header Connection upgrade if upgrades"
    # All names at once: to ask of each header on its own costs much more, and hardly any request has such.
    yield (
        f"http-request del-header ^({_STRIPPED}$)|_ -m reg "
        f"if {{ req.hdr_names -m reg '(?:^|,)(?:{_STRIPPED}(?:,|$))|_' }}"
    )
    yield "http-request add-header X-Request-ID %[var(txn.id)]"
    if document.trusted_proxies:
        yield f"http-request add-header X-Forwarded-For %[{address(document)}]"
    if may_be_secure(document):
        yield "http-request add-header X-Forwarded-Proto https if secure"
        yield "http-request add-header X-Forwarded-Proto http if !secure"
    else:
        yield "http-request add-header X-Forwarded-Proto http"


def _destination(document: EdgeDocument, directory: str) -> Iterator[str]:
    """Choose the service of a request and the slot for those whom no share and no test concerns."""
    hosts = routes_by_host(document)
    if hosts:
        yield f"http-request set-var(txn.cls) var(txn.host),map_end({directory}/wildcards.map)"
        yield f"http-request set-var(txn.cls) var(txn.host),map_str({directory}/{livemaps.HOSTS}.map)"
    of = f"var(txn.cls,{ANY})" if hosts else f"str({ANY})"
    collect = "{ var(txn.svc) -m str _collect }"
    yield (
        f"http-request set-var(txn.pick) {of},concat(,txn.path,/),map_beg({directory}/routes.map),set-var(txn.route),"
        f"field(1,|),set-var(txn.svc),map({directory}/{livemaps.ACTIVE}.map) if !{collect}"
    )
    yield "http-request set-var(txn.pick,ifnotset) var(txn.route),field(2,|,2)"
    yield f"http-request set-var(txn.rf) str(path) if !{{ var(txn.pick) -m found }} !{collect}"


def _newcomer(document: EdgeDocument) -> Iterator[str]:
    """Make the visitor of who has none yet."""
    new = "!{ var(txn.vid) -m found }"
    agreed = agreement(document)
    yield f"http-request {yes('nv')} if {new} {agreed}{{ var(txn.route) -m found }}"
    if document.visitor.consent and document.visitor.consent.granted:
        # Who agrees on a page is known from the first event on, not only from the next page. Servers' libraries, which
        # speak for many visitors, send no cookie of consent.
        yield f"http-request {yes('nv')} if collect consents {new}"
    yield "http-request set-var(txn.vid) uuid() if { var(txn.nv) -m found }"
    yield "http-request add-header X-FW-Visitor %[var(txn.vid)] if { var(txn.nv) -m found }"


def _share(document: EdgeDocument) -> Iterator[str]:
    shared = "{ var(txn.share) -m found }"
    salt = share_salt("")
    if not document.trusted_proxies:
        yield f"http-request set-var(txn.ip) src if {shared}"
    # Who has not consented has no visitor: such people are shared out by address.
    for who, condition in (("ip", shared), ("vid", f"{shared} {{ var(txn.vid) -m found }}")):
        yield (
            f"http-request set-var(txn.at) str({salt}),concat(,txn.svc,:),concat(,txn.{who}),xxh32(0),mod({BUCKETS}) "
            f"if {condition}"
        )
    taken = "{ var(txn.share),field(1,|),sub(txn.at) gt 0 }"
    # Whoever is in a test sees what that says.
    yield f"http-request set-var(txn.pick) var(txn.share),field(2,|,2) if {taken} !{{ var(txn.arm) -m found }}"


def answer_rules(document: EdgeDocument, directory: str) -> Iterator[str]:
    """Give the rules of an answer."""
    html = "{ res.hdr(content-type) -m beg -i text/html } { status 200:299 }"
    seen = "METH_GET !{ var(txn.ahead) -m found }"
    yield f"http-response {yes('page')} if {html} {seen}"
    yield f"http-response {yes('page')} if {{ status 304 }} {{ var(txn.html) -m found }} {seen}"
    yield from segmentrules.answer_rules(document)
    yield "http-response allow if !{ var(txn.gives) -m found }"
    yield from _cookies(document)
    yield "http-after-response set-header X-Request-ID %[var(txn.id)]"
    yield from _headers(document)
    yield f"http-after-response set-header Connection close if {draining(directory)}"
    yield from previewrules.answer_rules()


def _cookies(document: EdgeDocument) -> Iterator[str]:
    visitor = document.visitor
    attributes = f"Path=/; HttpOnly; SameSite={visitor.same_site}"
    if visitor.domain:
        attributes += f"; Domain={cookie_domain(visitor.domain, 'visitor.domain')}"
    age = max(0, visitor.max_age)
    cookies = (
        (f"{VISITOR_COOKIE}=%[var(txn.vid)]; Max-Age={age}; {attributes}", "{ var(txn.nv) -m found }"),
        (
            f"{CHANNEL_COOKIE}=%[var(txn.came)]; Max-Age={min(age, CHANNEL_COOKIE_AGE)}; {attributes}",
            "{ var(txn.newch) -m found }",
        ),
    )
    others = (*testrules.cookies(document, age), *segmentrules.cookies(document, age))
    short = ((f"{value}; {attributes}", condition) for value, condition in others)
    for text, condition in (*cookies, *short):
        if may_be_secure(document):
            yield f"http-response add-header Set-Cookie '{text}; Secure' if {condition} secure"
            condition += " !secure"
        yield f"http-response add-header Set-Cookie '{text}' if {condition}"


def _headers(document: EdgeDocument) -> Iterator[str]:
    own = {header_name(name, "responseHeaders").lower() for name in document.response_headers}
    defaults = {
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "SAMEORIGIN",
        "Referrer-Policy": "strict-origin-when-cross-origin",
    }
    for name, value in defaults.items():
        if name.lower() not in own:
            yield f"http-after-response add-header {name} {value} if !{{ res.hdr({name.lower()}) -m found }}"
    if document.tls is not None and document.tls.hsts_max_age > 0 and "strict-transport-security" not in own:
        age = f"max-age={document.tls.hsts_max_age}"
        yield f"http-after-response set-header Strict-Transport-Security {age} if secure"
    for name, value in document.response_headers.items():
        if not value:
            yield f"http-after-response del-header {name}"
            continue
        yield f"http-after-response set-header {name} {quote_format(value, f'responseHeaders[{name!r}]')}"


def draining(directory: str) -> str:
    """Give the condition under which the pod is about to stop."""
    return _yet_to_come("str(draining)", "str", f"{directory}/state.map")
