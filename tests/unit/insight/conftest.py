"""A real store for the tests of key figures."""

import asyncio
import itertools
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.insight.stream import Stream

from flywheel.events.chdb_engine import ChdbEngine
from flywheel.events.commit import Delivery
from flywheel.events.store import Store


class Bench:
    """A store that keeps the rows of each stream under a campaign of its own."""

    def __init__(self, run: Callable[[Coroutine[Any, Any, Any]], Any], store: Store) -> None:
        self.run = run
        self.store = store
        self._numbers = itertools.count()

    def keep(self, stream: Stream) -> str:
        """Deliver a stream; give the name of its campaign."""
        campaign = f"campaign-{next(self._numbers)}"
        self.add(campaign, stream)
        return campaign

    def add(self, campaign: str, stream: Stream) -> None:
        """Deliver more to a campaign."""
        for table, rows in (("events", stream.events), ("requests", stream.requests)):
            delivery = Delivery(campaign, stream.delivered(table), len(rows))
            (outcome,) = self.run(self.store.ingest(table, [delivery]))
            assert outcome.refused == 0, outcome


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """A store in a process of its own, for all tests of a module."""
    folder: Path = tmp_path_factory.mktemp("store")
    with asyncio.Runner() as runner:
        store = Store(ChdbEngine(folder, memory=512 << 20), fsync=False)
        runner.run(store.start())
        try:
            yield Bench(runner.run, store)
        finally:
            runner.run(store.close())
