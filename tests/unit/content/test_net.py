"""Which hosts are called, and that a connection goes where was looked."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
import urllib3
from tests.patience import PATIENCE

from flywheel.net import (
    AddressRefusedError,
    CheckedPools,
    http_client,
    read_bounded,
    refuse_address,
    resolve,
    resolve_async,
)

REFUSED = [
    "169.254.169.254",
    "169.254.0.1",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "127.0.0.1",
    "127.8.8.8",
    "::1",
    "0.0.0.0",
    "0.1.2.3",
    "::",
    "224.0.0.1",
    "ff02::1",
    "255.255.255.255",
    "240.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:127.0.0.1",
    "::169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b::127.0.0.1",
    "2002:a9fe:a9fe::1",
    "2002:7f00:1::",
]
CALLED = ["10.0.0.1", "192.168.1.1", "172.16.0.1", "1.1.1.1", "2606:4700::1111", "fd12:3456::1", "::ffff:10.0.0.1"]
NAMES = ["metadata.google.internal", "Metadata.Google.Internal.", "metadata", "metadata.goog", "instance-data"]


@pytest.mark.parametrize("address", REFUSED)
def test_such_an_address_is_never_called(address: str) -> None:
    with pytest.raises(AddressRefusedError, match="name another host"):
        refuse_address("git.example", address)


@pytest.mark.parametrize("address", CALLED)
def test_public_and_private_addresses_are_called(address: str) -> None:
    refuse_address("git.example", address)


def test_loopback_is_called_where_that_is_allowed_and_nothing_else_is() -> None:
    for address in ("127.0.0.1", "::1", "::ffff:127.0.0.1"):
        refuse_address("localhost", address, allow_loopback=True)
    for address in ("169.254.169.254", "::ffff:169.254.169.254", "0.0.0.0"):
        with pytest.raises(AddressRefusedError):
            refuse_address("localhost", address, allow_loopback=True)


@pytest.mark.parametrize("name", NAMES)
async def test_a_name_of_a_metadata_service_is_not_even_looked_up(name: str) -> None:
    with pytest.raises(AddressRefusedError, match="metadata"):
        resolve(name, 80, allow_loopback=True)
    with pytest.raises(AddressRefusedError, match="metadata"):
        await resolve_async(name, 80, allow_loopback=True)


@pytest.mark.parametrize("spelling", ["2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "169.254.43518"])
def test_another_spelling_of_an_address_does_not_help(spelling: str) -> None:
    with pytest.raises(AddressRefusedError):
        resolve(spelling, 80)


def test_one_refused_address_refuses_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    _answer_with(monkeypatch, ["1.1.1.1", "169.254.169.254"])
    with pytest.raises(AddressRefusedError, match=r"git\.example \(169\.254\.169\.254\)"):
        resolve("git.example", 80)


def _answer_with(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Let look-ups of names be answered in turn, the last answer again and again; addresses stand for themselves."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def answer(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        if str(host).replace(".", "").isdigit():
            return real(host, port, *args, **kwargs)
        asked.append(str(host))
        chosen = answers[min(len(asked), len(answers)) - 1]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in chosen]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    return asked


@contextlib.asynccontextmanager
async def _web(answer: bytes) -> AsyncIterator[int]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            writer.write(answer.replace(b"HOST", head.partition(b"Host: ")[2].partition(b"\r")[0]))
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nHOST"


async def test_httpx_connects_to_the_address_that_was_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that leads elsewhere when asked again (DNS rebinding) is asked once only."""
    async with _web(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nHOST") as port:
        asked = _answer_with(monkeypatch, ["127.0.0.1"], ["169.254.169.254"])
        async with http_client(allow_loopback=True) as client:
            answer = await client.get(f"http://git.example:{port}/")
    assert answer.text == f"git.example:{port}", "the server must be told the name that was asked for"
    assert asked == ["git.example"]


async def test_httpx_refuses_a_host_that_leads_to_a_refused_address(monkeypatch: pytest.MonkeyPatch) -> None:
    _answer_with(monkeypatch, ["169.254.169.254"])
    async with http_client(allow_loopback=True) as client:
        with pytest.raises(AddressRefusedError):
            await client.get("http://git.example/latest/meta-data")


async def test_httpx_tries_the_next_address_when_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    async with _web(OK) as port:
        _answer_with(monkeypatch, ["127.0.0.9", "127.0.0.1"])
        async with http_client(allow_loopback=True) as client:
            answer = await client.get(f"http://git.example:{port}/")
    assert answer.status_code == 200


async def test_httpx_follows_no_redirect_and_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    redirect = b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n"
    async with _web(redirect) as port, http_client(allow_loopback=True) as client:
        answer = await client.get(f"http://127.0.0.1:{port}/")
    assert answer.status_code == 302


async def test_httpx_says_in_its_own_words_that_nobody_answers() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        async with http_client(allow_loopback=True) as client:
            with pytest.raises(httpx.ConnectError):
                await client.get(f"http://127.0.0.1:{taken.getsockname()[1]}/")


async def test_an_endless_answer_is_read_up_to_the_bound() -> None:
    endless = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"x" * (1 << 20)
    async with (
        _web(endless) as port,
        http_client(allow_loopback=True) as client,
        client.stream("GET", f"http://127.0.0.1:{port}/") as answer,
    ):
        with pytest.raises(ValueError, match="more than 1000 bytes"):
            await read_bounded(answer, 1000)


@pytest.fixture
def drip() -> Iterator[int]:
    """A server that sends a byte now and then, for ever."""
    ended = threading.Event()

    def serve(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
                while not ended.wait(0.02):
                    connection.sendall(b"x")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        ended.set()
        thread.join()


def test_urllib3_is_cut_off_when_time_is_up_whatever_the_server_does(drip: int) -> None:
    # The deadline itself is far away, and the server never ends.
    pools = CheckedPools(deadline=time.monotonic() + 86_400, allow_loopback=True)
    response = pools.urlopen("GET", f"http://127.0.0.1:{drip}/", preload_content=False)
    threading.Timer(0.2, pools.abort).start()
    with pytest.raises(urllib3.exceptions.HTTPError):
        response.read(1_000_000)
    pools.close()


def test_urllib3_connects_to_the_address_that_was_checked(drip: int, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = _answer_with(monkeypatch, ["127.0.0.1"], ["169.254.169.254"])
    pools = CheckedPools(deadline=time.monotonic() + PATIENCE, allow_loopback=True)
    response = pools.urlopen("GET", f"http://git.example:{drip}/", preload_content=False)
    assert response.status == 200
    assert asked == ["git.example"]
    pools.abort()
    pools.close()


def test_urllib3_refuses_before_it_connects(monkeypatch: pytest.MonkeyPatch) -> None:
    _answer_with(monkeypatch, ["169.254.169.254"])
    pools = CheckedPools(deadline=time.monotonic() + PATIENCE, allow_loopback=True)
    with pytest.raises(AddressRefusedError):
        pools.urlopen("GET", "http://git.example/")
    pools.close()
