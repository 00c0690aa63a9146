"""The prometheus gate against a real Prometheus, and against what only says that it is one."""

import base64
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from aiohttp import web
from tests.answering import ManyAtOnce
from tests.patience import PATIENCE
from tests.ports import free_port
from tests.unit.gate.measuring import NOW, own_certificate, read, serving, talking, target

from flywheel.api.gate_measured import PrometheusGate
from flywheel.kube.errors import ApiError
from flywheel.release.gate.calls import Clients
from flywheel.release.gate.measurement import LONGEST_MESSAGE, Measurement, Outcome
from flywheel.release.gate.prometheus import measure_prometheus

# Two slots of which green fails five times as often; a third slot whose name wants to break out of its text.
ODD = 'x"} or vector(1) # \\ 券'
METRICS = """\
# TYPE errors gauge
errors{slot="blue"} 2
errors{slot="green"} 10
errors{slot="red"} NaN
errors{slot="none"} 0
errors{slot="inf"} +Inf
"""


class Exporter(BaseHTTPRequestHandler):
    """Figures that never change."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        odd = ODD.replace("\\", "\\\\").replace('"', '\\"')
        self.wfile.write(f'{METRICS}errors{{slot="{odd}"}} 7\n'.encode())

    def log_message(self, *_args: object) -> None:
        pass


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    home, port = tmp_path_factory.mktemp("prometheus"), free_port()
    exporter = ManyAtOnce(("127.0.0.1", 0), Exporter)
    threading.Thread(target=exporter.serve_forever, daemon=True).start()
    settings = {
        "global": {"scrape_interval": "5s", "scrape_timeout": "5s"},
        "scrape_configs": [
            {"job_name": "slots", "static_configs": [{"targets": [f"127.0.0.1:{exporter.server_port}"]}]}
        ],
    }
    (home / "prometheus.yml").write_text(yaml.safe_dump(settings))
    command = [
        "prometheus",
        f"--config.file={home / 'prometheus.yml'}",
        f"--storage.tsdb.path={home / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "GOMAXPROCS": "2"})
    try:
        _await_samples(f"http://127.0.0.1:{port}", home / "log")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)
        exporter.shutdown()
        exporter.server_close()


def _await_samples(address: str, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            found = httpx.get(f"{address}/api/v1/query", params={"query": "errors"}, trust_env=False).json()
            if len(found["data"]["result"]) == 6:
                return
        except (httpx.TransportError, ValueError, KeyError):
            pass
        time.sleep(0.1)
    raise AssertionError(f"no samples within {PATIENCE:g} s: {log.read_text()[-2000:]}")


@pytest.fixture
async def clients() -> AsyncIterator[Clients]:
    made = Clients(allow_loopback=True)
    yield made
    await made.close()


async def no_secret(namespace: str, name: str) -> Mapping[str, bytes] | None:
    raise AssertionError("no Secret is named")


async def measured(
    clients: Clients, address: str, read_secret: Any = no_secret, seen: Any = None, now: Any = None, **fields: Any
) -> Measurement:
    gate = read(PrometheusGate, **{"address": address, **fields})
    now = now or datetime.now(UTC)
    found = await measure_prometheus(
        gate, seen or target(since=now - timedelta(minutes=9)), clients, read_secret, now=now
    )
    assert len(found.message) <= LONGEST_MESSAGE
    return found


OF_SLOT = 'errors{slot="{{slot}}"}'


@pytest.mark.parametrize(
    ("fields", "outcome", "says"),
    [
        ({"query": OF_SLOT, "max": 10}, "Success", "The result is 10 (at most 10)"),
        ({"query": OF_SLOT, "max": 9.5}, "Failure", "The result is 10, wanted at most 9.5"),
        ({"query": OF_SLOT, "min": 11, "max": 12}, "Failure", "wanted at least 11"),
        ({"query": "scalar(errors{slot='blue'})", "max": 2}, "Success", "The result is 2"),
        ({"query": "42", "min": 42}, "Success", "The result is 42"),
        ({"query": "errors", "max": 1}, "Error", "6 results instead of one: aggregate them, such as with sum(...)"),
        ({"query": "errors[5m]", "max": 1}, "Error", "is a matrix instead of one number"),
        ({"query": "'text'", "max": 1}, "Error", "is a string instead of one number"),
        ({"query": "nonsense(", "max": 1}, "Error", "parse error"),
        ({"query": "missing", "max": 1}, "NoData", "no series matches it"),
        ({"query": "errors{slot='red'}", "max": 1}, "NoData", "NaN"),
        ({"query": "errors{slot='none'} / 0", "max": 1}, "NoData", "NaN"),
        ({"query": "errors{slot='inf'}", "max": 1}, "Failure", "infinite"),
        ({"query": OF_SLOT, "maxIncrease": "400%"}, "Success", "The result is 10 (at most 400% above the active"),
        ({"query": OF_SLOT, "maxIncrease": "399%"}, "Failure", "the active slot's 2, which is 9.98"),
        ({"query": OF_SLOT, "maxDifference": 8}, "Success", "at most 8 more than the active slot's 2, which is 10"),
        ({"query": OF_SLOT, "maxDifference": 7.9}, "Failure", "which is 9.9"),
        ({"query": "count_over_time(errors{slot='{{slot}}'}[{{window}}])", "min": 1}, "Success", ""),
    ],
)
async def test_one_number_is_held_against_what_is_wanted(
    prometheus: str, clients: Clients, fields: dict[str, Any], outcome: str, says: str
) -> None:
    found = await measured(clients, prometheus, **fields)
    assert (found.outcome.value, says in found.message) == (outcome, True), found.message


async def test_without_an_active_slot_there_is_nothing_to_compare_with(prometheus: str, clients: Clients) -> None:
    for active in ("", "missing", "red", "inf"):
        found = await measured(
            clients, prometheus, seen=target(active_slot=active), query=OF_SLOT, maxIncrease="20%", max=99
        )
        assert (found.outcome, "nothing to compare with" in found.message) == (Outcome.NO_DATA, True), found.message


@pytest.mark.parametrize("quotes", ['"', "'"])
async def test_a_name_cannot_break_out_of_its_text(prometheus: str, clients: Clients, quotes: str) -> None:
    query = f"errors{{slot={quotes}{{{{slot}}}}{quotes}}}"
    for slot, value in ((ODD, "7"), (ODD.replace("x", "y"), ""), ('"} or errors{slot="blue', ""), ("' or '", "")):
        found = await measured(clients, prometheus, seen=target(slot=slot), query=query, min=0)
        assert found.value == value, found.message
        assert found.outcome is (Outcome.SUCCESS if value else Outcome.NO_DATA), found.message


async def test_after_the_switch_the_old_slot_is_looked_at_as_it_was_before(clients: Clients) -> None:
    asked: list[tuple[str, float]] = []

    async def note(request: web.Request) -> web.Response:
        form = await request.post()
        asked.append((str(form["query"]), float(str(form["time"]))))
        return web.json_response({"status": "success", "data": {"resultType": "scalar", "result": [1, "3"]}})

    since = NOW - timedelta(seconds=40)
    fields = {"query": "rate(x{slot='{{slot}}',r='{{revision}}'}[{{window}}])", "maxIncrease": "0%", "window": "10m"}
    async with serving(note) as address:
        for promoted in (False, True):
            seen = target(since=since, promoted=promoted)
            found = await measured(clients, address, seen=seen, now=NOW, **fields)
            assert found.outcome is Outcome.SUCCESS, found.message
    own = ("rate(x{slot='green',r='7f3a9c'}[40s])", NOW.timestamp())
    assert asked == [
        own,
        ("rate(x{slot='blue',r='1b2c3d'}[40s])", NOW.timestamp()),
        own,
        ("rate(x{slot='blue',r='1b2c3d'}[600s])", since.timestamp()),
    ]


def vector(*values: str) -> dict[str, Any]:
    return {
        "status": "success",
        "data": {"resultType": "vector", "result": [{"metric": {}, "value": [1, each]} for each in values]},
    }


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (200, b"<html>login</html>", "not as a Prometheus does"),
        (200, b"", "not as a Prometheus does"),
        (200, b"[1]", "not as a Prometheus does"),
        (200, b"[" * 50_000, "not as a Prometheus does"),
        (302, b"", "answered 302"),
        (401, b"Unauthorized", "answered 401"),
        (503, json.dumps({"status": "error", "errorType": "unavailable", "error": "starting"}).encode(), "starting"),
        (200, b'{"status":"success"}', "cannot be read"),
        (200, b'{"status":"success","data":{"resultType":"vector","result":[1]}}', "cannot be read"),
        (200, b'{"status":"success","data":{"resultType":"vector","result":{"a":1}}}', "cannot be read"),
        (200, b'{"status":"success","data":{"resultType":"scalar","result":[1,{}]}}', "cannot be read"),
        (200, b'{"status":"success","data":{"resultType":"vector","result":[{"histogram":[]}]}}', "native histogram"),
        (200, b'{"status":"success","data":[' + b"1," * 600_000 + b"1]}", "more than 1 MiB"),
        (200, json.dumps(vector("1", "2")).encode(), "aggregate"),
    ],
)
async def test_whatever_else_answers_there_is_a_measurement(
    clients: Clients, status: int, body: bytes, says: str
) -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=status, body=body)

    async with serving(answer) as address:
        found = await measured(clients, address, query="up", max=1)
    assert (found.outcome, says in found.message) == (Outcome.ERROR, True), found.message
    assert "login" not in found.message


async def test_nobody_there_says_nothing_of_the_revision(clients: Clients) -> None:
    for address in (f"http://127.0.0.1:{free_port()}", "http://nobody.invalid"):
        found = await measured(clients, address, query="up", max=1)
        assert (found.outcome, "could not be asked" in found.message) == (Outcome.ERROR, True), found.message
    async with talking(b"", then_wait=True) as address:
        found = await measured(clients, address, query="up", max=1, requestTimeout="1s")
        assert (found.outcome, "within 1 s" in found.message) == (Outcome.ERROR, True), found.message


async def test_loopback_and_metadata_are_never_asked() -> None:
    clients = Clients()
    for address in ("http://127.0.0.1:9090", "http://169.254.169.254", "http://localhost:9090"):
        found = await measured(clients, address, query="up", max=1)
        assert (found.outcome, "never called" in found.message) == (Outcome.ERROR, True), found.message
    await clients.close()


SECRET = "s3cr3t-t0ken"


@pytest.mark.parametrize(
    ("data", "authorization"),
    [
        ({"token": f"{SECRET}\n".encode()}, f"Bearer {SECRET}"),
        (
            {"username": b"shop\n", "password": SECRET.encode()},
            f"Basic {base64.b64encode(f'shop:{SECRET}'.encode()).decode()}",
        ),
    ],
)
async def test_credentials_come_from_the_secret(clients: Clients, data: dict[str, bytes], authorization: str) -> None:
    seen: list[Mapping[str, str]] = []

    async def note(request: web.Request) -> web.Response:
        seen.append(request.headers)
        assert request.path == "/prom/api/v1/query"
        return web.json_response(vector("1"))

    async def read_secret(namespace: str, name: str) -> Mapping[str, bytes]:
        assert (namespace, name) == ("spring", "prometheus")
        return data

    fields = {
        "query": "up",
        "max": 1,
        "secretName": "prometheus",
        "pathPrefix": "/prom",
        "headers": [{"name": "X-Scope-OrgID", "value": "shop"}],
    }
    async with serving(note) as address:
        found = await measured(clients, address, read_secret, **fields)
    assert found.outcome is Outcome.SUCCESS, found.message
    assert (seen[0]["Authorization"], seen[0]["X-Scope-OrgID"]) == (authorization, "shop")


async def test_a_prometheus_is_believed_whose_authority_is_in_the_secret(clients: Clients, tmp_path: Path) -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.json_response(vector("1"))

    async def read_secret(_namespace: str, name: str) -> Mapping[str, bytes]:
        return {"ca.crt": authority} if name == "right" else {"token": b"x"}

    tls, authority = own_certificate(tmp_path)
    async with serving(answer, tls) as address:
        found = await measured(clients, address, read_secret, query="up", max=1, secretName="right")
        assert found.outcome is Outcome.SUCCESS, found.message
        found = await measured(clients, address, read_secret, query="up", max=1, secretName="other")
        assert (found.outcome, "certificate verify failed" in found.message) == (Outcome.ERROR, True), found.message


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (None, "is not there"),
        ({}, "has neither token"),
        ({"username": b"x"}, "has neither token"),
        ({"token": f"{SECRET}\r\nX: y".encode()}, "one line of printable"),
        ({"token": SECRET.encode() * 5000}, "more than 16 KiB"),
        ({"token": b""}, "one line of printable"),
        ({"token": SECRET.encode(), "ca.crt": b"no certificate"}, "no certificates"),
        ({"token": SECRET.encode(), "ca.crt": b"\xff"}, "no certificates"),
        (ApiError(403, "Forbidden", "secrets is forbidden"), "secrets is forbidden"),
    ],
)
async def test_a_secret_that_cannot_be_used_is_named_and_never_shown(clients: Clients, data: Any, says: str) -> None:
    async def read_secret(_namespace: str, _name: str) -> Mapping[str, bytes] | None:
        if isinstance(data, Exception):
            raise data
        return data

    found = await measured(clients, "http://127.0.0.1:9", read_secret, query="up", max=1, secretName="prometheus")
    assert (found.outcome, says in found.message, "spring/prometheus" in found.message) == (
        Outcome.ERROR,
        True,
        True,
    ), found.message
    assert SECRET not in found.message
