import gzip
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.events.body import inflate
from flywheel.events.refusal import Refused

LIMIT = 512_000


def raw_deflate(data: bytes) -> bytes:
    made = zlib.compressobj(wbits=-15)
    return made.compress(data) + made.flush()


@given(st.binary(max_size=5_000))
def test_what_was_compressed_comes_back(data):
    assert inflate(gzip.compress(data), "gzip", LIMIT) == data
    assert inflate(zlib.compress(data), "deflate", LIMIT) == data
    assert inflate(raw_deflate(data), "Deflate", LIMIT) == data
    assert inflate(data, "identity", LIMIT) == data


def test_a_bomb_is_refused_before_it_has_grown():
    bomb = gzip.compress(bytes(100 << 20), 9)
    tracemalloc.start()
    with pytest.raises(Refused, match="when inflated") as refused:
        inflate(bomb, "gzip", LIMIT)
    assert refused.value.reason == "too_large"
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (b"{}", "gzip"),
        (gzip.compress(b"{}" * 100, mtime=0)[:-9], "gzip"),
        (gzip.compress(b"{}", mtime=0) + b"more", "gzip"),
        (b"{}", "br"),
        (b"\0\1\2", "deflate"),
        (b"", "gzip"),
    ],
)
def test_what_is_not_as_it_says_is_refused(body, encoding):
    with pytest.raises(Refused) as refused:
        inflate(body, encoding, LIMIT)
    assert refused.value.reason == "bad_encoding"
