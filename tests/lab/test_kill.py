"""An operator that is killed again and again leaves the world as one that was left in peace.

Two namespaces get the same campaigns at the same time, and the same changes to them. In one the operator lives through;
in the other it is killed with SIGKILL fifty times, at random moments of its life.
"""

import multiprocessing
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
from tests.lab.cluster.api import wait_until
from tests.lab.cluster.client import Cluster
from tests.lab.disruption import Replica, namespace_of_its_own, seed_of, tails
from tests.lab.objects import Manifest, Objects
from tests.lab.steps import CART, PAY, SECKILL, eventually

KILLS = int(os.environ.get("FLYWHEEL_KILLS", "50"))
CAMPAIGNS = 12
EVERY = timedelta(seconds=4.5)
"""From the start of one campaign to the start of the next."""
SCHEDULE = {"prepareFor": "12s", "warmFor": "6s", "holdFor": "3s", "drainFor": "6s", "retainFor": "6s"}
LIVE = timedelta(seconds=8)
RETIRES_AFTER = 20.0
"""Seconds from the start of a campaign until it is over, drained and retained."""
READY_WITHIN = 60.0
END_WITHIN = 90.0
CAMPAIGN_LABEL = "flywheel.dev/campaign"

Twins = tuple[Objects, Objects]


@pytest.fixture
def twins(cluster: Cluster, definition: None) -> Iterator[Twins]:
    """Two namespaces."""
    with namespace_of_its_own(cluster, "killed") as killed, namespace_of_its_own(cluster, "steady") as steady:
        yield killed, steady


def test_fifty_kills_change_nothing(cluster: Cluster, twins: Twins, tmp_path: Path) -> None:
    disturbed, undisturbed = twins
    chance = random.Random(seed_of("test_kill"))
    begin = datetime.now(UTC) + timedelta(seconds=18)
    given_campaigns(twins, begin)
    author = Author(twins, begin)
    with a_replica(cluster, undisturbed, tmp_path / "undisturbed.log") as steady:
        when_the_operator_is_killed(cluster, disturbed, tmp_path, chance, author)
        with a_replica(cluster, disturbed, tmp_path / "last.log"):
            wait_until(author.is_done, "the end of the author's work", 120)
            for objects in twins:
                then_every_campaign_comes_to_its_end(objects, tmp_path)
        assert steady.running
    then_both_worlds_are_alike(disturbed, undisturbed)
    then_each_stage_was_announced_once(disturbed, undisturbed)
    then_nothing_is_left(cluster, disturbed)
    assert everything(cluster, disturbed) == everything(cluster, undisturbed)
    then_no_life_has_seen_a_mistake(tmp_path)


def a_replica(cluster: Cluster, objects: Objects, log: Path) -> Replica:
    return Replica(cluster, [objects.namespace], log, "--log-format=console")


# Given: the campaigns


def name_of(number: int) -> str:
    return f"wave-{number}"


