"""What was not answered is counted, and nothing else."""

import signal
import socket
from collections.abc import Callable

import pytest
from tests.load import Load, Mode, Target
from tests.load_report import Report
from tests.unit.load.conftest import Server
from tests.unit.load.network import rude, way

Serve = Callable[..., Server]
LONG = 1000
"""Milliseconds of a request that is under way when its server dies, as nobody is between two for as long."""


def three(port: int) -> tuple[Target, ...]:
    """All modes at once."""
    base = f"http://127.0.0.1:{port}"
    return (
        Target("ka", f"{base}/", "ka", clients=4, think=2),
        Target("post", f"{base}/order", "post", clients=4, think=2),
        Target("close", f"{base}/", "close", clients=2, think=2),
    )


def after(count: int) -> Callable[[Report], bool]:
    """Holds when each load has asked so often."""
    return lambda report: all(each.total >= count for each in report.loads.values())


def test_a_server_that_is_well_answers_all(serve: Serve) -> None:
    server = serve()
    with Load(None, *three(server.port)) as load:
        load.until(after(100), "a hundred requests each")
        report = load.stop()
    assert report.failed == 0, report.describe()
    assert report.versions == {"v1"}
    assert sum(each.total for each in report.loads.values()) == report.total
    post = report["post"]
    assert server.ask("/orders").json()["orders"] == post.total + post.probes
    assert 0 < post.p50 <= post.p99 <= post.slowest * 1.02
    assert post.versions["v1"].count == post.total
    assert set(post.versions["v1"].clients) == {0, 1, 2, 3}


@pytest.mark.parametrize("mode", ["ka", "post"])
def test_a_server_that_is_killed_in_the_middle_of_a_request_has_failed_it(serve: Serve, mode: Mode) -> None:
    server = serve()
    with Load(None, Target("slow", server.url(f"/slow?ms={LONG}"), mode, clients=1, think=0)) as load:
        load.until(after(1), "a request")
        server.signal(signal.SIGKILL)
        report = load.until(lambda report: report.failed >= 3, "failed requests")
    first, *others = report.failures
    assert first.kind in ("EOF", "reset"), report.describe()
    assert first.reused, report.describe()
    assert {each.kind for each in others} == {"dial refused"}, report.describe()
    assert "refused on a new connection" in report.describe()


def test_a_request_that_dies_on_a_kept_connection_is_not_sent_again(serve: Serve) -> None:
    with rude(3, "swallow") as port, Load(None, Target("get", f"http://127.0.0.1:{port}/", "ka", 1, 5)) as load:
        load.until(after(30), "thirty requests")
        report = load.stop()
    # The probe came on a connection of its own; then each fourth request was taken and not answered.
    assert report.failed == report.total // 4, report.describe()
    assert all(each.reused and each.kind in ("EOF", "reset") for each in report.failures), report.describe()


def test_a_connection_that_is_closed_while_nothing_is_asked_costs_no_request() -> None:
    with rude(3) as port, Load(None, Target("get", f"http://127.0.0.1:{port}/", "ka", 1, 100)) as load:
        load.until(after(8), "eight requests")
        report = load.stop()
    assert report.failed == 0, report.describe()
    assert report["get"].closed == (report.total - 1) // 3, report.describe()


def test_a_lame_duck_costs_no_request(serve: Serve) -> None:
    old = serve(VERSION="v1", LAMEDUCK_MS="1500")
    new = serve(VERSION="v2")
    with way(old.port) as road, Load(None, *three(road.port)) as load:
        load.until(after(50), "requests to the old one")
        road.to = new.port
        old.signal(signal.SIGTERM)
        assert old.ended() == 0
        load.until_answered("ka", "v2")
        report = load.stop()
    assert report.failed == 0, report.describe()
    for name in ("ka", "post", "close"):
        last, first = report.last_seen(name, "v1"), report.first_seen(name, "v2")
        assert last
        assert first
        assert last <= first + 1.5, report.describe()


