"""What a worker asks the other workers of its namespace: their secret, how they share the keys, and keys that move."""

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path

import aiohttp
import msgspec

from flywheel.fraud import naming, pass_key
from flywheel.fraud.sending import Token

log = logging.getLogger(__name__)

TIMEOUT = aiohttp.ClientTimeout(total=10, connect=2)
MOVING = aiohttp.ClientTimeout(total=300, connect=2, sock_read=60)
"""For keys that move, which the other one writes down first."""
LARGEST = 4 << 30
"""Bytes of the keys that move from one worker."""
LARGEST_ANSWER = 65_536
PIECE = 1 << 20
OK, NOTHING, REFUSED = 200, 204, (401, 403)


class Layout(msgspec.Struct, frozen=True, rename="camel"):
    """How a worker shares the keys."""

    shard: int
    shards: int
    """Of how many it is one; 0 where it has no keys yet."""
    taking_over: bool


class Unanswered(Exception):  # noqa: N818 - a state
    """Another worker has not given what it was asked for; the text says why."""


class Peers:
    """The other workers."""

    def __init__(self, addresses: Sequence[str], token_file: Path) -> None:
        """Make it; nobody is asked yet.

        Args:
            addresses: Of all workers, by their shards.
            token_file: The token that proves who this is.
        """
        self._addresses, self._token = addresses, Token(token_file)
        self._session: aiohttp.ClientSession | None = None

    async def key(self, number: int) -> pass_key.Key:
        """Ask for the secret that all workers share.

        Raises:
            Unanswered: It is not told.
        """
        try:
            return pass_key.read(await self._ask(number, naming.KIN))
        except ValueError as error:
            raise Unanswered(f"What the worker {number} tells is no key: {error}") from error

    async def layout(self, number: int) -> Layout:
        """Ask how a worker shares the keys.

        Raises:
            Unanswered: It does not say.
        """
        try:
            return msgspec.json.decode(await self._ask(number, naming.LAYOUT), type=Layout)
        except msgspec.MsgspecError as error:
            raise Unanswered(f"What the worker {number} says of its keys cannot be read: {error}") from error

    async def moved(self, number: int, shard: int, of: int, path: Path) -> bool:
        """Have the keys that move from a worker to a shard written into a file; tell whether there are any.

        Raises:
            Unanswered: It does not give them, or not yet.
            OSError: The disk does not take them.
        """
        question = f"{naming.MOVED}?shard={shard}&of={of}"
        try:
            async with self._call(number, question, await self._headers(), MOVING) as answer:
                if answer.status == NOTHING:
                    return False
                await self._check(number, answer)
                await _write(path, answer)
                return True
        except (TimeoutError, aiohttp.ClientError, ConnectionError) as error:
            raise Unanswered(f"The worker {number} does not answer: {type(error).__name__}: {error}") from error

    async def close(self) -> None:
        """End the connections."""
        if self._session:
            await self._session.close()

    async def _ask(self, number: int, path: str) -> bytes:
        headers = await self._headers()
        try:
            async with self._call(number, path, headers, TIMEOUT) as answer:
                await self._check(number, answer)
                return await answer.content.read(LARGEST_ANSWER)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise Unanswered(f"The worker {number} does not answer: {type(error).__name__}: {error}") from error

    async def _headers(self) -> dict[str, str]:
        try:
            return await self._token.headers()
        except OSError as error:
            raise Unanswered(f"There is no token to show to other workers: {error}") from error

    def _call(
        self, number: int, path: str, headers: dict[str, str], timeout: aiohttp.ClientTimeout
    ) -> "aiohttp.client._RequestContextManager":
        self._session = self._session or aiohttp.ClientSession()
        return self._session.get(
            self._addresses[number] + path, headers=headers, timeout=timeout, allow_redirects=False
        )

    async def _check(self, number: int, answer: aiohttp.ClientResponse) -> None:
        if answer.status == OK:
            return
        if answer.status in REFUSED:
            self._token.forget()
        said = (await answer.content.read(LARGEST_ANSWER)).decode("utf-8", "replace")[:300]
        raise Unanswered(f"The worker {number} says HTTP {answer.status}: {said}")


async def _write(path: Path, answer: aiohttp.ClientResponse) -> None:
    size = 0
    with path.open("wb") as file:
        async for piece in answer.content.iter_chunked(PIECE):
            size += len(piece)
            if size > LARGEST:
                raise Unanswered(f"There are more than {LARGEST} bytes of keys.")
            await asyncio.to_thread(file.write, piece)
