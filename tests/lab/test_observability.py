"""What an operator tells of itself: probes, figures, log lines, and how it ends."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import yaml
from tests.lab.conftest import operated
from tests.lab.steps import CART, SECKILL, World, eventually, given_campaign, given_live_campaign

SECRET = "hunter2-of-the-till"


@contextmanager
def no_answer_from_admission(world: World) -> Iterator[None]:
    """Let every write of a Service in the namespace fail: its admission webhook is nowhere."""
    name = f"nowhere-{world.namespace}"
    webhook = {
        "name": "nowhere.example.com",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "timeoutSeconds": 1,
        "failurePolicy": "Fail",
        "clientConfig": {"url": "https://127.0.0.1:1/nowhere"},
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": world.namespace}},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["services"], "operations": ["CREATE"]}],
    }
    configuration = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": [webhook],
    }
    world.kubectl("create", "--filename=-", input=json.dumps(configuration))
    try:
        yield
    finally:
        world.kubectl("delete", "validatingwebhookconfiguration", name)


def test_the_probes_say_what_they_have_looked_at(world: World) -> None:
    alive, ready = world.operator.probe("/livez"), world.operator.probe("/readyz")
    assert (alive.status_code, ready.status_code) == (200, 200)
    assert {"workers: ok", "campaigns: ok", "children: ok"} <= set(alive.text.splitlines())
    assert {"store: ok", "api server: ok", "campaigns: ok", "children: ok"} <= set(ready.text.splitlines())


def test_the_figures_tell_what_was_done_and_name_no_object(world: World) -> None:
    operator = world.operator
    sale = given_live_campaign(world, SECKILL)
    assert operator.metric("flywheel_reconcile_duration_seconds_count", kind="Campaign", result="ok") >= 1
    assert operator.metric("flywheel_api_calls_total", verb="apply", result="ok") >= 6
    assert operator.metric("flywheel_leader") == 1
    assert operator.metric("flywheel_campaigns") >= 1
    assert operator.metric("flywheel_children") >= 5
    eventually(lambda: operator.metric("flywheel_queue_depth"), 0)
    assert operator.metric("flywheel_queue_oldest_seconds") < 5
    assert operator.metric("flywheel_build_info") == 1
    assert operator.metric("process_resident_memory_bytes") < 300 * 2**20
    text = operator.metrics_text()
    for name in ("flywheel_queue_depth", "flywheel_writes_skipped_total", "flywheel_missed_changes_total"):
        assert f"# HELP {name.removesuffix('_total')}" in text
    assert sale.name not in text
    assert world.namespace not in text


def test_log_lines_are_json_carry_the_object_and_keep_secrets(own_world: World) -> None:
    environment = [{"name": "PASSWORD", "value": SECRET}]
    own_world.objects.create(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "till"}, "stringData": {"key": SECRET}}
    )
    with no_answer_from_admission(own_world):
        # Admission takes a moment to know of its webhook; until then a Service may be made.
        sale = eventually(
            lambda: given_campaign(own_world, {**CART, "env": environment}), lambda made: made is not None
        )
        eventually(lambda: "failed calling webhook" in own_world.operator.log.read_text("utf-8"))
        assert own_world.operator.metric("flywheel_api_calls_total", result="server_error") > 0
        assert own_world.operator.probe("/livez").status_code == 200
    eventually(lambda: sale.said("Ready"), ("True", "Live"))
    assert own_world.operator.stop() == 0

    lines = [json.loads(line) for line in own_world.operator.log.read_text("utf-8").splitlines()]
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in lines)
    about = [line for line in lines if "failed calling webhook" in line["message"]]
    assert {(line["kind"], line["namespace"], line["object"]) for line in about} == {
        ("Campaign", own_world.namespace, sale.name)
    }
    assert {line["level"] for line in about} == {"WARNING"}
    assert lines[0]["message"] != lines[-1]["message"] == "The operator has ended."
    text = own_world.operator.log.read_text("utf-8")
    assert [secret for secret in secrets_of(own_world) if secret in text] == []
    own_world.operator.start()


def secrets_of(world: World) -> list[str]:
    """What must never be in a log: what a Campaign keeps to itself, and the credentials of the operator."""
    config = yaml.safe_load(world.cluster.kubeconfig.read_text())
    users = [user["user"] for user in config["users"]]
    kept = [str(user[name]) for user in users for name in ("client-key-data", "token", "password") if user.get(name)]
    return [SECRET, *kept]


def test_a_failing_api_holds_up_only_the_campaign_that_needs_it(world: World) -> None:
    with no_answer_from_admission(world):
        waiting = given_campaign(world, CART)
        portless = {name: value for name, value in CART.items() if name != "port"}
        other = given_campaign(world, portless)
        eventually(lambda: other.said("Ready"), ("True", "Live"))
        assert world.operator.probe("/readyz").status_code == 200
    eventually(lambda: waiting.said("Ready"), ("True", "Live"))


def test_the_whole_cluster_can_be_served(world: World, tmp_path: Path) -> None:
    # The namespace of the other operator is served by both for a moment: they do the same, so neither does harm.
    with operated(world.cluster, tmp_path, "--log-format=console", clusterwide=True) as everywhere:
        assert given_live_campaign(everywhere, CART).has("Deployment", "cart")


def test_an_operator_that_is_told_to_end_ends_well(world: World) -> None:
    given_live_campaign(world, CART)
    assert world.operator.stop() == 0
    assert world.operator.log.read_text("utf-8").splitlines()[-1].endswith("The operator has ended.")
    with pytest.raises(httpx.TransportError):
        world.operator.probe("/livez")
    world.operator.start()


def run_operator(*options: str, **environment: str) -> tuple[int, str]:
    program = str(Path(sys.executable).with_name("flywheel"))
    done = subprocess.run(
        [program, "operator", "--no-leader-election", "--namespace=x", "--log-format=console", *options],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stderr


def test_an_operator_that_cannot_start_says_why(world: World, tmp_path: Path) -> None:
    status, said = run_operator("--health-port=0", "--metrics-port=0", KUBECONFIG=str(tmp_path / "nowhere"))
    assert status == 2
    assert "Set KUBECONFIG to the path of a kubeconfig" in said
    assert "Traceback" not in said

    taken = f"--health-port={world.operator.health_port}"
    status, said = run_operator(taken, "--metrics-port=0", KUBECONFIG=str(world.cluster.kubeconfig))
    assert status == 2
    assert str(world.operator.health_port) in said
    assert "Traceback" not in said
