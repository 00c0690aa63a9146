"""The application does what its environment says."""

import signal
import time
from collections.abc import Callable

import httpx
import pytest
from tests.patience import PATIENCE
from tests.unit.load.conftest import Server

Serve = Callable[..., Server]


def test_each_answer_names_the_version_and_the_pod(serve: Serve) -> None:
    answer = serve(VERSION="v7").ask("/")
    assert (answer.status_code, answer.headers["X-Version"]) == (200, "v7")
    assert answer.headers["X-Pod"]
    assert "connection" not in answer.headers


@pytest.mark.parametrize(
    ("check", "status", "body"),
    [
        ("ok", 200, '{"ok":true,"version":"v1"}'),
        ("fail", 503, '{"ok":false}'),
        ("error500", 500, "CHECK=error500"),
        ('json:{"stock": 0}', 200, '{"stock": 0}'),
    ],
)
def test_what_gates_look_at_is_chosen(serve: Serve, check: str, status: int, body: str) -> None:
    answer = serve(CHECK=check).ask("/check")
    assert (answer.status_code, answer.text.strip()) == (status, body)


def test_it_becomes_ready_late(serve: Serve) -> None:
    began = time.monotonic()
    server = serve(READY_AFTER_MS="300")
    assert server.ask("/healthz").status_code == 200
    while server.ask("/readyz").status_code != 200:
        assert time.monotonic() - began < PATIENCE, "it never becomes ready"
    assert time.monotonic() - began >= 0.3


def test_it_never_becomes_ready(serve: Serve) -> None:
    assert serve(NEVER_READY="1").ask("/readyz").status_code == 503


def test_a_share_of_the_answers_are_errors(serve: Serve) -> None:
    server = serve(ERROR_RATE="0.2")
    with httpx.Client(trust_env=False) as client:
        codes = [client.get(server.url()).status_code for _ in range(50)]
    assert (codes.count(500), codes.count(200)) == (10, 40)


def test_it_crashes_in_time(serve: Serve) -> None:
    assert serve(CRASH_AFTER_MS="100").ended() == 1


def test_it_crashes_only_under_real_traffic(serve: Serve) -> None:
    server = serve(CRASH_WHEN_LIVE="1")
    with httpx.Client(trust_env=False) as client:
        for _ in range(300):
            assert client.get(server.url("/check")).status_code == 200
        for _ in range(199):
            assert client.get(server.url()).status_code == 200
        with pytest.raises(httpx.TransportError):
            client.get(server.url())
    assert server.ended() == 1


def test_orders_are_counted_and_are_not_fetched(serve: Serve) -> None:
    server = serve()
    assert server.ask("/order").status_code == 405
    assert [server.ask("/order", "POST").json()["order"] for _ in range(2)] == [1, 2]
    assert server.ask("/orders").json() == {"version": "v1", "orders": 2}


def test_draining_closes_connections_after_their_answer_until_it_is_undone(serve: Serve) -> None:
    server = serve()

    def closes() -> bool:
        return "close" in server.ask("/check").headers.get_list("connection")

    seen = [closes()]
    for path in ("/drain", "/drain", "/resume", "/resume"):
        assert server.ask(path, "POST").status_code == 200
        seen.append(closes())
    assert seen == [False, True, True, False, False]


def test_the_configuration_it_was_made_with_is_shown(serve: Serve) -> None:
    assert serve(FEATURE="blue").ask("/config").json() == {"version": "v1", "feature": "blue", "file": ""}


def test_a_slow_answer_takes_its_time(serve: Serve) -> None:
    began = time.monotonic()
    assert serve().ask("/slow?ms=200").status_code == 200
    assert time.monotonic() - began >= 0.2


def test_a_lame_duck_serves_on_and_then_leaves_in_peace(serve: Serve) -> None:
    server = serve(LAMEDUCK_MS="5000")
    server.signal(signal.SIGTERM)
    deadline = time.monotonic() + PATIENCE
    while server.ask("/").headers.get("connection") != "close":
        assert time.monotonic() < deadline, "it keeps connections after SIGTERM"
    assert server.ask("/").status_code == 200
    assert server.ended() == 0


@pytest.mark.parametrize("conduct", [{"STOP": "lame"}, {"CHECK": "no"}, {"ERROR_RATE": "2"}, {"LAMEDUCK_MS": "3s"}])
def test_a_typing_error_is_refused(serve: Serve, conduct: dict[str, str]) -> None:
    with pytest.raises(AssertionError, match=next(iter(conduct))):
        serve(**conduct)
