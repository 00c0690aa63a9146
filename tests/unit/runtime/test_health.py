"""The probes, the figures and the log lines, as an outsider gets them."""

import json
import logging
from collections.abc import AsyncIterator

import httpx
import pytest

from flywheel.runtime.health import Server
from flywheel.runtime.logs import about, configure
from flywheel.runtime.metrics import Metrics


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server(0)
    yield server
    await server.stop()


async def get(server: Server, path: str) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        return await client.get(f"http://127.0.0.1:{server.port}{path}")


async def test_one_complaint_is_enough_and_all_are_told(server: Server) -> None:
    complaints: dict[str, str | None] = {"workers": None, "children": None}
    server.add_checks("/readyz", {name: lambda name=name: complaints[name] for name in complaints})
    await server.start()
    assert (await get(server, "/readyz")).status_code == 200
    complaints["children"] = "nothing heard of services for 200 s"
    answer = await get(server, "/readyz")
    assert answer.status_code == 503
    assert answer.text == "workers: ok\nchildren: nothing heard of services for 200 s\n"


async def test_the_figures_have_the_names_that_alerts_ask_for(server: Server) -> None:
    metrics = Metrics()
    metrics.observe_call("apply", "ok")
    metrics.observe_skipped("Deployment")
    metrics.reconcile_seconds.labels("Campaign", "ok").observe(0.01)
    metrics.follow_queue(lambda: 3, lambda: 1.5)
    metrics.follow_leader(lambda: True)
    server.add_metrics(metrics.registry)
    await server.start()
    text = (await get(server, "/metrics")).text
    for line in (
        'flywheel_api_calls_total{result="ok",verb="apply"} 1.0',
        'flywheel_writes_skipped_total{kind="Deployment"} 1.0',
        'flywheel_reconcile_duration_seconds_count{kind="Campaign",result="ok"} 1.0',
        "flywheel_queue_depth 3.0",
        "flywheel_queue_oldest_seconds 1.5",
        "flywheel_leader 1.0",
    ):
        assert line in text
    assert "flywheel_build_info{" in text


@pytest.fixture
def root_logger() -> AsyncIterator[None]:
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    yield
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    logging.captureWarnings(capture=False)


@pytest.mark.usefixtures("root_logger")
def test_a_json_line_names_its_object(capsys: pytest.CaptureFixture[str]) -> None:
    configure("json", "info")
    with about("Campaign", "shop", "spring"):
        logging.getLogger("flywheel.test").warning("It is %s.", "late")
    logging.getLogger("flywheel.test").info("Nothing in particular.")
    logging.getLogger("kopf.reactor").info("chatter")
    first, second = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert first.pop("time")
    assert first == {
        "level": "WARNING",
        "logger": "flywheel.test",
        "message": "It is late.",
        "kind": "Campaign",
        "namespace": "shop",
        "object": "spring",
    }
    assert "kind" not in second


@pytest.mark.usefixtures("root_logger")
def test_a_console_line_names_its_object(capsys: pytest.CaptureFixture[str]) -> None:
    configure("console", "info")
    with about("Campaign", "shop", "spring"):
        logging.getLogger("flywheel.test").info("It is late.")
    assert capsys.readouterr().err.rstrip().endswith("INFO    Campaign shop/spring: It is late.")
