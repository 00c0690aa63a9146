"""The HTTP API over real connections, as browsers and libraries use it."""

import asyncio
import base64
import contextlib
import gzip
import json
import os

import aiohttp
import pytest
from aiohttp import web
from tests.patience import PATIENCE
from tests.unit.events.world import KEY, NOW, as_json, compressed, document, track, until

from flywheel.events import collect
from flywheel.events.collect import Collector
from flywheel.events.incoming import LARGEST_BATCH, LARGEST_EVENT
from flywheel.events.meters import Meters
from flywheel.events.script import Script
from flywheel.events.segments import Segments
from flywheel.events.spool import Spool

HOST = "shop.example"
SCRIPT = b"/* the script */" * 50


class Site:
    """A collector behind a real server."""

    def __init__(self, directory, **options) -> None:
        self.meters = Meters("shop", "spring")
        self.spool = Spool(directory, options.pop("limit", 8 << 20), on_dropped=self.meters.dropped)
        self.collector = Collector(
            self.spool, self.meters, script=Script(SCRIPT), clock=lambda: NOW, patience=options.pop("patience", 10.0)
        )
        self.collector.use_document(document(**options))

    async def start(self) -> None:
        self.runner = web.AppRunner(
            self.collector.application(), access_log=None, auto_decompress=False, lingering_time=0.1
        )
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        self.port = self.runner.addresses[0][1]
        self.session = aiohttp.ClientSession(f"http://127.0.0.1:{self.port}", auto_decompress=False)

    async def stop(self) -> None:
        await self.session.close()
        await self.runner.cleanup()
        with contextlib.suppress(RuntimeError):
            await self.spool.close()

    async def call(self, path: str, body, method: str = "POST", **headers: str):
        data = body if isinstance(body, bytes) else as_json(body)
        sent = {"Host": HOST, "X-FW-Visitor": "v-1", "X-FW-Consent": "1", "X-FW-Address": "203.0.113.9"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.request(method, path, data=data, headers=sent) as response:
            text = await response.read()
            return response.status, json.loads(text) if text else None, response.headers

    async def rows(self, table: str = "events") -> list[dict]:
        found = []
        while batch := await self.spool.next_batch(table):
            found += [json.loads(line) for line in batch.lines.splitlines()]
            await self.spool.commit(batch)
        return found


@pytest.fixture
async def site(tmp_path):
    made = Site(tmp_path)
    await made.start()
    yield made
    await made.stop()


@contextlib.asynccontextmanager
async def serving(directory, **options):
    made = Site(directory, **options)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


def basic(key: str = KEY) -> str:
    return "Basic " + base64.b64encode(f"{key}:".encode()).decode()


@pytest.mark.parametrize(("path", "kind"), [
    ("track", "track"), ("t", "track"), ("page", "page"), ("p", "page"), ("screen", "screen"), ("s", "screen"),
    ("identify", "identify"), ("i", "identify"), ("group", "group"), ("g", "group"), ("alias", "alias"), ("a", "alias"),
])  # fmt: skip
async def test_every_call_of_the_api(site, path, kind):
    event = {**track(1), "previousId": "x", "writeKey": KEY}
    event.pop("type")
    assert (await site.call(f"/v1/{path}", event))[:2] == (200, {"success": True})
    rows = await site.rows()
    assert [(row["type"], row["message_id"], row["visitor"]) for row in rows] == [(kind, "m-1", "v-1")]


@pytest.mark.parametrize("path", ["batch", "import", "b", "batch/"])
async def test_batches(site, path):
    body = {"batch": [track(1), track(2)], "sentAt": "2026-11-23T17:00:00Z", "writeKey": KEY}
    assert (await site.call(f"/v1/{path}", body))[:2] == (200, {"success": True})
    assert [row["message_id"] for row in await site.rows()] == ["m-1", "m-2"]


async def test_the_write_key_comes_in_any_of_the_usual_places(site):
    assert (await site.call("/v1/track", track(1), Authorization=basic()))[0] == 200
    assert (await site.call("/v1/track", {**track(2), "writeKey": KEY}))[0] == 200
    assert (await site.call(f"/v1/track?writeKey={KEY}", track(3)))[0] == 200
    assert (await site.call("/v1/batch", {"batch": [{**track(4), "writeKey": "second"}]}))[0] == 200
    assert (await site.call(f"/v1/b?writeKey={KEY}", {"batch": [track(5)]}, Content_Type="text/plain"))[0] == 200
    assert len(await site.rows()) == 5


@pytest.mark.parametrize("headers", [
    {}, {"Authorization": basic("other")}, {"Authorization": "Basic %%%"}, {"Authorization": "Bearer x"},
])  # fmt: skip
async def test_an_unknown_write_key_is_refused_with_a_sentence(site, headers):
    status, body, _ = await site.call("/v1/track", track(1), **headers)
    assert (status, body["reason"]) == (401, "unknown_key")
    assert body["message"].endswith(".")
    assert await site.rows() == []
    assert site.meters.rejected.values == {("unknown_key",): 1.0}


@pytest.mark.parametrize(("body", "reason"), [
    (b'{"writeKey":"yougou-618","event":"x","revenue":NaN}', "invalid_json"), (b"", "invalid_json"),
    (b'{"a":' + b"[" * 9_000, "too_deep"), (b"[]", "wrong_type"),
])  # fmt: skip
async def test_a_body_that_cannot_be_read_is_told_to_be_that(site, body, reason):
    status, said, _ = await site.call("/v1/track", body)
    assert (status, said["reason"]) == (400, reason)


async def test_slow_bodies_of_many_do_not_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(collect, "MOST_UNDER_WAY", 200_000)
    async with serving(tmp_path) as site:
        release = asyncio.Event()

        async def slow():
            yield b" " * 90_000
            await release.wait()
            yield as_json({"batch": [track(1)], "writeKey": KEY})

        async def send():
            async with site.session.post("/v1/batch", data=slow(), headers={"Host": HOST}) as response:
                return response.status, (await response.json()).get("reason")

        waiting = [asyncio.create_task(send()) for _ in range(2)]
        await until(lambda: site.collector._under_way == 180_000, "two bodies are arriving")
        assert await send() == (503, "not_ready")
        release.set()
        assert [await each for each in waiting] == [(200, None)] * 2
        assert site.collector._under_way == 0


async def test_beacons_need_no_preflight(site):
    body = {"batch": [track(1)], "writeKey": KEY}
    status, _, headers = await site.call(
        "/v1/b", body, Content_Type="text/plain;charset=UTF-8", Origin=f"https://{HOST}"
    )
    assert status == 200
    assert headers["Access-Control-Allow-Origin"] == f"https://{HOST}"
    assert headers["Access-Control-Allow-Credentials"] == "true"


@pytest.mark.parametrize(("origin", "allowed"), [
    (f"https://{HOST}", True), ("https://m.shop.example", True), ("https://evil.example", False), ("null", False),
    ("https://shop.example.evil.example", False), ("http://[", False), (f"https://evil@{HOST}", False),
    (f"https://{HOST}/x", False), (f"https://{HOST[:4]}\t{HOST[4:]}", False),
])  # fmt: skip
async def test_pages_of_other_origins_are_kept_out(site, origin, allowed):
    status, _, headers = await site.call("/v1/track", b"", "OPTIONS", Origin=origin)
    assert status == (204 if allowed else 403)
    assert ("Access-Control-Allow-Methods" in headers) is allowed
    assert headers["Vary"] == "Origin"
    status, body, headers = await site.call("/v1/track", {**track(1), "writeKey": KEY}, Origin=origin)
    assert status == (200 if allowed else 403)
    assert ("Access-Control-Allow-Origin" in headers) is allowed
    assert allowed or body["reason"] == "foreign_origin"


async def test_compressed_bodies(site):
    body = {"batch": [track(1)], "writeKey": KEY}
    assert (await site.call("/v1/batch", compressed(body), Content_Encoding="gzip"))[0] == 200
    assert (await site.call("/v1/batch", compressed(body)[:-3], Content_Encoding="gzip"))[1]["reason"] == "bad_encoding"
    bomb = gzip.compress(bytes(50 << 20))
    status, said, _ = await site.call("/v1/batch", bomb, Content_Encoding="gzip")
    assert (status, said["reason"]) == (400, "too_large")


async def test_bad_events_of_a_batch_are_listed_and_kept_apart(site):
    batch = [track(1), {**track(2), "event": None}, {**track(3), "properties": {}}, "nonsense", track(5)]
    status, body, _ = await site.call("/v1/batch", {"batch": batch, "writeKey": KEY})
    assert status == 200
    assert body["success"] is True
    assert [(each["index"], each.get("messageId"), each["reason"]) for each in body["rejected"]] == [
        (1, "m-2", "missing_field"), (2, "m-3", "missing_property"), (3, "", "wrong_type"),
    ]  # fmt: skip
    assert [row["message_id"] for row in await site.rows()] == ["m-1", "m-5"]
    letters = await site.rows("dead_letters")
    assert [row["reason"] for row in letters] == ["missing_field", "missing_property", "wrong_type"]
    assert site.meters.rejected.values[("missing_field",)] == 1


async def test_a_single_bad_event_is_the_clients_mistake(site):
    status, body, _ = await site.call("/v1/track", {**track(1), "event": "", "writeKey": KEY})
    assert (status, body["success"], body["reason"]) == (400, False, "missing_field")
    assert len(await site.rows("dead_letters")) == 1


@pytest.mark.parametrize(("path", "body", "status", "reason"), [
    ("/v1/track", b"{", 400, "invalid_json"),
    ("/v1/track", b" " * (LARGEST_EVENT + 1), 400, "too_large"),
    ("/v1/batch", b" " * (LARGEST_BATCH + 1), 400, "too_large"),
    ("/v1/batch", b"{}", 400, "missing_field"),
    ("/v1/batch", b'{"batch":{}}', 400, "wrong_type"),
    ("/v1/batch", b'{"batch":[' + b"[" * 100_000 + b"]" * 100_000 + b"]}", 400, "too_deep"),
    ("/v1/batch", b"\xff\xfe", 400, "invalid_json"),
])  # fmt: skip
async def test_what_cannot_be_a_call(site, path, body, status, reason):
    found, said, _ = await site.call(path, body, Authorization=basic())
    assert (found, said["reason"]) == (status, reason)
    assert said["message"]


async def test_an_empty_batch_is_fine(site):
    assert (await site.call("/v1/batch", {"batch": []}, Authorization=basic()))[:2] == (200, {"success": True})


async def test_other_paths_and_methods(site):
    assert (await site.call("/v1/nothing", {}))[0] == 404
    status, _, headers = await site.call("/v1/track", b"", "GET")
    assert (status, headers["Allow"]) == (405, "POST, OPTIONS")


async def test_nothing_is_acknowledged_that_is_not_kept(tmp_path):
    async with serving(tmp_path, limit=1 << 20) as site:
        number, status = 0, 200
        while status == 200:
            body = {"batch": [track(number + each, context={"x": "y" * 2_000}) for each in range(40)], "writeKey": KEY}
            number += 40
            status, said, headers = await site.call("/v1/batch", body)
        assert (status, said["reason"]) == (503, "spool_full")
        assert int(headers["Retry-After"]) > 0
        kept = {row["message_id"] for row in await site.rows()}
        assert kept == {f"m-{each}" for each in range(number - 40)}
        # There is room again: what was refused is taken when it comes again, and is no duplicate.
        assert (await site.call("/v1/batch", body))[0] == 200
        assert len(await site.rows()) == 40


async def test_a_disk_that_fails_is_told(site, monkeypatch):
    def fail(_self, _data) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Segments, "append", fail)
    status, said, _ = await site.call("/v1/track", track(1), Authorization=basic())
    assert (status, said["reason"]) == (503, "disk")
    monkeypatch.undo()
    assert (await site.call("/v1/track", track(1), Authorization=basic()))[0] == 200
    assert len(await site.rows()) == 1


