"""How a call bears a server that is slow, busy, ill or gone. The server is a scripted one."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import yaml
from aiohttp import web
from tests.patience import PATIENCE

from flywheel.kube.client import Client
from flywheel.kube.errors import ApiError, LoginError, NotLeader
from flywheel.kube.login import find_configuration, find_credentials

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ScriptedServer:
    """Gives one prepared answer after another, the last one for ever, and remembers who asked."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.requests: list[web.Request] = []
        self.bodies: list[str] = []
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        self.bodies.append(await request.text())
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return await answer(request)

    def kubeconfig(self, path: Path, token: str = "first") -> None:
        entry = {"cluster": {"server": self.url}, "user": {"token": token}, "context": {"cluster": "c", "user": "u"}}
        content = {
            "clusters": [{"name": "c", "cluster": entry["cluster"]}],
            "users": [{"name": "u", "user": entry["user"]}],
            "contexts": [{"name": "x", "context": entry["context"]}],
            "current-context": "x",
        }
        path.write_text(yaml.safe_dump(content))


def says(status: int, headers: dict[str, str] | None = None, **body: object) -> Answer:
    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.json_response(body, status=status, headers=headers)

    return answer


async def hangs_up(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def is_silent(_request: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    return web.Response()


OK = says(200, kind="Thing")


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    scripted = ScriptedServer()
    application = web.Application()
    application.router.add_route("*", "/{rest:.*}", scripted.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    scripted.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield scripted
    await runner.cleanup()


@pytest.fixture
def kubeconfig(server: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "kubeconfig"
    server.kubeconfig(path)
    monkeypatch.setenv("KUBECONFIG", str(path))
    return path


@pytest.fixture
async def client(kubeconfig: Path, calls: list[tuple[str, str]]) -> AsyncIterator[Client]:
    made = await Client.connect(observe=lambda verb, result: calls.append((verb, result)), call_timeout=PATIENCE)
    yield made
    await made.close()


@pytest.fixture
def calls() -> list[tuple[str, str]]:
    return []


async def test_the_token_is_sent(server: ScriptedServer, client: Client) -> None:
    server.answers = [OK]
    assert await client.call("get", "GET", "/thing") == {"kind": "Thing"}
    assert server.requests[0].headers["authorization"].lower() == "bearer first"


@pytest.mark.parametrize("trouble", [says(503), says(500), says(429), hangs_up])
async def test_what_may_pass_is_tried_again(
    server: ScriptedServer, client: Client, trouble: Answer, calls: list[tuple[str, str]]
) -> None:
    server.answers = [trouble, OK]
    assert await client.call("apply", "PATCH", "/thing", body={"a": 1}) == {"kind": "Thing"}
    assert calls[-1] == ("apply", "ok")


async def test_it_gives_up_after_a_few_attempts(server: ScriptedServer, client: Client) -> None:
    server.answers = [says(503, kind="Status", reason="ServiceUnavailable", message="not now", code=503)]
    with pytest.raises(ApiError, match="not now") as caught:
        await client.call("get", "GET", "/thing")
    assert len(server.requests) == 3
    assert caught.value.is_retryable


async def test_silence_is_counted_from_the_first_call_in_vain_and_ended_by_any_answer(
    server: ScriptedServer, client: Client
) -> None:
    server.answers = [says(403, kind="Status", code=403), hangs_up]
    with pytest.raises(ApiError):
        await client.call("get", "GET", "/thing")
    assert client.unanswered_for == 0
    # However long nothing is asked.
    await asyncio.sleep(0.02)
    assert client.unanswered_for == 0
    with pytest.raises(ApiError, match="cannot be reached"):
        await client.call("get", "GET", "/thing")
    after_first = client.unanswered_for
    assert after_first > 0
    with pytest.raises(ApiError):
        await client.call("get", "GET", "/thing", attempts=1)
    assert client.unanswered_for > after_first
    server.answers = [OK]
    await client.call("get", "GET", "/thing")
    assert client.unanswered_for == 0


async def test_the_server_is_given_the_time_it_asks_for(server: ScriptedServer, client: Client) -> None:
    server.answers = [says(429, {"Retry-After": "1"}), OK]
    began = asyncio.get_running_loop().time()
    await client.call("get", "GET", "/thing")
    assert asyncio.get_running_loop().time() - began >= 1


@pytest.mark.parametrize("status", [400, 403, 404, 409, 422])
async def test_a_refusal_is_not_tried_again(server: ScriptedServer, client: Client, status: int) -> None:
    server.answers = [says(status, kind="Status", reason="Because", message="no", code=status)]
    with pytest.raises(ApiError) as caught:
        await client.call("apply", "PATCH", "/thing", body={})
    assert (caught.value.status, caught.value.reason, len(server.requests)) == (status, "Because", 1)


async def test_a_silent_server_is_unreachable(server: ScriptedServer, client: Client, calls: list[object]) -> None:
    server.answers = [is_silent]
    with pytest.raises(ApiError, match="did not answer in time") as caught:
        await client.call("get", "GET", "/thing", attempts=1, timeout=0.1)
    assert caught.value.is_retryable
    assert calls == [("get", "unreachable")]


async def test_no_server_at_all(kubeconfig: Path, server: ScriptedServer) -> None:
    server.url = "http://127.0.0.1:1"
    server.kubeconfig(kubeconfig)
    client = await Client.connect()
    with pytest.raises(ApiError, match=r"cannot be reached.*127.0.0.1"):
        await client.call("get", "GET", "/thing", attempts=1)
    await client.close()


async def test_an_answer_that_is_no_json(server: ScriptedServer, client: Client) -> None:
    async def proxy_page(_request: web.Request) -> web.StreamResponse:
        return web.Response(text="<html>Bad gateway</html>", status=502)

    server.answers = [proxy_page]
    with pytest.raises(ApiError, match="answered 502") as caught:
        await client.call("get", "GET", "/thing", attempts=1)
    assert caught.value.is_retryable


async def test_a_rotated_token_is_read_again(server: ScriptedServer, kubeconfig: Path, client: Client) -> None:
    async def only_second(request: web.Request) -> web.StreamResponse:
        return await (OK if request.headers["authorization"].endswith("second") else says(401))(request)

    server.answers = [only_second]
    server.kubeconfig(kubeconfig, token="second")
    client._last_login -= 60
    assert await client.call("get", "GET", "/thing") == {"kind": "Thing"}


async def test_a_token_that_stays_bad_is_not_tried_for_ever(server: ScriptedServer, client: Client) -> None:
    server.answers = [says(401)]
    client._last_login -= 60
    with pytest.raises(ApiError) as caught:
        await client.call("get", "GET", "/thing")
    assert caught.value.is_forbidden
    assert len(server.requests) == 2


async def test_credentials_that_vanished_leave_the_refusal(
    server: ScriptedServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answers = [says(401)]
    monkeypatch.setenv("KUBECONFIG", "/nowhere/at/all")
    client._last_login -= 60
    with pytest.raises(ApiError) as caught:
        await client.call("get", "GET", "/thing")
    assert caught.value.status == 401


@pytest.mark.parametrize(
    ("environment", "proxy"),
    [
        ({}, None),
        ({"HTTP_PROXY": "http://proxy:3128"}, "http://proxy:3128"),
        ({"HTTP_PROXY": "http://proxy:3128", "NO_PROXY": "127.0.0.1"}, None),
        ({"HTTPS_PROXY": "http://proxy:3128"}, None),
    ],
)
async def test_a_proxy_of_the_environment_is_used(
    environment: dict[str, str], proxy: str | None, kubeconfig: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert (await find_configuration()).proxy == proxy
    assert (await find_credentials()).proxy_url == proxy


async def test_the_fence_is_asked_after_the_wait_for_a_connection(server: ScriptedServer, kubeconfig: Path) -> None:
    """A write that queued for a connection while the lease ran out does not leave."""
    open_ = True

    def fence() -> None:
        if not open_:
            raise NotLeader("no")

    release = asyncio.Event()

    async def slow(_request: web.Request) -> web.StreamResponse:
        await release.wait()
        return web.json_response({})

    server.answers = [slow, OK]
    client = await Client.connect(fence=fence, connections=1)
    first = asyncio.create_task(client.call("get", "GET", "/slow"))
    while not server.requests:  # noqa: ASYNC110 - until the only connection is taken
        await asyncio.sleep(0.01)
    write = asyncio.create_task(client.call("apply", "PATCH", "/thing", body={"a": 1}))
    await asyncio.sleep(0)
    open_ = False
    release.set()
    await first
    with pytest.raises(NotLeader):
        await write
    assert [request.path for request in server.requests] == ["/slow"]
    open_ = True
    await client.call("apply", "PATCH", "/thing", body={"a": 1})
    assert server.bodies[-1] == '{"a": 1}'
    await client.close()


async def test_the_fence_is_asked_again_when_the_bytes_leave(server: ScriptedServer, kubeconfig: Path) -> None:
    """aiohttp writes a body a turn of the event loop after the headers: time enough to be frozen in."""
    asked, calls = 0, []

    def closes_after_the_first() -> None:
        nonlocal asked
        asked += 1
        if asked > 1:
            raise NotLeader("no")

    server.answers = [OK]
    client = await Client.connect(fence=closes_after_the_first, observe=lambda *call: calls.append(call))
    with pytest.raises(NotLeader):
        await client.call("apply", "PATCH", "/thing", body={"a": 1})
    assert (asked, server.requests, calls) == (2, [], [("apply", "fenced")])
    await client.close()


async def test_a_stream_gives_whole_lines(server: ScriptedServer, client: Client) -> None:
    async def in_pieces(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for piece in (b'{"a":', b' 1}\n{"a": 2}\n{"a"', b": 3}\n"):
            await response.write(piece)
            await asyncio.sleep(0.01)
        return response

    server.answers = [in_pieces]
    async with client.stream("/watch", query=(), inactivity=PATIENCE) as lines:
        assert [line["a"] async for line in lines] == [1, 2, 3]


async def test_a_stream_that_falls_silent_ends(server: ScriptedServer, client: Client) -> None:
    async def one_line(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"{}\n")
        await asyncio.Event().wait()
        return response

    server.answers = [one_line]

    async def read() -> None:
        async with client.stream("/watch", query=(), inactivity=0.2) as lines:
            async for _ in lines:
                pass

    with pytest.raises(ApiError) as caught:
        await read()
    assert caught.value.reason == "Timeout"


async def test_without_any_credentials_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "absent"))
    with pytest.raises(LoginError, match=r"absent.*Set KUBECONFIG"):
        await find_configuration()


async def test_a_broken_kubeconfig_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "broken"
    path.write_text("clusters: 7")
    monkeypatch.setenv("KUBECONFIG", str(path))
    with pytest.raises(LoginError, match="broken"):
        await find_configuration()


async def test_a_pod_without_a_token_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    with pytest.raises(LoginError, match="service account token"):
        await find_configuration()
