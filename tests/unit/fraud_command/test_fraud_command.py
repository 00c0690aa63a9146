"""`flywheel fraud`, against a worker as a process with the engine that is built in."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result
from tests.patience import PATIENCE
from tests.unit.fraud_worker.test_embedded import ruled
from tests.unit.fraud_worker.test_proof_worker import document
from tests.unit.fraud_worker.world import CAMPAIGN, KEYS, bearer, operator
from tests.unit.store.material import ROOT, free_ports

from flywheel.cli import main
from flywheel.commands import forward, fraud_labels
from flywheel.commands.fraud_access import JUDGE
from flywheel.fraud.batch import encode, pack
from flywheel.fraud.compiled_once import compile_once
from flywheel.fraud.words import Event


class Worker:
    """A worker as a process, and the edge that sends to it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port, self.admin_port = free_ports(2)
        self.batch = 0
        (directory / "keys.json").write_text(json.dumps(KEYS.documents()))
        rules = (ruled("burst", "address"), ruled("pair", "user", mode="Shadow"))
        (directory / "rules.json").write_bytes(document(*rules))
        self.start()

    @property
    def admin(self) -> str:
        return f"http://127.0.0.1:{self.admin_port}"

    def start(self) -> None:
        module, engine = "tests.unit.fraud_worker.worker_process", "flywheel.fraud.embedded:make_engine"
        command = [sys.executable, "-m", module, str(self.directory), str(self.port), engine]
        environment = {**os.environ, "PYTHONPATH": "operator:.", "ADMIN_PORT": str(self.admin_port)}
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=ROOT)
        self.wait(lambda: CAMPAIGN in self.state().get("campaigns", {}), "the worker is ready")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def state(self) -> dict[str, Any]:
        assert self.process.poll() is None, (self.directory / "log").read_text()
        try:
            answer = httpx.get(f"http://127.0.0.1:{self.port}/v1/fraud/state", headers=operator(), trust_env=False)
        except httpx.HTTPError:
            return {}
        found: dict[str, Any] = answer.json()
        return found if found.get("ready") else {}

    def wait(self, holds: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not holds():
            assert time.monotonic() < deadline, f"{what}: not within {PATIENCE:g} s"
            time.sleep(0.02)

    def claim(self, count: int, **sender: Any) -> None:
        self.batch += 1
        now = int(time.time() * 1000)
        events = [
            Event(id=f"m-{self.batch}-{n}", name="Coupon Claimed", time=now + n, arrived=now + n, **sender)
            for n in range(count)
        ]
        headers = {**bearer(f"{CAMPAIGN}-edge"), "X-Flywheel-Batch": f"edge-{now}/{self.batch}"}
        url, body = f"http://127.0.0.1:{self.port}/v1/fraud/events", encode(pack(events))
        assert httpx.post(url, content=body, headers=headers, trust_env=False).status_code == 200


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    # What is compiled once is there for the process as well.
    compile_once()
    made = Worker(tmp_path_factory.mktemp("fraud"))
    yield made
    made.kill()


def run(worker: Worker, *arguments: str, status: int = 0) -> Result:
    found = CliRunner().invoke(main, ["fraud", *arguments, "--url", worker.admin])
    assert found.exit_code == status, (found.output, found.exception)
    return found


def explained(worker: Worker, *who: str, count: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []

    def are_there() -> bool:
        found[:] = json.loads(run(worker, "explain", *who, "-o", "json").output)
        return len(found) >= count

    worker.wait(are_there, f"{count} verdicts")
    return found


def test_who_was_found_is_told_why(worker: Worker) -> None:
    worker.claim(3, address="198.51.100.7", user="u-7", visitor="v-7")
    explained(worker, "198.51.100.7", count=2)
    told = run(worker, "explain", "u-7").output
    assert "burst  Acted" in told
    assert "pair  Shadow" in told
    assert "user u-7: 3 where the limit is 2 of Coupon Claimed in 1m, rule pair" in told
    assert "Nothing was done: the rule is in Shadow; it would have been Block." in told
    assert "198.51.100.7" not in told, "the Campaign keeps no addresses"
    assert "No verdict is kept about nobody" in run(worker, "explain", "nobody").output
    assert "only the latest 1 are shown" in run(worker, "explain", "u-7", "--limit", "1").output


def test_what_a_client_made_up_does_not_command_the_terminal(worker: Worker) -> None:
    worker.claim(3, address="198.51.100.8", user="\x1b[2J\nu-8", visitor="v-8")
    explained(worker, "v-8", count=2)
    told = run(worker, "explain", "v-8").output
    assert "\x1b" not in told
    assert "\ufffd[2J\ufffdu-8" in told


def test_whom_one_lets_go_is_no_longer_listed(worker: Worker) -> None:
    worker.claim(3, address="198.51.100.9", user="u-9")
    assert "address 198.51.100.9" in run(worker, "list", "--rule", "burst").output
    held = json.loads(run(worker, "list", "-o", "json").output)["decisions"]
    [mine] = [each for each in held if each["value"] == "198.51.100.9"]
    assert "Ended: Block of address 198.51.100.9 by burst." in run(worker, "unblock", "198.51.100.9").output
    assert "Nothing of that holds" in run(worker, "unblock", "--decision", mine["id"], status=1).output
    worker.claim(3, address="198.51.100.9", user="u-9")
    allowed = run(worker, "allow", "198.51.100.0/24", "--for", "1h", "--reason", "ticket 4711").output
    assert "The address 198.51.100.0/24 is left alone by all rules until" in allowed
    assert "ended." in allowed
    assert "198.51.100.9" not in run(worker, "list").output
    assert "ticket 4711" in run(worker, "list", "--allowed").output
    # A worker that is killed forgets none of it.
    worker.kill()
    worker.start()
    worker.claim(3, address="198.51.100.9", user="u-9")
    assert "Nothing holds now." in run(worker, "list", "--rule", "burst").output
    assert "is no longer left alone" in run(worker, "allow", "198.51.100.0/24", "--end").output
    assert "Nobody is left alone by hand." in run(worker, "list", "--allowed").output


def test_labels_by_hand_and_by_file_count_and_survive_a_kill(worker: Worker, tmp_path: Path) -> None:
    for number in range(12):
        worker.claim(3, user=f"person-{number}", address=f"203.0.113.{number}")
    explained(worker, "person-11", count=2)
    lines = "".join(f"person-{number},chargeback,2026-11-20T08:00:00+08:00\n" for number in range(11))
    (tmp_path / "labels.csv").write_text(f"\ufeffuser,source,at\n{lines}", encoding="utf-8")
    told = run(worker, "label", "-f", str(tmp_path / "labels.csv"), "--as", "Dishonest").output
    assert told.startswith("11 labels taken; 11 are known")
    run(worker, "label", "--user", "person-0", "--as", "Honest", "--source", "appeal")
    run(worker, "label", "--key", "person-11", "--rule", "pair", "--as", "Dishonest")

    def precision() -> dict[str, Any]:
        rules = worker.state()["campaigns"][CAMPAIGN]["rules"]
        found: dict[str, Any] = next(each for each in rules if each["rule"] == "pair")["evidence"]["precision"]
        return found

    for _ in range(2):
        worker.wait(lambda: precision()["labels"] == 12, "the labels count")
        assert precision()["good"] == 11.0
        worker.kill()
        worker.start()


BAD_FILES = {
    "": "its first line names nobody",
    "user\n": "has no labels",
    "label,source\nHonest,x\n": "names nobody; the header has to be of event",
    "user,colour\nu,red\n": "there is no column 'colour'",
    "user,label\nu,Evil\n": "line 2: the label is 'Evil'",
    "user,label\n,Honest\n": "line 2: it names nobody",
    "user,visitor,label\nu,v,Honest\n": "line 2: it names visitor and user",
    "user,label\nu\n": "line 2: it has no label: add --as",
    "user,label\nu,Honest,x\n": "line 2: it has more values than the header has columns",
    "key,label\nk,Honest\n": "line 2: a key is that of a rule",
    "user,rule,label\nu,r,Honest\n": "line 2: a key is that of a rule",
    "user,label,at\nu,Honest,yesterday\n": "line 2: at is 'yesterday'",
    "user,label,at\nu,Honest,2026-11-20T08:00:00\n": "of which the offset is missing",
    'user,label\n"u,Honest\n': "is no CSV file in UTF-8",
    "user,label\n" + "u,Evil\n" * 9: "and 4 more lines",
}


@pytest.mark.parametrize("content", BAD_FILES, ids=lambda content: repr(content)[:40])
def test_a_file_that_is_wrong_is_refused_whole_with_the_line(worker: Worker, tmp_path: Path, content: str) -> None:
    file = tmp_path / "labels.csv"
    file.write_text(content)
    told = run(worker, "label", "-f", str(file), status=1).output
    assert BAD_FILES[content] in told


def test_a_file_that_is_no_text_is_refused(worker: Worker, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_bytes(b"user,label\n\xff\xfe,Honest\n")
    assert "is no CSV file in UTF-8" in run(worker, "label", "-f", str(tmp_path / "labels.csv"), status=1).output


def test_many_lines_are_sent_in_parts(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("key,rule,label\n" + "".join(f"k|{n},r,Honest\n" for n in range(2_500)))
    labels = fraud_labels.read(tmp_path / "labels.csv", None, "sweep")
    assert len(labels) == 2_500
    assert labels[7] == {"key": ["k", "7"], "rule": "r", "label": "Honest", "source": "sweep"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["unblock"], "exactly one of WHO, --rule and --decision"),
        (["unblock", "u-1"], "Say what 'u-1' is"),
        (["unblock", "42"], "Say what '42' is"),
        (["unblock", "u-1", "--rule", "r"], "exactly one of"),
        (["allow", "192.0.2.1"], "--reason"),
        (["label", "--user", "u"], "--as Dishonest or --as Honest"),
        (["label", "--as", "Honest"], "Say who"),
        (["label", "--user", "u", "--visitor", "v", "--as", "Honest"], "exactly one of --event"),
        (["label", "--key", "k", "--as", "Honest"], "give --key and --rule together"),
        (["label", "--user", "u", "--as", "Evil"], "'Evil' is not one of"),
        (["list", "--rule", "No Name"], "is no name"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_sent(
    worker: Worker, arguments: list[str], words: str
) -> None:
    assert words in run(worker, *arguments, status=2).output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["unblock", "192.0.2.99"], "Nothing of that holds: flywheel fraud list shows what does."),
        (["unblock", "--rule", "nobody"], "Nothing of that holds: its name may be another one."),
        (["unblock", "192.0.2.99", "--campaign", "sprnig"], "it knows spring. Name it with --campaign."),
        (["explain", "x", "--campaign", "sprnig"], "this worker judges nothing of 'sprnig'"),
        (["allow", "0.0.0.0/0", "--reason", "all"], "half of the world"),
        (["allow", "u", "--of", "user", "--for", "91d", "--reason", "long"], "at most 90 days"),
    ],
)
def test_what_the_worker_refuses_is_told_in_its_words(worker: Worker, arguments: list[str], words: str) -> None:
    assert words in run(worker, *arguments, status=1).output


def test_a_worker_that_is_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = CliRunner().invoke(main, ["fraud", "list", "--url", f"http://127.0.0.1:{free_ports(1)[0]}"])
    assert told.exit_code == 1
    assert "does not answer" in told.output
    kubectl = (
        '#!/bin/sh\necho "$@" >> "$0.arguments"\n[ "$1" = get ] && [ -f "$0.workers" ] && cat "$0.workers" && exit\n'
    )
    (tmp_path / "kubectl").write_text(f'{kubectl}echo "$1 not found" >&2; exit 1\n')
    (tmp_path / "kubectl").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    def listed() -> str:
        told = CliRunner().invoke(main, ["fraud", "list", "-n", "shop"])
        assert told.exit_code == 1
        return told.output

    assert "The fraud worker of the namespace shop cannot be reached: get not found" in listed()
    (tmp_path / "kubectl.workers").write_text("2")
    assert "The fraud worker of the namespace shop cannot be reached: port-forward not found" in listed()
    said = (tmp_path / "kubectl.arguments").read_text().splitlines()
    asked = "get statefulset flywheel-fraud --namespace=shop --ignore-not-found --output=jsonpath={.spec.replicas}"
    assert said[:2] == [asked, asked]
    forwarded = "port-forward --address=127.0.0.1 --namespace=shop pod/flywheel-fraud-{} :9107"
    assert set(said[2:]) <= {forwarded.format(number) for number in range(2)}
    assert forward.STORE.port != JUDGE.port


@pytest.fixture
def second(tmp_path: Path) -> Iterator[Worker]:
    made = Worker(tmp_path)
    # Its events have other ids than those of the first one, whatever was claimed there before.
    made.batch = 1_000
    yield made
    made.kill()


def test_all_workers_are_asked_and_told(worker: Worker, second: Worker) -> None:
    """Two workers, one of which has found somebody in one place, one in the other, and both where a key has moved."""

    def both(*arguments: str, status: int = 0) -> str:
        return run(worker, *arguments, "--url", second.admin, status=status).output

    worker.claim(3, address="198.51.100.21", user="u-21")
    second.claim(3, address="198.51.100.22", user="u-21")
    for each in (worker, second):
        each.claim(3, address="198.51.100.23", user="u-23")
        explained(each, "u-23", count=2)
    listed = both("list", "--rule", "burst")
    assert all(listed.count(f"198.51.100.{n} ") == 1 for n in (21, 22, 23)), listed
    told = json.loads(both("list", "--rule", "burst", "-o", "json"))
    assert told["total"] == len(told["decisions"])
    for each in (worker, second):
        explained(each, "u-21", count=2)
    found = json.loads(both("explain", "u-21", "-o", "json"))
    assert {each["rule"] for each in found} == {"burst", "pair"}
    assert len(found) == 4
    assert found == sorted(found, key=lambda each: -each["at"])
    assert len(json.loads(both("explain", "u-21", "-o", "json", "--limit", "3"))) == 3
    assert both("unblock", "198.51.100.23").count("Ended: Block of address 198.51.100.23 by burst.") == 1
    assert "198.51.100.23" not in both("list")
    assert "left alone by all rules" in both("allow", "198.51.100.20/30", "--for", "1h", "--reason", "an office")
    assert both("list", "--allowed").count("an office") == 1
    for each in (worker, second):
        assert "an office" in run(each, "list", "--allowed").output
    assert both("label", "--user", "u-23", "--as", "Honest").startswith("1 label taken;")
    both("allow", "198.51.100.20/30", "--end")
    second.kill()
    said = both("unblock", "198.51.100.21", status=1)
    assert "does not answer" in said
    assert "The other workers have done it: do it again" in said
    assert "198.51.100.21" not in run(worker, "list").output
    second.start()
