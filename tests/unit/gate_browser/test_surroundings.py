"""Where the browser of a gate gets to, what it says there, and what it shows of itself."""

import pytest
from tests.unit.gate_browser.looking import look
from tests.unit.gate_browser.site import Site

from flywheel.events.bots import is_bot

PREVIEW = {"X-FW-Preview": "shop-7"}


@pytest.fixture
async def other_site() -> "Site":
    site = Site()
    await site.start()
    yield site
    await site.stop()


async def test_every_request_to_the_address_carries_the_headers(site: Site) -> None:
    visited = await look(
        site.address,
        "[{open: '/to?where=/missing-picture'}, {open: /worker}, {expectText: shop-7 GET}, {open: /socket}, "
        "{expectText: socket of shop-7}]",
        PREVIEW,
    )
    assert visited.result.outcome == "Success", visited.result
    assert {each.path for each in site.requests} >= {"/to", "/missing-picture", "/no-such.png", "/worker.js", "/echo"}
    assert all(each.headers.get("X-FW-Preview") == "shop-7" for each in site.requests)


async def test_other_hosts_are_refused_and_told_and_do_not_count_as_errors(site: Site) -> None:
    visited = await look(site.address, "[{open: /elsewhere}, {expectText: not reached}, {noConsoleErrors: true}]")
    assert visited.result.outcome == "Success", visited.result
    assert set(visited.report["refusedHosts"]) == {"cdn.example", "pay.example", "169.254.169.254"}


async def test_a_redirect_leads_to_no_other_host(site: Site, other_site: Site) -> None:
    visited = await look(site.address, f"[{{open: '/to?where=http://localhost:{other_site.port}/'}}]", PREVIEW)
    assert visited.result.outcome == "Failure"
    assert other_site.requests == []
    assert "localhost" in visited.report["refusedHosts"]


async def test_another_port_of_the_host_is_another_place(site: Site, other_site: Site) -> None:
    await look(site.address, f"[{{open: '/to?where={other_site.address}/'}}]", PREVIEW)
    assert other_site.requests == []


async def test_a_host_name_is_led_to_the_address_whatever_dns_says(site: Site) -> None:
    visited = await look(
        site.address, "[{open: /}, {title: 优购}, {clickText: Order}, {url: /orders/*}]", host="618.shop.example"
    )
    assert visited.result.outcome == "Success", visited.result
    assert {each.headers["Host"] for each in site.requests} == {"618.shop.example"}


async def test_plain_http_has_what_visitors_have_by_https(site: Site) -> None:
    visited = await look(
        site.address,
        "[{open: /capabilities}, {expectText: true false 1280x800 zh-CN}]",
        host="618.shop.example",
        locale="zh-CN",
    )
    assert visited.result.outcome == "Success", visited.result


async def test_a_phone_has_touch_and_its_own_size(site: Site) -> None:
    page = "[{open: /capabilities}, {expectText: true true 390x844 en-US}]"
    visited = await look(site.address, page, device="Phone")
    assert visited.result.outcome == "Success", visited.result
    assert "Mobile" in site.requests[0].headers["User-Agent"]


@pytest.mark.parametrize("device", ["Desktop", "Phone"])
async def test_a_visit_of_a_gate_is_none_of_a_visitor(site: Site, device: str) -> None:
    await look(site.address, "[{open: /plain}]", device=device)
    assert is_bot(site.requests[0].headers["User-Agent"], browser=True)


async def test_pictures_are_bounded_whatever_the_page_shows(site: Site) -> None:
    shots = ", ".join(f"{{screenshot: s{number}}}" for number in range(5))
    visited = await look(
        site.address,
        f"[{{open: /noise}}, {shots}, {{status: 404}}]",
        viewport={"width": 1600, "height": 900},
    )
    assert visited.result.outcome == "Failure"
    assert visited.pictures
    assert len(visited.pictures) + len(visited.report["pictureProblems"]) == 6
    assert all(len(picture) <= 200 * 1024 for picture in visited.pictures.values())
    assert sum(map(len, visited.pictures.values())) <= 700 * 1024
    plain = await look(site.address, "[{open: /}, {screenshot: a}]")
    [picture] = plain.pictures.values()
    assert picture.startswith(b"\xff\xd8\xff")
