"""Decisions carried out by the real HAProxy: by address and visitor, in a scope of paths, until their end."""

import asyncio
import base64
import time
import uuid
from pathlib import Path
from typing import Any

from tests.unit.edge.stand import Edge, document, edge, live, new_agent, until

from flywheel.edge.document import Block, EdgeDocument, Fraud
from flywheel.fraud.blocks import Decision
from flywheel.fraud.feed import Line
from flywheel.fraud.passes import sign

WORKER = "http://worker-0"
SCRIPT = "127.0.0.9"
"""Address of the attacker; the honest ones come from 127.0.0.1."""
KEY = b"0123456789abcdef0123456789abcdef"


def now() -> int:
    return int(time.time() * 1000)


def shop(**changes: Any) -> EdgeDocument:
    return document(fraud=Fraud(workers=(WORKER,)), **changes)


def decision(value: str = SCRIPT, **fields: Any) -> Decision:
    kind = "address" if "." in value or ":" in value else "visitor"
    made = {"id": f"rule/{value}", "kind": kind, "value": value, "until": now() + 600_000, **fields}
    return Decision(**made)


async def tell(stand: Edge, *decisions: Decision, **fields: Any) -> None:
    assert stand.enforcer
    await stand.enforcer.take(WORKER, Line(epoch="e", version=1, put=decisions, **fields))


async def ask(stand: Edge, path: str = "/", source: str = SCRIPT, **options: Any):
    connection = await stand.connect(source=source)
    try:
        return await connection.ask(path, **options)
    finally:
        connection.close()


async def test_an_address_is_refused_with_the_status_and_body_of_its_decision_and_others_are_served(tmp_path: Path):
    async with edge(tmp_path, shop()) as stand:
        assert (await ask(stand)).status == 200
        await tell(stand, decision(status=451, body='{"why": "50% §"}'))
        answer = await ask(stand)
        assert (answer.status, answer.body.decode(), answer.one("content-type")) == (
            451,
            '{"why": "50% §"}',
            "application/json",
        )
        assert answer.one("cache-control") == "no-store"
        assert (await ask(stand, source="127.0.0.1")).status == 200
        assert (await stand.record(st=451))["rf"] == "fraud"
        await tell(stand, gone=(f"rule/{SCRIPT}",))
        assert (await ask(stand)).status == 200


async def test_a_scope_holds_for_its_paths_however_they_are_written(tmp_path: Path):
    async with edge(tmp_path, shop()) as stand:
        await tell(stand, decision(scope=("/coupon",)))
        refused = ("/coupon", "/coupon/1", "/coupon?x=1", "/%63oupon", "//coupon", "/x/../coupon", "/coupon;a=1/2")
        served = ("/", "/couponx", "/x/coupon", "/.well-known/x", "/a.b")
        assert [(path, (await ask(stand, path)).status) for path in refused] == [(path, 403) for path in refused]
        assert [(path, (await ask(stand, path)).status) for path in served] == [(path, 200) for path in served]


async def test_a_visitor_is_refused_wherever_they_come_from(tmp_path: Path):
    visitor = str(uuid.uuid4())
    async with edge(tmp_path, shop()) as stand:
        await tell(stand, decision(visitor), decision("no visitor at all", id="other", kind="visitor"))
        assert (await ask(stand, Cookie=f"fw_vid={visitor}")).status == 403
        assert (await ask(stand, Cookie=f"fw_vid={uuid.uuid4()}")).status == 200
        assert (await ask(stand)).status == 200


async def test_a_decision_ends_though_nobody_is_there_to_end_it(tmp_path: Path):
    async with edge(tmp_path, shop()) as stand:
        await tell(stand, decision(until=now() + 600_000))
        assert (await ask(stand)).status == 403
        await tell(stand, decision(until=now() + 1_000))

        async def is_served() -> bool:
            return (await ask(stand)).status == 200

        await until(is_served, "the block has ended")


async def test_neither_the_document_nor_the_worker_erases_what_the_other_says(tmp_path: Path):
    async with edge(tmp_path, shop()) as stand:
        soon = int(time.time()) + 600
        await tell(stand, decision())
        await stand.give(live(shop(), blocks=(Block(kind="address", value="127.0.0.8", until=soon),)))
        assert (await ask(stand)).status == 403
        assert (await ask(stand, source="127.0.0.8")).status == 403
        await stand.give(live(shop(), blocks=()))
        assert [(await ask(stand, source=each)).status for each in (SCRIPT, "127.0.0.8")] == [403, 200]
        await tell(stand, whole=True)
        assert (await ask(stand)).status == 200


async def test_a_reload_and_a_haproxy_that_starts_anew_have_the_decisions(tmp_path: Path):
    async with edge(tmp_path, shop()) as stand:
        assert stand.enforcer
        keeping = asyncio.create_task(stand.enforcer.run())
        await tell(stand, decision())
        await stand.give(shop(response_headers={"X-Turn": "1"}))
        assert stand.reloads == ["ok"]
        assert (await ask(stand)).status == 403
        files = tmp_path / "run"
        await until(lambda: any(SCRIPT in each.read_text() for each in files.rglob("*.map")), "it is written down")
        assert stand.process
        stand.process.kill()
        await stand.process.wait()
        await until(lambda: _is_gone(stand), "the port is free")
        stand.task.cancel()
        await stand.start_haproxy()
        assert (await ask(stand)).status == 403
        keeping.cancel()


