"""Tokens of our own ServiceAccount: one for each audience, asked for again before it ends."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio.client.configuration import Configuration

from flywheel.kube.client import Client
from flywheel.kube.errors import ApiError, LoginError
from flywheel.kube.tokens import RENEW_BEFORE, Tokens, own_account

START = 1_800_000_000.0


class Issuer:
    """An API server that makes tokens."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.status = 201
        self.now = START

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.asked.append((request.path, body))
        if self.status != 201:
            told = {"kind": "Status", "status": "Failure", "message": "not yours", "reason": "Forbidden", "code": 403}
            return web.json_response(told, status=self.status)
        until = datetime.fromtimestamp(self.now + body["spec"]["expirationSeconds"], UTC)
        status = {"token": f"token-{len(self.asked)}", "expirationTimestamp": until.strftime("%Y-%m-%dT%H:%M:%SZ")}
        return web.json_response(body | {"status": status}, status=201)


@pytest.fixture
async def issuer() -> AsyncIterator[tuple[Issuer, Client]]:
    made = Issuer()
    application = web.Application()
    application.router.add_post("/{path:.*}", made.answer)
    runner = web.AppRunner(application, access_log=None, handle_signals=False)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    configuration = Configuration(host=f"http://127.0.0.1:{runner.addresses[0][1]}")
    client = Client(configuration)
    yield made, client
    await client.close()
    await runner.cleanup()


async def test_a_token_is_kept_for_its_audience_until_it_is_about_to_end(issuer: tuple[Issuer, Client]) -> None:
    server, client = issuer
    tokens = Tokens(client, "flywheel-system:flywheel", clock=lambda: server.now)
    assert [await tokens.token(each) for each in ("store/a", "store/b", "store/a")] == ["token-1", "token-2", "token-1"]
    server.now += 600 - RENEW_BEFORE - 1
    assert await tokens.token("store/a") == "token-1"
    server.now += 2
    assert await tokens.token("store/a") == "token-3"
    assert {path for path, _ in server.asked} == {"/api/v1/namespaces/flywheel-system/serviceaccounts/flywheel/token"}
    assert [body["spec"]["audiences"] for _, body in server.asked] == [["store/a"], ["store/b"], ["store/a"]]
    assert json.dumps(server.asked[0][1]["kind"]) == '"TokenRequest"'


async def test_a_refusal_is_passed_on(issuer: tuple[Issuer, Client]) -> None:
    server, client = issuer
    server.status = 403
    with pytest.raises(ApiError, match="not yours"):
        await Tokens(client, "flywheel-system:flywheel").token("store/a")


async def test_without_an_account_there_is_no_token(
    issuer: tuple[Issuer, Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FLYWHEEL_SERVICE_ACCOUNT", raising=False)
    assert own_account() == ""
    with pytest.raises(LoginError, match="FLYWHEEL_SERVICE_ACCOUNT"):
        await Tokens(issuer[1], own_account()).token("store/a")
    monkeypatch.setenv("FLYWHEEL_SERVICE_ACCOUNT", "flywheel")
    assert own_account().endswith(":flywheel")
