"""How right a rule is, as a person finds out: by a model, on the past, by labels, and by every command about fraud.

One shop for all of it, and one test after the other: what the crowd did in one is the past of the next.
"""

import csv
import json
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from tests.e2e.entry import MINUTES, NAME, order, tell
from tests.e2e.judged import WORKER, JudgedShop, claims
from tests.e2e.steps import Manifest, eventually
from tests.lab.cluster.client import Cluster
from tools.bootstrap.steps import REPOSITORY

EXAMPLE = REPOSITORY / "examples/fraud-model"
DESK, GATE, MODEL = "looks-twice", "stops-some", "odd-claims"
LABELLED = 12
CROWD = 30
SCRIPTS = 8
"""So many that not all of them are in the holdout of 5%, which goes by random ids."""
EVENTS: Manifest = {
    "declared": [
        {"name": "Order Completed"},
        {"name": "Coupon Claimed", "properties": [{"name": each, "type": "number"} for each in ("basket", "value")]},
    ]
}
LABELLER = """
import json, sys, urllib.request
token = open("/var/run/secrets/flywheel/token").read()
request = urllib.request.Request(sys.argv[1], sys.argv[2].encode(), {"Authorization": "Bearer " + token})
print(urllib.request.urlopen(request, timeout=30).read().decode())
"""
ON_THE_VOLUME = """
import pathlib, sys
found = [str(each) for each in pathlib.Path("/var/lib/flywheel").rglob("*")
         if each.is_file() and sys.argv[1].encode() in each.read_bytes()]
print(" ".join(found) or "nowhere")
"""


def fraudrule(name: str, **spec: Any) -> Manifest:
    """More than two claims of one visitor."""
    asked = {
        "campaign": NAME,
        "match": {"event": "Coupon Claimed"},
        "key": ["visitor"],
        "window": "1h",
        "condition": {"count": {"moreThan": 2}},
        "action": {"block": {"for": "30m", "scope": ["/browse"]}},
        "state": {"maximumKeys": 10_000},
        **spec,
    }
    return {"apiVersion": "flywheel.dev/v1alpha1", "kind": "FraudRule", "metadata": {"name": name}, "spec": asked}