async def test_a_campaign_without_rules_has_no_maps_for_them_and_gets_them_back(tmp_path: Path):
    async with edge(tmp_path, shop()) as stand:
        assert stand.enforcer
        await tell(stand, decision())
        await stand.give(document())
        assert (await ask(stand)).status == 200
        await tell(stand, decision("127.0.0.8"))
        await stand.give(shop())
        assert [(await ask(stand, source=each)).status for each in (SCRIPT, "127.0.0.8")] == [403, 403]
        assert stand.enforcer.failures == 0


async def test_a_sidecar_that_starts_anew_goes_on_with_what_it_was_told(tmp_path: Path):
    async with edge(tmp_path, shop()) as stand:
        assert stand.enforcer
        keeping = asyncio.create_task(stand.enforcer.run())
        await tell(stand, decision(), keys={"k1": base64.b64encode(KEY).decode(), "not a name": "x"})
        memory = tmp_path / "run" / "fraud.ndjson"
        await until(memory.exists, "it is written down")
        keeping.cancel()
        stand.task.cancel()
        await asyncio.gather(stand.task, keeping, return_exceptions=True)
        again = new_agent(stand)
        assert stand.enforcer.maps.maps["fraud-keys"] == {"k1": base64.b64encode(KEY).decode()}
        assert len(stand.enforcer.maps) == 1
        memory.write_bytes(b"rubbish")
        assert len(new_agent(stand)._enforcer.maps) == 0
        assert again


async def test_a_worker_that_has_lost_its_volume_lifts_nothing(tmp_path: Path):
    key = base64.b64encode(KEY).decode()
    async with edge(tmp_path, shop()) as stand:
        assert stand.enforcer
        await tell(stand, decision(until=now() + 3_000), keys={"k1": key}, whole=True)
        assert (await ask(stand)).status == 403
        await tell(stand, keys={"k2": key}, whole=True)
        assert (await ask(stand)).status == 403, "who remembers nothing has not decided otherwise"
        await tell(stand, decision("127.0.0.8"), keys={"k2": key}, whole=True)
        await tell(stand, keys={"k2": key}, whole=True)
        assert (await ask(stand, source="127.0.0.8")).status == 200, "what it knows it may lift"
        assert (await ask(stand)).status == 403
        keeping = asyncio.create_task(stand.enforcer.run())

        async def is_over() -> bool:
            return (await ask(stand)).status == 200 and not len(stand.enforcer.maps)

        await until(is_over, "it ends at its time")
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)


async def _is_gone(stand: Edge) -> bool:
    try:
        (await stand.connect()).close()
    except OSError:
        return True
    return False


async def test_whoever_is_challenged_is_sent_to_the_page_until_they_have_a_pass(tmp_path: Path):
    keys = {"k1": base64.b64encode(KEY).decode()}
    async with edge(tmp_path, shop()) as stand:
        await tell(stand, decision(action="Challenge", page="/prove"), keys=keys)
        answer = await ask(stand, "/coupon?a=1&b=2")
        assert answer.status == 303
        assert answer.one("location") == "/prove?return=%2Fcoupon%3Fa%3D1%26b%3D2"
        assert (await ask(stand, "/prove")).status == 200
        assert (await ask(stand, "/prove/script.js")).status == 200
        assert (await ask(stand, "/v1/p", method="POST", body=b"x")).status == 200
        later = int(time.time()) + 600
        good = sign("k1", KEY, later, SCRIPT, "")
        visitor = str(uuid.uuid4())
        assert (await ask(stand, "/coupon", Cookie=f"fw_pass={good}")).status == 200
        bad = {
            "of another address": sign("k1", KEY, later, "127.0.0.1", ""),
            "of another visitor": sign("k1", KEY, later, SCRIPT, visitor),
            "ended": sign("k1", KEY, later - 1200, SCRIPT, ""),
            "of another key": sign("k1", b"other", later, SCRIPT, ""),
            "of an unknown key": sign("k2", KEY, later, SCRIPT, ""),
            "forged": f"k1.{later}.",
            "longer": good.replace(str(later), str(later + 999)),
        }
        assert {
            name: (await ask(stand, "/c", Cookie=f"fw_pass={each}")).status for name, each in bad.items()
        } == dict.fromkeys(bad, 303)
        of_visitor = sign("k1", KEY, later, SCRIPT, visitor)
        assert (await ask(stand, "/c", Cookie=f"fw_pass={of_visitor}; fw_vid={visitor}")).status == 200


async def test_whoever_is_slowed_down_gets_so_many_answers_and_no_more(tmp_path: Path):
    async with edge(tmp_path, shop()) as stand:
        await tell(stand, decision(action="Throttle", per_second=0.5, scope=("/coupon",)))
        statuses = [(await ask(stand, "/coupon")).status for _ in range(8)]
        assert statuses == [200] * 5 + [429] * 3
        assert (await ask(stand, "/")).status == 200
        assert (await ask(stand, "/coupon", source="127.0.0.1")).status == 200


async def test_of_two_decisions_on_one_subject_both_hold_each_until_its_end(tmp_path: Path):
    async with edge(tmp_path, shop()) as stand:
        assert stand.enforcer
        keeping = asyncio.create_task(stand.enforcer.run())
        first = decision(id="one", scope=("/coupon",), until=now() + 600_000)
        await tell(stand, first, decision("127.0.0.0/24", id="two", scope=("/pay",)))
        paths = ("/coupon", "/pay", "/")
        assert [(await ask(stand, path)).status for path in paths] == [403, 403, 200]

        async def is_over() -> bool:
            return (await ask(stand, "/coupon")).status == 200

        await tell(stand, decision(id="one", scope=("/coupon",), until=now() + 1_000))
        await until(is_over, "the first has ended")
        assert [(await ask(stand, path)).status for path in paths] == [200, 403, 200]
        keeping.cancel()
