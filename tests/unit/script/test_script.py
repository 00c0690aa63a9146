"""What the script counts, in a real browser."""

import gzip

import pytest
from playwright.async_api import BrowserContext, Page
from tests.unit.script.site import Site
from tests.unit.script.waiting import say, until

from flywheel.events import assets


async def test_a_page_view_has_its_page_campaign_and_screen(site: Site, page: Page) -> None:
    await page.goto(f"{site.origin}/sale?utm_source=baidu&utm_medium=cpc&utm_campaign=618&utm_id=7&other=1")
    view = (await until(site.page_views, "the page view"))[0]
    assert view["properties"]["path"] == "/sale"
    assert view["context"]["page"]["title"] == "Page /sale"
    assert view["context"]["page"]["url"] == page.url
    assert view["context"]["campaign"] == {"source": "baidu", "medium": "cpc", "name": "618", "id": "7"}
    assert view["context"]["locale"] == "de-DE"
    assert view["context"]["screen"]["width"] == 800
    assert "userAgent" not in view["context"], "the server reads it from the header"
    assert view["visitor"]
    assert view["source"] == "script"
    assert view["channel"] == "other", "no rule knows baidu here"
    assert not view["clamped"]
    body = site.calls[0].body
    assert b'"writeKey":"shop-key"' in body
    assert b'"sentAt":"2' in body
    assert site.calls[0].headers["Content-Type"].startswith("text/plain"), "anything else asks other origins beforehand"


async def test_a_click_is_an_event_with_the_attributes_as_properties(site: Site, page: Page) -> None:
    site.pages["/"] = """
        <button data-fw-event="Coupon Claimed" data-fw-coupon-id="8" data-fw-properties='{"price": 12.5}'>
          <b id="inner">Claim</b></button>
        <p id="other">nothing</p>"""
    await page.goto(site.origin)
    await page.click("#other")
    await page.click("#inner")
    await say(page)
    claimed = await until(lambda: site.named("Coupon Claimed"), "the click")
    assert [event["properties"] for event in claimed] == [{"coupon_id": "8", "price": 12.5}]
    assert [event["type"] for event in site.taken] == ["page", "track"]


async def test_a_submit_is_counted_and_nothing_of_what_was_typed(site: Site, page: Page) -> None:
    site.pages["/"] = """
        <form action="/done" method="post" data-fw-event="Signed Up" data-fw-list="vip">
          <input name="mail" id="mail"><button id="go">Go</button></form>"""
    await page.goto(site.origin)
    await page.fill("#mail", "someone@example.com")
    await page.click("#mail")
    await page.click("#go")
    signed = await until(lambda: site.named("Signed Up"), "the submit, though the page went with it")
    assert [event["properties"] for event in signed] == [{"list": "vip"}]
    assert all(b"someone" not in call.body for call in site.calls)


async def test_calls_before_the_script_came_are_not_lost(site: Site, page: Page) -> None:
    site.pages["/page.js"] = """
        (window.flywheel = window.flywheel || []).push(["identify", "u-1", {tier: "gold"}]);
        window.flywheel.push(["track", "Early", {n: 1}], ["nonsense"], null, ["track", "Second"]);"""
    site.before = '<script src="/page.js"></script>'
    await page.goto(site.origin)
    await say(page)
    await until(site.page_views, "the page view")
    assert site.named("Early")[0]["properties"] == {"n": 1}
    assert site.named("Second")
    assert {event["user_id"] for event in site.taken} == {"u-1"}


async def test_a_known_person_stays_known_until_reset(site: Site, page: Page) -> None:
    await page.goto(site.origin)
    await page.evaluate("flywheel.identify('u-7', {tier: 'gold'})")
    await page.goto(f"{site.origin}/second")
    await say(page, "track('A'); reset(); track('B')")
    await until(lambda: site.named("B"), "the last event")
    assert site.named("A")[0]["user_id"] == "u-7"
    assert not site.named("B")[0]["user_id"]
    assert site.named("A")[0]["visitor"] != site.named("B")[0]["visitor"]
    identified = [event for event in site.taken if event["type"] == "identify"]
    assert [event["properties"] for event in identified] == [{"tier": "gold"}]


async def test_the_visitor_is_the_cookie_that_only_the_server_sees(
    site: Site, visitor: BrowserContext, page: Page
) -> None:
    await visitor.add_cookies([{"name": "fw_vid", "value": "v-42", "url": site.origin, "httpOnly": True}])
    await page.goto(site.origin)
    await say(page, "track('Seen')")
    await until(lambda: site.named("Seen"), "the event")
    assert {event["visitor"] for event in site.taken} == {"v-42"}


