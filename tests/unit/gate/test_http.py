"""The http gate against real servers, well and ill."""

import asyncio
import gzip
import json
import re
import zlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from tests.ports import free_port
from tests.unit.gate.measuring import read, serving, talking, target

from flywheel.api.gate_measured import HttpGate, JsonCheck
from flywheel.release.gate.calls import LARGEST_BODY, Clients
from flywheel.release.gate.http import check_json, is_like, measure_http
from flywheel.release.gate.measurement import LONGEST_MESSAGE, Measurement, Outcome


@pytest.fixture
async def clients() -> AsyncIterator[Clients]:
    made = Clients(allow_loopback=True)
    yield made
    await made.close()


async def measured(clients: Clients, address: str, edge: str = "", **fields: Any) -> Measurement:
    gate = read(HttpGate, **{"requestTimeout": "30s", **fields})
    found = await measure_http(gate, target(address, edge), clients.plain)
    assert len(found.message) <= LONGEST_MESSAGE
    return found


def says(status: int = 200, body: Any = b"", **headers: str) -> Any:
    async def answer(_request: web.Request) -> web.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return web.Response(status=status, body=content, headers=named)

    return answer


async def test_an_answer_as_wanted_passes(clients: Clients) -> None:
    async with serving(says(200, b"ok")) as address:
        found = await measured(clients, address, path="/healthz", status=200, maxLatency="10s", contains="ok")
    assert (found.outcome, found.value) == (Outcome.SUCCESS, "200")
    assert re.fullmatch(rf"GET {address}/healthz answered 200 in [0-9.]+ ms", found.message)


async def test_another_status_fails_and_shows_how_the_body_begins(clients: Clients) -> None:
    async with serving(says(500, b"<h1>Oh\nno</h1>" + b"x" * 500)) as address:
        found = await measured(clients, address, path="/healthz")
        assert found.outcome is Outcome.FAILURE
        assert found.message.startswith(
            f"GET {address}/healthz answered 500, wanted 200 (the body begins: <h1>Oh no</h1>xxx"
        )
        found = await measured(clients, address, path="/healthz", statusIn=[200, 204])
        assert "wanted 200 or 204" in found.message


async def test_a_redirect_is_an_answer_and_not_followed(clients: Clients) -> None:
    async with serving(says(302, b"", Location="http://169.254.169.254/latest")) as address:
        found = await measured(clients, address)
        assert (found.outcome, "it leads to 'http://169.254.169.254/latest'" in found.message) == (
            Outcome.FAILURE,
            True,
        )
        assert (await measured(clients, address, status=302)).outcome is Outcome.SUCCESS


async def test_the_request_is_sent_as_written(clients: Clients) -> None:
    seen: list[Any] = []

    async def note(request: web.Request) -> web.Response:
        seen.append((request.method, request.raw_path, dict(request.headers), await request.text()))
        return web.Response()

    async with serving(note) as address:
        headers = [
            {"name": "Host", "value": "shop.example"},
            {"name": "user-agent", "value": "mine"},
            {"name": "Content-Type", "value": "text/plain"},
        ]
        await measured(clients, address, method="POST", path="/a/b?q=%C3%BC&x", headers=headers, body="券")
        await measured(clients, "http://203.0.113.1", edge=address, through="Edge", path="/cart")
    method, path, sent, body = seen[0]
    assert (method, path, body) == ("POST", "/a/b?q=%C3%BC&x", "券")
    assert (sent["Host"], sent["Content-Type"], sent["Connection"]) == ("shop.example", "text/plain", "close")
    assert [value for name, value in sent.items() if name.lower() == "user-agent"] == ["mine"]
    method, path, sent, _ = seen[1]
    assert (method, path, sent["X-FW-Preview"]) == ("GET", "/cart", "7f3a9c")


async def test_every_measurement_is_a_connection_of_its_own(clients: Clients) -> None:
    """One that is kept could lead to a pod of the revision that the slot had before."""
    peers = set()

    async def note(request: web.Request) -> web.Response:
        assert request.transport is not None
        peers.add(request.transport.get_extra_info("peername"))
        return web.Response()

    async with serving(note) as address:
        for _ in range(3):
            assert (await measured(clients, address)).outcome is Outcome.SUCCESS
    assert len(peers) == 3


