import json
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.events.world import BROWSER, NOW, as_json, document, until

from flywheel.events import access_log
from flywheel.events.access_log import AccessLog
from flywheel.events.losses import LASTING, WorkerCount
from flywheel.events.meters import Meters
from flywheel.events.spool import Spool


def record(number: int = 0, **fields) -> dict:
    """Make a record as HAProxy writes it."""
    return {
        "id": f"r-{number}", "svc": "seckill", "slot": "", "test": "", "var": "", "ch": "weibo", "reg": "Hangzhou",
        "host": "shop.example", "p": "/coupon", "vid": "v-1", "ua": BROWSER, "ref": "weibo.com", "rf": "",
        "us": "WeiBo",
        "um": "", "uc": "", "uo": "", "ut": "", "ip": "203.0.113.9", "nv": 1, "page": 1, "cns": 1, "t": NOW, "m": "GET",
        "st": 200, "d": 12, "sd": 3, "bi": 300, "bo": 5000, "ts": "--", "pid": 8, **fields,
    }  # fmt: skip


@pytest.fixture
async def log(tmp_path):
    made = AccessLog(
        Spool(tmp_path / "spool", 1 << 20), Meters("shop", "spring"), tmp_path / "state", clock=lambda: NOW
    )
    made.use_document(document())
    made.use_salt(b"salt")
    yield made
    await made._spool.close()


async def rows(log: AccessLog, table: str) -> list[dict]:
    await log.flush()
    batch = await log._spool.next_batch(table)
    return [json.loads(line) for line in batch.lines.splitlines()] if batch else []


async def test_a_request_is_a_row_and_a_page_a_page_view(log):
    log.take(as_json(record()))
    (request,) = await rows(log, "requests")
    assert (request["request_id"], request["service"], request["channel"]) == ("r-0", "seckill", "weibo")
    assert (request["duration_ms"], request["server_ms"], request["status"]) == (12, 3, 200)
    assert (request["visitor"], request["new_visitor"], request["page"], request["bot"]) == ("v-1", True, True, False)
    assert len(request["address"]) == 32
    (page,) = await rows(log, "events")
    assert (page["message_id"], page["type"], page["source"]) == ("pv-r-0", "page", "edge")
    assert (page["utm_source"], page["referrer"], page["visitor"]) == ("weibo", "weibo.com", "v-1")
    assert log._meters.page_views.values == {("seckill", "weibo", ""): 1.0}
    assert log._meters.requests.values == {("seckill", "", "", "2xx"): 1.0}


@pytest.mark.parametrize(
    ("whole", "finely", "kept"),
    [
        (0, 9_170, 0.917),
        (1, 11_040, 1.104),
        (12, 0, 12),
        (12, 9_000, 12),
        (12, 36_000_000_000, 12),
        (12, -36_000_000_000, 12),
    ],
    ids=["quicker than 1 ms", "just over it", "not told", "a slow client", "clock set forward", "clock set back"],
)
async def test_durations_are_as_fine_as_the_wall_clock_tells_them_where_it_was_not_set(log, whole, finely, kept):
    log.take(as_json(record(d=whole, du=finely)))
    assert (await rows(log, "requests"))[0]["duration_ms"] == pytest.approx(kept)


async def test_the_script_may_count_the_pages_instead(log):
    log.use_document(document(page_views="Script"))
    log.take(as_json(record()))
    assert await rows(log, "events") == []
    assert log._meters.page_views.values == {}


async def test_without_consent_nothing_tells_who_it_was(log):
    log.take(as_json(record(cns=0)))
    (request,) = await rows(log, "requests")
    assert (request["visitor"], request["address"], request["new_visitor"]) == ("", "", False)
    (page,) = await rows(log, "events")
    assert (page["visitor"], page["address"], page["user_agent"], page["consent"]) == ("", "", "", False)


async def test_calls_of_the_api_are_counted_as_records_only(log):
    log.take(as_json(record(svc="_collect")))
    assert await rows(log, "requests") == []
    assert log._meters.requests.values == {}
    for _ in range(LASTING):
        await log.compare({8: WorkerCount(1, 0)})
    assert log._meters.log_lost.values == {(): 0.0}


async def test_programs_see_no_pages(log):
    log.take(as_json(record(ua="curl/8.5")))
    assert (await rows(log, "events"))[0]["bot"] is True
    assert log._meters.page_views.values == {}


