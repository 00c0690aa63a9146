"""The sidecar's collector with its spool, on a port of its own; what it acknowledged is read from the spool."""

import asyncio
import json
from pathlib import Path
from typing import Any

from aiohttp import web

from flywheel.edge.document import Backend, Collect, Consent, EdgeDocument, EdgeRoute, EdgeService, Visitor
from flywheel.events.collect import Collector
from flywheel.events.meters import Meters
from flywheel.events.spool import Spool

WRITE_KEY = "shop-key"
Row = dict[str, Any]


def orders(*, consent: bool = False, **collect: Any) -> EdgeDocument:
    """The edge's orders: one service, and events that nobody declared."""
    return EdgeDocument(
        namespace="shop",
        campaign="spring",
        services=(EdgeService(name="landing", backends=(Backend(service="landing", port="http"),)),),
        routes=(EdgeRoute(path="/", service="landing"),),
        visitor=Visitor(consent=Consent() if consent else None),
        collect=Collect(write_keys=(WRITE_KEY,), **collect),
        store="http://127.0.0.1:1",
    )


class Receiver:
    """Takes events as the sidecar does."""

    def __init__(self, directory: Path) -> None:
        self.rows: dict[str, list[Row]] = {"events": [], "dead_letters": []}
        """What was acknowledged."""
        self.meters = Meters("shop", "spring")
        self.url = ""
        self._spool = Spool(directory, 64 << 20)
        self.collector = Collector(self._spool, self.meters)
        self.collector.use_document(orders())
        self._readers: list[asyncio.Task[None]] = []
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        self._runner = web.AppRunner(
            self.collector.application(), access_log=None, shutdown_timeout=1, auto_decompress=False
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        self._readers = [asyncio.create_task(self._read(table)) for table in self.rows]

    async def stop(self) -> None:
        for reader in self._readers:
            reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)
        if self._runner:
            await self._runner.cleanup()
        await self._spool.close()

    async def _read(self, table: Any) -> None:
        while True:
            await self._spool.appended[table].wait()
            self._spool.appended[table].clear()
            while batch := await self._spool.next_batch(table):
                self.rows[table] += [_plain(line) for line in batch.lines.splitlines()]
                await self._spool.commit(batch)


def _plain(line: bytes) -> Row:
    row: Row = json.loads(line)
    return row | {name: json.loads(row[name]) for name in ("properties", "context") if name in row}
