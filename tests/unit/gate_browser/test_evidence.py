"""Keeping pictures and report in a ConfigMap. The API server is a scripted one that knows ConfigMaps."""

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from flywheel.release.gate.browser.evidence import keep, patch_for

PATH = "/api/v1/namespaces/shop/configmaps/evidence"


class Api:
    def __init__(self) -> None:
        self.config_map: dict[str, Any] | None = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "evidence", "namespace": "shop"},
            "data": {"plan.json": "{}", "report.json": "old"},
            "binaryData": {"01-failed.jpg": "b2xk"},
        }
        self.refuses = 0
        self.asked: list[tuple[str, str, str]] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append((request.method, request.path, request.headers.get("Authorization", "")))
        if self.config_map is None or request.path != PATH:
            return web.json_response({"kind": "Status", "reason": "NotFound", "code": 404}, status=404)
        if request.method == "PATCH":
            if self.refuses:
                said = {"kind": "Status", "reason": "Forbidden", "message": "not allowed", "code": self.refuses}
                return web.json_response(said, status=self.refuses)
            assert request.headers["Content-Type"] == "application/merge-patch+json"
            for field, changes in (await request.json()).items():
                merged = {**self.config_map.get(field, {}), **changes}
                self.config_map[field] = {key: value for key, value in merged.items() if value is not None}
        return web.json_response(self.config_map)


@pytest.fixture
async def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Api]:
    api = Api()
    application = web.Application(client_max_size=4 << 20)
    application.router.add_route("*", "/{rest:.*}", api.answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    entry = {
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{runner.addresses[0][1]}"}}],
        "users": [{"name": "u", "user": {"token": "own-token"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(entry))
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    yield api
    await runner.cleanup()


async def test_the_config_map_holds_this_visit_and_no_earlier_one(api: Api) -> None:
    assert await keep("shop", "evidence", {"02-failed.jpg": b"\xff\xd8"}, {"message": "领取"}) == ""
    assert api.config_map
    assert api.config_map["binaryData"] == {"02-failed.jpg": base64.b64encode(b"\xff\xd8").decode()}
    assert json.loads(api.config_map["data"]["report.json"]) == {"message": "领取"}
    assert api.config_map["data"]["plan.json"] == "{}"
    assert {method for method, _, _ in api.asked} == {"GET", "PATCH"}
    assert {path for _, path, _ in api.asked} == {PATH}


async def test_a_refusal_is_told(api: Api) -> None:
    api.refuses = 403
    assert await keep("shop", "evidence", {}, {}) == "the ConfigMap evidence could not be written: not allowed"


async def test_a_config_map_that_is_not_there_is_told(api: Api) -> None:
    api.config_map = None
    assert await keep("shop", "evidence", {}, {}) == "there is no ConfigMap evidence"


async def test_no_way_to_a_cluster_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    assert "KUBECONFIG" in await keep("shop", "evidence", {}, {})


def test_six_large_pictures_fit_a_config_map() -> None:
    pictures = {f"{number:02d}-a.jpg": bytes(700 * 1024 // 6) for number in range(6)}
    patch = patch_for({}, pictures, {"steps": ["x" * 300] * 100})
    stored = sum(len(base64.b64decode(each or "")) for each in patch["binaryData"].values())
    assert stored + sum(len(each or "") for each in patch["data"].values()) < 1 << 20
