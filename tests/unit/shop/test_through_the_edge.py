"""The campaign of 618 as written, its shop, the real HAProxy and the collector: an order and where it came from."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import yaml
from tests.patience import PATIENCE
from tests.ports import free_port
from tests.unit.shop.conftest import StartService, wait_until
from tests.unit.shop.test_events import rows, served

from flywheel.api.load import load_campaign
from flywheel.edge.compose import compose
from flywheel.edge.document import EdgeDocument
from flywheel.edge.endpoints import Server
from flywheel.edge.files import write_structure
from flywheel.edge.render import Layout, render
from flywheel.events.collect import Collector
from flywheel.events.meters import Meters
from flywheel.events.spool import Spool

CAMPAIGN = Path(__file__).parents[3] / "examples/618/campaign.yaml"
BROWSER = {"user-agent": "Mozilla/5.0 (Linux; Android 16) Chrome/150.0 Mobile", "accept": "text/html"}


def written() -> EdgeDocument:
    campaign = load_campaign(yaml.safe_load(CAMPAIGN.read_text("utf-8")))
    assert campaign.spec.edge
    return compose(campaign, campaign.spec.edge)


@contextlib.asynccontextmanager
async def haproxy(layout: Layout, document: EdgeDocument, services: dict[str, str]) -> AsyncIterator[str]:
    endpoints = {name: (Server("127.0.0.1", httpx.URL(url).port or 0),) for name, url in services.items()}
    path = write_structure(render(document, endpoints, layout=layout))
    process = await asyncio.create_subprocess_exec("haproxy", "-f", str(path), stderr=asyncio.subprocess.DEVNULL)
    url = f"http://127.0.0.1:{layout.http_port}"
    try:
        ready = f"http://127.0.0.1:{layout.health_port}/readyz"
        await asyncio.to_thread(wait_until, lambda: _answers(ready), "HAProxy is ready")
        yield url
    finally:
        process.terminate()
        await process.wait()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=PATIENCE).is_success
    except httpx.TransportError:
        return False


async def test_an_order_counts_once_for_the_visitor_and_channel_that_brought_it(
    start: StartService, tmp_path: Path
) -> None:
    document = written()
    spool = Spool(tmp_path / "spool", 1 << 20)
    collector = Collector(spool, Meters("shop", "yougou-618"))
    collector.use_document(document)
    run = tmp_path / "run"
    run.mkdir()
    async for collecting in served(collector.application()):
        layout = Layout(str(run), free_port(), free_port(), free_port(), httpx.URL(collecting).port or 0, 9, ipv6=False)
        tells = {"WRITE_KEY": "yougou-618", "EVENTS_URL": f"http://127.0.0.1:{layout.http_port}"}
        store = start("store")
        names = ("landing", "browse", "cart", "coupon", "pay", "seckill")
        services = {name: start.begin(name, STORE_URL=store, **tells) for name in names}
        await asyncio.to_thread(start.wait_for, *services.values())
        async with (
            haproxy(layout, document, services) as url,
            httpx.AsyncClient(base_url=url, headers=BROWSER, follow_redirects=True) as visitor,
        ):
            front = await visitor.get("/?utm_source=sms")
            assert 'src="/fw.js"' in front.text
            assert (await visitor.get("/fw.js")).headers["content-type"].startswith("text/javascript")
            assert "领取成功" in (await visitor.post("/coupon")).text
            await visitor.post("/cart", data={"sku": "xingtu-backpack", "quantity": "2"})
            till = await visitor.post("/cart/order")
            for _ in range(2):
                assert "付款成功" in (await visitor.post(till.url.path, data={"key": "a-key-of-the-page"})).text
            cookies = dict(visitor.cookies)
            # The process of the till ends only when everything is told.
            start.processes[services["pay"]].terminate()
            assert await asyncio.to_thread(start.processes[services["pay"]].wait, 20) == 0
    await spool.close()
    assert {"fw_vid", "fw_ch", "yougou_session"} <= cookies.keys()
    found = [row for row in rows(tmp_path / "spool") if row["type"] == "track"]
    assert [(row["event"], row["visitor"], row["channel"], row["revenue"]) for row in found] == [
        ("Order Completed", cookies["fw_vid"], "sms", 538.0)
    ]