@pytest.mark.parametrize("declared", [True, False])
async def test_pages_of_another_site_may_send_where_they_are_declared(site: Site, page: Page, declared: bool) -> None:
    site.attributes, site.policy = f'data-endpoint="{site.origin}"', "default-src *"
    if declared:
        site.declare(site.elsewhere)
    await page.goto(f"{site.elsewhere}/partner")
    await say(page, "track('From outside')")
    await until(lambda: site.calls, "the call")
    if declared:
        await until(lambda: site.named("From outside"), "the event")
        # Were the answer unreadable for the page, it would send the same again.
        await say(page, "track('Second')")
        await until(lambda: site.named("Second"), "another event")
        assert [len(call.batch) for call in site.calls] == [2, 1]
    assert bool(site.taken) == declared


async def test_pages_of_a_router_are_views_with_the_page_before_as_referrer(site: Site, page: Page) -> None:
    await page.goto(f"{site.origin}/app?utm_source=weibo")
    await say(page)
    await until(site.page_views, "the first view")
    await page.evaluate("history.pushState({}, '', '/app/cart'); document.title = 'Cart'")
    await page.evaluate("history.replaceState({same: 1}, '', '/app/cart')")
    await page.evaluate("location.hash = 'section'")
    await page.evaluate("location.hash = '#/pay'")
    await page.evaluate("history.back()")
    await page.wait_for_function("location.hash === '#section'")
    await say(page)
    paths = ["/app", "/app/cart", "/app/cart", "/app/cart"]
    await until(lambda: len(site.page_views()) == len(paths), f"{len(paths)} views")
    views = site.page_views()
    assert [view["properties"]["path"] for view in views] == paths
    assert views[1]["properties"]["title"] == "Cart"
    assert views[1]["properties"]["referrer"] == f"{site.origin}/app?utm_source=weibo"
    assert {view["context"]["campaign"]["source"] for view in views} == {"weibo"}


@pytest.mark.parametrize("attributes", ['data-pages="off"', ""])
async def test_page_views_can_be_left_to_the_page(site: Site, page: Page, attributes: str) -> None:
    site.attributes = attributes
    await page.goto(site.origin)
    await say(page, "page('Sale', {floor: 2})")
    await until(site.page_views, "the page's own view")
    names = [view["event"] for view in site.page_views()]
    assert names == (["Sale"] if attributes else ["", "Sale"])


async def test_nothing_thrown_reaches_the_page(site: Site, page: Page) -> None:
    site.pages["/"] = """<button data-fw-event="Broken" data-fw-properties="{nonsense">x</button>"""
    await page.goto(site.origin)
    await page.wait_for_function("window.flywheel && window.flywheel.version")
    await page.click("button")
    await page.evaluate("""() => {
        const circle = {}; circle.self = circle;
        flywheel.track('Circle', circle);
        flywheel.track('Big', {n: 10n});
        flywheel.track('Trap', {get x() { throw new Error('trap'); }});
        flywheel.track();
        flywheel.push(['nonsense'], null, 7, ['track', 'Good']);
        flywheel.track('Long', {text: 'x'.repeat(40000)});
        flywheel.consent();
    }""")
    assert await page.evaluate("document.cookie") == "fw_consent=denied"


async def test_the_page_gets_one_global_and_a_strict_policy_is_kept(site: Site, page: Page) -> None:
    refused: list[str] = []
    page.on("console", lambda said: refused.append(said.text) if "Content Security" in said.text else None)
    await page.goto(site.origin)
    await say(page)
    await until(site.page_views, "the page view under a policy of 'self' alone")
    globals_of_a_page = "Object.getOwnPropertyNames(window)"
    with_script = set(await page.evaluate(globals_of_a_page))
    site.pages["/plain"] = ""
    site.attributes = 'type="text/plain"'
    await page.goto(f"{site.origin}/plain")
    assert with_script - set(await page.evaluate(globals_of_a_page)) == {"flywheel"}
    assert refused == []


async def test_a_second_script_element_counts_nothing_twice(site: Site, page: Page) -> None:
    site.pages["/"] = '<script src="/fw.js" data-write-key="shop-key"></script>'
    await page.goto(site.origin)
    await say(page)
    await until(site.page_views, "the page view")
    assert len(site.page_views()) == 1


async def test_without_tls_and_storage_it_still_counts(site: Site, visitor: BrowserContext) -> None:
    """Pages without TLS have no crypto.randomUUID; a browser may refuse storage."""
    await visitor.add_init_script("""
        delete Crypto.prototype.randomUUID;
        Object.defineProperty(window, 'localStorage', {get() { throw new DOMException('refused', 'SecurityError'); }});
    """)
    page = await visitor.new_page()
    await page.goto(site.origin)
    await say(page, "identify('u-9'); track('Seen')")
    await until(lambda: site.named("Seen"), "the event")
    assert site.named("Seen")[0]["user_id"] == "u-9"
    assert len({event["message_id"] for event in site.taken}) == len(site.taken) == 3
    assert len({event["visitor"] for event in site.taken}) == 1


def test_the_script_is_small() -> None:
    assert len(gzip.compress(assets.script(), 9)) < 5.5 * 1024