@pytest.mark.parametrize(("status", "code", "error"), [
    (200, "2xx", False), (404, "4xx", False), (503, "5xx", True), (-1, "none", True), (0, "none", True),
])  # fmt: skip
async def test_errors_are_what_the_service_failed_to_answer(log, status, code, error):
    log.take(as_json(record(st=status)))
    assert log._meters.requests.values == {("seckill", "", "", code): 1.0}
    assert bool(log._meters.errors.values) is error


async def test_what_the_edge_refused_is_counted_by_reasons_that_are_known(log):
    for number, reason in enumerate(("", "fraud", "fraud", "challenge", "throttle", "rate", "a-word-of-nobody")):
        log.take(as_json(record(number, rf=reason, st=403 if reason else 200)))
    counted = log._meters.refused.values
    assert counted == {("fraud",): 2, ("challenge",): 1, ("throttle",): 1, ("rate",): 1, ("other",): 1}


async def test_what_nobody_answered_or_could_read_is_a_row_that_the_store_takes(log):
    log.take(as_json(record(0, st=-1, sd=-1, ts="CR", page=0)))
    for _ in range(2):
        log.take(as_json(record(id="", svc="", m="<BADREQ>", st=400, page=0, ts="PR", bi=-1, bo=-1)))
    written = await rows(log, "requests")
    assert [row["status"] for row in written] == [0, 400, 400]
    assert len({row["request_id"] for row in written} - {""}) == 3
    assert all(min(row["bytes_in"], row["bytes_out"]) >= 0 for row in written)
    assert not log._meters.errors.values, "clients that go away are no errors of the service"


@pytest.mark.parametrize(
    "datagram", [b"", b"{", b"[]", b"\xff", b'{"id":1}', b"<134>haproxy: " + as_json(record(t="x"))]
)
async def test_a_record_that_makes_no_sense_is_counted(log, datagram):
    log.take(datagram)
    assert log._meters.log_bad.values == {(): 1.0}


async def test_numbers_as_text_and_a_header_of_syslog_are_no_obstacle(log):
    log.take(b"<134>Nov 23 17:00:00 haproxy[8]: " + as_json(record(st="200", nv="0", d="12")))
    assert (await rows(log, "requests"))[0]["status"] == 200


async def test_records_are_read_from_the_socket_in_order(log):
    await log.listen(0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
        for number in range(800):
            sending.sendto(as_json(record(number, page=0)), ("127.0.0.1", log.port))
        await until(lambda: len(log._requests) > 100, "records")
        # What waits in the kernel when the pod ends is read, too.
        log.stop_listening()
    assert [row["request_id"] for row in await rows(log, "requests")] == [f"r-{number}" for number in range(800)]
    log.stop_listening()


async def test_what_nobody_read_is_counted_as_lost(log, tmp_path):
    for number in range(10):
        log.take(as_json(record(number)))
    for _ in range(LASTING):
        await log.compare({8: WorkerCount(14, 0)})
    assert log._meters.log_lost.values == {(): 4.0}
    again = AccessLog(log._spool, Meters("shop", "spring"), tmp_path / "state", clock=lambda: NOW)
    for _ in range(LASTING):
        await again.compare({8: WorkerCount(20, 0)})
    assert again._meters.log_lost.values == {(): 6.0}, "while the sidecar was away six more went by"


async def test_a_full_spool_drops_rows_and_says_so(log, monkeypatch):
    monkeypatch.setattr(access_log, "MOST_WAITING", 5)
    for number in range(8):
        log.take(as_json(record(number, page=0)))
    assert len(await rows(log, "requests")) == 5
    assert log._meters.spool_dropped.values == {("requests", "full"): 3.0}
    assert log._meters.requests.values == {("seckill", "", "", "2xx"): 8.0}


@given(st.dictionaries(st.sampled_from(sorted(record())), st.none() | st.integers() | st.text() | st.floats()))
def test_any_record_is_counted_one_way_or_the_other(tmp_path_factory, changed):
    meters = Meters("shop", "spring")
    made = AccessLog(None, meters, tmp_path_factory.getbasetemp() / "state", clock=lambda: NOW)  # type: ignore[arg-type]
    made.use_document(document())
    made.take(json.dumps(record(**changed)).encode())
    counted = sum(meters.requests.values.values())
    assert counted + meters.log_bad.values[()] == (0 if changed.get("svc") == "_collect" else 1)
