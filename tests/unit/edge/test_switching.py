"""Releases switch under load: no request is lost, none is sent twice, and none that comes later sees the old slot."""

import asyncio
from collections import Counter
from pathlib import Path

from tests.unit.edge.stand import Edge, Service, document, edge, live, until

from flywheel.edge.document import EdgeDocument, Limits, Preview

FAST = Limits(requests_per_second=1_000_000, connections_per_address=1_000)
SWITCHES = 50
CLIENTS = 8
PODS = 2
SLOTS = ("blue", "green")
NEXT = "0123456789abcdef"


class Shop:
    """Two groups of pods, the edge before them, and clients that keep asking and note what may answer them."""

    def __init__(self, stand: Edge, given: EdgeDocument) -> None:
        self.stand, self.given = stand, given
        self.groups: dict[str, list[Service]] = {slot: [] for slot in SLOTS}
        self.active = "blue"
        self.orders = 0
        """Switches that were ordered."""
        self.settled = True
        """Whether the last one has been carried out."""
        self.answered: Counter[str] = Counter()
        self.certain = 0
        """Requests of which it was certain where they had to go."""
        self.wrong: list[str] = []
        self.stop = asyncio.Event()

    async def fill(self, slot: str) -> None:
        """Give a slot new pods, and wait until HAProxy has them."""
        self.groups[slot] = [await Service(f"web-{slot}").start() for _ in range(PODS)]
        self.stand.pods(f"web-{slot}", *self.groups[slot])
        wanted = {each.port for each in self.groups[slot]}

        async def are_known() -> bool:
            servers = (await self.stand.api.servers())[f"web:{slot}"].values()
            return {each.port for each in servers if each.enabled} == wanted

        await until(are_known, f"HAProxy knows the pods of {slot}")

    async def switch(self, slot: str) -> None:
        """Make a slot the active one; when this returns, HAProxy has said that it has done so."""
        self.orders += 1
        self.settled = False
        self.active = slot
        previews = (Preview(service="web", slot=slot, revision=NEXT),)
        await self.stand.give(live(self.given, active={"web": slot}, previews=previews))
        self.settled = True

    async def visit(self, number: int) -> None:
        """Ask on one connection, every other client by POST; each request is told apart by its path."""
        connection = await self.stand.connect()
        headers = {"Cookie": "fw_vid=7d3c1f52-9c2b-4a7e-8b7e-0123456789ab"} if number % 4 < 2 else {}
        count = 0
        while not self.stop.is_set():
            count += 1
            path = f"/{number}/{count}"
            orders, slot, settled = self.orders, self.active, self.settled
            if number % 2:
                answer = await connection.ask(path, method="POST", body=b"an order", **headers)
            else:
                answer = await connection.ask(path, **headers)
            if answer.status != 200:
                self.wrong.append(f"{path}: {answer.status}")
                continue
            service = answer.echo["service"]
            self.answered[path] += 1
            if settled and orders == self.orders:
                self.certain += 1
                if service != f"web-{slot}":
                    self.wrong.append(f"{path}: {service} answered after the switch to {slot}")

    async def more(self, count: int = 3 * CLIENTS) -> None:
        """Wait for further requests since now."""
        goal = self.answered.total() + count
        await until(lambda: self.answered.total() >= goal, "clients are served")

    def arrived(self, pods: list[Service]) -> Counter[str]:
        """Count what reached pods, by path."""
        return Counter(raw.split(b" ", 2)[1].decode() for pod in pods for raw in pod.raw)


async def test_fifty_switches_under_load_lose_nothing_and_leave_nobody_behind(tmp_path: Path) -> None:
    given = document(limits=FAST)
    async with edge(tmp_path, given) as stand:
        shop = Shop(stand, given)
        for slot in SLOTS:
            await shop.fill(slot)
        clients = [asyncio.create_task(shop.visit(number)) for number in range(CLIENTS)]
        for number in range(SWITCHES):
            await shop.switch(SLOTS[(number + 1) % 2])
            await shop.more()
        shop.stop.set()
        await asyncio.gather(*clients)
        assert not shop.wrong
        assert shop.certain > SWITCHES * CLIENTS
        arrived = shop.arrived([*shop.groups["blue"], *shop.groups["green"]])
        assert arrived == shop.answered, "each request reached one pod, once"
        assert set(arrived.values()) == {1}
        assert all(pod.requests > SWITCHES for pods in shop.groups.values() for pod in pods)
        assert not stand.reloads


async def test_pods_of_the_old_slot_may_go_at_once(tmp_path: Path) -> None:
    """As soon as the switch is carried out, the old slot's pods end what they have begun and are gone."""
    given = document(limits=FAST)
    async with edge(tmp_path, given) as stand:
        shop = Shop(stand, given)
        await shop.fill("blue")
        stand.pods("web-green")
        clients = [asyncio.create_task(shop.visit(number)) for number in range(CLIENTS)]
        everybody = list(shop.groups["blue"])
        for number in range(10):
            old, new = SLOTS[number % 2], SLOTS[(number + 1) % 2]
            await shop.fill(new)
            everybody += shop.groups[new]
            await shop.switch(new)
            # In both orders: Kubernetes tells the pods and the edge at the same time.
            if number % 4 < 2:
                stand.pods(f"web-{old}")
            await asyncio.gather(*(pod.vanish() for pod in shop.groups[old]))
            stand.pods(f"web-{old}")
            await shop.more()
        shop.stop.set()
        await asyncio.gather(*clients)
        assert not shop.wrong
        arrived = shop.arrived(everybody)
        assert arrived == shop.answered
        assert set(arrived.values()) == {1}
        assert not stand.reloads
