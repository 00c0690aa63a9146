"""Without consent nothing is sent and nothing is kept."""

import pytest
from playwright.async_api import BrowserContext, Page
from tests.unit.script.site import Site
from tests.unit.script.waiting import say, until


async def traces(page: Page) -> tuple[int, str]:
    return await page.evaluate("[localStorage.length, document.cookie]")


async def test_nothing_happens_before_consent(site: Site, page: Page) -> None:
    site.attributes = 'data-consent="required"'
    await page.goto(site.origin)
    await say(page, "identify('u-1'); track('Before')")
    assert await traces(page) == [0, ""]
    await page.goto(f"{site.origin}/second")
    await say(page, "consent('granted'); track('After')")
    await until(lambda: site.named("After"), "the event after consent")
    assert [event["type"] for event in site.taken] == ["page", "track"]
    assert site.page_views()[0]["properties"]["path"] == "/second"
    assert not site.taken[0]["user_id"]
    assert (await traces(page))[1] == "fw_consent=granted"


@pytest.mark.parametrize("attributes", ["", 'data-consent="required"'])
async def test_who_takes_consent_back_is_forgotten(site: Site, page: Page, attributes: str) -> None:
    site.attributes = attributes
    await page.goto(site.origin)
    await say(page, "consent('granted'); identify('u-1')")
    await until(lambda: [event for event in site.taken if event["type"] == "identify"], "the person")
    calls = len(site.calls)
    await say(page, "track('Waiting'); consent('denied'); track('No')")
    assert await traces(page) == [0, "fw_consent=denied"]
    await page.goto(f"{site.origin}/second")
    await say(page, "track('No')")
    assert await traces(page) == [0, "fw_consent=denied"]
    assert len(site.calls) == calls


async def test_the_cookie_of_a_consent_manager_is_believed(site: Site, visitor: BrowserContext, page: Page) -> None:
    site.attributes = 'data-consent="required" data-consent-cookie="cmp" data-consent-granted="all, statistics"'
    await visitor.add_cookies([{"name": "cmp", "value": "necessary", "url": site.origin}])
    await page.goto(site.origin)
    await say(page, "track('No')")
    await visitor.add_cookies([{"name": "cmp", "value": "statistics", "url": site.origin}])
    await say(page, "track('Yes')")
    await until(lambda: site.named("Yes"), "the event after consent")
    assert site.named("No") == []


@pytest.mark.parametrize("agreed", [True, False])
async def test_consent_goes_along_to_another_site_where_its_cookie_does_not(
    site: Site, page: Page, agreed: bool
) -> None:
    site.attributes, site.policy = f'data-endpoint="{site.origin}"', "default-src *"
    site.attributes += ' data-consent="required"' if agreed else ""
    site.declare(site.elsewhere, consent=True)
    await page.goto(f"{site.elsewhere}/partner")
    await say(page, "consent('granted'); track('Seen')" if agreed else "track('Seen')")
    letters = site.receiver.rows["dead_letters"]
    await until(lambda: site.named("Seen") or letters, "the event, or why it was not taken")
    assert {letter["reason"] for letter in letters} == (set() if agreed else {"no_consent"})
    assert all("fw_consent" not in call.headers.get("Cookie", "") for call in site.calls)
