"""What changes while people are served: without a reload, without touching an open connection, and not for long."""

import asyncio
import uuid
from collections import Counter
from pathlib import Path

from tests.unit.edge.stand import Connection, Edge, Service, document, edge, endpoint_slice, live, trial, until

from flywheel.edge.bucket import bucket, share_salt
from flywheel.edge.document import EdgeRoute, Limits, Segment, Share, VariantRange, Weight
from flywheel.edge.document import Test as Trial

FAST = Limits(requests_per_second=100_000)


async def slots(connection: Connection, visitors: list[str], path: str = "/") -> dict[str, str]:
    return {
        visitor: (await connection.ask(path, Cookie=f"fw_vid={visitor}")).echo["service"].removeprefix("web-")
        for visitor in visitors
    }


async def test_slots_weights_and_shares_switch_on_an_open_connection(tmp_path: Path) -> None:
    visitors = [str(uuid.uuid4()) for _ in range(60)]
    async with edge(tmp_path, document(limits=FAST)) as stand:
        given = stand.document
        assert given is not None
        connection, held = await stand.connect(), await stand.connect()
        stand.services["web-blue"].hold = asyncio.Event()
        waiting = asyncio.create_task(held.ask("/"))
        await until(lambda: stand.services["web-blue"].requests == 1, "a request is under way")
        await stand.give(live(given, active={"web": "green"}))
        assert set((await slots(connection, visitors[:5])).values()) == {"green"}
        stand.services["web-blue"].hold.set()
        assert (await waiting).echo["service"] == "web-blue", "what had begun was ended where it had begun"
        stand.services["web-blue"].hold = None
        await stand.give(live(given, shares=(Share(service="web", slot="green", basis_points=3000),)))
        expected = {v: "green" if bucket(share_salt("web"), v) < 3000 else "blue" for v in visitors}
        assert set(expected.values()) == {"green", "blue"}
        assert await slots(connection, visitors) == expected
        await stand.give(live(given, weights=(Weight(service="web", slot="blue", weight=7),)))
        assert (await stand.api.servers())["web:blue"]["s1"].weight == 7
        assert set((await slots(connection, visitors[:5])).values()) == {"blue"}
        assert not stand.reloads


async def test_tests_come_change_and_go(tmp_path: Path) -> None:
    visitors = [str(uuid.uuid4()) for _ in range(80)]

    def arms(red: int, green: int, start: int = 0) -> tuple[VariantRange, ...]:
        return (
            VariantRange(variant="red", slot="blue", start=start, end=start + red),
            VariantRange(variant="green", slot="green", start=start + red, end=start + red + green),
        )

    async with edge(tmp_path, document(limits=FAST)) as stand:
        given = stand.document
        assert given is not None
        connection = await stand.connect()
        for salt, ranges in (("s;1 ü\\\"'%|", arms(2500, 2500)), ("other", arms(0, 5000, start=5000))):
            await stand.give(live(given, tests=(trial("button", ranges, salt=salt),)))
            for visitor, slot in (await slots(connection, visitors)).items():
                at = bucket(salt, visitor)
                variant = next((arm.variant for arm in ranges if arm.start <= at < arm.end), "")
                assert slot == ("green" if variant == "green" else "blue")
                record = await stand.record(vid=visitor)
                assert (record.get("test", ""), record.get("var", "")) == ("button" if variant else "", variant)
            stand.records.clear()
        two = (
            trial("first", arms(0, 10_000), salt="a", segments=(Segment(start=1000, end=2000),)),
            trial(
                "second",
                arms(0, 10_000),
                salt="b",
                segments=(Segment(start=0, end=1000), Segment(start=2000, end=10_000)),
            ),
        )
        await stand.give(live(given, tests=two))
        await slots(connection, visitors)
        for visitor in visitors:
            expected = "first" if 1000 <= bucket("layer/web", visitor) < 2000 else "second"
            assert (await stand.record(vid=visitor))["test"] == expected
        await stand.give(live(given))
        assert set((await slots(connection, visitors)).values()) == {"blue"}
        ranges_left = await stand.api.map(next(iter((tmp_path / "run").glob("structure-*/ranges.map"))).as_posix())
        assert not ranges_left
        assert not stand.reloads


async def test_a_test_that_changes_never_shows_a_visitor_a_third_thing(tmp_path: Path) -> None:
    """While a test gets another salt and other ranges, each answer is of the old form or of the new one."""
    visitors = [str(uuid.uuid4()) for _ in range(40)]

    def form(salt: str, middle: int) -> tuple[Trial, ...]:
        green = VariantRange(variant="green", slot="green", start=0, end=middle)
        return (trial("t", [green], salt=salt),)

    async with edge(tmp_path, document(limits=FAST)) as stand:
        given = stand.document
        assert given is not None
        forms = [form("one", 2000), form("two", 7000)]
        await stand.give(live(given, tests=forms[0]))
        stop = asyncio.Event()
        allowed = {
            visitor: {"green" if bucket(each[0].salt, visitor) < each[0].ranges[0].end else "blue" for each in forms}
            for visitor in visitors
        }
        certain = [visitor for visitor, slots_ in allowed.items() if len(slots_) == 1]
        assert certain

        async def look() -> int:
            connection, count = await stand.connect(), 0
            while not stop.is_set():
                for visitor, slot in (await slots(connection, certain)).items():
                    assert {slot} == allowed[visitor]
                count += 1
            return count

        looking = asyncio.create_task(look())
        for number in range(1, 13):
            await stand.give(live(given, tests=forms[number % 2]))
        stop.set()
        assert await looking > 1


