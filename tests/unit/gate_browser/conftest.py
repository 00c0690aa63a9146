"""A site for the browser of a gate."""

from collections.abc import AsyncIterator

import pytest
from tests.patience import PATIENCE
from tests.unit.gate_browser.site import Site

from flywheel.release.gate.browser import chromium, pictures


@pytest.fixture(autouse=True)
def a_machine_may_be_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a browser does by itself, and no step has a time for."""
    monkeypatch.setattr(chromium, "START_SECONDS", PATIENCE)
    monkeypatch.setattr(pictures, "TIMEOUT_SECONDS", PATIENCE)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    await site.start()
    yield site
    await site.stop()