async def test_a_body_that_does_not_come_is_not_waited_for(tmp_path):
    async with serving(tmp_path, patience=0.1) as site:
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        writer.write(b"POST /v1/track HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 1000\r\n\r\n{")
        assert b"408" in await asyncio.wait_for(reader.readline(), PATIENCE)
        writer.close()


async def test_a_flood_of_calls_is_answered_each(site):
    answers = await asyncio.gather(
        *(site.call("/v1/track", track(number), Authorization=basic()) for number in range(300))
    )
    assert {status for status, _, _ in answers} == {200}
    assert len({row["message_id"] for row in await site.rows()}) == 300


async def test_a_repetition_is_taken_once_and_acknowledged_each_time(site):
    answers = await asyncio.gather(*(site.call("/v1/track", track(1), Authorization=basic()) for _ in range(20)))
    assert {status for status, _, _ in answers} == {200}
    assert len(await site.rows()) == 1
    assert site.meters.duplicates.values == {(): 19.0}


async def test_addresses_are_kept_as_the_campaign_wants_them(tmp_path):
    found = {}
    for mode in ("Hash", "Store", "Drop"):
        async with serving(tmp_path / mode, addresses=mode) as site:
            await site.call("/v1/track", track(1), Authorization=basic())
            site.collector.use_salt(b"salt")
            await site.call("/v1/track", track(2), Authorization=basic())
            await site.call("/v1/track", track(3), Authorization=basic(), X_FW_Address="::ffff:203.0.113.9")
            found[mode] = [row["address"] for row in await site.rows()]
    assert found["Store"] == ["203.0.113.9"] * 3
    assert found["Drop"] == [""] * 3
    first, second, third = found["Hash"]
    assert first == "", "without the salt a hash could be undone by trying all addresses"
    assert len(second) == 32
    assert second == third


