"""A real browser, and a site for it."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, async_playwright
from tests.patience import PATIENCE
from tests.unit.script.site import Site

# Without these, a browser on a machine without a way out spends its time on calling home.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One browser serves all of these tests, so they share its event loop."""
    for item in items:
        if "/unit/script/" in item.path.as_posix() and pytest_asyncio.is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@asynccontextmanager
async def running_browser(**options: Any) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS, **options)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with running_browser() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="session")
async def browser_that_keeps_pages() -> AsyncIterator[Browser]:
    """A browser with the cache for going back, which test tools turn off."""
    async with running_browser(ignore_default_args=["--disable-back-forward-cache"]) as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="session")
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    site = await Site.started(tmp_path)
    yield site
    await site.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def visitor(browser: Browser) -> AsyncIterator[BrowserContext]:
    """Somebody who was never here before."""
    context = await browser.new_context(locale="de-DE", viewport={"width": 800, "height": 600})
    context.set_default_timeout(PATIENCE * 1000)
    yield context
    await context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def page(visitor: BrowserContext) -> AsyncIterator[Page]:
    """A tab; no test may leave an error in it."""
    page = await visitor.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    assert not errors, "the page saw an error"
