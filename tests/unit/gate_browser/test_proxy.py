"""The only way out of the gate's browser, seen by a client that is no browser and means no good."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.patience import PATIENCE
from tests.unit.gate_browser.looking import plan
from tests.unit.gate_browser.site import Site

from flywheel.release.gate.browser.destinations import BadRequestError, asked_for, destination, parse_head
from flywheel.release.gate.browser.proxy import Proxy

HEADERS = {"X-FW-Preview": "shop-7"}


@pytest.fixture
async def proxy(site: Site) -> AsyncIterator[Proxy]:
    async with Proxy(
        plan(site.address, headers=HEADERS, allowHosts=["localhost", "metadata.google.internal"])
    ).running() as proxy:
        yield proxy


async def say(proxy: Proxy, *parts: str) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    for part in parts:
        writer.write(part.encode())
    async with asyncio.timeout(PATIENCE):
        answer = await reader.read()
    writer.close()
    return answer.decode()


async def test_headers_of_the_plan_replace_those_of_the_page(proxy: Proxy, site: Site) -> None:
    said = await say(
        proxy,
        f"GET {site.address}/echo HTTP/1.1\r\nHost: 127.0.0.1:{site.port}\r\nx-fw-preview: other\r\n"
        "Proxy-Connection: keep-alive\r\n\r\n",
    )
    assert said.startswith("HTTP/1.1 200")
    assert said.endswith("shop-7 GET")
    assert "Connection: close" in said
    assert "Proxy-Connection" not in site.requests[0].headers


async def test_a_body_is_forwarded_and_nothing_behind_it(proxy: Proxy, site: Site) -> None:
    head = f"POST {site.address}/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n"
    await say(proxy, f"{head}helloGET http://other.example/ HTTP/1.1\r\nHost: other.example\r\n\r\n")
    assert [(each.method, each.body) for each in site.requests] == [("POST", "hello")]


@pytest.mark.parametrize(
    "request_line",
    [
        "GET http://other.example/ HTTP/1.1",
        "GET http://169.254.169.254/latest/meta-data/ HTTP/1.1",
        "CONNECT other.example:443 HTTP/1.1",
        "CONNECT 127.0.0.1:22 HTTP/1.1",
        "CONNECT localhost:22 HTTP/1.1",
        "GET http://localhost:8081/ HTTP/1.1",
    ],
)
async def test_no_other_place_is_reached(proxy: Proxy, request_line: str) -> None:
    said = await say(proxy, f"{request_line}\r\nHost: x\r\n\r\n")
    assert said.startswith("HTTP/1.1 403")
    assert "allowHosts" in said
    assert proxy.refused


@pytest.mark.parametrize("host", ["localhost", "metadata.google.internal"])
async def test_a_host_that_is_allowed_is_never_this_machine_or_a_metadata_service(proxy: Proxy, host: str) -> None:
    said = await say(proxy, f"GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n")
    assert said.startswith("HTTP/1.1 502")
    assert "never called" in said
    assert proxy.unreachable == ""


@pytest.mark.parametrize(
    "said",
    [
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "nonsense\r\n\r\n",
        "GET http://[::1/ HTTP/1.1\r\n\r\n",
        "CONNECT  HTTP/1.1\r\n\r\n",
        "GET https://x/ HTTP/1.1\r\n\r\n",
    ],
)
async def test_what_no_browser_says_is_refused(proxy: Proxy, said: str) -> None:
    assert (await say(proxy, said)).startswith("HTTP/1.1 400")


async def test_requests_whose_end_is_not_known_are_refused(proxy: Proxy, site: Site) -> None:
    for header in ("Transfer-Encoding: chunked", "Content-Length: +5", "Content-Length: 5, 6"):
        said = await say(proxy, f"POST {site.address}/echo HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n")
        assert said.startswith("HTTP/1.1 400"), header
    assert site.requests == []


async def test_a_server_that_speaks_no_http_is_told(site: Site) -> None:
    async def babble(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with Proxy(plan(address)).running() as proxy:
        said = await say(proxy, f"GET {address}/ HTTP/1.1\r\nHost: x\r\n\r\n")
    server.close()
    assert said.startswith("HTTP/1.1 502")


async def test_an_address_that_does_not_answer_is_told_before_the_steps_time_is_over() -> None:
    address = "http://192.0.2.1"  # For documentation: nobody is there.
    async with Proxy(plan(address, stepTimeout="1s")).running() as proxy:
        said = await say(proxy, f"GET {address}/ HTTP/1.1\r\nHost: x\r\n\r\n")
    assert said.startswith("HTTP/1.1 502")
    assert proxy.unreachable


@given(st.binary(max_size=300))
def test_reading_a_head_is_total(raw: bytes) -> None:
    with contextlib.suppress(BadRequestError):
        asked_for(parse_head(raw + b"\r\n\r\n"))


@given(st.text(max_size=40), st.integers(0, 65535))
def test_only_what_the_plan_names_is_a_destination(host: str, port: int) -> None:
    made = plan("http://a.svc:8080", allowHosts=["b.example"], host="shop.example")
    found = destination(made, host, port)
    if found:
        assert (host, port) in {("shop.example", 80), ("b.example", 80), ("b.example", 443)}
    assert destination(made, "shop.example", 80) is not None
    assert destination(made, "a.svc", 8080) is None
