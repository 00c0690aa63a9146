"""Segments in HAProxy's words: a service says in which a visitor is, and a signed cookie remembers it.

Only where a test asks for segments: nobody else pays for them. What a service says is never told to the visitor.
"""

import base64
import re
from collections.abc import Iterator

from flywheel.edge.document import EdgeDocument
from flywheel.edge.naming import SEGMENTS_COOKIE
from flywheel.edge.quoting import DocumentProblem, quote

HEADER = "X-FW-Segments"
"""Of an answer: the segments of the visitor, in one line, with commas between them."""
MOST = 32
"""Segments of one visitor."""
LONGEST = 40
TOLD = "txn.told"
IS_TOLD = f"{{ var({TOLD}) -m found }}"
_NAME = f"[a-z0-9]([-a-z0-9]{{0,{LONGEST - 2}}}[a-z0-9])?"
_NAMES = f"^{_NAME}([.]{_NAME}){{0,{MOST - 1}}}$"
_KEY = re.compile("[0-9a-f]{64}")


def request_rules(document: EdgeDocument) -> Iterator[str]:
    """Give the rules that read the cookie: it is as good as none where another visitor's, or not signed by the edge."""
    if not document.segments_key:
        return
    yield f"http-request set-var(txn.sgc) req.cook({SEGMENTS_COOKIE})"
    yield "http-request set-var(txn.sgn) var(txn.sgc),field(1,~)"
    yield f"http-request set-var(txn.sgx) {_signature(document, 'txn.sgn')} if {{ var(txn.sgn) -m found }}"
    yield "http-request unset-var(txn.sgn) if !{ var(txn.sgc),field(2,~),secure_memcmp(txn.sgx) }"


def acl(document: EdgeDocument, name: str, segments: tuple[str, ...], path: str) -> Iterator[str]:
    """Give the condition that a visitor is in one of some segments.

    Raises:
        DocumentProblem: One of them can be the name of none, or the document has no key to know them by.
    """
    if segments and not document.segments_key:
        raise DocumentProblem("segmentsKey", f"is missing; {path} cannot be known without")
    for index, each in enumerate(segments):
        if not re.fullmatch(_NAME, each):
            raise DocumentProblem(f"{path}[{index}]", f"{each!r} is not up to {LONGEST} of a to z, 0 to 9 and '-'")
        yield f"acl {name} var(txn.sgn) -m reg -- {quote(f'(^|[.]){each}([.]|$)', path)}"


def answer_rules(document: EdgeDocument) -> Iterator[str]:
    """Give the rules that hear what a service says of the visitor, where it is news."""
    if document.segments_key:
        said = f"""'res.fhdr({HEADER.lower()}),lower,regsub("[, ]+",.,g)'"""
        yield f"http-response set-var({TOLD}) {said} if {{ var(txn.vid) -m found }}"
        yield f"http-response unset-var({TOLD}) if !{{ var({TOLD}) -m reg '{_NAMES}' }}"
        yield f"http-response unset-var({TOLD}) if {{ var({TOLD}),strcmp(txn.sgn) eq 0 }}"
        yield f"http-response set-var(txn.sgx) {_signature(document, TOLD)} if {IS_TOLD}"
        yield f"http-response set-var(txn.gives) int(1) if {IS_TOLD}"
    yield f"http-response del-header {HEADER}"


def cookies(document: EdgeDocument, age: int) -> Iterator[tuple[str, str]]:
    """Give the cookie, with the condition under which an answer sets it."""
    if document.segments_key:
        yield f"{SEGMENTS_COOKIE}=%[var({TOLD})]~%[var(txn.sgx)]; Max-Age={age}", IS_TOLD


def _signature(document: EdgeDocument, names: str) -> str:
    if not _KEY.fullmatch(document.segments_key):
        raise DocumentProblem("segmentsKey", "is not 64 hexadecimal digits")
    key = base64.b64encode(bytes.fromhex(document.segments_key)).decode()
    return f"var(txn.vid),concat(/,{names}),hmac(sha256,{key}),hex"
