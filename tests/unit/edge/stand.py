"""An edge on loopback: the real HAProxy, the agent that keeps it, services that answer, and clients of raw bytes."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tests.patience import PATIENCE
from tests.ports import free_port

from flywheel.edge.agent import Agent, Observer
from flywheel.edge.document import (
    BUCKETS,
    Backend,
    Collect,
    EdgeDocument,
    EdgeRoute,
    EdgeService,
    Segment,
    Trouble,
    VariantRange,
    encode,
)
from flywheel.edge.document import Test as Trial
from flywheel.edge.enforcer import Enforcer
from flywheel.edge.render import Layout
from flywheel.edge.runtime_api import RuntimeApi


async def until(holds: Callable[[], bool | Awaitable[bool]], what: str, patience: float = PATIENCE) -> None:
    deadline = time.monotonic() + patience
    while True:
        found = holds()
        if isinstance(found, bool):
            if found:
                return
        elif await found:
            return
        assert time.monotonic() < deadline, f"{what}: not within {patience:g} s"
        await asyncio.sleep(0.01)


@dataclass
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name.lower()]

    def one(self, name: str) -> str | None:
        found = self.all(name)
        return found[0] if found else None

    @property
    def echo(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def cookies(self) -> dict[str, str]:
        return dict(each.split(";")[0].split("=", 1) for each in self.all("set-cookie"))


class Connection:
    """One client connection that says exactly what it is told."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, port: int, source: str | None = None, **options: Any) -> "Connection":
        local = (source, 0) if source else None
        return cls(*await asyncio.open_connection("127.0.0.1", port, local_addr=local, **options))

    async def send(self, raw: bytes) -> None:
        self.writer.write(raw)
        await self.writer.drain()

    async def answer(self, *, head: bool = False) -> Answer:
        async with asyncio.timeout(PATIENCE):
            raw = await self.reader.readuntil(b"\r\n\r\n")
            lines = raw.decode("latin-1").split("\r\n")
            status = int(lines[0].split(" ")[1])
            pairs = [line.split(": ", 1) for line in lines[1:] if line]
            answer = Answer(status, [(name.lower(), value) for name, value in pairs], b"")
            if status == 100:
                return await self.answer()
            if answer.one("transfer-encoding") == "chunked":
                while size := int((await self.reader.readline()).split(b";")[0], 16):
                    answer.body += await self.reader.readexactly(size)
                    await self.reader.readexactly(2)
                await self.reader.readexactly(2)
            elif not head and status not in (204, 304):
                length = answer.one("content-length")
                answer.body = await (self.reader.readexactly(int(length)) if length else self.reader.read())
            return answer

    async def ask(self, path: str = "/", *, method: str = "GET", body: bytes = b"", **headers: str) -> Answer:
        lines = {"Host": "shop.example"} | {name.replace("_", "-"): value for name, value in headers.items()}
        if body:
            lines["Content-Length"] = str(len(body))
        text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        await self.send(f"{method} {path} HTTP/1.1\r\n{text}\r\n".encode() + body)
        return await self.answer(head=method == "HEAD")

    async def is_closed(self) -> bool:
        async with asyncio.timeout(PATIENCE):
            try:
                return await self.reader.read(1) == b""
            except ConnectionError:
                return True

    def close(self) -> None:
        self.writer.close()


class Service:
    """Answers with what it was asked, as a service of a campaign would."""

    running: ClassVar[set["Service"]] = set()

    def __init__(self, name: str) -> None:
        self.name = name
        self.port = 0
        self.requests = 0
        self.raw: list[bytes] = []
        self.hold: asyncio.Event | None = None
        self.delay = 0.0
        self.content_type = "application/json"
        self.headers: dict[str, str] = {}
        """Further headers of each answer."""
        self._open: dict[asyncio.StreamWriter, bool] = {}
        """Connections, and whether a request is under way on them."""
        self._server: asyncio.Server | None = None

    async def start(self, port: int = 0) -> "Service":
        Service.running.add(self)
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        Service.running.discard(self)
        if self._server:
            self._server.close()
            self._server = None

    async def vanish(self) -> None:
        """End as a pod does: take nothing new, end what was begun, close what is open."""
        await self.stop()
        await until(lambda: not any(self._open.values()), f"{self.name} has ended what it had begun")
        await self.cut()

    async def cut(self) -> None:
        """Close all connections, whatever is under way on them."""
        for writer in self._open:
            writer.transport.abort()
        # Sockets are closed in the loop's next turn.
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open[writer] = False
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                while await self._answer(reader, writer):
                    self._open[writer] = False
        finally:
            del self._open[writer]
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        self._open[writer] = True
        lines = head.decode("latin-1").split("\r\n")
        pairs = [(name.lower(), value) for name, value in (line.split(": ", 1) for line in lines[1:] if line)]
        headers = dict(pairs)
        body = b""
        if "content-length" in headers:
            body = await reader.readexactly(int(headers["content-length"]))
        elif headers.get("transfer-encoding") == "chunked":
            while size := int((await reader.readline()).split(b";")[0], 16):
                body += await reader.readexactly(size)
                await reader.readexactly(2)
            await reader.readexactly(2)
        self.requests += 1
        self.raw.append(head + body)
        if self.hold:
            await self.hold.wait()
        if self.delay:
            await asyncio.sleep(self.delay)
        method, path, _ = lines[0].split(" ")
        told = {"service": self.name, "method": method, "path": path, "headers": headers, "length": len(body)}
        text = json.dumps(told).encode()
        further = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
        reply = f"HTTP/1.1 200 OK\r\nContent-Type: {self.content_type}\r\nContent-Length: {len(text)}\r\n{further}\r\n"
        writer.write(reply.encode() + (b"" if method == "HEAD" else text))
        await writer.drain()
        return True