async def test_consent_is_asked_for_where_the_campaign_does(tmp_path):
    async with serving(tmp_path, consent=True) as site:
        status, body, _ = await site.call("/v1/track", track(1), Authorization=basic(), X_FW_Consent="0")
        assert (status, body["success"], body["rejected"][0]["reason"]) == (200, True, "no_consent")
        assert (await site.call("/v1/track", track(2), Authorization=basic()))[1] == {"success": True}
        agreed = {"consent": {"categoryPreferences": {"Analytics": True}}}
        await site.call("/v1/track", track(3, context=agreed), Authorization=basic(), X_FW_Consent="0")
        assert [row["message_id"] for row in await site.rows()] == ["m-2", "m-3"]
        assert "v-1" not in json.dumps(await site.rows("dead_letters"))


async def test_without_a_document_clients_come_again_later(tmp_path):
    async with serving(tmp_path) as site:
        site.collector.rules = None
        status, body, headers = await site.call("/v1/track", track(1))
        assert (status, body["reason"], "Retry-After" in headers) == (503, "not_ready", True)


async def test_a_new_document_is_used_at_once(site):
    assert (await site.call("/v1/track", track(1), Authorization=basic("third")))[0] == 401
    site.collector.use_document(document(write_keys=("third",)))
    assert (await site.call("/v1/track", track(1), Authorization=basic("third")))[0] == 200


