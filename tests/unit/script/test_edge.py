"""The whole way of an event: a real browser, the real HAProxy with the edge's own configuration, and the collector."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from playwright.async_api import BrowserContext, Page
from tests.ports import free_port
from tests.unit.script.receiving import orders
from tests.unit.script.site import Site
from tests.unit.script.waiting import say, until

from flywheel.edge.document import EdgeDocument
from flywheel.edge.endpoints import Server
from flywheel.edge.files import write_structure
from flywheel.edge.render import Layout, render
from flywheel.edge.routing import backend_name


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


@asynccontextmanager
async def edge(site: Site, directory: Path, document: EdgeDocument) -> AsyncIterator[str]:
    """Run HAProxy in front of the site's pages and the collector; its origin is given."""
    layout = Layout(
        run_directory=str(directory),
        http_port=free_port(),
        https_port=free_port(),
        health_port=free_port(),
        collect_port=port_of(site.receiver.url),
        log_port=free_port(),
        ipv6=False,
        threads=1,
    )
    (service,) = document.services
    pods = {backend_name(service.name, service.backends[0].slot): (Server("127.0.0.1", port_of(site.origin)),)}
    configuration = write_structure(render(document, pods, layout=layout))
    with (directory / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec("haproxy", "-db", "-f", configuration, stdout=log, stderr=log)
    try:
        await until(lambda: _listens(layout.http_port), "HAProxy listens")
        yield f"http://127.0.0.1:{layout.http_port}"
    finally:
        process.kill()
        await process.wait()


def _listens(port: int) -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def cookies(visitor: BrowserContext) -> dict[str, str]:
    return {cookie["name"]: cookie["value"] for cookie in await visitor.cookies()}


async def test_the_edge_knows_the_visitor_of_a_page_and_of_its_events(
    site: Site, visitor: BrowserContext, page: Page, tmp_path: Path
) -> None:
    site.receiver.collector.use_document(orders())
    async with edge(site, tmp_path / "edge", orders()) as origin:
        await page.goto(f"{origin}/sale?utm_source=weibo")
        await say(page, "track('Seen', {n: 1})")
        await until(lambda: site.named("Seen"), "the event")
        await page.evaluate("flywheel.track('Last words')")
        await page.goto("about:blank")
        await until(lambda: site.named("Last words"), "the event of the page that is gone")
        known = (await cookies(visitor))["fw_vid"]
        assert {event["visitor"] for event in site.taken} == {known}
        assert {event["service"] for event in site.taken} == {"landing"}
        assert site.calls == [], "nothing went past HAProxy"


@pytest.mark.parametrize("agreed", [True, False])
async def test_the_edge_and_the_page_ask_for_the_same_consent(
    site: Site, visitor: BrowserContext, page: Page, tmp_path: Path, agreed: bool
) -> None:
    document = orders(consent=True)
    site.receiver.collector.use_document(document)
    site.attributes = 'data-consent="required"'
    async with edge(site, tmp_path / "edge", document) as origin:
        await page.goto(origin)
        await say(page, f"consent('{'granted' if agreed else 'denied'}'); track('First')")
        if agreed:
            await until(lambda: site.named("First"), "the event after consent")
        await page.goto(f"{origin}/second")
        await say(page, "track('Second')")
        if agreed:
            await until(lambda: site.named("Second"), "the event of the next page")
        assert ("fw_vid" in await cookies(visitor)) == agreed
        assert bool(site.taken) == agreed
        assert site.receiver.rows["dead_letters"] == []
        assert len({event["visitor"] for event in site.taken}) == int(agreed), "one person is one visitor"