async def test_another_port_of_the_service_can_be_asked(clients: Clients) -> None:
    async with serving(says(204)) as address:
        port = int(address.rpartition(":")[2])
        found = await measured(clients, "http://127.0.0.1:9", port=port, status=204)
    assert found.outcome is Outcome.SUCCESS


@pytest.mark.parametrize(
    ("fields", "says_"),
    [
        ({"expectHeaders": [{"name": "x-version", "value": "v2*"}]}, ""),
        ({"expectHeaders": [{"name": "X-Version", "value": "v3"}]}, "answered with X-Version: v2.1, wanted 'v3'"),
        ({"expectHeaders": [{"name": "X-None", "value": "*"}]}, "answered without the header X-None, wanted '*'"),
        ({"contains": "hello"}, "answered without 'hello' in the body (the body begins: {\"status\""),
        ({"matches": '"status": *"[a-z]+"'}, ""),
        ({"matches": "^v9"}, "answered with nothing that matches '^v9' in the body"),
        ({"json": [{"path": "$.status", "equals": "ok"}, {"path": "$.items[1].n", "min": 2, "max": 2}]}, ""),
        ({"json": [{"path": "$.status", "equals": "down"}]}, "$.status is \"ok\", wanted 'down'"),
        ({"json": [{"path": "$.items[2]", "exists": True}]}, "$.items[2] does not exist"),
        ({"json": [{"path": "$.items", "exists": False}]}, "$.items is there, wanted none"),
        ({"json": [{"path": "$.items", "max": 3}]}, "$.items is a list of 2, wanted a number"),
        ({"json": [{"path": "$.items[0].n", "min": 1.5}]}, "$.items[0].n is 1, wanted at least 1.5"),
        ({"json": [{"path": "$.on", "equals": "true"}, {"path": "$.none", "equals": "null"}]}, ""),
        ({"json": [{"path": "$.status", "matches": "^k"}]}, "wanted text that matches '^k'"),
    ],
)
async def test_headers_and_body_are_looked_at(clients: Clients, fields: dict[str, Any], says_: str) -> None:
    body = {"status": "ok", "items": [{"n": 1}, {"n": 2}], "on": True, "none": None}
    async with serving(says(200, body, X_Version="v2.1")) as address:
        found = await measured(clients, address, **fields)
    assert (found.outcome is Outcome.FAILURE) == bool(says_), found.message
    assert says_ in found.message


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"{", b"[" * 100_000, b'{"a": NaN}', b"\xff\xfe", b'{"a": "\xed\xa0\x80"']
)
async def test_a_body_that_is_no_json_fails(clients: Clients, body: bytes) -> None:
    async with serving(says(200, body)) as address:
        found = await measured(clients, address, json=[{"path": "$.a", "exists": True}])
    assert (found.outcome, "no JSON" in found.message) == (Outcome.FAILURE, True), found.message


async def test_an_endless_body_is_read_up_to_a_limit(clients: Clients) -> None:
    sent = 0

    async def pour(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 65536)
            sent += 65536

    async with serving(pour) as address:
        found = await measured(clients, address, contains="xxx")
        assert found.outcome is Outcome.SUCCESS, found.message
        found = await measured(clients, address, contains="y")
        assert "in the first 1 MiB of the body" in found.message
        found = await measured(clients, address, json=[{"path": "$", "exists": True}])
        assert "more than 1 MiB" in found.message
    assert sent < 40 * LARGEST_BODY


