"""The pods of the active slot die all at once: the slot before it answers, before and after anybody tells the edge."""

import asyncio
import contextlib
import csv
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.unit.edge.stand import Connection, Edge, Service, document, edge, live, until

from flywheel.edge.document import Backend, EdgeService, Limits, Preview, Share
from flywheel.edge.endpoints import Server
from flywheel.edge.quoting import DocumentProblem
from flywheel.edge.render import render
from flywheel.edge.runtime_api import ask

FAST = Limits(requests_per_second=1_000_000, connections_per_address=1_000)
SLOTS = tuple(Backend(slot=slot, service=f"web-{slot}", port="http", capacity=8) for slot in ("blue", "green"))
PAY = EdgeService(name="pay", backends=(Backend(service="pay", port="http", capacity=2),))
PLAIN = document(limits=FAST, services=(EdgeService(name="web", backends=SLOTS), PAY))
WITH = live(PLAIN, active={"web": "green"}, fallbacks={"web": "blue"})
WITHOUT = live(PLAIN, active={"web": "green"})
CLIENTS = 12
TOLD_AFTER = 0.15
"""Seconds until the EndpointSlice says that pods are gone, as in a real cluster."""


@dataclass
class Visit:
    """One request and what became of it."""

    path: str
    method: str
    began: float
    by: str = ""
    """Who answered; else the status, or that nothing was said."""


class Crowd:
    """Clients that keep asking on open connections, every other one by POST, and note what became of it."""

    def __init__(self, stand: Edge, path: str = "") -> None:
        self.stand, self.path = stand, path
        self.visits: list[Visit] = []
        self.stop = asyncio.Event()

    @contextlib.asynccontextmanager
    async def asking(self) -> AsyncIterator["Crowd"]:
        tasks = [asyncio.create_task(self._ask(number)) for number in range(CLIENTS)]
        try:
            await self.more()
            yield self
        finally:
            self.stop.set()
            await asyncio.gather(*tasks)

    async def _ask(self, number: int) -> None:
        connection: Connection | None = None
        count = 0
        while not self.stop.is_set():
            count += 1
            connection = connection or await self.stand.connect()
            visit = Visit(f"{self.path}/{number}/{count}", "POST" if number % 2 else "GET", time.monotonic())
            try:
                answer = await connection.ask(
                    visit.path, method=visit.method, body=b"an order" if number % 2 else b"", User_Agent=visit.path
                )
                visit.by = answer.echo["service"] if answer.status == 200 else str(answer.status)
            except (ConnectionError, asyncio.IncompleteReadError):
                visit.by = "nothing"
            self.visits.append(visit)
            if visit.by == "nothing" or answer.one("connection") == "close":
                connection.close()
                connection = None

    async def more(self, count: int = 4 * CLIENTS) -> None:
        """Wait for further answers since now."""
        goal = len(self.visits) + count
        await until(lambda: len(self.visits) >= goal, "clients are answered")

    def since(self, moment: float) -> Counter[str]:
        """Count who answered what began since a moment."""
        return Counter(each.by for each in self.visits if each.began >= moment)

    def lost(self) -> list[Visit]:
        return [each for each in self.visits if not each.by.startswith("web-")]


async def fill(stand: Edge, slot: str, count: int) -> list[Service]:
    pods = [await Service(f"web-{slot}").start() for _ in range(count)]
    for pod in pods:
        pod.delay = 0.005
    stand.pods(f"web-{slot}", *pods)
    ports = {each.port for each in pods}

    async def are_known() -> bool:
        servers = (await stand.api.servers())[f"web:{slot}"]
        return {each.port for name, each in servers.items() if each.enabled and name.startswith("s")} == ports

    await until(are_known, f"HAProxy knows the pods of {slot}")
    return pods


async def nobody_is_in(stand: Edge, backend: str) -> bool:
    servers = (await stand.api.servers())[backend]
    return not any(each.enabled for name, each in servers.items() if name.startswith("s"))


async def retries(stand: Edge) -> int:
    """Count how often HAProxy tried to connect anew, whomever."""
    raw = await ask(stand.layout.stats_socket, "show stat")
    table = csv.DictReader(raw.removeprefix("# ").splitlines())
    return sum(int(each["wretr"]) for each in table if each["svname"] == "BACKEND")