def written(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")


def given_campaigns(twins: Twins, begin: datetime) -> None:
    """Apply campaigns one after the other and overlapping, so that at every moment something is under way."""
    for number in range(CAMPAIGNS):
        starts_at = begin + number * EVERY
        schedule = {**SCHEDULE, "startsAt": written(starts_at), "endsAt": written(starts_at + LIVE)}
        policy = {"deletionPolicy": "Orphan"} if number == ORPHANED else {}
        manifest = {
            "apiVersion": "flywheel.dev/v1alpha1",
            "kind": "Campaign",
            "metadata": {"name": name_of(number)},
            "spec": {"schedule": schedule, "services": services(number), **policy},
        }
        for objects in twins:
            objects.create(manifest)


def services(number: int, image: str = "shop/web:1") -> list[Manifest]:
    """Two or three services; the pods of the one with an autoscaler are never scheduled, the others have none."""
    return [{**each, "image": image} for each in ([SECKILL, CART, PAY] if number % 2 else [SECKILL, CART])]


# When: somebody changes the campaigns, and the operator is killed

DELETED_LIVE, DELETED_EARLY, NEW_IMAGE, ONE_SERVICE_LESS, PAUSED, SUSPENDED = 1, 2, 3, 4, 5, 6
EXTENDED, ENDED_EARLY, ORPHANED, DELETED_LATE, DELETED_AFTERWARDS = 7, 8, 9, 10, 11
"""The others are left alone."""
GONE = {DELETED_LIVE, DELETED_EARLY, ORPHANED, DELETED_LATE, DELETED_AFTERWARDS}


class Author:
    """Somebody who changes and deletes campaigns, each at its time, the same in both namespaces."""

    def __init__(self, twins: Twins, begin: datetime) -> None:
        self._twins, self._begin = twins, begin
        change, delete = self._change, self._delete
        self._due: list[tuple[datetime, Callable[[], None]]] = sorted(
            [
                self._at(DELETED_LIVE, 3, delete),
                self._at(DELETED_EARLY, -9, delete),
                self._at(NEW_IMAGE, 2, change, {"services": services(NEW_IMAGE, "shop/web:2")}),
                self._at(ONE_SERVICE_LESS, 2, change, {"services": services(ONE_SERVICE_LESS)[:1]}),
                self._at(PAUSED, 1, change, {"schedule": {"suspend": True}}),
                self._at(PAUSED, 5, change, {"schedule": {"suspend": False}}),
                self._at(SUSPENDED, -9, change, {"schedule": {"suspend": True}}),
                self._at(EXTENDED, 4, change, {"schedule": {"endsAt": self._moment(EXTENDED, 12)}}),
                self._at(ENDED_EARLY, 2, change, {"schedule": {"endsAt": self._moment(ENDED_EARLY, 3)}}),
                self._at(ORPHANED, 3, delete),
                self._at(DELETED_LATE, RETIRES_AFTER + 0.5, delete),
                self._at(DELETED_AFTERWARDS, RETIRES_AFTER + 8, delete),
            ],
            key=lambda entry: entry[0],
        )

    def is_done(self) -> bool:
        """Do what is due; tell whether nothing is left to do."""
        while self._due and self._due[0][0] <= datetime.now(UTC):
            self._due.pop(0)[1]()
        return not self._due

    def _at(self, number: int, seconds: float, act: Callable[..., None], *what: Any) -> Any:
        moment = self._begin + number * EVERY + timedelta(seconds=seconds)
        return moment, lambda: act(name_of(number), *what)

    def _moment(self, number: int, seconds: float) -> str:
        return written(self._begin + number * EVERY + timedelta(seconds=seconds))

    def _change(self, name: str, spec: Manifest) -> None:
        for objects in self._twins:
            objects.patch("Campaign", name, {"spec": spec})

    def _delete(self, name: str) -> None:
        for objects in self._twins:
            objects.delete("Campaign", name)


class Life(Replica):
    """One operator in a process forked from one that has loaded all modules: most of its life is work, not loading."""

    def begin(self) -> BaseProcess:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["flywheel.cli", "flywheel.runtime.operator"])
        process = context.Process(target=live, args=(self._command[1:], self._environment, str(self.log)))
        process.start()
        return process


def live(arguments: list[str], environment: dict[str, str], log: str) -> None:
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ.update(environment)
    from flywheel.cli import main

    main(arguments)


def when_the_operator_is_killed(
    cluster: Cluster, objects: Objects, directory: Path, chance: random.Random, author: Author
) -> None:
    """Let it live and die, again and again."""
    how_far: Counter[str] = Counter()
    early = False
    for number in range(KILLS):
        life = Life(cluster, [objects.namespace], directory / f"life-{number:02}.log")
        process = life.begin()
        # Some die while they read the world, never two in a row, and some while they work on it.
        early = not early and chance.random() < 0.6
        if early:
            live_for(chance.uniform(0.05, 1.5), author)
        else:
            wait_until(lambda life=life: author.is_done() is None or life.ready(), "readiness", READY_WITHIN)
            live_for(chance.uniform(0.0, 3.0), author)
        how_far["ready" if life.ready() else "not yet ready"] += 1
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL, life.tail()
    print(f"killed: {how_far}")


def live_for(seconds: float, author: Author) -> None:
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        author.is_done()
        time.sleep(min(left, 0.05))


# Then


def then_every_campaign_comes_to_its_end(objects: Objects, logs: Path) -> None:
    kept = {name_of(number) for number in set(range(CAMPAIGNS)) - GONE}

    def ended() -> object:
        found = {each["metadata"]["name"]: each for each in objects.select("Campaign")}
        return {name: is_over(objects, each) for name, each in found.items()}

    try:
        eventually(ended, dict.fromkeys(kept, True), within=END_WITHIN)
    except AssertionError as problem:
        raise AssertionError(f"{problem}\n{tails(logs)}") from None


def is_over(objects: Objects, manifest: Manifest) -> bool:
    status = manifest.get("status", {})
    return status.get("stage") == "Retired" and bool(objects.get("ConfigMap", f"{manifest['metadata']['name']}-report"))