def test_an_abrupt_end_costs_the_requests_under_way(serve: Serve) -> None:
    old, new = serve(VERSION="v1", STOP="abrupt"), serve(VERSION="v2")
    with way(old.port) as road:
        slow = f"http://127.0.0.1:{road.port}/slow?ms={LONG}"
        with Load(None, Target("get", slow, "ka", 4, 0), Target("post", slow, "post", 4, 0)) as load:
            load.until(after(4), "requests to the old one")
            road.to = new.port
            old.signal(signal.SIGTERM)
            load.until(lambda report: len(moved(report, "get") & moved(report, "post")) == 4, "the move of all clients")
            report = load.stop()
    assert (report["get"].failed, report["post"].failed) == (4, 4), report.describe()
    assert "on a kept connection" in report.describe()


def test_draining_moves_the_clients_of_kept_connections(serve: Serve) -> None:
    old, new = serve(VERSION="v1"), serve(VERSION="v2")
    with way(old.port) as road, Load(None, *three(road.port)) as load:
        load.until(after(50), "requests to the old one")
        road.to = new.port
        load.until_answered("close", "v2")
        before = load.snapshot()["ka"].total
        stays = load.until(lambda report: report["ka"].total > before + 50, "more requests")
        assert "v2" not in stays["ka"].versions, "kept connections must stay where they are until they are told"
        assert old.ask("/drain", "POST").status_code == 200
        load.until(lambda report: len(moved(report, "ka") & moved(report, "post")) == 4, "the move of all clients")
        report = load.stop()
    assert report.failed == 0, report.describe()
    old_answers, new_answers = (report["ka"].versions[version].clients for version in ("v1", "v2"))
    assert all(old_answers[each][1] <= new_answers[each][0] for each in range(4)), report.describe()


def moved(report: Report, load: str) -> set[int]:
    """Those who have an answer of the new version."""
    seen = report[load].versions.get("v2")
    return set(seen.clients) if seen else set()


def test_errors_of_the_server_are_failures_with_their_status(serve: Serve) -> None:
    with Load(None, Target("ka", serve(ERROR_RATE="0.5").url(), clients=1, think=0)) as load:
        load.until(after(40), "forty requests")
        report = load.stop()
    assert set(report.kinds) == {"status 500"}
    assert report.failed == pytest.approx(report.total / 2, abs=1)
    assert "from version v1" in report.describe()


def test_a_request_that_is_never_answered_is_a_failure(serve: Serve) -> None:
    with rude(4, "ignore") as port:
        target = Target("mute", f"http://127.0.0.1:{port}/", clients=1, think=0)
        with Load(None, target, timeout=0.3) as load:
            report = load.until(lambda report: report.failed, "a time-out")
    assert set(report.kinds) == {"timeout"}, report.describe()


def test_a_dead_target_is_told_at_the_start() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    load = Load(None, Target("gone", f"http://127.0.0.1:{port}/"), ready=0.2)
    with pytest.raises(AssertionError, match=r"load gone: .* does not answer well within 200ms.*refused"), load:
        pass


def test_headers_and_host_are_sent() -> None:
    seen: list[bytes] = []
    with rude(1000, seen=seen) as port:
        url = f"http://127.0.0.1:{port}/"
        shown = Target("shown", url, "post", 1, 1, {"X-FW-Preview": "token"})
        with Load(None, shown, Target("bare", url, "close", 1, 1), host="shop.example") as load:
            load.until(after(3), "some requests")
    posts = [each for each in seen if each.startswith(b"POST / HTTP/1.1\r\n")]
    gets = [each for each in seen if each.startswith(b"GET / HTTP/1.1\r\n")]
    assert len(posts) + len(gets) == len(seen)
    assert posts
    assert gets
    assert all(b"\r\nX-Fw-Preview: token\r\n" in each for each in posts)
    assert all(b"Preview" not in each and b"\r\nConnection: close\r\n" in each for each in gets)
    assert all(b"\r\nHost: shop.example\r\n" in each for each in seen)