async def crash(pods: list[Service]) -> float:
    """Kill pods as a kernel does: whatever was under way is cut off, and who connects is refused."""
    for pod in pods:
        await pod.stop()
    for pod in pods:
        await pod.cut()
    return time.monotonic()


async def answers(stand: Edge, expected: str, path: str = "/") -> None:
    connection = await stand.connect()

    async def is_expected() -> bool:
        answer = await connection.ask(path)
        return (answer.echo["service"] if answer.status == 200 else str(answer.status)) == expected

    await until(is_expected, f"{expected} answers")


@pytest.mark.parametrize("pods", [1, 2, 6])
async def test_the_slot_before_answers_when_all_pods_die_at_once_under_load(tmp_path: Path, pods: int) -> None:
    async with edge(tmp_path, WITH) as stand:
        old, new = await fill(stand, "blue", 2), await fill(stand, "green", pods)
        crowd = Crowd(stand)
        async with crowd.asking():
            assert set(crowd.since(0)) == {"web-green"}
            died = await crash(new)
            await until(lambda: time.monotonic() > died + TOLD_AFTER, "the API server knows")
            stand.pods("web-green")
            await until(lambda: nobody_is_in(stand, "web:green"), "HAProxy knows that nobody is there")
            told = time.monotonic()
            await crowd.more()
            back = await fill(stand, "green", pods)
            returned = time.monotonic()
            await crowd.more()
        assert set(crowd.since(returned)) == {"web-green"}, "who is back is asked again at once"
        arrived = Counter(raw.split(b" ", 2)[1].decode() for pod in (*old, *new, *back) for raw in pod.raw)
        # A POST that a pod may have begun to work on cannot be sent again. Nothing else is lost, at any time.
        lost = crowd.lost()
        assert all(each.method == "POST" and each.began < told for each in lost), lost
        assert len({each.path.split("/")[1] for each in lost}) == len(lost), "nobody loses two"
        posts = {each.path for each in crowd.visits if each.method == "POST"}
        assert {count for path, count in arrived.items() if path in posts} <= {1}, "no POST is sent twice"
        record = await stand.record(ua=next(each.path for each in crowd.visits if each.by == "web-blue"))
        assert (record["svc"], record["slot"], record["st"]) == ("web", "blue", 200)
        record = await stand.record(ua=crowd.visits[-1].path)
        assert (record["slot"], record["st"]) == ("green", 200)
        # Who meets a dead pod waits for a second before another is tried; once it is out, nobody meets it.
        assert await retries(stand) <= 3 * CLIENTS
        assert not stand.reloads


async def test_what_was_under_way_on_the_dead_pods_is_answered_by_the_slot_before_if_it_is_a_get(
    tmp_path: Path,
) -> None:
    async with edge(tmp_path, WITH) as stand:
        await fill(stand, "blue", 1)
        new = await fill(stand, "green", 2)
        first, second, kept, fresh = [await stand.connect() for _ in range(4)]
        assert (await kept.ask("/")).status == 200
        for pod in new:
            pod.hold = asyncio.Event()
        asked = [
            asyncio.create_task(each) for each in (first.ask("/a"), second.ask("/b", Cookie="fw_ch=x", Accept="*/*"))
        ]
        posts = [asyncio.create_task(each.ask("/c", method="POST", body=b"an order")) for each in (kept, fresh)]
        await until(lambda: sum(pod.requests for pod in new) == 5, "all have begun")
        await crash(new)
        assert {(await each).echo["service"] for each in asked} == {"web-blue"}, "without a word of the API server"
        outcomes = await asyncio.gather(*posts, return_exceptions=True)
        # HAProxy 2.6 closes a connection that has had an answer before, and says 502 on one that has not.
        assert isinstance(outcomes[0], asyncio.IncompleteReadError)
        assert not isinstance(outcomes[1], BaseException)
        assert outcomes[1].status == 502


