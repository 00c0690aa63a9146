"""The campaigns' settings, followed at a server that speaks the API's list and watch."""

import asyncio
import json
from pathlib import Path

import pytest
import yaml
from aiohttp import web
from tests.unit.store.material import NAMESPACE, eventually

from flywheel.events.campaign_watch import CampaignWatch
from flywheel.kube.watch import Watch

PATH = f"/api/v1/namespaces/{NAMESPACE}/configmaps"


class Server:
    """One ConfigMap at an API server."""

    def __init__(self) -> None:
        self.text = '{"618": {"retention": 60}}'
        self.version = 1
        self.changed = asyncio.Event()
        self.oldest = 0
        """The oldest version from which a watch may go on."""
        self.newest = 1
        """Of anything in the cluster."""
        self.asked = 0
        self.watched: list[dict[str, str]] = []

    def change(self, text: str) -> None:
        self.text, self.version = text, self.newest + 1
        self.newest = self.version
        self.changed.set()

    def object(self) -> dict:
        metadata = {"name": "flywheel-analytics", "namespace": NAMESPACE, "resourceVersion": str(self.version)}
        metadata["uid"] = "uid-1"
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"campaigns.json": self.text}}

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked += 1
        if "watch" not in request.query:
            return web.json_response({"metadata": {"resourceVersion": str(self.newest)}, "items": [self.object()]})
        self.watched.append(dict(request.query))
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        if int(request.query["resourceVersion"]) < self.oldest:
            gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
            await response.write(json.dumps({"type": "ERROR", "object": gone}).encode() + b"\n")
            return response
        while True:
            await self.changed.wait()
            self.changed.clear()
            await response.write(json.dumps({"type": "MODIFIED", "object": self.object()}).encode() + b"\n")


@pytest.fixture
async def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    made = Server()
    application = web.Application()
    application.router.add_get(PATH, made.answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{runner.addresses[0][1]}"}}],
        "users": [{"name": "c", "user": {"token": "mine"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
    }
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    yield made
    await runner.cleanup()


async def _is(watch: CampaignWatch, wanted: dict[str, int]) -> bool:
    return dict(watch.retentions()) == wanted


async def test_settings_follow_the_config_map_and_survive_a_broken_one(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    watch = CampaignWatch(NAMESPACE, tmp_path / "none.json")
    working = asyncio.create_task(watch.work())
    try:
        await eventually(lambda: _is(watch, {"618": 60}), "the settings are read")
        await eventually(lambda: _truth(server.watched), "the watch is open")
        assert server.watched[0]["fieldSelector"] == "metadata.name=flywheel-analytics"
        assert server.watched[0]["resourceVersion"] == "1"
        server.change('{"618": {"retention": 60}, "double-11": {"retention": 90}, "odd": 5, "none": {}}')
        await eventually(lambda: _is(watch, {"618": 60, "double-11": 90}), "the change arrives")
        server.change("{broken")
        await eventually(lambda: _truth("the last good settings stay" in caplog.text), "the broken one is told of")
        assert await _is(watch, {"618": 60, "double-11": 90})
        server.change("{}")
        await eventually(lambda: _is(watch, {}), "all campaigns went")
    finally:
        working.cancel()


async def test_settings_that_are_older_than_what_the_server_remembers_are_followed_in_peace(
    server: Server, tmp_path: Path
) -> None:
    # What was written long ago has a version that no watch may begin from any more.
    server.newest = server.oldest = 100
    watch = CampaignWatch(NAMESPACE, tmp_path / "none.json")
    working = asyncio.create_task(watch.work())
    try:
        await eventually(lambda: _truth(server.watched), "the watch is open")
        server.change("{}")
        await eventually(lambda: _is(watch, {}), "the change arrives")
        assert server.asked == 2, "one list, and one watch"
    finally:
        working.cancel()


async def test_a_server_that_forgets_at_once_what_it_has_listed_is_not_asked_as_fast_as_it_answers(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.oldest = 1_000
    pauses: list[int] = []

    async def pause(_: Watch) -> None:
        pauses.append(len(server.watched))
        await asyncio.sleep(0)

    monkeypatch.setattr(Watch, "_pause", pause)
    watch = CampaignWatch(NAMESPACE, tmp_path / "none.json")
    working = asyncio.create_task(watch.work())
    try:
        await eventually(lambda: _truth(len(pauses) >= 5), "it goes on asking")
        assert pauses[:5] == [1, 2, 3, 4, 5], "after each time"
        assert await _is(watch, {"618": 60})
    finally:
        working.cancel()


async def _truth(value: object) -> bool:
    return bool(value)


async def test_without_a_server_the_file_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    file = tmp_path / "campaigns.json"
    file.write_text('{"618": {"retention": 60}}')
    watch = CampaignWatch(NAMESPACE, file)
    working = asyncio.create_task(watch.work())
    await eventually(lambda: _is(watch, {"618": 60}), "the file is read")
    await eventually(lambda: _truth("come from a file alone" in caplog.text), "that it is only a file is told")
    working.cancel()
