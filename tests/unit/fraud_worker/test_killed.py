"""The worker as a process of its own: killed at any moment, it goes on as if nothing had been."""

import asyncio
import contextlib
import json
import os
import random
import sys
from pathlib import Path
from typing import Any

import aiohttp
from tests.patience import PATIENCE
from tests.ports import free_port
from tests.unit.edge.stand import until
from tests.unit.events.process import MAIN
from tests.unit.events.world import seeded
from tests.unit.fraud_worker.process import Process
from tests.unit.fraud_worker.small_engine import SmallEngine, rule
from tests.unit.fraud_worker.world import CAMPAIGN

from flywheel.events.rows import EventRow
from flywheel.fraud.archive import Archive
from flywheel.fraud.desk import Desk
from flywheel.fraud.from_row import event_of
from flywheel.fraud.journal import Journal
from flywheel.fraud.rulings import ALONE
from flywheel.fraud.sending import Meters, Sending, Token

KILLS = int(os.environ.get("KILLS", "5"))
RULES = [rule(moreThan=5), rule("visitors", key="visitor", moreThan=3, window=2_000, action="Challenge", page="/prove")]
BEGAN = 1_795_453_200_000


def rows(chance: random.Random) -> Any:
    number = 0
    while True:
        number += 1
        now = BEGAN + number * 7
        yield (
            EventRow(
                message_id=f"m-{number}",
                type="track",
                event="Coupon Claimed",
                time=now - chance.randrange(50),
                original_time=now,
                ingest_time=now,
                visitor=f"v-{chance.randrange(400)}",
                expires_at=0,
            ),
            f"192.0.2.{chance.randrange(200)}",
        )


async def test_whatever_moment_it_is_killed_at_the_verdicts_are_those_of_one_that_never_was(tmp_path: Path):
    chance = seeded(618)
    worker = Process(tmp_path, rules=RULES)
    await worker.start()
    await until(worker.is_ready, "the worker is there")
    given, source = [], rows(random.Random(7))
    async with aiohttp.ClientSession() as session:
        meters = Meters()
        sending = Sending(worker.url, "edge-0", Token(tmp_path / "token"), session, meters, room=10**9)
        task = asyncio.create_task(sending.run())

        async def visit() -> None:
            while True:
                for row, address in [next(source) for _ in range(chance.randrange(1, 40))]:
                    given.append((row, address))
                    sending.note([row], address)
                await asyncio.sleep(chance.uniform(0, 0.01))

        visiting = asyncio.create_task(visit())
        for _ in range(KILLS):
            await asyncio.sleep(chance.uniform(0.0, 0.6))
            await worker.kill()
            await worker.start()
            if chance.random() < 0.7:
                await until(worker.is_ready, "the worker is back")
        visiting.cancel()
        await until(worker.is_ready, "the worker is back")
        await until(lambda: meters.sent.values.get((worker.url,)) == len(given), "all is judged")
        task.cancel()
    expected = Desk(CAMPAIGN, SmallEngine(CAMPAIGN, ALONE))
    expected.engine.load(json.dumps(RULES).encode())
    said: set[tuple[str, str]] = set()
    for row, address in given:
        expected.judge(
            [event_of(row, address)], lambda _, ruling: said.add((ruling.verdict.rule, ruling.verdict.event))
        )
    archive = Archive(tmp_path / "volume/verdicts.sqlite")
    await until(lambda: archive.count() >= len(said), "all verdicts are kept")
    kept = [(each.rule, each.event) for each in archive.latest(CAMPAIGN, 10**9)]
    assert sorted(kept) == sorted(said), "each of them once"
    archive.close()
    found = await worker.state()
    await worker.kill()
    assert KILLS < 5 or "records replayed" in (tmp_path / "log").read_text()
    told = found["campaigns"][CAMPAIGN]
    print(f"{len(given)} events, {expected.verdicts} verdicts, {found['replayed']} records replayed at last")
    assert expected.verdicts > 0
    assert (told["events"], told["verdicts"]) == (len(given), expected.verdicts)
    assert told["digest"] == expected.digest.hex()
    assert told["decisions"] <= len(expected.blocks)


async def test_the_command_runs_a_worker_with_the_engine_that_it_is_given(tmp_path: Path):
    worker = Process(tmp_path, rules=RULES)
    arguments = ["fraud-worker", "--namespace=shop", "--pod=flywheel-fraud-0", "--shards=2"]
    arguments += [f"--data-directory={tmp_path / 'volume'}", f"--rules-file={tmp_path / 'rules.json'}"]
    arguments += [f"--port={worker.port}", f"--metrics-port={free_port()}", "--admin-port=0"]
    arguments += ["--engine=tests.unit.fraud_worker.small_engine:SmallEngine"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", MAIN, *arguments, env={**os.environ, "PYTHONPATH": "operator:."}
    )
    url = f"{worker.url}/v1/fraud/ext-authz/{CAMPAIGN}/coupon"
    async with aiohttp.ClientSession() as session:

        async def is_answered() -> bool:
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(url) as response:
                    return response.status == 200
            return False

        await until(is_answered, "the worker is there")
    journal = tmp_path / "volume" / "journal"
    await until(lambda: bool(list(journal.glob("*.journal"))), "the rules are written down")
    process.terminate()
    assert await asyncio.wait_for(process.wait(), PATIENCE) == 0
    assert Journal(journal).position == 1


async def test_a_second_worker_on_the_same_volume_does_not_write(tmp_path: Path):
    first = Process(tmp_path, rules=RULES)
    await first.start()
    await until(first.is_ready, "the worker is there")
    before = {each: each.read_bytes() for each in (tmp_path / "volume").rglob("*") if each.is_file()}
    second = Process(tmp_path, rules=RULES)
    await second.start()
    assert second.process
    assert await asyncio.wait_for(second.process.wait(), PATIENCE) == 1
    assert "belongs to another worker" in (tmp_path / "log").read_text()
    after = {each: each.read_bytes() for each in (tmp_path / "volume").rglob("*.journal") if each.is_file()}
    assert {each: before[each] for each in after} == after
    await first.kill()
