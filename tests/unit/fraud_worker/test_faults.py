"""What attackers and broken machines do to a worker, seen from outside: through a real edge, and at its own door."""

import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.unit.edge.stand import until
from tests.unit.events.world import as_json
from tests.unit.fraud_worker.test_embedded import ruled
from tests.unit.fraud_worker.test_proof_worker import claim, document, hand
from tests.unit.fraud_worker.world import ATTACKER, CAMPAIGN, HONEST, KEY, Pod, RunningWorker, bearer, site

from flywheel.fraud.compiled_once import compile_once
from flywheel.fraud.embedded import make_engine
from flywheel.fraud.policy import Ruled
from flywheel.fraud.words import Event

DAY = 86_400_000
VICTIM = "203.0.113.9"


def bounded(ruled: Ruled, **rule: Any) -> Ruled:
    """Give a rule with other bounds of what it remembers."""
    return msgspec.structs.replace(ruled, rule=msgspec.structs.replace(ruled.rule, **rule))


async def claimed(pod: Pod, number: int, source: str = ATTACKER, **headers: str) -> None:
    """Claim a coupon through the edge, with headers of one's own."""
    event = {"type": "track", "event": "Coupon Claimed", "messageId": f"c-{number}", "anonymousId": f"a-{number}"}
    body = as_json({"batch": [event], "writeKey": KEY})
    answer = await pod.ask("/v1/batch", source, method="POST", body=body, **headers)
    assert answer.status == 200


async def figures(worker: RunningWorker, rule: str = "r") -> dict[str, Any]:
    state = await worker.state()
    [found] = [each for each in state["campaigns"][CAMPAIGN]["rules"] if each["rule"] == rule]
    return found


@pytest.fixture(autouse=True)
def _compiled() -> None:
    compile_once()


async def test_a_forged_address_neither_hides_the_attacker_nor_hits_whom_it_names(tmp_path: Path) -> None:
    async with site(tmp_path, make_engine, document(ruled("r", "address", more_than=3))) as (pod, worker):
        # When a script names another client with each request, in each of the ways
        for number, header in enumerate(
            ("X_Forwarded_For", "X_Real_IP", "Forwarded", "True_Client_IP", "X_FW_Address")
        ):
            value = f"for={VICTIM}" if header == "Forwarded" else VICTIM
            await claimed(pod, number, **{header: value})
        # Then it is the script that is found, by the address that the edge sees
        await pod.is_refused(ATTACKER, status=429)
        decisions = worker.worker.casebook.desk(CAMPAIGN).blocks
        assert {each.value for each in decisions} == {ATTACKER}
        # And another header does not let it through
        assert (await pod.ask("/coupon/1", ATTACKER, X_Forwarded_For=HONEST)).status == 429
        assert (await pod.ask("/coupon/1", HONEST, X_Forwarded_For=ATTACKER)).status == 200


async def test_an_event_that_is_replayed_through_the_edge_counts_once(tmp_path: Path) -> None:
    async with site(tmp_path, make_engine, document(ruled("r", "address", more_than=3))) as (pod, worker):
        for _ in range(12):
            await claimed(pod, 1, HONEST)
        await claimed(pod, 2, HONEST)
        await until(lambda: _is(worker, "evaluated", 2), "two events are judged", 60)
        assert (await pod.ask("/coupon/1", HONEST)).status == 200


async def test_an_event_that_comes_by_many_edges_counts_once_after_a_restart_as_well(tmp_path: Path) -> None:
    async with hand(tmp_path, document(ruled("r", "visitor", more_than=3))) as person:
        now = int(time.time() * 1000)
        for number in range(12):
            await person.send([claim("m-1", now + number, visitor="v")])
        assert (await figures(person.worker))["duplicates"] == 11
        await person.worker.stop()
        await person.worker.start()
        await person.send([claim("m-1", now + 20, visitor="v")])
        found = await figures(person.worker)
        assert (found["duplicates"], found["hits"], found["evaluated"]) == (12, 0, 1)
        assert (await person.get("decisions"))["total"] == 0


async def _is(worker: RunningWorker, name: str, value: int) -> bool:
    return bool((await figures(worker))[name] == value)


async def test_events_without_the_key_are_counted_and_stop_nobody(tmp_path: Path) -> None:
    rules = document(ruled("r", "device", more_than=2), ruled("s", "address", more_than=8))
    async with site(tmp_path, make_engine, rules) as (pod, worker):
        for number in range(9):
            await claimed(pod, number)
        await until(lambda: _is(worker, "withoutKey", 9), "nine had no device", 60)
        found = await figures(worker)
        assert (found["hits"], found["keys"]) == (0, 0), "they are not one key that all of them share"
        # Who leaves the device out is found by what cannot be left out.
        await pod.is_refused(ATTACKER, status=429)


