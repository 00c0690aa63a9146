"""How events come to the server, whatever becomes of the page and of the way there."""

import asyncio

import pytest
from playwright.async_api import Browser, BrowserContext, Page
from tests.patience import PATIENCE
from tests.unit.script.site import Site
from tests.unit.script.waiting import say, until


async def opened(site: Site, page: Page, path: str = "/") -> None:
    """Open a page and wait until its view has been taken, so that what follows is alone on its way."""
    await page.goto(site.origin + path)
    await say(page)
    await until(site.page_views, "the page view")


async def cut_off(visitor: BrowserContext, page: Page) -> None:
    """Take the network away, and wait until the page knows: until then it hands events over to the browser."""
    await visitor.set_offline(True)
    await page.wait_for_function("!navigator.onLine")


async def closed(page: Page) -> None:
    """Close a tab as a person does, with its last words."""
    async with page.expect_event("close"):
        await page.close(run_before_unload=True)


async def test_twenty_events_go_at_once_and_together(site: Site, page: Page) -> None:
    await opened(site, page)
    await page.evaluate("for (let n = 0; n < 20; n++) flywheel.track('Step', {n})")
    await until(lambda: len(site.named("Step")) == 20, "all events")
    assert [event["properties"]["n"] for event in site.named("Step")] == list(range(20))
    assert len(site.calls) == 2
    assert len({event["message_id"] for event in site.taken}) == len(site.taken)


async def test_no_call_is_larger_than_a_browser_lets_outlive_the_page(site: Site, page: Page) -> None:
    await opened(site, page)
    await page.evaluate("for (let n = 0; n < 30; n++) flywheel.track('Large', {n, text: '优'.repeat(3000)})")
    await until(lambda: len(site.named("Large")) == 30, "all events")
    assert max(len(call.body) for call in site.calls) <= 64 * 1024
    assert len(site.calls) > 5


@pytest.mark.parametrize("how", ["navigate", "close"])
async def test_events_of_the_last_moment_arrive(site: Site, page: Page, how: str) -> None:
    await opened(site, page)
    await page.evaluate("flywheel.track('Last words')")
    if how == "navigate":
        await page.goto("about:blank")
    else:
        await closed(page)
    assert len(await until(lambda: site.named("Last words"), "the event of the page that is gone")) == 1


async def test_what_the_browser_does_not_take_at_the_end_is_sent_by_the_next_page(site: Site, page: Page) -> None:
    await opened(site, page)
    await page.evaluate("for (let n = 0; n < 10; n++) flywheel.track('Heavy', {n, text: 'x'.repeat(20000)})")
    await page.goto(f"{site.origin}/next")
    await say(page)
    await until(lambda: len(site.named("Heavy")) == 10, "all events, the rest from the next page")


async def test_a_busy_server_is_tried_again_later(site: Site, page: Page) -> None:
    await opened(site, page)
    site.answers = [(503, {}), (429, {"Retry-After": "1"})]
    await say(page, "track('Stubborn')")
    await until(lambda: site.named("Stubborn"), "the event after two refusals")
    attempts = [call.batch[0]["messageId"] for call in site.calls[1:]]
    assert len(attempts) == 3
    assert len(set(attempts)) == 1, "a repeated event keeps its id"


async def test_what_the_server_does_not_want_is_not_sent_again(site: Site, page: Page) -> None:
    await opened(site, page)
    site.answers = [(400, {})]
    await say(page, "track('Unwanted')")
    await until(lambda: len(site.calls) == 2, "the refused call")
    await say(page, "track('Next')")
    await until(lambda: site.named("Next"), "the next event")
    assert site.named("Unwanted") == []
    assert len(site.calls) == 3


async def test_events_without_a_network_wait_for_it(site: Site, visitor: BrowserContext, page: Page) -> None:
    await opened(site, page)
    await cut_off(visitor, page)
    await say(page, "track('In the tunnel')")
    await page.evaluate("flywheel.track('Still there')")
    await visitor.set_offline(False)
    await until(lambda: site.named("In the tunnel") and site.named("Still there"), "both events")


async def test_a_tab_closed_without_a_network_is_made_up_for(site: Site, visitor: BrowserContext, page: Page) -> None:
    await opened(site, page)
    await cut_off(visitor, page)
    await page.evaluate("flywheel.track('In the tunnel')")
    await closed(page)
    await visitor.set_offline(False)
    another = await visitor.new_page()
    await another.goto(f"{site.origin}/later")
    await say(another)
    await until(lambda: site.named("In the tunnel"), "the event, from a later visit")


async def test_what_was_stored_stays_until_the_server_has_it(site: Site, visitor: BrowserContext, page: Page) -> None:
    await opened(site, page)
    await cut_off(visitor, page)
    await page.evaluate("flywheel.track('In the tunnel')")
    await closed(page)
    await visitor.set_offline(False)
    # Three seconds would be time to send it: this page has none of them.
    short = await visitor.new_page()
    await short.goto(f"{site.origin}/later")
    assert "In the tunnel" in await short.evaluate("localStorage.getItem('fw_queue')")
    await say(short)
    await until(lambda: site.named("In the tunnel"), "the event")
    # Not by the browser's own waiting, which looks again by eval: the page's policy does not let it.
    async with asyncio.timeout(PATIENCE):
        while await short.evaluate("localStorage.getItem('fw_queue')") is not None:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_the_queue_is_bounded_and_keeps_the_newest(site: Site, visitor: BrowserContext, page: Page) -> None:
    await opened(site, page)
    await cut_off(visitor, page)
    await page.evaluate("for (let n = 0; n < 120; n++) flywheel.track('Many', {n, text: 'x'.repeat(10000)})")
    await visitor.set_offline(False)
    await until(lambda: site.named("Many") and site.named("Many")[-1]["properties"]["n"] == 119, "the newest event")
    numbers = [event["properties"]["n"] for event in site.named("Many")]
    assert numbers == list(range(numbers[0], 120))
    assert 60 <= len(numbers) < 100


async def test_storage_is_bounded(site: Site, visitor: BrowserContext, page: Page) -> None:
    await opened(site, page)
    await cut_off(visitor, page)
    await page.evaluate("for (let n = 0; n < 120; n++) flywheel.track('Many', {n, text: 'x'.repeat(10000)})")
    await page.evaluate("window.dispatchEvent(new PageTransitionEvent('pagehide'))")
    kept = await page.evaluate("localStorage.getItem('fw_queue').length")
    assert 100_000 < kept < 300_000


async def test_a_page_that_comes_back_from_the_cache_is_viewed_again(
    site: Site, browser_that_keeps_pages: Browser
) -> None:
    site.pages["/page.js"] = "addEventListener('pageshow', e => { if (e.persisted) document.title = 'kept'; })"
    site.pages["/"] = '<script src="/page.js"></script>'
    page = await browser_that_keeps_pages.new_page()
    await page.goto(site.origin)
    await page.evaluate("flywheel.track('One')")
    # Another site, as browsers keep no page for one of the same.
    await page.goto(site.origin.replace("127.0.0.1", "localhost") + "/elsewhere")
    await page.go_back(wait_until="commit")
    await page.wait_for_function("document.title === 'kept'")
    await say(page, "track('Two')")
    await until(lambda: site.named("Two"), "the event of the page that came back")
    assert [(event["type"], event["context"]["page"]["path"]) for event in site.taken if event["type"] == "page"] == [
        ("page", "/"),
        ("page", "/elsewhere"),
        ("page", "/"),
    ]
    assert len(site.named("One")) == 1
