"""chDB in a process of its own: started, watched and started again from here."""

import asyncio
import contextlib
import itertools
import logging
import os
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import msgspec

from flywheel.events.engine import EngineDown, EngineError, Limits, Parameters, StoreError
from flywheel.events.engine_frames import Answer, Order, pack, read_answer
from flywheel.events.schema import quote

log = logging.getLogger(__name__)

START_TIMEOUT = 120.0
"""Seconds that chDB may take to open its directory: it reads what every part of every table says of itself."""
LONGEST_PAUSE = 15.0
CLOSE_TIMEOUT = 20.0
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n"})
_READING = {
    "output_format_json_quote_64bit_integers": "0",
    # With less than a gigabyte free for each, which the engine never has, ClickHouse would read with one thread.
    "max_threads_min_free_memory_per_thread": "0",
}
Reply = tuple[Answer, bytes]


class ChdbEngine:
    """One directory with chDB's tables. It can have one process only; see `flywheel.events.volume_lock`."""

    shared = False

    def __init__(self, path: Path, *, memory: int = 1 << 30, keep_open: tuple[int, ...] = ()) -> None:
        """Make an engine.

        Args:
            path: Directory of the tables; made where it is not there.
            memory: Bytes that all queries and inserts together may take.
            keep_open: Files that the process inherits, such as the lock of the volume.
        """
        self._path = path
        self._keep_open = keep_open
        self._memory = memory
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Queue[Reply | None]] = {}
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._prepare: Callable[[], Awaitable[None]] | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._complaint: str | None = "The engine has not started yet."
        self.generation = 0

    @property
    def pid(self) -> int | None:
        """The engine's process, while there is one."""
        return self._process.pid if self._process and self._process.returncode is None else None

    def complaint(self) -> str | None:
        """Say why the engine cannot be used, or None."""
        return self._complaint

    async def start(self, prepare: Callable[[], Awaitable[None]]) -> None:
        """Start the process; see `Engine.start`. It is started anew whenever it ends.

        Raises:
            EngineDown: It does not start; the message says why.
            EngineError: Its tables cannot be prepared.
        """
        self._prepare = prepare
        try:
            reading = await self._launch()
        except BaseException:
            await self._end()
            raise
        self._supervisor = asyncio.create_task(self._supervise(reading), name="engine supervisor")

    async def close(self) -> None:
        """End the process in order."""
        if self._supervisor:
            self._supervisor.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._supervisor
        self._complaint = "The engine is being closed."
        if self.pid and self._writer:
            with contextlib.suppress(OSError, TimeoutError, EngineDown):
                await self._send(Order(id=0, kind="close"))
                async with asyncio.timeout(CLOSE_TIMEOUT):
                    await self._require_process().wait()
        await self._end()

    async def _launch(self) -> asyncio.Task[None]:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "flywheel.events.engine_process",
                f"--path={self._path}",
                f"--memory={self._memory}",
                f"--socket={theirs.fileno()}",
                pass_fds=[theirs.fileno(), *self._keep_open],
                stdin=asyncio.subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            )
        self.generation += 1
        self._reader, self._writer = await asyncio.open_connection(sock=ours, limit=1 << 20)
        try:
            async with asyncio.timeout(START_TIMEOUT):
                answer, _ = await read_answer(self._reader)
        except TimeoutError:
            raise EngineDown(f"chDB did not open {self._path} within {START_TIMEOUT:g} s.") from None
        except (asyncio.IncompleteReadError, OSError):
            raise EngineDown(
                f"The engine process ended while it opened {self._path}; its last words are above."
            ) from None
        if answer.kind != "ready":
            raise EngineDown(explain_start(self._path, answer.message))
        reading = asyncio.create_task(self._read(self._reader), name="engine answers")
        try:
            if self._prepare:
                await self._prepare()
        except BaseException:
            reading.cancel()
            raise
        self._complaint = None
        return reading

    async def _supervise(self, reading: asyncio.Task[None]) -> None:
        failures = 0
        while True:
            await reading
            status = await self._end()
            self._complaint = f"The engine process ended with status {status} and is being started anew."
            log.warning(self._complaint)
            while True:
                await asyncio.sleep(min(LONGEST_PAUSE, 0.05 * 2.0 ** min(failures, 12)))
                failures += 1
                try:
                    reading = await self._launch()
                except (EngineDown, EngineError, StoreError, OSError) as error:
                    self._complaint = f"The engine cannot be started: {error}"
                    log.error(self._complaint)  # noqa: TRY400 - a traceback tells nobody more
                    await self._end()
                    continue
                failures = 0
                log.info("The engine process works again.")
                break

    async def _end(self) -> int | None:
        if self._writer:
            self._writer.close()
        self._writer = None
        if not self._process:
            return None
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        status = await self._process.wait()
        for waiting in self._waiting.values():
            waiting.put_nowait(None)
        return status

    async def _read(self, reader: asyncio.StreamReader) -> None:
        """Hand out answers until the engine goes away."""
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while True:
                answer, body = await read_answer(reader)
                if waiting := self._waiting.get(answer.id):
                    waiting.put_nowait((answer, body))
        self._complaint = "The engine process went away and is being started anew."
        for waiting in self._waiting.values():
            waiting.put_nowait(None)

    def _require_process(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise EngineDown(self._complaint or "The engine is not running.")
        return self._process

    async def _send(self, order: Order, body: bytes = b"") -> None:
        if self._writer is None or self._writer.is_closing():
            raise EngineDown(self._complaint or "The engine is not running.")
        head, rest = pack(order, body)
        self._writer.write(head)
        if rest:
            self._writer.write(rest)
        try:
            await self._writer.drain()
        except OSError as error:
            raise EngineDown(f"The engine went away: {error}") from error

    @contextlib.asynccontextmanager
    async def _conversation(self, order: Order, body: bytes = b"") -> AsyncIterator[asyncio.Queue[Reply | None]]:
        answers: asyncio.Queue[Reply | None] = asyncio.Queue()
        self._waiting[order.id] = answers
        finished = False
        try:
            await self._send(order, body)
            yield answers
            finished = True
        finally:
            del self._waiting[order.id]
            if not finished:
                with contextlib.suppress(EngineDown):
                    await self._send(Order(id=order.id, kind="cancel"))

    async def _ask(self, order: Order, body: bytes, seconds: float) -> bytes:
        # The engine keeps the time itself; this is for one that does not.
        async with self._conversation(order, body) as answers:
            try:
                async with asyncio.timeout(seconds + 10):
                    return _understand(await answers.get())
            except TimeoutError:
                raise EngineDown(f"The engine did not answer within {seconds + 10:g} s.") from None

    async def run(
        self, statement: str, parameters: Parameters | None = None, *, seconds: float = 60.0
    ) -> list[dict[str, object]]:
        """Carry out a statement; see `Engine.run`."""
        order = Order(
            id=next(self._numbers),
            kind="run",
            statement=statement,
            parameters=_written(parameters),
            settings={"max_execution_time": f"{seconds:g}"},
        )
        return rows_of(await self._ask(order, b"", seconds))

    async def insert(self, table: str, rows: bytes, *, seconds: float = 60.0) -> None:
        """Insert rows; see `Engine.insert`."""
        settings = {
            "max_execution_time": f"{seconds:g}",
            # A sidecar that is newer than we are knows more fields.
            "input_format_skip_unknown_fields": "1",
            "input_format_parallel_parsing": "0",
        }
        order = Order(id=next(self._numbers), kind="insert", statement=table, settings=settings)
        await self._ask(order, rows, seconds)

    async def query(self, sql: str, parameters: Parameters | None, limits: Limits, output_format: str) -> bytes:
        """Answer a query; see `Engine.query`."""
        return await self._ask(self._reading("query", sql, parameters, limits, output_format), b"", limits.seconds)

    async def stream(
        self, sql: str, parameters: Parameters | None, limits: Limits, output_format: str
    ) -> AsyncIterator[bytes]:
        """Answer a query piece by piece; see `Engine.stream`."""
        order = self._reading("stream", sql, parameters, limits, output_format)
        async with self._conversation(order) as answers:
            while True:
                reply = await answers.get()
                body = _understand(reply)
                if reply is None or reply[0].kind == "done":
                    return
                yield body
                await self._send(Order(id=order.id, kind="more"))

    def _reading(self, kind: str, sql: str, parameters: Parameters | None, limits: Limits, output_format: str) -> Order:
        return Order(
            id=next(self._numbers),
            kind="stream" if kind == "stream" else "query",
            statement=sql,
            parameters=_written(parameters),
            settings={**limits.settings(), **_READING},
            output_format=output_format,
        )


def _written(parameters: Parameters | None) -> dict[str, str | int | float | bool | list[str | int]]:
    """Write values as chDB reads them: texts escaped, and lists with their texts in quotes."""
    written: dict[str, str | int | float | bool | list[str | int]] = {}
    for name, value in (parameters or {}).items():
        if isinstance(value, list):
            written[name] = f"[{','.join(quote(each) if isinstance(each, str) else str(each) for each in value)}]"
        elif isinstance(value, str):
            written[name] = value.translate(_ESCAPES)
        else:
            written[name] = value
    return written


def _understand(reply: Reply | None) -> bytes:
    if reply is None:
        raise EngineDown("The engine went away in the middle of a statement and is being started anew.")
    answer, body = reply
    if answer.kind == "error":
        raise EngineError(answer.code, answer.message)
    return body


def rows_of(answer: bytes) -> list[dict[str, object]]:
    """Read the rows of an answer in JSONEachRow."""
    return [msgspec.json.decode(line) for line in answer.splitlines() if line]


def explain_start(path: Path, message: str) -> str:
    """Say for people why chDB does not open a directory."""
    return (
        f"chDB cannot open {path}: {message or 'it gives no reason'}. Either another process has it open, or a table "
        "in it is damaged: look at the engine's words above, free the directory, or move the damaged table's folder "
        "away and start again."
    )
