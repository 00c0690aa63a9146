"""People who are erased at a worker: nothing on its volume names them any more, whatever moment it is killed at."""

import asyncio
import contextlib
import os
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.unit.edge.stand import until
from tests.unit.events.world import seeded
from tests.unit.fraud_worker.process import Process
from tests.unit.fraud_worker.test_embedded import ruled
from tests.unit.fraud_worker.test_proof_worker import NOW, Hand, claim, document, hand
from tests.unit.fraud_worker.world import CAMPAIGN, bearer

from flywheel.fraud.archive import Archive
from flywheel.fraud.batch import encode, pack
from flywheel.fraud.words import Event

KILLS = int(os.environ.get("KILLS", "5"))
RULES = (ruled("by-visitor", "visitor"), ruled("by-device", "device"), ruled("by-user", "user", mode="Shadow"))


def places(directory: Path, *names: str) -> list[str]:
    """Name the files that have one of some names."""
    return [
        f"{each.name}: {name}"
        for each in sorted(directory.rglob("*"))
        if each.is_file()
        for name in names
        if name.encode() in _content(each)
    ]


def _content(file: Path) -> bytes:
    """Read a file of a worker at work; one that has another name by now is that of no state that stays."""
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return b""


async def erase(person: Hand, **names: Any) -> None:
    """Have people erased, and wait until they are."""
    receipt = (await person.post("erase", **names))["receipt"]

    async def is_done() -> bool:
        return bool((await person.get(f"erase/{receipt}"))["gone"])

    await until(is_done, "they are erased", 60)


def sent(name: str, count: int = 3, start: int = 0, since: int = NOW) -> list[Event]:
    """Claims of somebody whose every name holds `name`, on a device whose name does not."""
    who = {"visitor": f"v-{name}", "user": f"u-{name}", "fields": {"device": f"d-{name[::-1]}"}}
    return [claim(f"m-{name}-{n}", since + n, address="192.0.2.7", **who) for n in range(start, start + count)]


async def test_nothing_of_them_is_left_and_others_are_as_before(tmp_path: Path) -> None:
    async with hand(tmp_path, document(*RULES)) as person:
        for name in ("gone", "stays"):
            await person.send(sent(name))
            await person.verdicts(f"v-{name}", 3)
            for about in ({"visitor": f"v-{name}"}, {"user": f"u-{name}"}, {"event": f"m-{name}-2"},
                          {"key": [f"v-{name}"], "rule": "by-visitor"}):  # fmt: skip
                await person.post("labels", labels=[{**about, "label": "Dishonest"}])
            await person.post("allow", kind="user", value=f"u-{name}", until=NOW + 3_600_000, reason="a friend")
            await person.send(sent(name, 1, 10))
        assert len(places(tmp_path, "v-gone", "u-gone")) > 2
        await erase(person, visitors=["v-gone"], users=["u-gone"])
        # Nobody finds them by asking
        for of in ("v-gone", "u-gone", "m-gone-2"):
            assert await person.get("verdicts", of=of) == []
        assert "-gone" not in str(await person.worker.state())
        assert [each["value"] for each in await person.get("allowed")] == ["u-stays"]
        held = await person.get("decisions")
        assert "-gone" not in str(held)
        assert "d-enog" in {each["value"] for each in held["decisions"]}, "a device is not a person"
        # nor in any file
        assert places(tmp_path / "worker/volume", "v-gone", "u-gone", "m-gone") == []
        # Of others all is there
        assert len(await person.verdicts("v-stays", 6)) == 6
        desk = person.worker.worker.casebook.desk(CAMPAIGN)
        assert sorted(each.kind for each in desk.labels) == ["event", "key", "user", "visitor"]
        await person.worker.worker.filing.reckon(CAMPAIGN)
        assert (await person.figures("by-device"))["evidence"]["found"] == 1, "the device of the other one"
        # Once more does no harm, and neither does a restart
        await erase(person, visitors=["v-gone"], users=["u-gone", "u-nobody"])
        await person.worker.stop()
        await person.worker.start()
        assert len(await person.get("verdicts", of="v-stays")) == 6
        assert await person.get("verdicts", of="v-gone") == []
    assert places(tmp_path / "worker/volume", "v-gone", "u-gone", "m-gone") == []


@pytest.mark.parametrize("addresses", ["Hash", "Drop", "Store"])
async def test_an_address_is_erased_however_it_is_kept(tmp_path: Path, addresses: str) -> None:
    rules = document(ruled("by-address", "address"), ruled("by-visitor", "visitor"), addresses=addresses)
    async with hand(tmp_path, rules) as person:
        await person.claim(3, address="192.0.2.77", visitor="v-1")
        await person.claim(3, 3, address="192.0.2.78", visitor="v-2")
        await person.verdicts("192.0.2.78", 1)
        await person.post("labels", labels=[{"key": ["192.0.2.77"], "rule": "by-address", "label": "Honest"}])
        await erase(person, addresses=["::ffff:192.0.2.77"])
        assert await person.get("verdicts", of="192.0.2.77") == []
        # Where no address is kept, a verdict about its visitor does not tell that it was theirs.
        assert len(await person.get("verdicts", of="v-1")) == (addresses == "Drop")
        assert len(await person.get("verdicts", of="v-2")) == 2
        held = {each["value"] for each in (await person.get("decisions"))["decisions"]}
        assert held == {"192.0.2.78", "v-1", "v-2"}
        assert len(person.worker.worker.casebook.desk(CAMPAIGN).labels) == 0
    assert places(tmp_path / "worker/volume", "192.0.2.77") == []