async def test_a_pod_that_listens_again_is_asked_again_without_a_word_of_the_api_server(tmp_path: Path) -> None:
    async with edge(tmp_path, WITH) as stand:
        await fill(stand, "blue", 1)
        new = await fill(stand, "green", 2)
        await crash(new)
        await answers(stand, "web-blue")
        for pod in new:
            await pod.start(pod.port)
        await answers(stand, "web-green")
        # Places that pods have left and come back to are watched as before.
        for _ in range(2):
            stand.pods("web-green")
            await answers(stand, "web-blue")
            stand.pods("web-green", *new)
            await answers(stand, "web-green")
        await crash(new)
        await answers(stand, "web-blue")
        for pod in new:
            await pod.start(pod.port)
        await answers(stand, "web-green")
        assert not stand.reloads


async def out_of(stand: Edge, backend: str) -> set[tuple[bool | None, bool]]:
    """Give whether the pods of a backend are watched, and whether they are in."""
    servers = (await stand.api.servers())[backend]
    return {(each.watched, each.up) for name, each in servers.items() if each.enabled and name.startswith("s")}


async def test_without_a_fallback_all_is_as_ever(tmp_path: Path) -> None:
    async with edge(tmp_path, WITHOUT) as stand:
        await fill(stand, "blue", 1)
        new = await fill(stand, "green", 2)
        pay = stand.services["pay"]
        assert await out_of(stand, "web:green") == {(False, True)}
        assert await out_of(stand, "pay") == {(None, True)}
        for service, name, path in ((new, "web-green", "/"), ([pay], "pay", "/pay")):
            await crash(service)
            stand.pods(name)
            await answers(stand, "503", path)
            assert (await stand.ask(path)).body == b"There is nobody to answer right now."
        assert not stand.reloads


async def test_a_fallback_comes_goes_and_may_have_nobody_either(tmp_path: Path) -> None:
    async with edge(tmp_path, WITHOUT) as stand:
        await fill(stand, "blue", 1)
        new = await fill(stand, "green", 2)
        stand.pods("web-green")
        await answers(stand, "503")
        await stand.give(WITH)
        await answers(stand, "web-blue")
        stand.pods("web-blue")
        await answers(stand, "503")
        await fill(stand, "blue", 2)
        await answers(stand, "web-blue")
        await stand.give(WITHOUT)
        await answers(stand, "503")
        # Who is taken out while there is a fallback is in again when there is none.
        await stand.give(WITH)
        stand.pods("web-green", *new)
        await answers(stand, "web-green")
        assert await out_of(stand, "web:green") == {(True, True)}
        await crash(new)
        await answers(stand, "web-blue")
        await until(lambda: _is(stand, {(True, False)}), "both are out")
        await stand.give(WITHOUT)
        assert await out_of(stand, "web:green") == {(False, True)}
        for pod in new:
            await pod.start(pod.port)
        await answers(stand, "web-green")
        await stand.give(WITH)
        assert await out_of(stand, "web:green") == {(True, True)}
        stand.pods("web-blue")
        await until(lambda: _is(stand, {(False, True)}), "nobody is watched while the fallback has nobody")
        assert not stand.reloads


async def _has(stand: Edge, backend: str, expected: set[tuple[bool | None, bool]]) -> bool:
    return await out_of(stand, backend) == expected


async def _is(stand: Edge, expected: set[tuple[bool | None, bool]]) -> bool:
    with contextlib.suppress(ConnectionError):
        await stand.ask("/")
    return await _has(stand, "web:green", expected)


async def test_after_a_switch_the_other_way_round(tmp_path: Path) -> None:
    async with edge(tmp_path, WITH) as stand:
        slots = {slot: await fill(stand, slot, 2) for slot in ("blue", "green")}
        for active, other in (("blue", "green"), ("green", "blue")):
            await stand.give(live(PLAIN, active={"web": active}, fallbacks={"web": other}))
            await answers(stand, f"web-{active}")
            assert await out_of(stand, f"web:{active}") == {(True, True)}
            await until(lambda other=other: _has(stand, f"web:{other}", {(False, True)}), "who was left is not watched")
            await crash(slots[active])
            await answers(stand, f"web-{other}")
            for pod in slots[active]:
                await pod.start(pod.port)
            await answers(stand, f"web-{active}")
        assert not stand.reloads


