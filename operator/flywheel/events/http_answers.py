"""Small things that the worker's HTTP servers share."""

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from flywheel.events.engine import EngineDown, EngineError, StoreError

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
RETRY_DOWN = 2
"""Seconds after which it is worth asking again."""
BODY_TIMEOUT = 30.0
"""Seconds in which a body has to be here whole."""
_GZIP = 31


class TooLarge(Exception):  # noqa: N818 - of a body
    """A body is larger than what is taken."""


def refusal(status: int, error: str, message: str, headers: Mapping[str, str] | None = None) -> web.Response:
    """Say no, with a word for programs and a sentence for people."""
    return web.json_response({"error": error, "message": message}, status=status, headers=headers)


@web.middleware
async def tell_engine_trouble(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer 503 with Retry-After where the engine is away or has no room."""
    try:
        return await handler(request)
    except EngineDown as error:
        return refusal(503, "engine_down", str(error), {"Retry-After": str(RETRY_DOWN)})
    except TimeoutError:
        return refusal(408, "slow", f"The body did not come within {BODY_TIMEOUT:g} s.")
    except StoreError as error:
        return refusal(503, "store_unusable", str(error), {"Retry-After": "10"})
    except EngineError as error:
        if error.is_passing or request.path.startswith("/v1/"):
            return refusal(503, "engine_error", error.message, {"Retry-After": str(RETRY_DOWN)})
        return refusal(400, "engine_error", error.message)


async def read_body(request: web.Request, most: int) -> bytes:
    """Read a body of at most `most` bytes.

    Raises:
        TooLarge: There is more.
        TimeoutError: It does not come.
    """
    if (request.content_length or 0) > most:
        raise TooLarge(f"The body has {request.content_length} bytes; at most {most} are taken.")
    gathered = bytearray()
    async with asyncio.timeout(BODY_TIMEOUT):
        async for piece in request.content.iter_chunked(1 << 16):
            gathered += piece
            if len(gathered) > most:
                raise TooLarge(f"The body has more than {most} bytes.")
    return bytes(gathered)


def gunzip(packed: bytes, most: int) -> bytes:
    """Unpack at most `most` bytes.

    Raises:
        TooLarge: There are more.
        zlib.error: It is no whole gzip stream.
    """
    reader = zlib.decompressobj(_GZIP)
    unpacked = reader.decompress(packed, most + 1)
    if len(unpacked) > most:
        raise TooLarge(f"The body unpacks to more than {most} bytes.")
    if not reader.eof or reader.unused_data:
        raise zlib.error("the stream is cut off, or followed by something else")
    return unpacked


class Site:
    """One port with its application."""

    def __init__(
        self, application: web.Application, host: str | None, port: int, *, cancel_when_left: bool = False
    ) -> None:
        """Make a site.

        Args:
            application: What answers.
            host: Where it listens; None for all addresses.
            port: 0 takes any that is free.
            cancel_when_left: End the work for a caller who goes away.
        """
        self._runner = web.AppRunner(
            application,
            access_log=None,
            handle_signals=False,
            shutdown_timeout=20,
            auto_decompress=False,
            handler_cancellation=cancel_when_left,
        )
        self._host = host
        self.port = port

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: The port is taken.
        """
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self.port, backlog=512)
        await site.start()
        if self.port == 0:
            self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Stop listening, after the calls that are under way."""
        await self._runner.cleanup()
