"""What the edge costs a request, and how soon an order takes effect.

The edge is compared in one run with a bare HAProxy that proxies to the same service and logs each request as well (the
same hops), and with the service alone. Rounds alternate, so that what else the machine does falls on all alike. Once
with a service that costs nothing, which shows what HAProxy itself can do at most, and once with the front page of the
example shop, which is what visitors meet.
"""

import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench import edge_orders
from tests.bench.rows import Row, median
from tests.ports import free_port
from tests.unit.edge.stand import document, live, trial
from tools.bootstrap.debian import ensure_packages
from tools.bootstrap.steps import REPOSITORY

from flywheel.edge.document import ChannelRule, EdgeDocument, Limits, VariantRange
from flywheel.edge.endpoints import Server
from flywheel.edge.files import take_structure, write_structure
from flywheel.edge.render import Layout, render

ROUNDS = 5
SECONDS = 2
CONNECTIONS = 32
ADDRESS = "127.0.0.1"
SHOP = REPOSITORY / "examples" / "shop"
TICK = 100
"""Clock ticks a second in /proc."""
HEADERS = (
    "Host: shop.example",
    "Cookie: fw_vid=7d3c1f52-9c2b-4a7e-8b7e-0123456789ab; fw_ch=search; session=0123456789abcdef",
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language: zh-CN,zh;q=0.9,en;q=0.8",
    "Referer: http://shop.example/",
)
"""Of a visitor on the way from one page of the shop to another: what most requests are."""
PAGE = "x" * 2048
BARE = """
global
    nbthread 1
    maxconn 1000
    log 127.0.0.1:{log} format raw local0 info
defaults
    mode http
    log global
    timeout connect 1s
    timeout client 10s
    timeout server 30s
frontend edge
    bind 127.0.0.1:{port}
    option httplog
    default_backend web
backend web
    balance leastconn
    server s1 127.0.0.1:{service}
"""
SERVICE = """
global
    nbthread 1
    maxconn 1000
defaults
    mode http
    timeout client 60s
frontend service
    bind 127.0.0.1:{port}
    http-request return status 200 content-type text/html string {page}
"""


@dataclass
class Way:
    """One way to the service, and what was measured on it."""

    port: int
    process: subprocess.Popen[bytes]
    rates: list[float] = field(default_factory=list)
    """Requests a second."""
    tails: list[float] = field(default_factory=list)
    """99th percentiles, in milliseconds."""
    costs: list[float] = field(default_factory=list)
    """Processor time of the process a request, in microseconds."""

    def measure(self, seconds: float) -> None:
        """Load it for a while."""
        before = self._ticks()
        rate, tail, count = _load(self.port, seconds)
        self.rates.append(rate)
        self.tails.append(tail)
        self.costs.append((self._ticks() - before) / TICK / count * 1e6)

    def _ticks(self) -> int:
        user, system = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        return int(user) + int(system)


def measure() -> list[Row]:
    """Measure throughput, latency, processor time, and the way of an order."""
    ensure_packages({"haproxy": "haproxy", "wrk": "wrk"})
    with tempfile.TemporaryDirectory() as directory:
        return [*_nothing(Path(directory)), *_shop(Path(directory)), *edge_orders.measure(Path(directory))]


def _nothing(directory: Path) -> list[Row]:
    port = free_port()
    (directory / "service.cfg").write_text(SERVICE.format(port=port, page=PAGE))
    with _process(["haproxy", "-db", "-q", "-f", str(directory / "service.cfg")], port) as service:
        quiet = _compare(directory / "quiet", Way(port, service), _document())
        tested = _compare(directory / "tested", Way(port, service), _tested(_document()))
    return [
        *_rows(quiet, "free service", 0.9),
        *_rows(tested, "free service, within a test", None),
    ]


def _shop(directory: Path) -> list[Row]:
    with ExitStack() as stack:
        ports = {name: free_port() for name in ("store", "landing")}
        processes = {}
        for name, port in ports.items():
            environment = {
                "PYTHONPATH": str(SHOP),
                "LISTEN_HOST": ADDRESS,
                "LISTEN_PORT": str(port),
                "STORE_URL": f"http://{ADDRESS}:{ports['store']}",
                "DATA_DIRECTORY": str(directory),
                "DRAIN_SECONDS": "0",
            }
            processes[name] = stack.enter_context(_process([sys.executable, "-m", "shop", name], port, environment))
        ways = _compare(directory / "shop", Way(ports["landing"], processes["landing"]), _document())
    return _rows(ways, "shop's page", 0.9)


