"""The worker and a real Kafka: its events go out, and what another engine finds is acted on as what it finds itself."""

import json
import random
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import msgspec
import pytest
from tests.unit.edge.stand import until
from tests.unit.fraud_kafka.broker import Broker, broker
from tests.unit.fraud_kafka.shop import (
    PATIENCE,
    Shop,
    ids,
    judged_by_flink,
    many,
    send,
    shop,
    visits,
)
from tests.unit.fraud_worker.world import CAMPAIGN

from flywheel.fraud.archive import Archive
from flywheel.fraud.flink_records import record_of
from flywheel.fraud.from_row import event_of
from flywheel.fraud.policy import Ruled

KILLS = 4


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with broker(tmp_path_factory.mktemp("kafka") / "data") as made:
        yield made


def now() -> int:
    """A minute ago: what is said to come later than now would count as of now."""
    return round(time.time() * 1000) - 60_000


async def are_published(site: Shop, count: int) -> bool:
    return bool((await site.kafka()).get("published", 0) >= count)


async def test_events_go_out_and_verdicts_come_back_as_decisions(tmp_path: Path, kafka: Broker):
    async with shop(tmp_path / "site", kafka, judged_by_flink()) as site, site.edge() as edge:
        given = list(islice(visits(1, now()), 300))
        send(edge, given)
        await until(lambda: are_published(site, 300), "all events are in Kafka", PATIENCE)
        wanted = [record_of(event_of(row, address)) for row, address in given]
        assert site.published() == wanted
        assert (await site.rule())["hits"] == 0, "the worker does not judge by it"
        rows = site.judged(many())
        assert len(rows) > 50
        # Each of them twice: topics deliver at least once.
        kafka.write(site.verdicts, *rows, *rows)

        async def are_heard() -> bool:
            return bool((await site.kafka())["heard"] >= 2 * len(rows))

        await until(are_heard, "the verdicts are taken", PATIENCE)
        rule = await site.rule()
        assert (rule["hits"], rule["acted"]) == (len(rows), len(rows))
        keys = {json.loads(each)["key"][0] for each in rows}
        assert {each["value"] for each in await site.decisions()} == keys
        assert await site.ask(address=min(keys)) == "Block"
        text = await site.figures()
        assert (
            f'flywheel_fraud_kafka_verdicts_total{{campaign="{CAMPAIGN}",namespace="shop"}} {2 * len(rows)}.0' in text
        )
        assert await site.stop() == 0
    archive = Archive(tmp_path / "site/volume/verdicts.sqlite")
    kept = archive.latest(CAMPAIGN, 10**6)
    archive.close()
    assert sorted(each.event for each in kept) == sorted(json.loads(each)["event"] for each in rows)
    assert all(each.done == "Acted" and each.visitor and each.said for each in kept)