async def test_who_waits_in_a_dead_slot_while_visitors_are_brought_back_is_answered(tmp_path: Path) -> None:
    back = live(
        PLAIN, active={"web": "blue"}, previews=(Preview(service="web", slot="green", revision="0123456789abcdef"),)
    )
    async with edge(tmp_path, WITH) as stand:
        await fill(stand, "blue", 1)
        new = await fill(stand, "green", 6)
        connections = [await stand.connect() for _ in range(CLIENTS)]
        await crash(new)
        waiting = [
            asyncio.create_task(each.ask("/", User_Agent=f"waiting {number}"))
            for number, each in enumerate(connections)
        ]
        await stand.give(back)
        assert any(not each.done() for each in waiting), "nobody waited: the test proves nothing"
        assert {(await each).echo["service"] for each in waiting} == {"web-blue"}
        records = [await stand.record(ua=f"waiting {number}") for number in range(CLIENTS)]
        assert {(each["slot"], each["st"]) for each in records} == {("blue", 200)}
        connection = await stand.connect()

        async def shows_what_failed() -> bool:
            return (await connection.ask("/", X_FW_Preview="0123456789abcdef")).status == 503

        await until(shows_what_failed, "the preview is what failed, not what stands in for it")
        assert not stand.reloads


async def test_previews_and_shares_of_another_slot_do_not_fall_back(tmp_path: Path) -> None:
    given = live(
        PLAIN,
        active={"web": "blue"},
        fallbacks={"web": "green"},
        previews=(Preview(service="web", slot="green", revision="0123456789abcdef"),),
        shares=(Share(service="web", slot="green", basis_points=10_000),),
    )
    async with edge(tmp_path, given) as stand:
        await answers(stand, "web-green")
        stand.pods("web-green")
        await answers(stand, "503")
        assert (await stand.ask("/", X_FW_Preview="0123456789abcdef")).status == 503


async def test_a_haproxy_that_starts_anew_falls_back_as_before(tmp_path: Path) -> None:
    async with edge(tmp_path, WITH) as stand:
        await stand.stop()
        await crash([stand.services["web-green"]])
        await stand.start_haproxy()
        await answers(stand, "web-blue")
        await stand.services["web-green"].start(stand.services["web-green"].port)
        await answers(stand, "web-green")


def test_a_fallback_is_no_new_structure_and_puts_its_pods_behind_the_active_slot() -> None:
    pods = {
        "web:blue": (Server("10.0.0.1", 80), None),
        "web:green": (None, Server("10.0.0.2", 80), Server("10.0.0.3", 80, draining=True)),
    }
    plain = render(live(PLAIN, active={"web": "green"}), pods)
    turned = render(live(PLAIN, active={"web": "blue"}, fallbacks={"web": "green"}), pods)
    assert plain.structure == turned.structure
    enabled = {
        name: {place: (each.address, each.weight, each.watched) for place, each in group.items() if each.enabled}
        for name, group in turned.servers.items()
    }
    assert enabled == {
        "web:blue": {"s1": ("10.0.0.1", 100, True), "f2": ("10.0.0.2", 100, False), "f3": ("10.0.0.3", 0, False)},
        "web:green": {"s2": ("10.0.0.2", 100, False), "s3": ("10.0.0.3", 0, False)},
        "pay": {},
    }
    assert not any(each.watched for group in plain.servers.values() for each in group.values())
    assert [name.startswith("f") for name in turned.servers["web:blue"]] == [False] * 2 + [True] * 3
    assert list(turned.servers["pay"]) == ["s1", "s2"]
    # Without anybody to fall back to, who cannot be connected is tried again as ever.
    alone = render(live(PLAIN, active={"web": "blue"}, fallbacks={"web": "green"}), {"web:blue": pods["web:blue"]})
    assert not any(each.watched for each in alone.servers["web:blue"].values())


@pytest.mark.parametrize(
    ("path", "changes"),
    [
        ("live.fallbacks['web']", {"fallbacks": {"web": "red"}}),
        ("live.fallbacks['none']", {"fallbacks": {"none": "blue"}}),
        ("live.fallbacks['web']", {"fallbacks": {"web": "blue"}}),
        ("live.fallbacks['web']", {"active": {"web": "green"}, "fallbacks": {"web": "green"}}),
    ],
)
def test_a_fallback_that_cannot_be_one_is_refused(path: str, changes: dict[str, Any]) -> None:
    with pytest.raises(DocumentProblem) as raised:
        render(live(PLAIN, **changes), {})
    assert raised.value.path == path