def _rows(ways: dict[str, Way], where: str, target: float | None) -> list[Row]:
    service, bare, edge = ways["service"], ways["bare"], ways["edge"]
    shares = [mine / other for mine, other in zip(edge.rates, bare.rates, strict=True)]
    beside = [mine / other for mine, other in zip(edge.rates, service.rates, strict=True)]
    name = f"edge, {where}"
    return [
        Row(
            f"{name}: requests/s, against bare HAProxy", median(edge.rates), "req/s", None, "higher", median(bare.rates)
        ),
        Row(f"{name}: share of bare HAProxy's requests/s", median(shares), "ratio", target, "higher", 1.0),
        Row(f"{name}: share of the bare service's requests/s", median(beside), "ratio", None, "higher", 1.0),
        Row(f"{name}: p99, against bare HAProxy", median(edge.tails), "ms", None, "lower", median(bare.tails)),
        Row(f"{name}: p99, against the bare service", median(edge.tails), "ms", None, "lower", median(service.tails)),
        Row(
            f"{name}: processor time, against bare HAProxy", median(edge.costs), "us", None, "lower", median(bare.costs)
        ),
    ]


def _compare(directory: Path, service: Way, given: EdgeDocument) -> dict[str, Way]:
    directory.mkdir()
    with ExitStack() as stack:
        # Nobody reads it: HAProxy writes its log to both ways alike, and what is full loses the rest.
        log = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        log.bind((ADDRESS, 0))
        log_port = log.getsockname()[1]
        bare, edge = free_port(), free_port()
        path = directory / "bare.cfg"
        path.write_text(BARE.format(port=bare, service=service.port, log=log_port))
        configurations = {bare: path, edge: _edge_configuration(directory, given, edge, service.port, log_port)}
        started = [
            Way(port, stack.enter_context(_process(["haproxy", "-db", "-q", "-f", str(configuration)], port)))
            for port, configuration in configurations.items()
        ]
        ways = dict(zip(("service", "bare", "edge"), (service, *started), strict=True))
        for way in ways.values():
            _load(way.port, 1)
        for _ in range(ROUNDS):
            for way in ways.values():
                way.measure(SECONDS)
    return ways


def _document() -> EdgeDocument:
    unlimited = Limits(requests_per_second=10_000_000, connections_per_address=10_000)
    rule = ChannelRule(name="search", utm_source=("baidu",), referrers=("baidu.com",), parameters=("gclid",))
    return document(limits=unlimited, channels=(rule,))


def _tested(given: EdgeDocument) -> EdgeDocument:
    arms = tuple(
        VariantRange(variant=variant, slot=slot, start=start, end=start + 5000)
        for variant, slot, start in (("red", "blue", 0), ("green", "green", 5000))
    )
    return live(given, tests=(trial("button", arms),))


def _edge_configuration(directory: Path, given: EdgeDocument, port: int, service: int, log: int) -> Path:
    layout = Layout(
        run_directory=str(directory),
        http_port=port,
        health_port=free_port(),
        log_port=log,
        ipv6=False,
        threads=1,
    )
    pods = {name: (Server(ADDRESS, service), None, None, None) for name in ("web:blue", "web:green")}
    rendered = render(given, pods, layout=layout)
    write_structure(rendered)
    take_structure(rendered, layout)
    return Path(layout.configuration)


@contextmanager
def _process(
    command: list[str], port: int, environment: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection((ADDRESS, port), timeout=1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
        yield process
    finally:
        process.terminate()
        process.wait(20)


def _load(port: int, seconds: float) -> tuple[float, float, int]:
    """Give requests a second, the 99th percentile in milliseconds, and the number of requests."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency"]
    command += [word for header in HEADERS for word in ("-H", header)]
    said = subprocess.run([*command, f"http://{ADDRESS}:{port}/"], capture_output=True, text=True, check=True).stdout
    assert "Non-2xx" not in said, said
    assert "Socket errors" not in said, said
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
    tail = re.search(r"99%\s+([\d.]+)(us|ms|s)", said)
    count = re.search(r"(\d+) requests in", said)
    assert rate, said
    assert tail, said
    assert count, said
    return float(rate[1]), float(tail[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[tail[2]], int(count[1])
