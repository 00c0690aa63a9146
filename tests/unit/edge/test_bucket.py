"""HAProxy and Python agree on everybody's bucket."""

import asyncio
import random
import uuid
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.ports import free_port
from tests.unit.edge.stand import Connection, until

from flywheel.edge.bucket import bucket
from flywheel.edge.document import BUCKETS
from flywheel.edge.quoting import percent_encoded
from flywheel.edge.testrules import bucket_of

SEED = 20270616
IDS = 10_000
BATCH = 250
FIXED = (4868, 9369, 8874)
ODD = (
    "a",
    " ",
    "  two  ",
    "|",
    "a|b|c",
    "%41",
    "+",
    "?+",
    "a?b+c",
    "#x",
    "ü",
    "优购网 618",
    "\0",
    "a\nb",
    "\"\\'",
    ":",
    "😀",
    "x" * 256,
)


def test_the_bucket_of_a_visitor_never_changes() -> None:
    """Nobody may move to another bucket with a new release: an experiment would fall apart."""
    visitor = "7d3c1f52-9c2b-4a7e-8b7e-0123456789ab"
    assert (bucket("", ""), bucket("salt", visitor), bucket("优", visitor)) == FIXED


@given(st.text(), st.text())
def test_a_bucket_is_one_of_ten_thousand(salt: str, visitor: str) -> None:
    assert 0 <= bucket(salt, visitor) < BUCKETS


def test_buckets_are_even_and_salts_independent() -> None:
    """Chi-squared over 100 groups; 99 degrees of freedom exceed 161 once in 10,000 runs, and the seed is fixed."""
    source = random.Random(SEED)
    visitors = [str(uuid.UUID(int=source.getrandbits(128))) for _ in range(50_000)]
    for salt in ("one", "two"):
        counts = Counter(bucket(salt, visitor) // 100 for visitor in visitors)
        assert sum((counts[group] - 500) ** 2 / 500 for group in range(100)) < 161
    pairs = Counter((bucket("one", visitor) < 5000, bucket("two", visitor) < 5000) for visitor in visitors)
    assert all(abs(count - 12_500) < 500 for count in pairs.values())


@pytest.fixture
def salts() -> list[str]:
    source = random.Random(SEED)
    found = [
        "".join(chr(source.choice((*range(1, 0x250), *range(0x4E00, 0x4F00)))) for _ in range(12)) for _ in range(30)
    ]
    return [*ODD, *found]


async def test_haproxy_computes_the_same_bucket_for_every_visitor_and_salt(tmp_path: Path, salts: list[str]) -> None:
    (tmp_path / "tests.map").write_text(
        "".join(f"{number} t|0|{percent_encoded(salt)}\n" for number, salt in enumerate(salts))
    )
    port = free_port()
    (tmp_path / "haproxy.cfg").write_text(f"""
global
    nbthread 1
defaults
    mode http
    timeout client 10s
    timeout http-request 10s
frontend f
    bind 127.0.0.1:{port}
    http-request set-var(txn.who) req.hdr(x-visitor)
    http-request set-var(txn.t0) req.hdr(x-salt),map({tmp_path}/tests.map)
    http-request return status 200 content-type text/plain lf-string %[{bucket_of("t0", 3)}]
""")
    haproxy = await asyncio.create_subprocess_exec("haproxy", "-db", "-f", tmp_path / "haproxy.cfg")
    try:
        await _agree(port, salts)
    finally:
        haproxy.terminate()
        await haproxy.wait()


async def _agree(port: int, salts: list[str]) -> None:
    async def listens() -> bool:
        try:
            (await Connection.open(port)).close()
        except OSError:
            return False
        return True

    await until(listens, "HAProxy listens")
    source = random.Random(SEED)
    cases = [(str(uuid.UUID(int=source.getrandbits(128))), number % len(salts)) for number in range(IDS)]
    connection = await Connection.open(port)
    for start in range(0, IDS, BATCH):
        batch = cases[start : start + BATCH]
        text = "".join(f"GET / HTTP/1.1\r\nHost: a\r\nX-Visitor: {v}\r\nX-Salt: {n}\r\n\r\n" for v, n in batch)
        sending = asyncio.create_task(connection.send(text.encode()))
        for visitor, number in batch:
            answer = await connection.answer()
            assert int(answer.body) == bucket(salts[number], visitor), (salts[number], visitor, SEED)
        await sending
    connection.close()
