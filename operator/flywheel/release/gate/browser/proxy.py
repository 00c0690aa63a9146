"""The only way out of the gate's browser: a proxy on loopback that lets through what the plan names.

A browser asks its proxy for everything: pages and what they load, redirects, workers, sockets, names. So the rule holds
in one place, and headers for the address reach no other host, not even after a redirect.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from flywheel.net import AddressRefusedError, resolve_async
from flywheel.release.gate.browser.destinations import (
    BadRequestError,
    Destination,
    Head,
    asked_for,
    destination,
    incoming,
    outgoing,
    parse_head,
)
from flywheel.release.gate.browser.steps import Plan

LONGEST_HEAD = 256 * 1024
HEAD_SECONDS = 60.0
"""A browser opens connections before it needs them."""
CONNECT_SECONDS = 5.0
CHUNK = 64 * 1024
MOST_HOSTS = 50
"""Refused hosts that are remembered."""
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class UnreachableError(Exception):
    """Nothing answers there. The text says why, without the address."""


class Proxy:
    """Forwards requests; remembers what was refused, and whether the address could be reached."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        # Told before the step's own time is over, so that it is known whose fault a silence is.
        self._connect_seconds = min(CONNECT_SECONDS, plan.step_seconds * 0.8)
        self._open: set[asyncio.Task[None]] = set()
        self.refused: dict[str, int] = {}
        """How often each host was asked for that must not be reached."""
        self.unreachable = ""
        """Why the last connection to the gate's address failed; empty when it did not."""
        self.port = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Proxy"]:
        """Listen on a port of loopback."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=LONGEST_HEAD)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in self._open:
                task.cancel()
            await asyncio.gather(*self._open, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve((reader, writer)))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _serve(self, browser: Connection) -> None:
        reader, writer = browser
        try:
            async with asyncio.timeout(HEAD_SECONDS):
                head = parse_head(await reader.readuntil(b"\r\n\r\n"))
            await self._answer(head, browser)
        except BadRequestError as error:
            await _say(writer, 400, str(error))
        except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError):
            pass  # One of the two has gone, which the other learns from the end of its connection.
        finally:
            writer.close()

    async def _answer(self, head: Head, browser: Connection) -> None:
        host, port, path = asked_for(head)
        to = destination(self._plan, host, port)
        if to is None:
            if host in self.refused or len(self.refused) < MOST_HOSTS:
                self.refused[host] = self.refused.get(host, 0) + 1
            shown = host if port in (80, 443) else f"{host}:{port}"
            await _say(browser[1], 403, f"The gate does not let its browser reach {shown}: add it to allowHosts.")
            return
        try:
            server = await self._connect(to)
        except UnreachableError as error:
            await _say(browser[1], 502, f"Cannot reach {host}:{port}: {error}.")
            return
        try:
            await (self._tunnel if head.first[0] == "CONNECT" else self._forward)(head, path, to, browser, server)
        finally:
            server[1].close()

    async def _connect(self, to: Destination) -> Connection:
        try:
            connection = await self._connected(to)
        except UnreachableError as error:
            if to.own:
                self.unreachable = str(error)
            raise
        if to.own:
            self.unreachable = ""
        return connection

    async def _connected(self, to: Destination) -> Connection:
        problem = ""
        try:
            async with asyncio.timeout(self._connect_seconds):
                # Only the gate's own address may be this very machine: a person's, who tries steps on it.
                for address in await resolve_async(to.host, to.port, allow_loopback=to.own):
                    try:
                        return await asyncio.open_connection(address, to.port, limit=LONGEST_HEAD)
                    except OSError as error:
                        problem = _in_words(error)
        except AddressRefusedError as error:
            raise UnreachableError(str(error)) from error
        except TimeoutError as error:
            raise UnreachableError(f"no connection within {self._connect_seconds:g} s") from error
        except OSError as error:
            raise UnreachableError(f"its name cannot be resolved ({error.strerror or error})") from error
        raise UnreachableError(problem)

    async def _tunnel(self, head: Head, _path: str, to: Destination, browser: Connection, server: Connection) -> None:
        browser[1].write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        if to.own and self._plan.dial.startswith("http:"):
            # Without TLS a tunnel is for a WebSocket; its first request needs the headers, too.
            head = parse_head(await browser[0].readuntil(b"\r\n\r\n"))
            server[1].write(outgoing(head, head.first[1], self._plan.headers, upgrade=True).encode())
        await _first_of(_pump(browser[0], server[1]), _pump(server[0], browser[1]))

    async def _forward(self, head: Head, path: str, to: Destination, browser: Connection, server: Connection) -> None:
        if head.value("transfer-encoding"):
            raise BadRequestError("requests without a length are not forwarded")
        length = head.value("content-length") or "0"
        if not (length.isascii() and length.isdigit()):
            raise BadRequestError("the length of a request is no number")
        server[1].write(outgoing(head, path, self._plan.headers if to.own else {}).encode())
        await _first_of(self._upload(browser, server, int(length)), _download(server, browser))

    async def _upload(self, browser: Connection, server: Connection, length: int) -> None:
        while length:
            data = await browser[0].read(min(CHUNK, length))
            if not data:
                return
            length -= len(data)
            server[1].write(data)
            await server[1].drain()
        # One request for each connection: whatever else comes is not forwarded, and the end is the browser's leave.
        while await browser[0].read(CHUNK):
            pass


async def _download(server: Connection, browser: Connection) -> None:
    status = 100
    while 100 <= status < 200:
        try:
            head = parse_head(await server[0].readuntil(b"\r\n\r\n"))
            status = int(head.first[1])
        except (EOFError, ConnectionError, BadRequestError, ValueError, asyncio.LimitOverrunError):
            await _say(browser[1], 502, "The server closed the connection without an answer in HTTP.")
            return
    browser[1].write(incoming(head).encode())
    await _pump(server[0], browser[1])


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(CHUNK):
        writer.write(data)
        await writer.drain()


async def _first_of(*ways: Coroutine[Any, Any, None]) -> None:
    """Go both ways until one of them ends."""
    tasks = [asyncio.ensure_future(each) for each in ways]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _say(writer: asyncio.StreamWriter, status: int, text: str) -> None:
    body = f"{text}\n".encode()
    reason = {400: "Bad Request", 403: "Forbidden", 502: "Bad Gateway"}[status]
    head = Head(
        ("HTTP/1.1", str(status), reason),
        (("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body))), ("Connection", "close")),
    )
    with contextlib.suppress(OSError):
        writer.write(head.encode() + body)
        await writer.drain()


def _in_words(error: OSError) -> str:
    return "connection refused" if isinstance(error, ConnectionRefusedError) else error.strerror or type(error).__name__
