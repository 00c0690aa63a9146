"""Calls to programs that may answer anything: read up to a limit, and whatever goes wrong put into words."""

import asyncio
import codecs
import zlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import httpx

from flywheel.net import AddressRefusedError, http_client, tls_context

LARGEST_BODY = 1 << 20
"""Bytes of an answer that are looked at."""
USER_AGENT = "flywheel-gate"
CLOSING_SECONDS = 1.0
_OWN_HEADERS = {
    "User-Agent": USER_AGENT,
    "Accept": "*/*",
    "Accept-Encoding": "identity",
    # A connection that is kept may lead to a pod of the revision that the slot had before.
    "Connection": "close",
}
_ANY_ZIP = 47
"""zlib's word for: gzip or deflate, whichever it is."""
_CHARSETS = frozenset(
    codecs.lookup(name).name
    for name in (
        "ascii",
        "big5",
        "cp1252",
        "euc-jp",
        "euc-kr",
        "gb18030",
        "gb2312",
        "gbk",
        "iso8859-1",
        "iso8859-15",
        "shift_jis",
        "utf-8",
        "utf-16",
    )
)
"""What bodies are read as. Not every codec of Python is harmless on a text of somebody else's."""


class NotAnsweredError(Exception):
    """There is no answer. The text goes on from the request: `gave no answer: ...`."""


class NotReachedError(NotAnsweredError):
    """There was nobody to answer: no address, no connection, an address that is never called."""


class BadAuthoritiesError(Exception):
    """What should be certificates is none."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What somebody answered."""

    status: int
    headers: httpx.Headers
    body: bytes
    whole: bool
    """Whether the body is all of it."""
    seconds: float
    """From the first byte of the request to the last that was read of the answer."""

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode(_charset(self.headers.get("Content-Type", "")), "replace")

    def excerpt(self, length: int = 80) -> str:
        """The beginning of the body on one line, for people."""
        start = " ".join(_printable(self.text[: 4 * length]).split())
        return start if len(start) <= length else f"{start[: length - 1]}…"


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _charset(content_type: str) -> str:
    for part in content_type.split(";")[1:]:
        name, _, value = part.partition("=")
        if name.strip().lower() == "charset":
            try:
                found = codecs.lookup(value.strip().strip("\"'")).name
            except (LookupError, ValueError):
                break
            return found if found in _CHARSETS else "utf-8"
    return "utf-8"


async def fetch(
    client: httpx.AsyncClient,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    content: bytes | None = None,
    seconds: float,
) -> Answer:
    """Ask once, and read at most `LARGEST_BODY` bytes of the answer as they are, unpacked by nobody.

    Raises:
        NotReachedError: There was nobody to answer.
        NotAnsweredError: Somebody was asked, and there is no whole answer within `seconds`.
    """
    given = {**_OWN_HEADERS, **_spelled(headers or {})}
    clock = asyncio.get_running_loop().time
    began = clock()
    try:
        # `timeout` bounds each wait, and this one all of them together: an answer that trickles would never end.
        async with asyncio.timeout(seconds):
            request = client.build_request(method, url, headers=given, content=content, timeout=seconds)
            response = await client.send(request, stream=True)
            try:
                body, whole = await _read(response)
                took = clock() - began
            finally:
                await _close(response)
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise NotReachedError(f"no connection: {_reason(error)}") from error
    except AddressRefusedError as error:
        raise NotReachedError(str(error)) from error
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError) as error:
        raise NotReachedError(f"the address cannot be read: {_reason(error)}") from error
    except (TimeoutError, httpx.TimeoutException) as error:
        raise NotAnsweredError(f"no whole answer within {seconds:g} s") from error
    except httpx.HTTPError as error:
        raise NotAnsweredError(f"the answer broke off: {_reason(error)}") from error
    return _unpacked(Answer(response.status_code, response.headers, body, whole, took))


def _unpacked(answer: Answer) -> Answer:
    """Unpack what came packed although that was not asked for, or was; no further than is looked at."""
    packing = answer.headers.get("Content-Encoding", "identity").strip().lower()
    if packing not in ("gzip", "x-gzip", "deflate") or not answer.body:
        return answer
    reader = zlib.decompressobj(_ANY_ZIP)
    try:
        body = reader.decompress(answer.body, LARGEST_BODY + 1)
    except zlib.error as error:
        raise NotAnsweredError(f"the body is said to be {packing} and is not") from error
    whole = answer.whole and reader.eof and len(body) <= LARGEST_BODY
    return replace(answer, body=body[:LARGEST_BODY], whole=whole)


def _spelled(headers: Mapping[str, str]) -> dict[str, str]:
    """Spell the names that we have a default for as we do, so that each is sent once."""
    ours = {name.lower(): name for name in _OWN_HEADERS}
    return {ours.get(name.lower(), name): value for name, value in headers.items()}


async def _read(response: httpx.Response) -> tuple[bytes, bool]:
    gathered = bytearray()
    async for piece in response.aiter_raw():
        gathered += piece
        if len(gathered) > LARGEST_BODY:
            return bytes(gathered[:LARGEST_BODY]), False
    return bytes(gathered), True


async def _close(response: httpx.Response) -> None:
    async with asyncio.timeout(CLOSING_SECONDS):
        await response.aclose()


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


class Clients:
    """Clients that call no address that is not to be called."""

    def __init__(self, *, allow_loopback: bool = False, most_connections: int = 32) -> None:
        """Make them.

        Args:
            allow_loopback: Call this machine itself, too: for tests.
            most_connections: Connections at once.
        """
        self._allow_loopback = allow_loopback
        self.plain = http_client(most_connections=most_connections, allow_loopback=allow_loopback)

    @asynccontextmanager
    async def trusting(self, authorities: str | None) -> AsyncIterator[httpx.AsyncClient]:
        """Give a client that trusts more authorities (PEM) than the public ones.

        Raises:
            BadAuthoritiesError: They are no certificates.
        """
        if authorities is None:
            yield self.plain
            return
        try:
            verify = await asyncio.to_thread(tls_context, authorities)
        except ValueError as error:
            raise BadAuthoritiesError(str(error)) from error
        async with http_client(verify=verify, allow_loopback=self._allow_loopback) as client:
            yield client

    async def close(self) -> None:
        """Close all connections."""
        await self.plain.aclose()
