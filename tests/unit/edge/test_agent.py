"""The agent under faults: HAProxy and itself killed, maps changed by hand, documents and certificates that are none."""

import asyncio
import json
import os
import signal
import ssl
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from tests.patience import PATIENCE
from tests.unit.edge.stand import Connection, Edge, certificate, document, edge, live, new_agent, until
from tests.unit.edge.test_live import FAST, load

from flywheel.edge import agent as agent_module
from flywheel.edge import sources
from flywheel.edge.document import Applied, Block, EdgeRoute, Tls, Trouble, encode
from flywheel.edge.drain import _drain
from flywheel.edge.reporter import Reporter
from flywheel.edge.runtime_api import LiveServer, RuntimeApiError, ask
from flywheel.kube.errors import ApiError


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_module, "LOOK", 0.3)
    monkeypatch.setattr(sources, "CERTIFICATE_INTERVAL", 0.1)


async def served(stand: Edge, path: str = "/") -> str:
    try:
        answer = await stand.ask(path)
    except (OSError, asyncio.IncompleteReadError):
        return ""
    return str(answer.echo["service"]) if answer.status == 200 else ""


async def test_what_is_changed_by_hand_is_put_right(tmp_path: Path) -> None:
    async with edge(tmp_path) as stand:
        given = live(document(), active={"web": "green"}, blocks=(Block(kind="address", value="10.9.9.9", until=9),))
        await stand.give(given)
        structure = (await stand.api.process()).description
        active, addresses = (f"{stand.layout.directory(structure)}/{name}.map" for name in ("active", "addresses"))
        for order in (f"clear map {active}", f"set map {active} web web:blue|blue", f"clear map {addresses}"):
            await ask(stand.layout.stats_socket, order)
        await stand.api.set_server("web:green", "s1", LiveServer("127.0.0.1", 9, 3, enabled=True), None)
        await stand.api.set_server("pay", "s1", LiveServer("127.0.0.1", 9, 3, enabled=False), None)

        async def is_right() -> bool:
            ways = (await served(stand), await served(stand, "/pay"))
            return ways == ("web-green", "pay") and await stand.api.map(addresses) == {"10.9.9.9/32": "9"}

        await until(is_right, "all is as ordered")
        assert not stand.reloads


async def test_haproxy_is_killed_and_starts_with_what_it_had(tmp_path: Path) -> None:
    async with edge(tmp_path) as stand:
        await stand.give(live(document(), active={"web": "green"}))
        assert stand.process is not None
        for _ in range(2):
            stand.process.kill()
            await stand.process.wait()
            if worker := await _pid(stand):
                os.kill(worker, signal.SIGKILL)
            await until(lambda: nobody_listens(stand), "the sockets of the killed one are closed")
            await stand.start_haproxy()
            assert await served(stand) == "web-green", "from its files, before the agent has said anything"
        await stand.give(live(document(), active={"web": "blue"}))
        assert await served(stand) == "web-blue"
        await until(lambda: stand.agent.applied.trouble is None, "all is well")


async def nobody_listens(stand: Edge) -> bool:
    try:
        await stand.connect()
    except OSError:
        return True
    return False


async def _pid(stand: Edge) -> int:
    try:
        return (await stand.api.process()).pid
    except RuntimeApiError:
        return 0


async def test_the_agent_is_killed_and_another_goes_on(tmp_path: Path) -> None:
    async with edge(tmp_path) as stand:
        first = live(document(), active={"web": "green"})
        await stand.give(first)
        assert stand.task is not None
        stand.task.cancel()
        await asyncio.gather(stand.task, return_exceptions=True)
        slices = stand.agent.sources._slices
        stand.agent = new_agent(stand)
        stand.task = asyncio.create_task(stand.agent.run())
        # The API server is away: what was carried out holds, pods included, whatever nonsense comes.
        stand.agent.sources.give_document("{}")
        await until(lambda: stand.agent.applied.generation == first.generation, "the last good document is known")
        assert stand.agent.started
        assert await served(stand) == "web-green"
        assert stand.agent.applied.trouble is not None
        stand.agent.sources._slices = slices
        stand.agent.sources.slices_known = True
        await stand.give(document())
        assert await served(stand) == "web-blue"
        assert stand.agent.applied.trouble is None
        assert not stand.reloads