async def test_the_script_is_served_once_to_each_browser(site):
    async with site.session.get("/fw.js", headers={"Accept-Encoding": "gzip"}) as response:
        assert gzip.decompress(await response.read()) == SCRIPT
        assert response.headers["Content-Encoding"] == "gzip"
        assert response.headers["Content-Type"].startswith("text/javascript")
        assert "max-age" in response.headers["Cache-Control"]
        tag = response.headers["ETag"]
    async with site.session.get("/fw.js", headers={"If-None-Match": tag}) as response:
        assert (response.status, await response.read()) == (304, b"")
    async with site.session.get("/fw.js", headers={"Accept-Encoding": "identity"}) as response:
        assert await response.read() == SCRIPT


async def test_people_are_counted_and_programs_are_not(site):
    await site.call("/v1/track", track(1), Authorization=basic())
    await site.call("/v1/track", track(2, context={"userAgent": "Googlebot/2.1"}), Authorization=basic())
    assert site.meters.events.values == {("Order Completed", "direct"): 1.0}
    assert site.meters.orders.values == {("direct",): 1.0}
    assert site.meters.revenue.values == {("direct", "CNY"): 12.5}
    assert [row["bot"] for row in await site.rows()] == [False, True]


async def test_random_bytes_are_no_harm(site):
    for _ in range(50):
        status, _, _ = await site.call("/v1/batch", os.urandom(200), Authorization=basic())
        assert status == 400
