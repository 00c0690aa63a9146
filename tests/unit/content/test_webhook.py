"""What a Git server that tells of a push is answered."""

import hashlib
import hmac
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st

from flywheel.release.content.webhook import LARGEST_BODY, TokenBucket, Webhook, repository_urls, webhook_app

SECRET = b"correct horse battery staple"
GITHUB = {"repository": {"clone_url": "https://github.com/shop/landing.git", "ssh_url": "git@github.com:shop/landing"}}
GITLAB = {"project": {"git_http_url": "https://gitlab.example/shop/landing.git"}, "repository": {"url": "git@x:y"}}


class Hook:
    def __init__(self, session: aiohttp.ClientSession, server: TestServer, secret: Path) -> None:
        self.session = session
        self.server = server
        self.secret = secret
        self.refreshed: list[str] = []

    async def call(
        self,
        payload: Any,
        *,
        path: str = "/hooks/git",
        method: str = "POST",
        signed: bytes | None = SECRET,
        **headers: str,
    ) -> int:
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        given = {"Content-Type": "application/json", **{name.replace("_", "-"): text for name, text in headers.items()}}
        if signed is not None:
            given["X-Hub-Signature-256"] = "sha256=" + hmac.new(signed, body, hashlib.sha256).hexdigest()
        url = self.server.make_url(path)
        async with self.session.request(method, url, data=io.BytesIO(body), headers=given) as answer:
            return answer.status


@pytest.fixture
async def hook(tmp_path: Path) -> AsyncIterator[Hook]:
    secret = tmp_path / "secret"
    secret.write_bytes(SECRET + b"\n")

    def refresh(url: str) -> int:
        made.refreshed.append(url)
        return 1

    async with (
        TestServer(webhook_app(secret, refresh, TokenBucket(1, 20, lambda: 0.0))) as server,
        aiohttp.ClientSession() as session,
    ):
        made = Hook(session, server, secret)
        yield made


async def test_a_signed_call_refreshes_the_repository(hook: Hook) -> None:
    assert await hook.call(GITHUB) == 202
    assert hook.refreshed == ["https://github.com/shop/landing.git"]


async def test_a_call_with_the_token_of_gitlab(hook: Hook) -> None:
    assert await hook.call(GITLAB, signed=None, X_Gitlab_Token=SECRET.decode()) == 202
    assert hook.refreshed == ["https://gitlab.example/shop/landing.git"]


async def test_a_payload_in_a_form(hook: Hook) -> None:
    body = urlencode({"payload": json.dumps(GITHUB)}).encode()
    assert await hook.call(body, Content_Type="application/x-www-form-urlencoded") == 202
    assert hook.refreshed == ["https://github.com/shop/landing.git"]


@pytest.mark.parametrize(
    "payload", [{}, [], 5, b"{", b"\xff", b"[" * 100_000, {"repository": []}, {"repository": {"url": 5}}]
)
async def test_a_signed_call_about_nothing_is_taken(payload: Any, hook: Hook) -> None:
    assert await hook.call(payload) == 202
    assert hook.refreshed == []


async def test_a_call_that_is_not_signed_does_nothing(hook: Hook) -> None:
    assert await hook.call(GITHUB, signed=None) == 401
    assert await hook.call(GITHUB, signed=b"wrong") == 401
    assert await hook.call(GITHUB, signed=None, X_Hub_Signature_256="sha256=") == 401
    assert await hook.call(GITHUB, signed=None, X_Hub_Signature_256="sha256=\u00e9") == 401
    assert await hook.call(GITHUB, signed=None, X_Gitlab_Token="wrong") == 401
    assert await hook.call(GITHUB, signed=None, X_Gitlab_Token="") == 401
    assert hook.refreshed == []


async def test_a_signature_is_of_the_body_that_came(hook: Hook) -> None:
    signature = "sha256=" + hmac.new(SECRET, json.dumps(GITHUB).encode(), hashlib.sha256).hexdigest()
    assert await hook.call(GITLAB, signed=None, X_Hub_Signature_256=signature) == 401


async def test_a_new_secret_holds_at_once_and_none_lets_nobody_in(hook: Hook) -> None:
    hook.secret.write_bytes(b"new")
    assert await hook.call(GITHUB) == 401
    assert await hook.call(GITHUB, signed=b"new") == 202
    hook.secret.write_bytes(b"")
    assert await hook.call(GITHUB, signed=b"") == 401
    assert await hook.call(GITHUB, signed=None, X_Gitlab_Token="") == 401
    hook.secret.unlink()
    assert await hook.call(GITHUB, signed=b"") == 401


async def test_a_body_that_is_too_large(hook: Hook) -> None:
    assert await hook.call(b"x" * (LARGEST_BODY + 1)) == 413
    assert hook.refreshed == []


