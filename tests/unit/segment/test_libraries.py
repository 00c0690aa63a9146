"""Segment's own libraries, unchanged, against the collector."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.patience import PATIENCE
from tests.unit.script.receiving import WRITE_KEY
from tests.unit.script.site import Site
from tests.unit.script.waiting import until
from tools.bootstrap.node import ensure_node_packages, node_command
from tools.bootstrap.peers import SEGMENT_PACKAGES, ensure_segment_python

HERE = Path(__file__).parent
ORDERS = 250


def command(library: str) -> list[str]:
    if library == "python":
        return [str(ensure_segment_python()), str(HERE / "send.py")]
    return [node_command(), str(HERE / "send.mjs"), str(ensure_node_packages(SEGMENT_PACKAGES))]


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    site = await Site.started(tmp_path)
    yield site
    await site.stop()


async def send(library: str, origin: str, key: str = WRITE_KEY) -> str:
    """Run a shop's server to its end, and return what it could not send."""
    process = await asyncio.create_subprocess_exec(
        *command(library),
        origin,
        key,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        # Neither a proxy nor an option of this machine belongs to the test.
        env={"PATH": os.environ["PATH"]},
    )
    try:
        async with asyncio.timeout(PATIENCE):
            said, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    text = said.decode()
    assert process.returncode == 0 or "not sent" in text, text
    return "\n".join(line for line in text.splitlines() if "not sent" in line)


@pytest.mark.parametrize("library", ["python", "node"])
async def test_every_kind_of_event_arrives_and_is_told_apart(site: Site, library: str) -> None:
    assert await send(library, site.origin) == ""
    await until(lambda: len(site.taken) == ORDERS + 6, "all events")
    by_type = {event["type"]: event for event in site.taken if event["event"] != "Order Completed"}
    assert by_type["identify"]["properties"] == {"tier": "gold"}
    assert by_type["page"]["event"] == "Sale"
    assert by_type["page"]["properties"]["floor"] == 2
    assert by_type["screen"]["event"] in {"Home", "App"}
    assert by_type["track"]["properties"] == {"sku": "手机"}
    assert (by_type["track"]["visitor"], by_type["track"]["user_id"]) == ("a-1", "")
    assert {event["source"] for event in site.taken} == {"library"}
    assert not [event for event in site.taken if event["bot"]], "a server's library is no crawler"
    assert site.receiver.rows["dead_letters"] == []


@pytest.mark.parametrize("library", ["python", "node"])
async def test_what_an_unwell_edge_refused_comes_again_and_counts_once(site: Site, library: str) -> None:
    site.answers = [(503, {"Retry-After": "0"}), (500, {})]
    assert await send(library, site.origin) == ""
    await until(lambda: len(site.taken) == ORDERS + 6, "all events")
    orders = site.named("Order Completed")
    assert sorted(event["order_id"] for event in orders) == sorted(f"o-{number}" for number in range(ORDERS))
    assert sum(event["revenue"] for event in orders) == 12.5 * ORDERS
    assert len(site.calls) > 2


async def test_a_batch_that_was_taken_and_not_acknowledged_counts_once(site: Site) -> None:
    """The same message ids once more, as after an answer that was lost on its way."""
    for _ in range(2):
        assert await send("python", site.origin) == ""
    # Those of the first kinds have new ids in the second run.
    await until(lambda: len(site.taken) == ORDERS + 12, "all events")
    assert len(site.named("Order Completed")) == ORDERS
    assert site.receiver.meters.duplicates.values[()] == ORDERS


async def test_batches_of_the_python_library_come_compressed(site: Site) -> None:
    assert await send("python", site.origin) == ""
    assert {call.headers["Content-Encoding"] for call in site.calls} == {"gzip"}
    assert {call.headers["Authorization"].split()[0] for call in site.calls} == {"Basic"}


@pytest.mark.parametrize("library", ["python", "node"])
async def test_a_wrong_key_is_told_to_the_program(site: Site, library: str) -> None:
    assert await send(library, site.origin, "not-ours")
    assert site.taken == []