@pytest.mark.parametrize(("packing", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_a_packed_body_is_unpacked_up_to_the_limit(clients: Clients, packing: str, pack: Any) -> None:
    async with serving(says(200, pack(b"x" * (300 << 20)), Content_Encoding=packing)) as address:
        found = await measured(clients, address, contains="y")
        assert "in the first 1 MiB of the body" in found.message
    async with serving(says(200, pack(b"hello"), Content_Encoding=packing)) as address:
        assert (await measured(clients, address, contains="hello")).outcome is Outcome.SUCCESS
    async with serving(says(200, b"hello", Content_Encoding=packing)) as address:
        assert (await measured(clients, address, contains="hello")).outcome is Outcome.FAILURE


async def test_a_body_is_read_in_its_own_charset(clients: Clients) -> None:
    body = "优惠券".encode("gbk")
    async with serving(says(200, body, Content_Type="text/html; charset=GBK")) as address:
        assert (await measured(clients, address, contains="优惠")).outcome is Outcome.SUCCESS
    for charset in ("punycode", "rot13", "unheard-of", "../x", "undefined", "hex"):
        async with serving(says(200, b"plain", Content_Type=f"text/html; charset={charset}")) as address:
            assert (await measured(clients, address, contains="plain")).outcome is Outcome.SUCCESS


async def test_who_does_not_answer_in_time_has_failed(clients: Clients) -> None:
    async with talking(b"", then_wait=True) as address:
        found = await measured(clients, address, requestTimeout="1s")
    assert (found.outcome, found.message) == (
        Outcome.FAILURE,
        f"GET {address}/ got no answer: no whole answer within 1 s",
    )


async def test_an_answer_that_trickles_ends_with_the_timeout(clients: Clients) -> None:
    async def trickle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b".")
            await asyncio.sleep(0.05)

    async with serving(trickle) as address:
        found = await measured(clients, address, requestTimeout="1s")
    assert (found.outcome, "within 1 s" in found.message) == (Outcome.FAILURE, True)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n",
        b"HTTP/1.1 999999 OK\r\n\r\n",
    ],
)
async def test_who_speaks_no_http_has_failed(clients: Clients, raw: bytes) -> None:
    async with talking(raw) as address:
        found = await measured(clients, address)
    assert (found.outcome, "broke off" in found.message) == (Outcome.FAILURE, True), found.message


async def test_a_slow_answer_is_told_apart_from_a_wrong_one(clients: Clients) -> None:
    async def slow(_request: web.Request) -> web.Response:
        await asyncio.sleep(0.1)
        return web.Response()

    async with serving(slow) as address:
        found = await measured(clients, address, maxLatency="50ms")
    assert (found.outcome, "ms, wanted at most 50 ms" in found.message) == (Outcome.FAILURE, True)


async def test_where_nobody_is_nothing_is_said_of_the_revision(clients: Clients) -> None:
    for address in (f"http://127.0.0.1:{free_port()}", "http://nobody.invalid:80", ""):
        found = await measured(clients, address)
        assert (found.outcome, "could not be sent" in found.message) == (Outcome.ERROR, True), found.message
    found = await measured(clients, "http://127.0.0.1:1", through="Edge")
    assert (found.outcome, "the campaign has no edge" in found.message) == (Outcome.ERROR, True)


async def test_metadata_and_this_machine_are_never_asked() -> None:
    clients = Clients()
    async with serving(says(200)) as address:
        for each in (address, "http://169.254.169.254", "http://[::ffff:169.254.169.254]", "http://metadata"):
            found = await measured(clients, each)
            assert (found.outcome, "never called" in found.message) == (Outcome.ERROR, True), found.message
    await clients.close()


@given(st.text("ab*", max_size=8), st.text("ab", max_size=8))
def test_a_star_stands_for_anything(wanted: str, found: str) -> None:
    oracle = ".*".join(map(re.escape, wanted.split("*")))
    assert is_like(wanted, found) == bool(re.fullmatch(oracle, found))


SCALARS = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | st.text(max_size=5)


@given(SCALARS)
def test_a_value_equals_what_it_is_written_as(value: Any) -> None:
    written = value if isinstance(value, str) else json.dumps(value)
    if "\x00" in written or written in ("Infinity", "-Infinity"):
        return
    check = read(JsonCheck, path="$.a", equals=written)
    assert check_json(check, {"a": value}) is None
    assert check_json(check, {"a": [value]}) is not None


@given(SCALARS, st.text(max_size=8).filter(lambda text: "\x00" not in text) | st.integers(-(2**53), 2**53))
def test_comparing_never_fails(value: Any, wanted: Any) -> None:
    check = read(JsonCheck, path="$", equals=wanted, min=0, max=5, matches="x")
    found = check_json(check, value)
    assert found is None or found.startswith("$ is ")


async def test_an_edge_that_does_not_know_the_revision_has_shown_something_else(clients: Clients) -> None:
    async with serving(says(200, b"ok", X_FW_Preview="unknown")) as edge:
        found = await measured(clients, "http://nobody.invalid", edge, through="Edge")
        assert found.outcome is Outcome.ERROR
        assert "does not know 7f3a9c yet" in found.message
        # After the switch there is no preview: what answers is the revision itself.
        serves = target("http://nobody.invalid", edge, promoted=True)
        found = await measure_http(read(HttpGate, through="Edge"), serves, clients.plain)
        assert found.outcome is Outcome.SUCCESS
