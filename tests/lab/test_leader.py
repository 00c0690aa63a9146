"""Of two replicas exactly one writes, whatever happens to it: ended, killed, or frozen and woken again."""

import json
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.lab.cluster.client import Cluster
from tests.lab.disruption import Replica, namespace_of_its_own, seed_of
from tests.lab.objects import Manifest, Objects
from tests.lab.steps import CART, PAY, Sale, World, always, eventually, given_campaign
from tests.patience import PATIENCE

LEASE = 5
"""Seconds."""
LONG_LEASE = 60
HAND_OVER = LONG_LEASE - 20
"""Seconds until a standby leads whose leader has given the Lease up: long before it would have run out."""
ROUNDS = 5
CALM = 12
"""Looks in a row that must be alike before the world counts as at rest: a busy machine is slow to write."""
MANY = 6


class Pair:
    """Replicas that stand for election in one namespace, and the campaigns that they serve."""

    def __init__(
        self, cluster: Cluster, objects: Objects, directory: Path, stack: ExitStack, lease: int = LEASE
    ) -> None:
        self.lease = lease
        self.world = World(cluster, objects, Replica(cluster, [], directory / "none.log"))
        self._cluster, self._directory, self._stack = cluster, directory, stack
        self.replicas: list[Replica] = []

    @property
    def objects(self) -> Objects:
        return self.world.objects

    def add(self) -> Replica:
        """Start one more replica and wait until it is ready."""
        lease = [f"--lease-namespace={self.objects.namespace}", f"--lease-duration={self.lease}s", "--leader-election"]
        log = self._directory / f"replica-{len(self.replicas)}.log"
        replica = Replica(self._cluster, [self.objects.namespace], log, "--log-format=console", *lease)
        self.replicas.append(replica)
        self._stack.callback(replica.end)
        replica.start()
        return replica

    def leaders(self) -> list[Replica]:
        return [each for each in self.replicas if each.running and each.leads()]

    def leader(self) -> Replica:
        """Wait until one leads."""
        (one,) = eventually(self.leaders, lambda found: len(found) == 1, within=PATIENCE)
        return one

    def versions(self) -> dict[tuple[str, str], Any]:
        """Everything that can be written to: equal before and after means that nobody wrote."""
        return {key: version for sale in self.world.made for key, version in sale.versions().items()}


@pytest.fixture
def pair(cluster: Cluster, definition: None, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Pair]:
    with namespace_of_its_own(cluster, "pair") as objects, ExitStack() as stack:
        made = Pair(cluster, objects, tmp_path, stack, getattr(request, "param", LEASE))
        made.add()
        made.leader()
        made.add()
        yield made


def test_one_leads_and_a_killed_leader_is_followed(pair: Pair) -> None:
    first = pair.leader()
    standby = next(each for each in pair.replicas if each is not first)
    given_many(pair)
    eventually(lambda: all_have(pair, "shop/cart:1"))
    # The standby is ready, holds everything in memory, and has written nothing but its name where it may.
    assert standby.ready()
    eventually(lambda: standby.metric("flywheel_children") == first.metric("flywheel_children"))
    assert standby.metric("flywheel_api_calls_total", verb="apply") == 0
    always(pair.leaders, lambda found: found == [first], during=2)

    with_new_image(pair, "shop/cart:2")
    first.kill()
    killed_at = time.monotonic()
    eventually(standby.leads, within=PATIENCE, why="the standby leads")
    print(f"killed: the standby leads after {time.monotonic() - killed_at:.1f} s")
    eventually(lambda: all_have(pair, "shop/cart:2"))


@pytest.mark.parametrize("pair", [LONG_LEASE], indirect=True)
def test_a_leader_that_ends_hands_over_at_once(pair: Pair) -> None:
    first = pair.leader()
    standby = next(each for each in pair.replicas if each is not first)
    given_many(pair)
    ended_at = time.monotonic()
    stopper = threading.Thread(target=first.stop)
    stopper.start()
    eventually(standby.leads, within=HAND_OVER, why="the standby leads")
    print(f"ended: the standby leads after {time.monotonic() - ended_at:.1f} s")
    stopper.join()
    assert f"{pair.objects.namespace}/flywheel-operator is released" in first.tail()
    eventually(lambda: all_have(pair, "shop/cart:1"))


def test_a_frozen_leader_writes_nothing_after_it_wakes(pair: Pair) -> None:
    """Frozen at random moments in the middle of its work, so that it wakes with writes at hand that are out of date."""
    chance = random.Random(seed_of("test_leader"))
    given_many(pair)
    eventually(lambda: all_have(pair, "shop/cart:1"))
    for number in range(ROUNDS):
        frozen = pair.leader()
        standby = next(each for each in pair.replicas if each.running and each is not frozen)
        with_new_image(pair, f"shop/cart:{number}-lost")
        at_moment(chance.uniform(0.0, 0.35))
        frozen.send(signal.SIGSTOP)
        eventually(standby.leads, within=PATIENCE, why="the standby leads")
        with_new_image(pair, f"shop/cart:{number}-kept")
        eventually(lambda image=f"shop/cart:{number}-kept": all_have(pair, image) and all_settled(pair))
        before = settled_versions(pair)

        frozen.send(signal.SIGCONT)
        assert frozen.exit_status(PATIENCE) not in (0, -signal.SIGKILL), frozen.tail()
        assert "has been taken by" in frozen.tail()
        then_nothing_was_written(pair, before, frozen)
        pair.add()
    always(pair.versions, lambda seen: seen == before, during=3)


def then_nothing_was_written(pair: Pair, before: dict[tuple[str, str], Any], frozen: Replica) -> None:
    changed = [key for key, version in pair.versions().items() if before.get(key) != version]
    written = [pair.objects.read(*key) for key in changed]
    assert not written, f"{json.dumps(written, indent=1)}\n{frozen.tail()}\n{pair.leader().tail()}"


def given_many(pair: Pair) -> None:
    for _ in range(MANY):
        given_campaign(pair.world, CART, PAY)


def with_new_image(pair: Pair, image: str) -> None:
    for sale in pair.world.made:
        sale.edit(services=[{**CART, "image": image}, {**PAY, "image": image}])


def at_moment(seconds: float) -> None:
    """Let a moment pass that the test has drawn."""
    time.sleep(seconds)


def all_have(pair: Pair, image: str) -> bool:
    return all(image_of(sale, service) == image for sale in pair.world.made for service in ("cart",))


def image_of(sale: Sale, service: str) -> str:
    pod: Manifest = sale.child("Deployment", service)["spec"]["template"]["spec"]
    return str(pod["containers"][0]["image"])


def all_settled(pair: Pair) -> bool:
    return all(sale.settled and sale.said("Ready")[0] == "True" for sale in pair.world.made)


def settled_versions(pair: Pair) -> dict[tuple[str, str], Any]:
    """Wait until nobody writes any more, neither the operator nor Kubernetes; give what there is then."""
    seen = [pair.versions()]

    def calm() -> bool:
        seen.append(pair.versions())
        return len(seen) > CALM and all(each == seen[-1] for each in seen[-CALM:])

    eventually(calm, why="a world at rest")
    return seen[-1]
