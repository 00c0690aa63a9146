"""The collector behind the real HAProxy, kept by the real agent: what visitors do becomes rows."""

import asyncio
import contextlib
import dataclasses
import json

from aiohttp import web
from tests.patience import PATIENCE
from tests.unit.edge import stand
from tests.unit.events.world import KEY, as_json, track

from flywheel.edge.agent import Agent
from flywheel.edge.counts import worker_counts
from flywheel.edge.document import Collect, EdgeDocument
from flywheel.events.access_log import AccessLog
from flywheel.events.collect import Collector
from flywheel.events.losses import LASTING, WorkerCount
from flywheel.events.meters import Meters
from flywheel.events.script import Script
from flywheel.events.spool import Spool

BROWSER = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36"


@dataclasses.dataclass
class Pod:
    edge: stand.Edge
    spool: Spool
    log: AccessLog
    meters: Meters

    async def rows(self, table: str, count: int) -> list[dict]:
        """Wait for so many rows, and give them."""
        found: list[dict] = []
        async with asyncio.timeout(PATIENCE):
            while len(found) < count:
                await self.log.flush()
                while batch := await self.spool.next_batch(table):
                    found += [json.loads(line) for line in batch.lines.splitlines()]
                    await self.spool.commit(batch)
                await asyncio.sleep(0.01)
        return found

    async def at_rest(self) -> None:
        """Wait until HAProxy has ended and logged all that was asked, and what it sent here is read."""

        async def is_at_rest() -> bool:
            return all(not each.connections for each in (await self._counts()).values())

        await stand.until(is_at_rest, "no connection is open")
        for _ in range(100):
            # One record is read in each turn of the loop.
            await asyncio.sleep(0)

    async def _counts(self) -> dict[int, WorkerCount]:
        return await worker_counts(self.edge.layout.stats_socket)

    async def lost(self) -> float:
        await self.at_rest()
        for _ in range(LASTING):
            await self.log.compare(await self._counts())
        return self.meters.log_lost.values[()]


def shop() -> EdgeDocument:
    return stand.document(collect=Collect(write_keys=(KEY,), addresses="Store"))


@contextlib.asynccontextmanager
async def pod(directory):
    meters = Meters("shop", "spring")
    spool = Spool(directory / "spool", 8 << 20)
    collector, log = Collector(spool, meters, script=Script(b"/**/")), AccessLog(spool, meters, directory / "state")
    for each in (collector, log):
        each.use_document(shop())
    runner = web.AppRunner(collector.application(), access_log=None, auto_decompress=False, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    await log.listen(0)
    try:
        async with stand.edge(directory, shop(), start=False) as edge:
            edge.task.cancel()
            await asyncio.gather(edge.task, return_exceptions=True)
            edge.layout = dataclasses.replace(
                edge.layout,
                collect_port=runner.addresses[0][1],
                log_port=log.port,
                run_directory=str(directory / "run2"),
            )
            edge.agent = agent = stand.new_agent(edge)
            edge.task = asyncio.create_task(agent.run())
            _hear_of_pods(edge, agent)
            edge.order(shop())
            await edge.start_haproxy()
            yield Pod(edge, spool, log, meters)
    finally:
        log.stop_listening()
        await runner.cleanup()
        await spool.close()


def _hear_of_pods(edge: stand.Edge, agent: Agent) -> None:
    for name in ("web-blue", "web-green", "pay"):
        edge.pods(name, edge.services[name])
    agent.sources.complete_slices(frozenset(f"uid-{name}/0" for name in edge.services))


async def test_a_visit_and_an_order_through_the_real_edge(tmp_path):
    async with pod(tmp_path) as site:
        site.edge.services["web-blue"].content_type = "text/html"
        seen = await site.edge.ask(
            '/home/"quoted"?utm_source=weibo&utm_medium=social', User_Agent=BROWSER, Accept="text/html"
        )
        visitor = seen.cookies["fw_vid"]
        body = as_json({**track(1), "writeKey": KEY})
        told = await site.edge.ask(
            "/v1/track", method="POST", body=body, Cookie=f"fw_vid={visitor}", User_Agent=BROWSER, X_FW_Visitor="forged"
        )
        assert (told.status, json.loads(told.body)) == (200, {"success": True})
        rows = {row["type"]: row for row in await site.rows("events", 2)}
        page, order = rows["page"], rows["track"]
        assert (page["visitor"], order["visitor"]) == (visitor, visitor)
        assert (page["path"], page["utm_source"], page["service"]) == ('/home/"quoted"', "weibo", "web")
        assert (order["revenue"], order["address"]) == (12.5, "127.0.0.1")
        (request,) = await site.rows("requests", 1)
        assert (request["status"], request["page"], request["new_visitor"], request["bot"]) == (200, True, True, False)
        assert page["message_id"] == f"pv-{request['request_id']}"
        assert await site.lost() == 0


async def test_requests_quicker_than_a_millisecond_can_be_told_apart(tmp_path):
    async with pod(tmp_path) as site:
        for _ in range(20):
            await site.edge.ask("/")
        took = [row["duration_ms"] for row in await site.rows("requests", 20)]
        assert min(took) > 0
        assert len({round(each, 4) for each in took}) > 10, took
        # Of what HAProxy cannot read no rule has looked at the clock: its own timer counts, in whole milliseconds.
        reader, writer = await asyncio.open_connection("127.0.0.1", site.edge.layout.http_port)
        writer.write(b"GET / HTTP/1.1\r\nno header\r\n\r\n")
        await reader.read()
        writer.close()
        (refused,) = await site.rows("requests", 1)
        assert refused["status"] == 400
        assert refused["duration_ms"] == int(refused["duration_ms"])


async def test_records_that_nobody_reads_are_counted(tmp_path):
    async with pod(tmp_path) as site:
        for _ in range(5):
            await site.edge.ask("/")
        await site.rows("requests", 5)
        assert await site.lost() == 0
        port = site.log.port
        site.log.stop_listening()
        for _ in range(7):
            await site.edge.ask("/")
        await site.at_rest()
        await site.log.listen(port)
        await site.edge.ask("/")
        await site.rows("requests", 1)
        assert await site.lost() == 7


async def test_a_reload_counts_nothing_twice(tmp_path):
    async with pod(tmp_path) as site:
        for number in range(3):
            for _ in range(4):
                assert (await site.edge.ask("/")).status == 200
            changed = stand.document(collect=Collect(write_keys=(KEY,)), response_headers={"X-Turn": str(number)})
            await site.edge.give(changed)
        assert site.edge.reloads.count("ok") == 3
        rows = await site.rows("requests", 12)
        assert len({row["request_id"] for row in rows}) == len(rows) == 12
        assert await site.lost() == 0