def then_both_worlds_are_alike(disturbed: Objects, undisturbed: Objects) -> None:
    left, right = (
        {each["metadata"]["name"]: each for each in objects.select("Campaign")} for objects in (disturbed, undisturbed)
    )
    seen = passed = 0
    for name, twin in right.items():
        mine, its = transitions(left[name]), transitions(twin)
        # A stage in which nobody was alive is passed over; none comes twice, or in another order.
        assert is_part_of(mine, its), f"{name}: {mine} against {its}"
        assert mine[-1] == its[-1] == "Retired"
        assert outcome(left[name]) == outcome(twin), name
        if mine == its:
            assert removed(left[name]) == removed(twin), name
        seen, passed = seen + len(mine), passed + len(its)
    print(f"{seen} of {passed} transitions fell into a life that was long enough to see them")
    assert seen >= passed / 2


def outcome(manifest: Manifest) -> Manifest:
    """Give everything of a campaign's end that does not depend on the moment or on the namespace."""
    status, metadata = manifest["status"], manifest["metadata"]
    report = status["report"]
    return {
        "stage": status["stage"],
        "next": status.get("nextTransition"),
        "generation": (metadata["generation"], status["observedGeneration"]),
        "finalizers": metadata.get("finalizers"),
        "conditions": {each["type"]: (each["status"], each["reason"]) for each in status["conditions"]},
        "report": {key: report[key] for key in ("remaining", "checkedResources", "uncheckedResources")},
        "inventory": [(each["kind"], each["name"]) for each in status["inventory"]["entries"]],
        "services": status.get("services"),
    }


def removed(manifest: Manifest) -> list[Manifest]:
    found: list[Manifest] = manifest["status"]["report"]["removed"]
    return found


def transitions(manifest: Manifest) -> list[str]:
    return [each["stage"] for each in manifest["status"]["transitions"]]


def is_part_of(part: list[str], whole: list[str]) -> bool:
    rest = iter(whole)
    return all(each in rest for each in part)


def then_each_stage_was_announced_once(disturbed: Objects, undisturbed: Objects) -> None:
    told, told_to_twin = announcements(disturbed), announcements(undisturbed)
    assert set(told_to_twin.values()) == {1}
    assert set(told.values()) == {1}
    # Whether a deletion comes before or after the end of a removal that is under way is a matter of moments.
    removed = {key for key in told if key[1] == "Removed"}
    assert told.keys() - removed <= told_to_twin.keys()
    assert (name_of(DELETED_LIVE), "Removed") in removed
    assert {name for name, _ in removed} <= {name_of(number) for number in GONE - {ORPHANED}}
    for each in disturbed.select("Campaign"):
        name = each["metadata"]["name"]
        assert {reason for campaign, reason in told if campaign == name} >= set(transitions(each)), name


def announcements(objects: Objects) -> Counter[tuple[str, str]]:
    """Count the Events on campaigns by campaign and reason."""
    events = [each for each in objects.select("Event") if each["regarding"]["kind"] == "Campaign"]
    assert not [each for each in events if each.get("series") or each.get("deprecatedCount", 1) > 1]
    return Counter((each["regarding"]["name"], each["reason"]) for each in events)


def then_nothing_is_left(cluster: Cluster, objects: Objects) -> None:
    """Only the children of the one campaign that was told to leave them carry the label of a campaign."""
    orphans = everything(cluster, objects, f"--selector={CAMPAIGN_LABEL}={name_of(ORPHANED)}")
    assert everything(cluster, objects, f"--selector={CAMPAIGN_LABEL}") == orphans
    assert orphans["deployment.apps"] == orphans["service"] == 3


def everything(cluster: Cluster, objects: Objects, *selector: str) -> Counter[str]:
    """Count the objects of each kind in a namespace; Events are looked at elsewhere."""
    kinds = cluster.kubectl("api-resources", "--verbs=list", "--namespaced", "--output=name").split()
    searched = ",".join(each for each in kinds if not each.startswith("events") and ".metrics.k8s.io" not in each)
    found = cluster.kubectl("get", searched, f"--namespace={objects.namespace}", *selector, "--output=name")
    return Counter(line.partition("/")[0] for line in found.split())


def then_no_life_has_seen_a_mistake(logs: Path) -> None:
    for log in logs.glob("*.log"):
        text = log.read_text(errors="replace")
        assert "A mistake in flywheel" not in text, text
        assert "Traceback" not in text, text
