"""A ClickHouse cluster as the engine, through the official client over HTTP."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flywheel.events.chdb_engine import rows_of
from flywheel.events.engine import EngineDown, EngineError, Limits, Parameters, StoreError
from flywheel.events.engine_process import understand

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

CONNECT_TIMEOUT = 5
LONGEST_CALL = 300
PIECE = 1 << 20
READERS = 4


@dataclass(frozen=True, slots=True, repr=False)
class Address:
    """Where the cluster is and who we are there. Never printed."""

    url: str
    database: str = "flywheel"
    user: str = "default"
    password: str = ""


class ClickHouseEngine:
    """Tables on a ClickHouse server.

    The address must lead to one server, or always to the same one: rows pass through tables in its memory.
    """

    shared = True

    def __init__(self, address: Address) -> None:
        self._address = address
        self._prefix = f"flywheel-{address.database}-"
        self.generation = 0
        self._complaint: str | None = "ClickHouse has not been reached yet."
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="clickhouse-writer")
        self._reading = ThreadPoolExecutor(READERS, thread_name_prefix="clickhouse-reader")
        self._client: Client | None = None
        self._prepare: Callable[[], Awaitable[None]] | None = None
        self._mending: asyncio.Task[None] | None = None

    def complaint(self) -> str | None:
        """Say why ClickHouse cannot be used, or None."""
        return self._complaint

    async def start(self, prepare: Callable[[], Awaitable[None]]) -> None:
        """Connect, make the database and prepare it; see `Engine.start`."""
        self._prepare = prepare
        await self._connect()

    async def _connect(self) -> None:
        self.generation += 1
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._writing, self._open)
        if self._prepare:
            await self._prepare()
        self._complaint = None

    def _open(self) -> None:
        import clickhouse_connect

        parts = urlsplit(self._address.url)
        secure = parts.scheme == "https"
        with _translated(self._address.url):
            self._client = clickhouse_connect.get_client(
                interface=parts.scheme or "http",
                host=parts.hostname or "",
                port=parts.port or (8443 if secure else 8123),
                username=self._address.user,
                password=self._address.password,
                connect_timeout=CONNECT_TIMEOUT,
                send_receive_timeout=LONGEST_CALL,
                # Each worker thread asks by itself, and a session would let one at a time in.
                autogenerate_session_id=False,
                query_retries=0,
                client_name="flywheel-analytics",
            )
            name = self._address.database
            self._client.command(f"CREATE DATABASE IF NOT EXISTS `{name}`")
            self._client.database = name
            # What an earlier connection, or worker, has begun must not take effect after we have looked.
            self._client.command(
                "KILL QUERY WHERE startsWith(query_id, {p:String}) SYNC", parameters={"p": self._prefix}
            )

    async def close(self) -> None:
        """Close all connections."""
        if self._mending:
            self._mending.cancel()
        self._writing.shutdown(wait=True)
        self._reading.shutdown(wait=False, cancel_futures=True)
        if self._client:
            self._client.close()

    def _fell(self, error: EngineDown) -> None:
        """What was under way may or may not have happened: nothing is written until the store has looked."""
        if self._complaint is None:
            self._complaint = str(error)
            self.generation += 1
            self._mending = asyncio.create_task(self._mend(), name="clickhouse reconnect")

    async def _mend(self) -> None:
        pause = 0.25
        while True:
            try:
                await self._connect()
            except (EngineDown, EngineError, StoreError) as error:
                self._complaint = f"ClickHouse cannot be used: {error}"
                await asyncio.sleep(pause)
                pause = min(15.0, pause * 2)
                continue
            return

    async def _call(self, pool: ThreadPoolExecutor, act: Callable[["Client"], Any], query_id: str) -> Any:
        client = self._client
        if client is None:
            raise EngineDown(self._complaint or "ClickHouse has not been reached yet.")

        def guarded() -> Any:
            with _translated(self._address.url):
                return act(client)

        try:
            return await asyncio.get_running_loop().run_in_executor(pool, guarded)
        except EngineDown as error:
            self._fell(error)
            raise
        except asyncio.CancelledError:
            self._reading.submit(_kill, client, query_id)
            raise

    async def run(
        self, statement: str, parameters: Parameters | None = None, *, seconds: float = 60.0
    ) -> list[dict[str, object]]:
        """Carry out a statement; see `Engine.run`."""
        number = f"{self._prefix}{uuid.uuid4().hex}"
        settings = {
            "max_execution_time": f"{seconds:g}",
            "output_format_json_quote_64bit_integers": "0",
            "query_id": number,
        }
        selects = statement.lstrip().upper().startswith("SELECT")

        def act(client: "Client") -> bytes:
            if selects:
                return client.raw_query(
                    statement, parameters=dict(parameters or {}), settings=settings, fmt="JSONEachRow"
                )
            client.command(statement, parameters=dict(parameters or {}), settings=settings)
            return b""

        return rows_of(await self._call(self._writing, act, number))

    async def insert(self, table: str, rows: bytes, *, seconds: float = 60.0) -> None:
        """Insert rows; see `Engine.insert`."""
        number = f"{self._prefix}{uuid.uuid4().hex}"
        settings = {
            "max_execution_time": f"{seconds:g}",
            "input_format_skip_unknown_fields": "1",
            "async_insert": "0",
            "query_id": number,
        }
        await self._call(
            self._writing,
            lambda client: client.raw_insert(table, insert_block=rows, fmt="JSONEachRow", settings=settings),
            number,
        )

    async def query(self, sql: str, parameters: Parameters | None, limits: Limits, output_format: str) -> bytes:
        """Answer a query; see `Engine.query`."""
        number = f"flywheel-{uuid.uuid4().hex}"
        answer: bytes = await self._call(
            self._reading,
            lambda client: client.raw_query(
                sql, parameters=dict(parameters or {}), settings=_reading_settings(limits, number), fmt=output_format
            ),
            number,
        )
        return answer

    async def stream(
        self, sql: str, parameters: Parameters | None, limits: Limits, output_format: str
    ) -> AsyncIterator[bytes]:
        """Answer a query piece by piece; see `Engine.stream`."""
        number = f"flywheel-{uuid.uuid4().hex}"
        source = await self._call(
            self._reading,
            lambda client: client.raw_stream(
                sql, parameters=dict(parameters or {}), settings=_reading_settings(limits, number), fmt=output_format
            ),
            number,
        )
        try:
            while piece := await self._call(self._reading, lambda _client: source.read(PIECE), number):
                yield piece
        finally:
            source.close()


def _reading_settings(limits: Limits, number: str) -> dict[str, str]:
    # readonly=2: the limits come with the very query, so it has to be allowed to set something.
    return {**limits.settings(), "output_format_json_quote_64bit_integers": "0", "readonly": "2", "query_id": number}


def _kill(client: "Client", query_id: str) -> None:
    # The query may be over, and the server away: then there is nothing to kill.
    with contextlib.suppress(Exception):
        client.command("KILL QUERY WHERE query_id = {id:String} ASYNC", parameters={"id": query_id})


@contextlib.contextmanager
def _translated(url: str) -> Iterator[None]:
    """Turn the client's exceptions into ours."""
    from clickhouse_connect.driver.exceptions import ClickHouseError, DatabaseError, OperationalError

    try:
        yield
    except (OperationalError, DatabaseError) as error:
        code, message = understand(str(error))
        if code:
            raise EngineError(code, message) from error
        raise EngineDown(f"ClickHouse at {url} cannot be reached: {message}") from error
    except (ClickHouseError, OSError) as error:
        raise EngineDown(f"ClickHouse at {url} cannot be reached: {error}") from error