BROKEN = {
    "no JSON": "{",
    "nothing": "",
    "another version": '{"version": 2}',
    "an unknown field": encode(document()).replace('"namespace"', '"nameSpace"'),
    "a service that is not there": encode(document(routes=(EdgeRoute(path="/", service="absent"),))),
    "a slot that is not there": encode(live(document(), active={"web": "purple"})),
    "a line break in a header": encode(document(response_headers={"X-A": "a\n    stats enable"})),
    "a number out of bounds": encode(document()).replace('"collect"', '"limits":{"connections":0},"collect"'),
    "deep": "[" * 100_000,
}


async def test_a_broken_document_changes_nothing_and_is_told(tmp_path: Path) -> None:
    async with edge(tmp_path) as stand:
        good = stand.document
        assert good is not None
        async with load(stand) as seen:
            for name, text in BROKEN.items():
                stand.troubles.clear()
                stand.agent.sources.give_document(text)
                await until(lambda: bool(stand.troubles), f"{name} is told")
                trouble = stand.agent.applied.trouble
                assert trouble is not None
                assert trouble.reason == "InvalidDocument", name
                assert len(trouble.message) > 20
                assert stand.agent.applied.generation == good.generation
                # Pods are still followed.
                stand.pods("pay", stand.services["web-green" if name == "deep" else "pay"])
                stand.order(good)
                await until(lambda: stand.agent.applied.trouble is None, "it is over")
            await until(lambda: sum(seen.values()) > 30, "clients are served on")
        assert not stand.reloads


async def test_what_haproxy_refuses_is_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with edge(tmp_path) as stand:
        good = stand.document
        assert good is not None
        real = agent_module.render

        def spoiled(given: Any, *arguments: Any, **options: Any) -> Any:
            rendered = real(given, *arguments, **options)
            if given.generation != good.generation:
                object.__setattr__(rendered, "config", rendered.config + "\nfrontend x\n    bid :80\n")
                object.__setattr__(rendered, "structure", "spoiled")
                object.__setattr__(rendered, "directory", stand.layout.directory("spoiled"))
            return rendered

        monkeypatch.setattr(agent_module, "render", spoiled)
        stand.order(document(routes=(EdgeRoute(path="/", service="pay"),)))
        await until(lambda: stand.agent.applied.trouble is not None, "it is told")
        trouble = stand.agent.applied.trouble
        assert trouble is not None
        assert trouble.reason == "ConfigurationRefused"
        assert "ALERT" in trouble.message
        assert await served(stand) == "web-blue"
        assert "bid" not in (tmp_path / "run/haproxy.cfg").read_text()
        stand.pods("web-blue", stand.services["web-green"])
        await until(lambda: _serves(stand, "web-green"), "pods are followed all the same")
        assert not stand.reloads


async def _serves(stand: Edge, service: str) -> bool:
    return await served(stand) == service


async def common_name(stand: Edge) -> str:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    _, writer = await asyncio.open_connection("127.0.0.1", stand.layout.https_port, ssl=context)
    raw = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    found = x509.load_der_x509_certificate(raw).subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(found[0].value)