async def test_pods_come_and_go_without_a_reload_or_a_lost_request(tmp_path: Path) -> None:
    async with edge(tmp_path, document(limits=FAST)) as stand:
        first = stand.services["web-blue"]
        second, third = await Service("second").start(), await Service("third").start()
        async with load(stand) as seen:
            stand.pods("web-blue", first, second)
            await until(lambda: seen["second"] > 5, "the second pod is asked")
            stand.pods("web-blue", second, third)
            await until(lambda: seen["third"] > 5, "the third pod is asked")
            count = seen["web-blue"]
            await until(lambda: seen["third"] > 25, "it goes on")
            assert seen["web-blue"] - count <= 8, "the first pod gets nothing new"
            await first.stop()
        assert set(seen) == {"web-blue", "second", "third"}
        assert not stand.reloads
        servers = (await stand.api.servers())["web:blue"]
        assert {name: server.port for name, server in servers.items() if server.enabled} == {
            "s2": second.port,
            "s3": third.port,
        }, "a pod keeps its place, and one that comes takes a place that was free longer"
        await second.stop()
        await third.stop()


async def test_a_pod_that_ends_serves_only_when_nobody_else_does(tmp_path: Path) -> None:
    async with edge(tmp_path, document(limits=FAST)) as stand:
        other = await Service("other").start()
        ending = {"ready": False, "serving": True, "terminating": True}
        stand.pods("web-blue", stand.services["web-blue"], **ending)
        await asyncio.sleep(0)
        assert (await stand.ask("/")).status == 200
        stand.agent.sources.give_slice(endpoint_slice("web-blue/1", [other]))
        connection = await stand.connect()

        async def is_other() -> bool:
            return (await connection.ask("/")).echo["service"] == "other"

        await until(is_other, "the pod that is ready is asked")
        assert {(await connection.ask("/")).echo["service"] for _ in range(10)} == {"other"}
        await other.stop()


class load:  # noqa: N801 - reads as a phrase
    """Clients that keep asking on open connections; every answer must be a 200."""

    def __init__(self, stand: Edge, path: str = "/", clients: int = 4) -> None:
        self.stand, self.path, self.clients = stand, path, clients
        self.seen: Counter[str] = Counter()
        self.stop = asyncio.Event()
        self.tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Counter[str]:
        self.tasks = [asyncio.create_task(self.ask(number)) for number in range(self.clients)]
        await until(lambda: sum(self.seen.values()) > 3, "clients are served")
        return self.seen

    async def ask(self, number: int) -> None:
        connection = None
        while not self.stop.is_set():
            if connection is None:
                connection = await self.stand.connect()
            body = b"x" if number % 2 else b""
            answer = await connection.ask(self.path, method="POST" if body else "GET", body=body)
            assert answer.status == 200
            self.seen[answer.echo["service"]] += 1
            if answer.one("connection") == "close" or number == 0:
                connection.close()
                connection = None
            await asyncio.sleep(0.002)

    async def __aexit__(self, *_: object) -> None:
        self.stop.set()
        await asyncio.gather(*self.tasks)


async def test_a_reload_under_load_loses_no_request(tmp_path: Path) -> None:
    async with edge(tmp_path, document(limits=FAST)) as stand:
        async with load(stand) as seen:
            for number in range(4):
                routes = (EdgeRoute(path="/", service="web"), EdgeRoute(path=f"/{number}", service="pay"))
                count = sum(seen.values())
                await stand.give(document(limits=FAST, routes=routes))
                assert (await stand.ask(f"/{number}")).echo["service"] == "pay"
                await until(lambda count=count: sum(seen.values()) > count + 10, "clients are served on")
        assert stand.reloads == ["ok"] * 4
        assert len(list((tmp_path / "run").glob("structure-*"))) == 1


async def test_growth_beyond_the_places_reloads_once(tmp_path: Path) -> None:
    async with edge(tmp_path, document(limits=FAST)) as stand:
        pods = [await Service(f"pay-{number}").start() for number in range(5)]
        stand.pods("pay", *pods)
        seen: set[str] = set()

        async def all_seen() -> bool:
            seen.add((await stand.ask("/pay")).echo["service"])
            return len(seen - {"pay"}) == 5

        await until(all_seen, "all pods are asked")
        assert len((await stand.api.servers())["pay"]) == 8
        await until(lambda: stand.reloads == ["ok"], "it was one reload")
        for pod in pods:
            await pod.stop()
