"""A site for the browser of a gate."""

from collections.abc import AsyncIterator

import pytest
from tests.unit.gate_browser.site import Site


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    await site.start()
    yield site
    await site.stop()