@pytest.mark.parametrize("refuses", [False, True])
async def test_a_flood_of_new_keys_stays_bounded_and_hides_nobody(tmp_path: Path, *, refuses: bool) -> None:
    most = 500
    rule = bounded(
        ruled("r", "device", more_than=3), maximum_keys=most, when_full="Refuse" if refuses else "EvictOldest"
    )
    other = ruled("s", "address", more_than=3)
    async with hand(tmp_path, document(rule, other)) as person:
        now = int(time.time() * 1000)

        def made(identity: str, device: str, at: int, address: str = "") -> Event:
            return claim(identity, at, visitor=device, address=address, fields={"device": device})

        await person.send([made(f"k-{n}", "known", now + n) for n in range(3)])
        for start in range(0, 5_000, 500):
            flood = [made(f"f-{start + n}", f"new-{start + n}", now, "192.0.2.9") for n in range(500)]
            await person.send([*flood, made(f"quiet-{start}", "known" if refuses else f"x-{start}", now - 1)])
        found = await figures(person.worker)
        assert found["keys"] <= most
        assert found["evicted"] >= 5_000 - most, "what was forgotten or refused is counted"
        # Rules that do not count by what the script makes up find it, and who asks is answered
        question = {"address": "192.0.2.9", "visitor": "somebody"}
        answer = await person.post("v1/fraud/check", headers=bearer(), **question)
        assert answer["verdict"] == "Block"
        if refuses:
            # Whoever was known before is still known
            assert len(await person.verdicts("known", 1)) >= 1


async def test_a_clock_that_is_ahead_makes_nobody_late(tmp_path: Path) -> None:
    async with hand(tmp_path, document(ruled("r", "visitor", more_than=2))) as person:
        now = int(time.time() * 1000)
        # When one edge's clock is a day ahead, and then a year
        for number, jump in enumerate((DAY, 365 * DAY)):
            await person.send([claim(f"ahead-{number}-{n}", now + jump + n, visitor="fast") for n in range(3)])
        # Then others are judged as ever, and so is whoever came by that edge
        await person.send([claim(f"m-{n}", int(time.time() * 1000), visitor="slow") for n in range(3)])
        assert len(await person.verdicts("slow", 1)) == 1
        found = await person.verdicts("fast", 4)
        assert {each["done"] for each in found} == {"Acted"}
        assert all(each["at"] < now + DAY / 2 for each in found), "nothing happened later than now"
        told = await figures(person.worker)
        assert told["late"] == 0
        held = (await person.get("decisions"))["decisions"]
        assert all(each["until"] < now + DAY for each in held), "no block lasts a day longer for it"
        # After a restart the same holds: what stands in the journal is what was believed
        await person.worker.stop()
        await person.worker.start()
        assert (await person.get("decisions"))["decisions"] == held


async def test_a_clock_that_is_behind_is_told_and_stops_nobody_in_error(tmp_path: Path) -> None:
    async with hand(tmp_path, document(ruled("r", "visitor", more_than=2))) as person:
        now = int(time.time() * 1000)
        await person.send([claim("first", now, visitor="somebody")])
        await person.send([claim(f"behind-{n}", now - DAY + n, visitor="slow") for n in range(5)])
        assert (await figures(person.worker))["late"] == 5
        assert (await person.get("decisions"))["total"] == 0
        # Once it is set right, they count
        await person.send([claim(f"right-{n}", now + n, visitor="slow") for n in range(3)])
        assert len(await person.verdicts("slow", 1)) == 1


async def test_times_that_a_client_makes_up_move_no_window(tmp_path: Path) -> None:
    async with site(tmp_path, make_engine, document(ruled("r", "address", more_than=3))) as (pod, _):
        for number, moment in enumerate(("1970-01-01T00:00:00Z", "2099-01-01T00:00:00Z", "rubbish", "")):
            event = {"type": "track", "event": "Coupon Claimed", "messageId": f"t-{number}", "anonymousId": "a",
                     "timestamp": moment, "sentAt": moment}  # fmt: skip
            body = as_json({"batch": [event], "writeKey": KEY})
            assert (await pod.ask("/v1/batch", ATTACKER, method="POST", body=body)).status == 200
        # When the script goes on, it is found whatever times it has named
        for number in range(10, 14):
            await claimed(pod, number)
        await pod.is_refused(ATTACKER, status=429)
        assert (await pod.ask("/coupon/1", HONEST)).status == 200