async def test_shadow_holdout_and_share_are_the_workers_own(tmp_path: Path, kafka: Broker):
    rules = [
        judged_by_flink(many("shadow"), mode="Shadow"),
        judged_by_flink(many("some"), share=5000, holdout=3000),
    ]
    async with shop(tmp_path / "site", kafka, *rules) as site, site.edge() as edge:
        send(edge, islice(visits(2, now()), 300))
        await until(lambda: are_published(site, 300), "all events are in Kafka", PATIENCE)
        rows = [row for rule in rules for row in site.judged(rule.rule)]
        kafka.write(site.verdicts, *rows)

        async def are_heard() -> bool:
            return bool((await site.kafka())["heard"] >= len(rows))

        await until(are_heard, "the verdicts are taken", PATIENCE)
        shadow, some = await site.rule("shadow"), await site.rule("some")
        assert (shadow["acted"], shadow["would"], shadow["hits"]) == (0, len(rows) // 2, len(rows) // 2)
        assert min(some["acted"], some["would"], some["heldOut"]) > 0
        assert some["acted"] + some["would"] + some["heldOut"] == len(rows) // 2
        assert {each["rule"] for each in await site.decisions()} == {"some"}


def forged(site: Shop, rows: list[bytes]) -> dict[str, list[bytes | None]]:
    """Verdicts that must not be believed, by what is said of them."""
    one, other = (
        json.loads(rows[0]),
        next(json.loads(r) for r in rows if json.loads(r)["key"] != json.loads(rows[0])["key"]),
    )

    def but(**fields: object) -> bytes:
        return json.dumps({**one, **fields}).encode()

    honest = next(
        each for each in site.broker.records(site.events) if json.loads(each.value() or b"")["name"] == "Viewed"
    )
    viewed = json.loads(honest.value() or b"")
    about_honest = but(event=viewed["id"], at=min(viewed["time"], viewed["arrived"]), key=[viewed["address"]],
                       lane=honest.partition(), place=honest.offset())  # fmt: skip
    return {
        "Unreadable": [
            b"", b"{", b"null", b"[]", b"\xff\xfe", b'{"rule": 7}', but(at=10**30), but(at="soon"), but(lane=-1),
            but(place=2**63), but(observed=None), but(key="x"), but(key=[]), b"[" * 100_000, but(detail="x" * 100_000),
        ],
        "UnknownRule": [but(rule="nobody"), but(rule="")],
        "OtherVersion": [but(version="0" * 16)],
        "NoEvent": [but(lane=77), but(place=10**9), but(place=2**62)],
        "OtherEvent": [
            but(key=other["key"]), but(event=other["event"]), but(at=one["at"] + 1), but(place=other["place"],
            lane=other["lane"]), about_honest,
        ],
    }  # fmt: skip


async def test_verdicts_that_do_not_fit_their_event_stop_nobody(tmp_path: Path, kafka: Broker):
    async with shop(tmp_path / "site", kafka, judged_by_flink()) as site, site.edge() as edge:
        given = list(islice(visits(3, now()), 200))
        viewed, _ = next(visits(9, now() + 2000))
        given.append((msgspec.structs.replace(viewed, message_id="honest", event="Viewed"), "198.51.100.7"))
        send(edge, given)
        await until(lambda: are_published(site, 201), "all events are in Kafka", PATIENCE)
        rows = site.judged(many())
        poisoned = forged(site, rows)
        kafka.write(site.verdicts, *(each for found in poisoned.values() for each in found), None)

        async def are_refused() -> bool:
            return bool((await site.kafka())["refused"] >= sum(map(len, poisoned.values())))

        await until(are_refused, "the forged verdicts are read", PATIENCE)
        assert await site.decisions() == []
        text = await site.figures()
        for reason, found in poisoned.items():
            name = "flywheel_fraud_kafka_verdicts_refused_total"
            assert f'{name}{{campaign="{CAMPAIGN}",namespace="shop",reason="{reason}"}} {len(found)}.0' in text
        # It goes on as if nothing had been.
        kafka.write(site.verdicts, *rows)

        async def are_hits() -> bool:
            return bool((await site.rule())["hits"] == len(rows))

        await until(are_hits, "the true ones are taken", PATIENCE)


async def test_whatever_moment_it_is_killed_at_events_are_all_there_and_verdicts_count_once(
    tmp_path: Path, kafka: Broker
):
    chance, source = random.Random(618), visits(4, now())
    given = []
    async with shop(tmp_path / "site", kafka, judged_by_flink()) as site, site.edge() as edge:
        written = 0
        for _ in range(KILLS):
            some = list(islice(source, chance.randrange(50, 400)))
            given += some
            send(edge, some)
            # Whatever is on the topic by now is judged, and the worker killed in the middle of all of it.
            await until(site.is_ready, "the worker is there", PATIENCE)
            if written or await are_published(site, 1):
                found = site.judged(many())
                kafka.write(site.verdicts, *found[written:])
                written = len(found)
            await site.kill()
            await site.start()

        async def are_all_there() -> bool:
            return {each.id for each in site.published()} == {row.message_id for row, _ in given}

        await until(site.is_ready, "the worker is back", PATIENCE)
        await until(are_all_there, "each event is in Kafka", PATIENCE)
        rows = site.judged(many())
        kafka.write(site.verdicts, *rows)
        wanted = len({json.loads(each)["event"] for each in rows})

        async def are_counted() -> bool:
            rule = await site.rule()
            assert rule["hits"] <= wanted
            return bool(rule["hits"] == wanted)

        await until(are_counted, "each verdict is counted", PATIENCE)
        before, held = await site.state(), await site.decisions()
        await site.kill()
        await site.start()
        await until(site.is_ready, "the worker is back", PATIENCE)
        after = await site.state()
        for same in ("verdicts", "digest", "decisions"):
            assert after[same] == before[same]
        for same in ("hits", "acted", "latest"):
            assert after["rules"][0][same] == before["rules"][0][same]
        assert await site.decisions() == held


async def test_while_kafka_is_away_the_worker_judges_and_says_so(tmp_path: Path, kafka: Broker):
    own = Ruled(rule=many("own", 50), policy=judged_by_flink().policy)
    async with shop(tmp_path / "site", kafka, judged_by_flink(), own) as site, site.edge() as edge:
        source = visits(5, now(), addresses=2)
        send(edge, islice(source, 20))
        await until(lambda: are_published(site, 20), "the first events are in Kafka", PATIENCE)
        kafka.kill()
        send(edge, islice(source, 400))

        async def judges() -> bool:
            return bool((await site.rule("own"))["acted"] > 0 and (await site.state())["events"] == 420)

        await until(judges, "the worker judges without Kafka", PATIENCE)

        async def says_so() -> bool:
            told = await site.kafka()
            return bool(told["problem"]) and told["waiting"] > 0

        await until(says_so, "the worker says that Kafka is away", PATIENCE)
        assert 'flywheel_fraud_kafka_problem{namespace="shop"} 1.0' in await site.figures()
        # Also a worker that begins anew meanwhile.
        await site.kill()
        await site.start()
        await until(site.is_ready, "the worker is there without Kafka", PATIENCE)
        kafka.start()

        async def all_is_there() -> bool:
            return {f"m-{number}" for number in range(1, 421)} == set(ids(site.published()))

        await until(all_is_there, "all events are in Kafka", PATIENCE)

        async def is_well() -> bool:
            told = await site.kafka()
            return told["waiting"] == 0 and told["problem"] == ""

        await until(is_well, "nothing waits any more", PATIENCE)


async def test_a_rule_goes_from_one_engine_to_the_other_and_back(tmp_path: Path, kafka: Broker):
    flink = judged_by_flink()
    embedded = msgspec.structs.replace(flink, engine="Embedded")
    async with shop(tmp_path / "site", kafka, embedded) as site, site.edge() as edge:
        source = visits(6, now(), addresses=3)
        send(edge, islice(source, 60))

        async def has(hits: int) -> bool:
            return bool((await site.rule()).get("hits") == hits)

        # Three may come of each of three addresses.
        await until(lambda: has(51), "the worker judges by it", PATIENCE)
        assert await site.kafka() == {}
        generation = (await site.whole_state())["generation"]
        site.rules(flink)

        async def is_taken() -> bool:
            return bool((await site.whole_state())["generation"] != generation)

        await until(is_taken, "the rule is handed over", PATIENCE)
        send(edge, islice(source, 60))
        await until(lambda: are_published(site, 60), "its events go out", PATIENCE)
        assert await has(51), "the worker does not judge by it any more"
        assert await site.decisions()
        assert ids(site.published()) == [f"m-{number}" for number in range(61, 121)]
        kafka.write(site.verdicts, *site.judged(many()))
        await until(lambda: has(102), "verdicts of Flink go on where its own ended", PATIENCE)
        site.rules(embedded)

        async def is_back() -> bool:
            return not await site.kafka()

        await until(is_back, "the rule is handed back", PATIENCE)
        send(edge, islice(source, 30))
        await until(lambda: has(102 + 21), "the worker judges by it again", PATIENCE)


async def test_it_logs_in_with_the_name_and_the_password_of_a_secret(tmp_path: Path, kafka: Broker):
    given = {"servers": kafka.login_servers, "security": "SASL_PLAINTEXT", "mechanism": "PLAIN", "secret": "kafka"}
    async with shop(tmp_path / "site", kafka, judged_by_flink(), **given) as site, site.edge() as edge:
        password = (site.directory / "credentials/password").read_text()
        send(edge, islice(visits(7, now()), 10))
        await until(lambda: are_published(site, 10), "it is let in", PATIENCE)
        await site.kill()
        (site.directory / "credentials/password").write_text("another one")
        await site.start()
        await until(site.is_ready, "the worker is there", PATIENCE)
        send(edge, islice(visits(7, now()), 5))

        async def says_so() -> bool:
            return "uthentication" in (await site.kafka()).get("problem", "")

        await until(says_so, "it says that it is not let in", PATIENCE)
        assert password.strip() not in site.log
