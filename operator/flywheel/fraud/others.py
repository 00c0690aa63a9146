"""The other workers of a namespace, asked what they know of somebody: all at once, and none of them for long."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

import aiohttp
import msgspec

from flywheel.fraud import naming
from flywheel.fraud.asked import Held, Question
from flywheel.fraud.sending import Token

log = logging.getLogger(__name__)

WITHIN = 0.05
"""Seconds for an answer: whoever asks us waits for it."""
TOLD_WITHIN = 5.0
"""Seconds for what has to be written down there."""
PATIENCE = 3
"""Questions in a row that a worker leaves without an answer before it is given a rest."""
REST = 1.0
"""Seconds for which it is not asked then."""
LARGEST = 4 << 20
"""Bytes of an answer."""
OK = 200
Fault = Callable[[str], None]
"""Told the name of a worker that did not answer."""


class Heard(NamedTuple):
    """What came of asking."""

    held: tuple[Held, ...]
    missing: frozenset[int]
    """Numbers of those that said nothing."""


class Untold(Exception):  # noqa: N818 - a state
    """Another worker did not take what it was told. The text says which, and why."""


class Others:
    """All workers of the namespace but this one."""

    def __init__(
        self,
        urls: dict[int, str],
        token: Token,
        fault: Fault = lambda worker: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make it.

        Args:
            urls: Their addresses, by their numbers.
            token: Proves who asks.
            fault: Told who did not answer.
            clock: In seconds.
        """
        self._urls, self._token, self._fault, self._clock = urls, token, fault, clock
        self._failures = dict.fromkeys(urls, 0)
        self._rest_until = dict.fromkeys(urls, float("-inf"))
        self._session: aiohttp.ClientSession | None = None

    def __len__(self) -> int:
        return len(self._urls)

    @property
    def numbers(self) -> Iterable[int]:
        """Their numbers."""
        return self._urls.keys()

    async def ask(self, question: Question) -> Heard:
        """Ask all of them what they know of somebody."""
        asked = [each for each in self._urls if self._rest_until[each] <= self._clock()]
        body = _encode(question)
        answers = dict(zip(asked, await asyncio.gather(*(self._ask(each, body) for each in asked)), strict=True))
        held = {number: each for number, each in answers.items() if each is not None}
        return Heard(tuple(held.values()), frozenset(self._urls.keys() - held.keys()))

    async def tell(self, path: str, body: bytes) -> None:
        """Have each of them take something in.

        Raises:
            Untold: One of them did not; others may have.
        """
        told = [self._post(each, path, body, TOLD_WITHIN) for each in self._urls]
        for number, answer in zip(self._urls, await asyncio.gather(*told, return_exceptions=True), strict=True):
            if isinstance(answer, _FAULTS):
                raise Untold(f"{naming.worker_name(number)} has not taken it: {answer or type(answer).__name__}")
            if isinstance(answer, BaseException):
                raise answer

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    async def _ask(self, number: int, body: bytes) -> Held | None:
        try:
            found = _read(await self._post(number, naming.HELD, body, WITHIN))
        except _FAULTS as error:
            self._failures[number] += 1
            if self._failures[number] == PATIENCE:
                log.warning("%s does not answer questions: %s", naming.worker_name(number), error or "too slow")
            if self._failures[number] >= PATIENCE:
                self._rest_until[number] = self._clock() + REST
            self._fault(naming.worker_name(number))
            return None
        if self._failures[number] >= PATIENCE:
            log.info("%s answers questions again.", naming.worker_name(number))
        self._failures[number] = 0
        return found

    async def _post(self, number: int, path: str, body: bytes, seconds: float) -> bytes:
        if self._session is None:
            self._session = aiohttp.ClientSession(auto_decompress=False, trust_env=False)
        headers = {"Content-Type": "application/json", **await self._token.headers()}
        timeout = aiohttp.ClientTimeout(total=seconds)
        sent = self._session.post(
            self._urls[number] + path, data=body, headers=headers, timeout=timeout, allow_redirects=False
        )
        async with sent as response:
            if (response.content_length or LARGEST) >= LARGEST:
                raise ValueError("it says more than anybody asked for")
            said = await response.read()
            if response.status != OK:
                if response.status in (401, 403):
                    self._token.forget()
                raise ValueError(f"HTTP {response.status}: {said[:300].decode('utf-8', 'replace')}")
            return said


_FAULTS = (OSError, TimeoutError, aiohttp.ClientError, ValueError)
_encode = msgspec.json.Encoder().encode
_read = msgspec.json.Decoder(Held).decode
