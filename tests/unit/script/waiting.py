"""Waiting for what must become true, and making it come sooner."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from playwright.async_api import Page
from tests.patience import PATIENCE

Found = TypeVar("Found")


async def until(look: Callable[[], Found], what: str, seconds: float = PATIENCE) -> Found:
    """Look until something is found; fail with what was wanted."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not (found := look()):
        assert asyncio.get_running_loop().time() < deadline, f"not within {seconds:g} s: {what}; last seen: {found!r}"
        await asyncio.sleep(0.01)
    return found


async def say(page: Page, calls: str = "") -> None:
    """Make calls of the script's API such as `track('A'); reset()`, and send what waits."""
    await page.wait_for_function("window.flywheel && window.flywheel.version")
    await page.evaluate(f"(({{track, page, identify, reset, consent, flush}}) => {{ {calls}; flush(); }})(flywheel)")