class ProvenShop(JudgedShop):
    """The shop, and who came by."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        super().__init__(cluster, namespace)
        self.greedy: list[str] = []
        """Visitors who claimed three times."""

    def comes(self, times: int, **more: Any) -> str:
        """Let a new visitor claim so often; give the id in their cookie."""
        with self.visitor() as person:
            claims(person, times, **more)
            return person.cookies["fw_vid"]

    def file(self, path: Path, *rules: Manifest) -> str:
        """Write rules as a person keeps them."""
        path.write_text(yaml.safe_dump_all(rules))
        return str(path)

    def becomes(self, name: str, what: str, **wanted: Any) -> Manifest:
        """Wait until the status of a rule says so; give the status."""

        def so() -> bool:
            told = self.told(name)
            return {field: told.get(field) for field in wanted} == wanted

        eventually(so, f"{name}: {what} {wanted}", 2 * MINUTES, lambda: self.describe_rule(name))
        return self.told(name)

    def says(self, name: str, type_: str, status: str, words: str = "") -> None:
        """Wait for a condition of a rule, and for what it says."""

        def so() -> bool:
            said = self.said(type_, name)
            return said.get("status") == status and words in said.get("message", "")

        eventually(so, f"{name}: {type_}={status} {words}", 3 * MINUTES, lambda: self.describe_rule(name))

    def explained(self, who: str, count: int, *rules: str) -> list[Manifest]:
        """Ask for the verdicts about somebody, of some rules or of all, until there are so many."""
        found: list[Manifest] = []

        def are_there() -> bool:
            told = json.loads(self.fraud("explain", who, "-o", "json"))
            found[:] = [each for each in told if not rules or each["rule"] in rules]
            return len(found) == count

        eventually(are_there, f"{count} verdicts about {who}", MINUTES, lambda: json.dumps(found))
        return found


@pytest.fixture(scope="module")
def proven(installed: Cluster) -> Iterator[ProvenShop]:
    namespace = f"e2e-{uuid.uuid4().hex[:8]}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}}
    installed.kubectl("create", "-f", "-", input=json.dumps(manifest))
    shop = ProvenShop(installed, namespace)
    try:
        shop.becomes_ready(shop.apply(shop.campaign(events=EVENTS)))
        shop.write(fraudrule(DESK, action={"review": {"queue": "coupon-desk"}}, mode="Enforce", holdout="0%"))
        with shop.entered():
            yield shop
    finally:
        installed.kubectl("delete", "campaigns", "--all", "-n", namespace, "--timeout=120s", check=False)
        installed.kubectl("delete", "namespace", namespace, "--wait=false", check=False)


def test_the_past_says_whom_a_rule_would_have_found(proven: ProvenShop, tmp_path: Path) -> None:
    # Given people who claim twice, some who claim three times, and of both one who pays
    with ExitStack() as stack:
        honest, greedy = (stack.enter_context(proven.visitor()) for _ in range(2))
        claims(honest, 2)
        claims(greedy, 3)
        for number, each in enumerate((honest, greedy)):
            assert tell(each, order(f"past-{number}", 10.0)).status_code == 200
        proven.greedy.append(greedy.cookies["fw_vid"])
    proven.greedy += [proven.comes(3) for _ in range(LABELLED - 1)]
    proven.explained(proven.greedy[-1], 1, DESK)
    # When a person tries a rule on it, which is in no cluster yet
    file = proven.file(tmp_path / "rule.yaml", fraudrule("not-yet"))

    def tried() -> Manifest:
        [found] = json.loads(proven.fraud("backtest", file, "--since", "1h", "-o", "json"))
        return {name: found[name] for name in ("events", "hits", "keys", "customers")}

    expected = {"events": 2 + 3 * LABELLED, "hits": LABELLED, "keys": LABELLED, "customers": 1}
    eventually(lambda: tried() == expected, f"back-test {expected}", MINUTES, lambda: json.dumps(tried()))
    assert "1 of these visitors" in proven.fraud("backtest", file, "--since", "1h")
    # Then the operator finds the same by itself, and says so on the status
    proven.write(fraudrule("not-yet", mode="Shadow", backtest={"since": "1h"}))
    proven.says("not-yet", "Backtested", "True")
    told = proven.told("not-yet")["backtest"]
    assert {name: told[name] for name in expected} == expected
    assert told["generation"] == 1
    assert [point["moreThan"] for point in told["curve"]]
    proven.cluster.kubectl("delete", "fraudrule", "not-yet", "-n", proven.namespace)


def test_labels_by_service_and_by_command_become_precision(proven: ProvenShop, tmp_path: Path) -> None:
    shop, [*ours] = proven, proven.greedy
    # Given a rule that has found them, and that stops nobody
    [found] = shop.explained(ours[0], 1, DESK)
    assert (found["done"], found["action"], found["key"]) == ("Acted", "Review", {"visitor": ours[0]})
    # When a service of the shop says who was dishonest, with its own token
    labels = [{"visitor": each, "label": "Dishonest", "source": "chargeback"} for each in ours[:6]]
    assert _labelled_by_service(shop, labels) == {"labels": 6, "known": 6}
    # And a person of the rest, by file and one by one
    with (tmp_path / "labels.csv").open("w", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(["visitor", "label", "source"])
        writer.writerows([each, "Honest", "appeal"] for each in ours[6:9])
        writer.writerows([each, "Dishonest", ""] for each in ours[9:-1])
    assert "5 labels taken; 11 are known" in shop.fraud("label", "-f", str(tmp_path / "labels.csv"))
    said = shop.fraud("label", "--key", ours[-1], "--rule", DESK, "--as", "Dishonest", "--source", "confirmed")
    assert "1 label taken; 12 are known" in said
    # Then the status tells both shares, each with its interval
    nine_of_twelve = {"value": "75.0%", "labels": LABELLED}

    def measured() -> bool:
        precision = shop.told(DESK).get("precision", {})
        return {name: precision.get(name) for name in nine_of_twelve} == nine_of_twelve

    eventually(measured, f"precision {nine_of_twelve}", 2 * MINUTES, lambda: shop.describe_rule(DESK))
    told = shop.told(DESK)
    assert told["precision"]["interval"]["low"] < "75.0%" < told["precision"]["interval"]["high"]
    assert told["recall"]["value"] == "100.0%"


def _labelled_by_service(shop: ProvenShop, labels: list[Manifest]) -> Manifest:
    """Run a pod of the namespace as docs/fraud-worker.md has it; give what the worker has answered."""
    url = f"http://{WORKER}.flywheel-fraud:9105/v1/fraud/labels"
    body = json.dumps({"campaign": NAME, "labels": labels})
    token = {"serviceAccountToken": {"path": "token", "audience": "flywheel-analytics"}}
    container = {
        "name": "payments",
        "image": shop.cluster.images["operator"],
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-c", LABELLER, url, body],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "token", "mountPath": "/var/run/secrets/flywheel"}],
    }
    pod = {
        "restartPolicy": "Never",
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "volumes": [{"name": "token", "projected": {"sources": [token]}}],
    }
    metadata = {"name": "payments", "labels": {"flywheel.dev/asks-fraud": "true"}}
    shop.applied({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod})

    def is_over() -> bool:
        return shop.get("pod", "payments").get("status", {}).get("phase") in ("Succeeded", "Failed")

    eventually(is_over, "the service has labelled", 2 * MINUTES, shop.describe)
    said = shop.cluster.kubectl("logs", "payments", "-n", shop.namespace)
    assert shop.get("pod", "payments")["status"]["phase"] == "Succeeded", said
    answer: Manifest = json.loads(said)
    return answer


def test_a_rule_that_is_wrong_too_often_stops_nobody_any_more(proven: ProvenShop, tmp_path: Path) -> None:
    shop = proven
    # Given a rule that stops one in ten of those whom it finds, and has to be right
    shop.write(fraudrule(GATE, mode="Enforce", holdout="50%", share="20%", minimumPrecision="90%"))
    crowd = [shop.comes(3) for _ in range(CROWD)]
    eventually(
        lambda: shop.told(GATE).get("hits", 0) >= CROWD, "all are found", MINUTES, lambda: shop.describe_rule(GATE)
    )
    assert shop.told(GATE)["mode"] == "Enforce"
    # When it turns out that all of them were honest
    (tmp_path / "honest.csv").write_text("\n".join(["visitor", *crowd]))
    shop.fraud("label", "-f", str(tmp_path / "honest.csv"), "--as", "Honest", "--source", "appeal")
    # Then it goes to Shadow by itself, and says why
    shop.says(GATE, "Precise", "False", "90%")
    shop.becomes(GATE, "in Shadow", mode="Shadow")
    # And stops nobody any more
    before = shop.told(GATE)["blocked"]
    with shop.visitor() as person:
        claims(person, 3)
        shop.explained(person.cookies["fw_vid"], 1, GATE)
        assert person.get("/browse").status_code == 200
    assert shop.told(GATE)["blocked"] == before


def test_a_model_judges_and_its_rule_only_looks_at_first(proven: ProvenShop, tmp_path: Path) -> None:
    shop, file = proven, tmp_path / "model.skops"
    # Given the example's model, trained as its page says, and its rule, which is to stop people
    said = subprocess.run(
        [sys.executable, str(EXAMPLE / "train.py"), str(file)], check=True, capture_output=True, text=True, timeout=300
    ).stdout
    digest = next(word for word in said.split() if word.startswith("sha256:"))
    shop.cluster.kubectl("create", "configmap", "fraud", "-n", shop.namespace, f"--from-file={file}")
    rule = yaml.safe_load((EXAMPLE / "fraudrule.yaml").read_text())
    model = rule["spec"]["condition"]["score"]["model"]
    model["digest"], model["key"] = digest, file.name
    rule["spec"] |= {"campaign": NAME, "mode": "Enforce", "minimumPrecision": "90%"}
    rule["spec"] |= {"action": {"block": {"for": "30m", "scope": ["/browse"]}}}
    shop.write(rule)
    # When some claim as scripts do, and one as people do
    odd = {"properties": {"basket": 4, "value": 15}, "context": {"screen": {"width": 800}}}
    plain = {"properties": {"basket": 80, "value": 2}, "context": {"screen": {"width": 390}}}
    with shop.visitor() as script, shop.visitor() as person:
        claims(script, 1, **odd)
        claims(person, 1, **plain)
        scripts = [script.cookies["fw_vid"], *(shop.comes(1, **odd) for _ in range(SCRIPTS - 1))]
        # Then the model finds each of them, and a person can read how sure it was
        found = [shop.explained(each, 1)[0] for each in scripts]
        assert {each["rule"] for each in found} == {MODEL}
        assert all(each["observed"] > each["limit"] == 0.9 for each in found)
        assert shop.explained(person.cookies["fw_vid"], 0) == []
        # But nobody is stopped: a model that nobody has seen at work is in Shadow first
        done = Counter(each["done"] for each in found)
        assert done["Shadow"] > 0
        assert done["Shadow"] + done["HeldOut"] == SCRIPTS
        assert script.get("/browse").status_code == 200
    shop.becomes(MODEL, "only looks", mode="Shadow", evaluated=SCRIPTS + 1, wouldBlock=done["Shadow"])
    shop.says(MODEL, "Shadowed", "True", "Shadow first")
    # When somebody puts another file in its place, then the rule says which one is meant
    model["digest"] = "sha256:" + "0" * 64
    shop.applied(rule)
    shop.says(MODEL, "Stalled", "True", "digest")
    shop.cluster.kubectl("delete", "fraudrule", MODEL, "-n", shop.namespace)


def test_a_person_follows_and_corrects_a_rule_by_command(proven: ProvenShop, tmp_path: Path) -> None:
    shop, name = proven, "closes-browse"
    rule = fraudrule(name, mode="Enforce", holdout="0%")
    shop.write(rule)
    with shop.visitor() as hunter, shop.visitor() as other:

        def is_stopped(person: httpx.Client) -> bool:
            return person.get("/browse").status_code == 403

        def becomes(what: str, person: httpx.Client, *, stopped: bool) -> None:
            eventually(lambda: is_stopped(person) is stopped, what, MINUTES, lambda: shop.describe_rule(name))

        for each in (hunter, other):
            claims(each, 3)
            becomes("stopped", each, stopped=True)
        known, others = hunter.cookies["fw_vid"], other.cookies["fw_vid"]
        # When a person looks, then both are there, and why
        assert {known, others} <= _listed(shop, name)
        assert name in shop.fraud("list", "--rule", name)
        [why] = shop.explained(known, 1, name)
        assert (why["done"], why["action"], why["visitor"]) == ("Acted", "Block", known)
        assert "3 where the limit is 2 of Coupon Claimed in 1h" in why["said"]
        # When one decision is ended by its id, then it is that one alone
        [decision] = [each["id"] for each in _decisions(shop, name) if each["value"] == known]
        assert "Ended: Block" in shop.fraud("unblock", "--decision", decision)
        becomes("let go", hunter, stopped=False)
        assert is_stopped(other)
        # When somebody is left alone for a while, then what holds ends and nothing follows, until that is taken back
        said = shop.fraud("allow", others, "--of", "visitor", "--for", "1h", "--reason", "a regular customer")
        assert "about it ended" in said
        becomes("left alone", other, stopped=False)
        claims(other, 1)
        shop.explained(others, 2, name)
        assert not is_stopped(other)
        assert "a regular customer" in shop.fraud("list", "--allowed")
        shop.fraud("allow", others, "--of", "visitor", "--end")
        assert "Nobody is left alone" in shop.fraud("list", "--allowed")
        claims(other, 1)
        becomes("stopped again", other, stopped=True)
        # When all of the rule is ended, then the last one is free as well
        assert "Ended: Block" in shop.fraud("unblock", "--rule", name)
        becomes("free", other, stopped=False)
        assert _listed(shop, name) == set()
    # And what the cluster has can be had as Flink SQL
    shop.file(tmp_path / "rule.yaml", shop.get("fraudrule", name))
    kafka = ("--kafka", "kafka-0.kafka:9092")
    sql = shop.fraud("flink", str(tmp_path / "rule.yaml"), *kafka)
    assert f"flywheel.{shop.namespace}.{NAME}.events" in sql
    made = shop.fraud("flink", str(tmp_path / "rule.yaml"), *kafka, "--deployment", "--image", "shop/flink:2.3-kafka",
                      "--directory", "s3://flink/rules")  # fmt: skip
    assert [each["kind"] for each in yaml.safe_load_all(made)] == ["ConfigMap", "FlinkDeployment"]
    shop.cluster.kubectl("delete", "fraudrule", name, "-n", shop.namespace)


def _decisions(shop: ProvenShop, rule: str) -> list[Manifest]:
    found: list[Manifest] = json.loads(shop.fraud("list", "--rule", rule, "-o", "json"))["decisions"]
    return found


def _listed(shop: ProvenShop, rule: str) -> set[str]:
    return {each["value"] for each in _decisions(shop, rule)}


def test_who_is_erased_is_nowhere_at_the_worker(proven: ProvenShop) -> None:
    shop = proven
    gone, stays = shop.comes(3, userId="u-4711"), shop.comes(3, userId="u-4712")
    shop.fraud("label", "--visitor", gone, "--as", "Dishonest")
    for each in (gone, stays):
        shop.explained(each, 1, DESK)
    assert "journal" in _places(shop, gone)
    # When somebody asks for it
    said = shop.command("erase", "--campaign", NAME, "--visitor", gone)
    # Then nothing on the worker's volume names them, and others are as before
    assert "Every row is gone." in said
    assert "fraud worker" in said
    assert _places(shop, gone) == "nowhere"
    assert shop.explained(gone, 0) == []
    shop.explained(stays, 1, DESK)
    # And the same for a user, whom the store knows by the visitor as well
    shop.command("erase", "--campaign", NAME, "--user", "u-4712")
    assert _places(shop, "u-4712") == _places(shop, stays) == "nowhere"
    assert shop.is_loaded(DESK)


def _places(shop: ProvenShop, text: str) -> str:
    """Name the files of the worker's volume that have a text."""
    command = ["exec", WORKER, "-n", shop.namespace, "--", "python", "-c", ON_THE_VOLUME, text]
    return shop.cluster.kubectl(*command).strip()