async def test_https_its_cookies_and_a_new_certificate_without_a_reload(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    certificate(secret, "first")
    async with edge(tmp_path, document(tls=Tls(hsts_max_age=100)), tls_directory=secret) as stand:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        kept = await Connection.open(stand.layout.https_port, ssl=context)
        stand.connections.append(kept)
        answer = await kept.ask("/")
        assert answer.one("strict-transport-security") == "max-age=100"
        assert answer.echo["headers"]["x-forwarded-proto"] == "https"
        assert all("; Secure" in each for each in answer.all("set-cookie"))
        plain = await stand.ask("/a?b=c", Host="shop.example:8080")
        assert (plain.status, plain.one("location")) == (308, "https://shop.example/a?b=c")
        assert await common_name(stand) == "first"
        certificate(secret, "second")
        await until(lambda: _is_named(stand, "second"), "the new certificate is served")
        assert (await kept.ask("/")).status == 200
        (secret / "tls.key").unlink()
        (secret / "tls.key").write_text("rubbish")
        await until(lambda: stand.agent.applied.trouble is not None, "the bad key is told")
        assert stand.agent.applied.trouble is not None
        assert stand.agent.applied.trouble.reason == "CertificateUnusable"
        assert await common_name(stand) == "second"
        assert not stand.reloads
        key = (secret / "..second" / "tls.key").read_text().splitlines()[1]
        told = json.dumps([str(each) for each in stand.troubles])
        assert key not in told


async def _is_named(stand: Edge, name: str) -> bool:
    return await common_name(stand) == name


async def test_without_its_certificate_the_site_is_served_plain(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    async with edge(tmp_path, document(tls=Tls()), tls_directory=secret) as stand:
        assert await served(stand) == "web-blue"
        assert stand.agent.applied.trouble is not None
        assert stand.agent.applied.trouble.reason == "CertificateUnusable"
        certificate(secret, "late")
        await until(lambda: stand.reloads == ["ok"], "HTTPS is opened")
        await until(lambda: stand.agent.applied.trouble is None, "all is well")
        assert await common_name(stand) == "late"
        assert (await stand.ask("/")).status == 308


async def test_a_pod_drains_without_losing_a_request(tmp_path: Path) -> None:
    async with edge(tmp_path, document(limits=FAST)) as stand:
        idle = await stand.connect()
        assert (await idle.ask("/")).one("connection") is None

        async def health(path: str) -> int:
            connection = await Connection.open(stand.layout.health_port)
            try:
                return (await connection.ask(path)).status
            finally:
                connection.close()

        assert [await health(path) for path in ("/healthz", "/readyz", "/metrics", "/x")] == [200, 200, 200, 404]
        service = stand.services["web-blue"]
        await _drain(stand.layout, 0.0)
        assert [await health(path) for path in ("/healthz", "/readyz")] == [200, 503]
        answer = await idle.ask("/")
        assert (answer.status, answer.one("connection")) == (200, "close")
        assert await idle.is_closed()
        # A new configuration in the last seconds does not bring it back.
        await stand.give(document(limits=FAST, routes=(EdgeRoute(path="/", service="web"),)))
        assert await health("/readyz") == 503
        service.hold = asyncio.Event()
        waiting = [asyncio.create_task(stand.ask("/", method=method, body=b"x")) for method in ("POST", "PUT")]
        count = service.requests
        await until(lambda: service.requests == count + 2, "requests are under way")
        assert stand.process is not None
        stand.process.send_signal(signal.SIGUSR1)

        async def is_shut() -> bool:
            try:
                (await Connection.open(stand.port)).close()
            except OSError:
                return True
            return False

        await until(is_shut, "no new connection is taken")
        service.hold.set()
        assert [(await each).status for each in waiting] == [200, 200]
        async with asyncio.timeout(PATIENCE):
            await stand.process.wait()


class _Gateway:
    """The API server as far as the report needs it; the real one is in the lab's tests."""

    def __init__(self) -> None:
        self.failures = 2
        self.applied: list[dict[str, Any]] = []
        self.managers: set[str] = set()

    async def apply(self, manifest: dict[str, Any], *, field_manager: str) -> dict[str, Any]:
        if self.failures:
            self.failures -= 1
            raise ApiError(503, "ServiceUnavailable", "not now")
        self.managers.add(field_manager)
        self.applied.append(json.loads(manifest["data"]["edge-0"]))
        return manifest


async def test_the_report_is_written_when_it_says_something_new() -> None:
    gateway = _Gateway()
    reporter = Reporter("shop", "spring", "edge-0")
    task = asyncio.create_task(reporter.run(gateway))  # type: ignore[arg-type]
    reporter.tell(Applied(generation="a", at="1"))
    await until(lambda: len(gateway.applied) == 1, "it is written, though not at once")
    reporter.tell(Applied(generation="a", at="2"))
    reporter.tell(Applied(generation="a", at="3", trouble=Trouble(reason="SpoolFull", message="x" * 9000)))
    await until(lambda: len(gateway.applied) == 2, "the trouble is written")
    reporter.tell(Applied(generation="a", at="4", trouble=Trouble(reason="SpoolFull", message="other words")))
    reporter.tell(Applied(generation="b", at="5"))
    await until(lambda: len(gateway.applied) == 3, "the generation is written")
    assert [(each["generation"], "trouble" in each) for each in gateway.applied] == [
        ("a", False),
        ("a", True),
        ("b", False),
    ]
    assert len(gateway.applied[1]["trouble"]["message"]) < 600
    assert gateway.managers == {"flywheel-edge-edge-0"}
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