def endpoint_slice(name: str, services: list[Service], **conditions: bool) -> dict[str, Any]:
    """An EndpointSlice; on loopback each pod has a port of its own, so each is a slice of its own as well."""
    return {
        "metadata": {"uid": f"uid-{name}", "labels": {"kubernetes.io/service-name": name.split("/")[0]}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": service.port, "protocol": "TCP"} for service in services[:1]],
        "endpoints": [{"addresses": ["127.0.0.1"], "conditions": conditions or {"ready": True}} for _ in services[:1]],
    }


def document(**changes: Any) -> EdgeDocument:
    """A shop of two services, one of which has two slots."""
    plain: dict[str, Any] = {
        "namespace": "shop",
        "campaign": "spring",
        "services": (
            EdgeService(
                name="web",
                backends=(
                    Backend(slot="blue", service="web-blue", port="http", capacity=4),
                    Backend(slot="green", service="web-green", port="http", capacity=4),
                ),
            ),
            EdgeService(name="pay", backends=(Backend(service="pay", port="http", capacity=2),)),
        ),
        "routes": (EdgeRoute(path="/", service="web"), EdgeRoute(path="/pay", service="pay")),
        "collect": Collect(write_keys=("key",)),
        "store": "http://127.0.0.1:1",
    }
    return EdgeDocument(**(plain | changes)).stamped()


def trial(name: str, ranges: Sequence[VariantRange], *, salt: str = "s", service: str = "web", **more: Any) -> Trial:
    """A test that has the whole layer of its service, if nothing else is said."""
    given = {"layer_salt": f"layer/{service}", "segments": (Segment(start=0, end=BUCKETS),), **more}
    return Trial(name=name, service=service, salt=salt, ranges=tuple(ranges), **given)


def live(given: EdgeDocument, **changes: Any) -> EdgeDocument:
    return msgspec.structs.replace(given, live=msgspec.structs.replace(given.live, **changes)).stamped()


def certificate(directory: Path, name: str) -> None:
    """Write a certificate as the kubelet does: all files at once, by exchanging a link."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    files = {"tls.crt": made.public_bytes(serialization.Encoding.PEM), "tls.key": pem}
    version = directory / f"..{name}"
    version.mkdir(parents=True)
    for file, content in files.items():
        (version / file).write_bytes(content)
        link = directory / f".{file}"
        link.symlink_to(version / file)
        link.replace(directory / file)


@dataclass
class Edge:
    directory: Path
    layout: Layout
    agent: Agent
    services: dict[str, Service]
    reloads: list[str] = field(default_factory=list)
    troubles: list[Trouble | None] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)
    process: asyncio.subprocess.Process | None = None
    task: asyncio.Task[None] | None = None
    document: EdgeDocument | None = None
    connections: list[Connection] = field(default_factory=list)
    enforcer: Enforcer | None = None

    @property
    def port(self) -> int:
        return self.layout.http_port

    @property
    def api(self) -> RuntimeApi:
        return RuntimeApi(self.layout.stats_socket)

    def order(self, given: EdgeDocument) -> None:
        self.document = given
        self.agent.sources.give_document(encode(given))

    async def give(self, given: EdgeDocument) -> None:
        self.order(given)
        await until(lambda: self.agent.applied.generation == given.generation, "the document is applied")

    def pods(self, name: str, *services: Service, **conditions: bool) -> None:
        """Say which pods a Service has."""
        for index in range(8):
            gone = endpoint_slice(f"{name}/{index}", [])
            self.agent.sources.give_slice(gone, gone=True)
        for index, service in enumerate(services):
            self.agent.sources.give_slice(endpoint_slice(f"{name}/{index}", [service], **conditions))

    async def start_haproxy(self) -> None:
        await until(lambda: self.agent.started, "the agent has a configuration")
        log = (self.directory / "haproxy.log").open("ab")
        self.process = await asyncio.create_subprocess_exec(
            "haproxy", "-W", "-S", self.layout.master_socket, "-f", self.layout.configuration, stdout=log, stderr=log
        )
        log.close()
        await until(lambda: bool(self.agent.applied.generation), "HAProxy is as it shall be")
        await until(self._listens, "HAProxy listens")

    async def _listens(self) -> bool:
        try:
            connection = await Connection.open(self.layout.health_port)
        except OSError:
            return False
        connection.close()
        return True

    async def connect(self, **options: Any) -> Connection:
        connection = await Connection.open(self.port, **options)
        self.connections.append(connection)
        return connection

    async def ask(self, path: str = "/", **options: Any) -> Answer:
        connection = await self.connect()
        try:
            return await connection.ask(path, **options)
        finally:
            connection.close()

    async def raw(self, text: bytes) -> Answer:
        connection = await self.connect()
        try:
            await connection.send(text)
            return await connection.answer()
        finally:
            connection.close()

    async def record(self, **wanted: Any) -> dict[str, Any]:
        """Wait for the record of the access log that has these values."""
        found: list[dict[str, Any]] = []

        def is_there() -> bool:
            found[:] = [each for each in self.records if wanted.items() <= each.items()]
            return bool(found)

        await until(is_there, f"the access log has {wanted}")
        return found[-1]

    async def stop(self) -> None:
        for connection in self.connections:
            connection.close()
        if self.process and self.process.returncode is None:
            self.process.terminate()
            try:
                async with asyncio.timeout(5):
                    await self.process.wait()
            except TimeoutError:
                self.process.kill()
                await self.process.wait()


class Records(asyncio.DatagramProtocol):
    def __init__(self, records: list[dict[str, Any]]) -> None:
        self.records = records

    def datagram_received(self, data: bytes, _from: Any) -> None:
        # HAProxy also says here, in words, when a proxy stops.
        if data.startswith(b"{"):
            self.records.append(json.loads(data))


@contextlib.asynccontextmanager
async def edge(
    directory: Path, given: EdgeDocument | None = None, *, tls_directory: Path | None = None, start: bool = True
) -> AsyncIterator[Edge]:
    """Run an edge with one pod for each slot: web-blue, web-green and pay, and the collector."""
    services = {name: await Service(name).start() for name in ("web-blue", "web-green", "pay", "collect")}
    records: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    listening, _ = await loop.create_datagram_endpoint(lambda: Records(records), local_addr=("127.0.0.1", 0))
    layout = Layout(
        run_directory=str(directory / "run"),
        http_port=free_port(),
        https_port=free_port(),
        health_port=free_port(),
        collect_port=services["collect"].port,
        log_port=listening.get_extra_info("sockname")[1],
        ipv6=False,
        hard_stop_after=5,
    )
    reloads: list[str] = []
    troubles: list[Trouble | None] = []
    stand = Edge(directory, layout, None, services, reloads, troubles, records)  # type: ignore[arg-type]
    stand.agent = new_agent(stand, tls_directory)
    stand.task = asyncio.create_task(stand.agent.run())
    try:
        for name in ("web-blue", "web-green", "pay"):
            stand.pods(name, services[name])
        stand.agent.sources.complete_slices(frozenset(f"uid-{name}/0" for name in services))
        stand.order(given or document())
        if start:
            await stand.start_haproxy()
        yield stand
    finally:
        stand.task.cancel()
        await asyncio.gather(stand.task, return_exceptions=True)
        await stand.stop()
        listening.close()
        for service in list(Service.running):
            await service.stop()
            await service.cut()


def new_agent(stand: Edge, tls_directory: Path | None = None) -> Agent:
    """The agent of this pod, or another after it has died."""
    stand.enforcer = Enforcer(Path(stand.layout.run_directory), stand.layout.stats_socket)
    return Agent(
        None,
        namespace="shop",
        campaign="spring",
        pod="edge-0",
        layout=stand.layout,
        document_directory=str(stand.directory / "document"),
        tls_directory=str(tls_directory) if tls_directory else None,
        observer=Observer(on_reload=stand.reloads.append, on_trouble=stand.troubles.append),
        enforcer=stand.enforcer,
    )
