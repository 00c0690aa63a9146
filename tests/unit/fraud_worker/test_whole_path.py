"""From an event at the edge to the attacker's next request, which is refused, with everything real but the engine."""

import asyncio
from pathlib import Path

import aiohttp
from tests.unit.edge.stand import until
from tests.unit.fraud_worker.small_engine import rule
from tests.unit.fraud_worker.world import ATTACKER, HONEST, pod, shop, site, workers

PATIENCE = 60.0


async def test_whoever_claims_too_much_is_refused_and_nobody_else(tmp_path: Path):
    async with site(tmp_path) as (pod, worker):
        assert await pod.claim(HONEST, 20) == 200
        assert await pod.claim(ATTACKER, 21) == 200
        await pod.is_refused(ATTACKER)
        assert (await pod.ask("/coupon", HONEST)).status == 200
        assert (await pod.ask("/", ATTACKER)).status == 200
        assert (await worker.state())["campaigns"]["spring"]["events"] == 41
        # The address that is judged by is in no row.
        batch = await pod.spool.next_batch("events")
        assert batch.rows == 41
        assert ATTACKER.encode() not in batch.lines


async def test_rules_that_change_hold_for_the_next_event(tmp_path: Path):
    async with site(tmp_path) as (pod, worker):
        before = (await worker.state())["campaigns"]["spring"]["generation"]
        worker.rules(rule(moreThan=2, scope=["/pay"], status=429))

        async def is_loaded() -> bool:
            return (await worker.state())["campaigns"]["spring"]["generation"] != before

        await until(is_loaded, "the rules are loaded")
        await pod.claim(ATTACKER, 3)
        await pod.is_refused(ATTACKER, "/pay", 429)
        worker.rules({"no": "name"})

        async def is_told() -> bool:
            return bool((await worker.state())["campaigns"]["spring"]["problem"])

        await until(is_told, "the problem is told")
        await pod.claim(HONEST, 3)
        await pod.is_refused(HONEST, "/pay", 429)


async def test_a_worker_that_is_away_takes_nothing_back_and_ingestion_does_not_notice(tmp_path: Path):
    async with site(tmp_path) as (pod, worker):
        await pod.claim(ATTACKER, 21)
        await pod.is_refused(ATTACKER)
        assert await worker.stop() == 0
        assert await pod.claim("127.0.0.8", 21) == 200
        assert (await pod.ask("/coupon", ATTACKER)).status == 403
        await asyncio.sleep(0.5)
        assert (await pod.ask("/coupon", "127.0.0.8")).status == 200
        # What waited is judged once the worker is back, which remembers what it had decided.
        await worker.start()
        await pod.is_refused("127.0.0.8")
        assert (await pod.ask("/coupon", ATTACKER)).status == 403
        state = (await worker.state())["campaigns"]["spring"]
        assert (state["events"], state["decisions"]) == (42, 2)


async def test_a_decision_that_the_operator_ends_is_gone_at_the_edge(tmp_path: Path):
    import aiohttp
    from tests.unit.fraud_worker.world import bearer, operator

    async with site(tmp_path) as (pod, worker), aiohttp.ClientSession() as session:
        await pod.claim(ATTACKER, 21)
        await pod.is_refused(ATTACKER)
        async with session.get(f"{worker.url}/v1/fraud/decisions/spring", headers=operator()) as response:
            (held,) = await response.json()
        assert (held["value"], held["rule"]) == (ATTACKER, "coupons")
        body = {"campaign": "spring", "decision": held["id"]}
        async with session.post(f"{worker.url}/v1/fraud/unblock", json=body, headers=bearer()) as response:
            assert response.status == 401
        async with session.post(f"{worker.url}/v1/fraud/unblock", json=body, headers=operator()) as response:
            assert response.status == 200
        await pod.is_refused(ATTACKER, status=200)
        await worker.stop()
        await worker.start()
        assert (await worker.state())["campaigns"]["spring"]["decisions"] == 0


async def test_workers_come_and_go_without_a_restart_of_the_edge_and_no_block_is_lifted(tmp_path: Path):
    async with workers(tmp_path, 2) as (one, two), pod(tmp_path, shop(one.url)) as edge:
        await until(lambda: edge.meters.connected.values == {(one.url,): 1.0}, "one is followed", PATIENCE)
        await edge.claim(ATTACKER, 21)
        await edge.is_refused(ATTACKER)
        # The other one comes, and hears of all that comes from then on.
        edge.link.use_workers((one.url, two.url))
        await until(lambda: edge.meters.connected.values.get((two.url,)) == 1.0, "the other is followed", PATIENCE)
        await edge.claim("127.0.0.8", 21)
        await edge.is_refused("127.0.0.8")

        async def both_know() -> bool:
            states = [(await each.state())["campaigns"].get("spring", {}) for each in (one, two)]
            return [each.get("decisions") for each in states] == [2, 1]

        await until(both_know, "both have judged it", PATIENCE)
        # The first one goes: what it alone knew holds on, and what the other one knows, that one may lift.
        assert await one.stop() == 0
        edge.link.use_workers((two.url,))
        await until(lambda: edge.meters.connected.values == {(two.url,): 1.0}, "one is left", PATIENCE)
        assert (await edge.ask("/coupon", ATTACKER)).status == 403
        assert (await edge.ask("/coupon", "127.0.0.8")).status == 403
        wish = {"campaign": "spring", "kind": "address", "value": "127.0.0.8"}
        async with aiohttp.ClientSession() as session, session.post(f"{two.admin}/unblock", json=wish) as response:
            assert response.status == 200, await response.text()
        await edge.is_refused("127.0.0.8", status=200)
        assert (await edge.ask("/coupon", ATTACKER)).status == 403