async def test_what_an_edge_tells_late_of_them_is_judged_and_not_kept(tmp_path: Path) -> None:
    async with hand(tmp_path, document(*RULES)) as person:
        before = NOW - 120_000
        await person.send(sent("gone", since=before))
        await person.verdicts("v-gone", 3)
        await erase(person, visitors=["v-gone"])
        await person.worker.stop()
        await person.worker.start()
        # Told late, from before; and told of them when they came again
        await person.send(sent("gone", 1, 10, before))
        later = int(time.time() * 1000)
        await person.send([*sent("gone", 3, 100, later), *sent("stays", 3, 100, later)])
        assert len(await person.verdicts("v-stays", 3)) == 3
        found = await person.get("verdicts", of="v-gone")
        assert {each["event"] for each in found} == {"m-gone-102"}
        assert (await person.figures("by-visitor"))["hits"] == 4


BAD = [
    ({"campaign": ""}, "campaign: say whose"),
    ({}, "there are 0 names; send 1 to 1000"),
    ({"visitors": ["v"] * 1001}, "there are 1001 names"),
    ({"users": ["u", ""]}, "users[1]: 0 characters"),
    ({"visitors": ["v" * 513]}, "visitors[0]: 513 characters"),
    ({"addresses": ["192.0.2.0/24"]}, "addresses[0]: "),
    ({"addresses": ["home"]}, "name one address, not a network"),
    ({"persons": ["p"]}, "persons"),
]


async def test_wishes_that_make_no_sense_are_refused_in_words(tmp_path: Path) -> None:
    async with hand(tmp_path, document(*RULES)) as person:
        for body, words in BAD:
            refused = await person.post("erase", 400, **body)
            assert words in refused["message"], (body, refused)
        assert "this worker knows none like that" in (await person.get("erase/0011223344556677", 400))["message"]
        # Of a campaign that it never judged nothing is kept.
        assert (await person.post("erase", campaign="other", visitors=["v"]))["gone"] is True
        assert list(person.worker.worker.casebook.desks) == [CAMPAIGN]


async def test_a_disk_that_is_full_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flywheel.fraud.eraser.RETRY", 0.05)
    async with hand(tmp_path, document(*RULES)) as person:
        await person.send(sent("gone"))
        await person.verdicts("v-gone", 3)
        failures = [OSError(28, "No space left on device")] * 3
        rewrite = Archive.rewrite

        def full(archive: Archive) -> None:
            if failures:
                raise failures.pop()
            rewrite(archive)

        monkeypatch.setattr(Archive, "rewrite", full)
        await erase(person, visitors=["v-gone"], users=["u-gone"])
        assert failures == []
    assert places(tmp_path / "worker/volume", "v-gone", "u-gone") == []


async def test_whatever_moment_it_is_killed_at_they_are_erased(tmp_path: Path) -> None:
    chance = seeded(619)
    worker = Process(tmp_path, "flywheel.fraud.embedded:make_engine", snapshot_every=0.05)
    (tmp_path / "rules.json").write_bytes(document(*RULES))
    await worker.start()
    await until(worker.is_ready, "the worker is there", 600)
    numbers = iter(range(1, 10**6))

    async with aiohttp.ClientSession() as session:

        async def call(path: str, **body: Any) -> dict[str, Any]:
            """Ask at the port for people, again for as long as the worker is away."""
            while True:
                with contextlib.suppress(aiohttp.ClientError):
                    async with session.post(f"{worker.admin}/{path}", json={"campaign": CAMPAIGN, **body}) as answer:
                        if answer.status == 200:
                            found: dict[str, Any] = await answer.json()
                            return found
                await asyncio.sleep(0.02)

        async def tell(events: list[Event]) -> None:
            headers = {**bearer(f"{CAMPAIGN}-edge"), "X-Flywheel-Batch": f"edge-0/{next(numbers)}"}
            url = f"{worker.url}/v1/fraud/events"
            async with session.post(url, data=encode(pack(events)), headers=headers) as answer:
                assert answer.status == 200, await answer.text()

        async def is_gone(receipt: str) -> bool:
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(f"{worker.admin}/erase/{receipt}") as answer:
                    return answer.status == 200 and bool((await answer.json())["gone"])
            return False

        for number in range(KILLS):
            await tell([*sent(f"gone-{number}"), *sent(f"stays-{number}")])
            await call("labels", labels=[{"visitor": f"v-gone-{number}", "label": "Dishonest"}])
            receipt = (await call("erase", visitors=[f"v-gone-{number}"], users=[f"u-gone-{number}"]))["receipt"]
            await asyncio.sleep(chance.uniform(0, 0.25))
            await worker.kill()
            await worker.start()
            await until(lambda receipt=receipt: is_gone(receipt), "they are erased", 600)
            await until(worker.is_ready, "the worker is back", 600)
            assert places(tmp_path / "volume", "gone-") == [], f"kill {number}"
    await worker.kill()
    assert places(tmp_path / "volume", "gone-") == []
    archive = Archive(tmp_path / "volume/verdicts.sqlite")
    kept = {(each.rule, each.event) for each in archive.latest(CAMPAIGN, 10**9)}
    archive.close()
    rules = ("by-visitor", "by-device", "by-user")
    assert kept == {(rule, f"m-stays-{number}-2") for number in range(KILLS) for rule in rules}
