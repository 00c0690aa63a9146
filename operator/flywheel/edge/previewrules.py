"""Previews, in HAProxy's words: whoever names a revision, or comes to a host of it, sees the slot that has it.

It is no visit: no page view is counted, nobody becomes a visitor, no test and no share takes part.
"""

from collections.abc import Iterator

from flywheel.edge import livemaps, testrules
from flywheel.edge.naming import PREVIEW_CHANNEL

HEADER = "X-FW-Preview"
"""Of a request: revisions that it wants to see; of an answer: the one that was seen, or `unknown`."""
KEPT = "preview"
"""What remains of `x-fw-` headers until it has been read."""
ASKED = f"req.fhdr({HEADER.lower()})"
MOST_NAMED = 8
"""Revisions that one request may name: of a campaign with many services there may be several at once."""
UNKNOWN = "unknown"
CHANNEL = PREVIEW_CHANNEL
"""What the access log has for the channel. No campaign can declare one of this name."""
_CACHES = "^(expires|pragma|surrogate-control|([a-z0-9]+-)*cdn-cache-control)$"
"""Headers that caches would believe over Cache-Control."""


def conditions(directory: str) -> Iterator[str]:
    """Give the conditions under which a request may want a preview; those of rules must be written before them."""
    yield f"acl asks {ASKED} -m found"
    hosts = f"{directory}/{livemaps.PREVIEW_HOSTS}.map"
    yield f"acl hosted var(txn.host),concat(/,txn.svc),map_str({hosts}),set-var(txn.seen) -m found"


def request_rules(directory: str) -> Iterator[str]:
    """Give the last rules of a request, of which only one that may want a preview gets beyond the first.

    So nobody else pays for previews. What has been done before for a visit is taken back: cookies and the access log
    have of it only what is in `txn.more`.
    """
    named = f"{directory}/{livemaps.PREVIEWS}.map"
    each = f"req.hdr({HEADER.lower()})"
    new = "{ var(txn.nv) -m found }"
    yield "http-request allow if !asks !hosted"
    yield f"acl few req.hdr_cnt({HEADER.lower()}) le {MOST_NAMED}"
    # Only with a default does a condition go on to the next revision where one is not found.
    yield f"acl named {each},concat(/,txn.svc),map_str({named},-),set-var(txn.seen) -m sub |"
    yield f"acl known {each},map_str({named},-) -m str {livemaps.KNOWN}"
    # Where to go, and which revision that is; and like a page that is only fetched ahead, nobody has looked at it.
    take = "set-var(txn.pick),field(3,|),set-var(txn.ahead)"
    yield f"http-request set-var(txn.pv) var(txn.seen),{take} if asks few named or hosted"
    yield "acl previews var(txn.pv) -m found"
    yield f"http-request set-header {HEADER} %[var(txn.pv)] if previews"
    yield f"http-request set-var(txn.ch) str({CHANNEL}) if previews"
    # Neither the variant that was found before, nor one that a tester asked for, is what is seen.
    for name in ("more", "gives", "arm", "shown"):
        yield f"http-request unset-var(txn.{name}) if previews"
    yield "http-request del-header X-FW-Variant if previews"
    yield f"http-request del-header X-FW-Visitor if previews {new}"
    yield f"http-request unset-var(txn.vid) if previews {new}"
    yield f"http-request set-var({testrules.APART}) int(1) if previews"
    yield "http-request allow if previews"
    yield f"http-request set-var(txn.pv) str({UNKNOWN}),set-var({testrules.APART}) if asks !few or asks !known"
    yield f"http-request del-header {HEADER} if asks"


def answer_rules() -> Iterator[str]:
    """Give the last rules of every answer, also of those that HAProxy gives itself: to who sees what others do not."""
    yield f"http-after-response allow if !{{ var({testrules.APART}) -m found }}"
    yield f"http-after-response set-header {HEADER} %[var(txn.pv)] if {{ var(txn.pv) -m found }}"
    yield from testrules.answer_rules()
    yield f"http-after-response allow if {{ var(txn.pv) -m str {UNKNOWN} }} !{testrules.SHOWN}"
    yield f"http-after-response del-header {_CACHES} -m reg"
    yield "http-after-response set-header Cache-Control 'private, no-store'"
