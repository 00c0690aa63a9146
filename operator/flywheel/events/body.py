"""The bytes of a request's body, inflated within a bound: a small bomb must not become a large one here."""

import zlib

from flywheel.events.refusal import Refused

_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
_RAW = -zlib.MAX_WBITS
ENCODINGS = ("identity", "gzip", "deflate")


def inflate(body: bytes, encoding: str, limit: int) -> bytes:
    """Undo the Content-Encoding of a body.

    Raises:
        Refused: Not of this encoding, cut short, or larger than `limit` when inflated.
    """
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in ENCODINGS:
        raise Refused("bad_encoding", f"Content-Encoding {encoding[:40]!r} is not known: take gzip, deflate or none.")
    try:
        return _inflate(body, _GZIP_OR_ZLIB, limit)
    except zlib.error as error:
        # What browsers and libraries call deflate is zlib for some and bare deflate for others.
        if encoding == "deflate":
            try:
                return _inflate(body, _RAW, limit)
            except zlib.error:
                pass
        raise Refused("bad_encoding", f"The body is not {encoding} as its Content-Encoding says: {error}.") from error


def _inflate(body: bytes, window: int, limit: int) -> bytes:
    inflater = zlib.decompressobj(window)
    found = inflater.decompress(body, limit + 1)
    if len(found) > limit:
        raise Refused("too_large", f"The body has more than {limit:,} bytes when inflated.")
    if not inflater.eof:
        raise zlib.error("it ends too early")
    if inflater.unused_data:
        raise zlib.error("something follows its end")
    return found