async def test_other_paths_and_methods(hook: Hook) -> None:
    assert await hook.call(GITHUB, path="/") == 404
    assert await hook.call(GITHUB, path="/hooks/git/x") == 404
    for method in ("GET", "PUT", "DELETE"):
        assert await hook.call(b"", method=method) == 405


async def test_too_many_calls_are_not_even_looked_at(hook: Hook) -> None:
    answers = [await hook.call(GITHUB) for _ in range(25)]
    assert answers == [202] * 20 + [429] * 5
    assert len(hook.refreshed) == 20


def test_a_bucket_fills_with_time_and_not_beyond_its_size() -> None:
    now = 0.0
    bucket = TokenBucket(2, 3, lambda: now)
    assert [bucket.take() for _ in range(4)] == [True, True, True, False]
    now = 0.5
    assert [bucket.take() for _ in range(2)] == [True, False]
    now = 1000.0
    assert [bucket.take() for _ in range(4)] == [True, True, True, False]


@given(st.binary(max_size=500), st.sampled_from(["application/json", "application/x-www-form-urlencoded", ""]))
def test_no_payload_is_too_strange(body: bytes, kind: str) -> None:
    assert repository_urls(body, kind) == []


def test_a_payload_cannot_name_endlessly_many() -> None:
    payload = {place: {"clone_url": "https://x.example/" + place + "y" * 3000} for place in ("repository", "project")}
    assert repository_urls(json.dumps(payload).encode(), "application/json") == []


async def test_it_listens_on_a_port_of_its_own(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(SECRET)
    webhook = Webhook(secret, lambda _: 0, host="127.0.0.1", port=0)
    await webhook.start()
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.post(
                f"http://127.0.0.1:{webhook.port}/hooks/git", data=b"{}", headers={"X-Gitlab-Token": SECRET.decode()}
            ) as answer,
        ):
            assert answer.status == 202
    finally:
        await webhook.stop()


async def standing_by(tmp_path: Path, leader: Hook, address: str | None = None) -> TestServer:
    """Another replica, whose Lease says where the leader is."""
    elsewhere = leader.server.host if address is None else address

    def refresh(url: str) -> int:
        raise AssertionError(f"a standby follows nothing, but was asked for {url}")

    application = webhook_app(
        tmp_path / "secret", refresh, leader=lambda: elsewhere, leader_port=leader.server.port or 0
    )
    return TestServer(application)


async def test_a_standby_passes_a_call_on_to_the_leader_and_gives_its_answer(hook: Hook, tmp_path: Path) -> None:
    seen: list[dict[str, str]] = []

    @web.middleware
    async def note(request: web.Request, handler: Any) -> web.StreamResponse:
        seen.append(dict(request.headers))
        answer: web.StreamResponse = await handler(request)
        return answer

    def refresh(url: str) -> int:
        hook.refreshed.append(url)
        return 3

    application = webhook_app(tmp_path / "secret", refresh)
    application.middlewares.append(note)
    async with TestServer(application) as leading:
        hook.server = leading
        async with await standing_by(tmp_path, hook) as standby:
            url = standby.make_url("/hooks/git")
            body = urlencode({"payload": json.dumps(GITLAB)}).encode()
            headers = {"Content-Type": "application/x-www-form-urlencoded", "X-Gitlab-Token": SECRET.decode()}
            async with hook.session.post(url, data=body, headers=headers) as answer:
                assert (answer.status, await answer.json()) == (202, {"sources": 3})
    assert hook.refreshed == [GITLAB["project"]["git_http_url"]]
    assert len(seen) == 1
    assert SECRET.decode() not in str(seen[0]), "the secret itself is told to nobody"


async def test_a_call_that_a_standby_does_not_believe_goes_no_further(hook: Hook, tmp_path: Path) -> None:
    leader, hook.server = hook.server, await standing_by(tmp_path, hook)
    async with hook.server:
        assert await hook.call(GITHUB, signed=b"wrong") == 401
    assert leader is not hook.server
    assert not hook.refreshed


@pytest.mark.parametrize("address", ["", "flywheel.example", "127.0.0.1/../x@y", "127.0.0.2"])
async def test_where_no_leader_is_known_or_answers_the_git_server_is_told(
    hook: Hook, tmp_path: Path, address: str
) -> None:
    hook.server = await standing_by(tmp_path, hook, address)
    async with hook.server:
        assert await hook.call(GITHUB) == 503
    assert not hook.refreshed


async def test_two_that_take_each_other_for_the_leader_come_to_an_end(hook: Hook, tmp_path: Path) -> None:
    hook.server = await standing_by(tmp_path, hook)
    async with hook.server:
        hook.server = await standing_by(tmp_path, hook)
        async with hook.server:
            assert await hook.call(GITHUB) == 503
