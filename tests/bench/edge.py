"""What the edge costs a request, and how soon an order takes effect.

The edge is compared in one run with a bare HAProxy that proxies to the same service and logs each request as well (the
same hops), and with the service alone. Rounds alternate, so that what else the machine does falls on all alike.
"""

import asyncio
import re
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from pathlib import Path

from tests.bench.rows import Row, median, percentile
from tests.unit.edge.stand import Edge, document, edge, free_port, live
from tools.bootstrap.debian import ensure_packages

from flywheel.edge.document import ChannelRule, Limits, VariantRange
from flywheel.edge.document import Test as Trial
from flywheel.edge.endpoints import Server
from flywheel.edge.files import take_structure, write_structure
from flywheel.edge.render import Layout, render

ROUNDS = 5
SECONDS = 3
CONNECTIONS = 32
POD_COUNT = 3
CHANGES = 100
ADDRESS = "127.0.0.1"
HEADERS = (
    "Cookie: fw_vid=7d3c1f52-9c2b-4a7e-8b7e-0123456789ab; fw_ch=search; session=0123456789abcdef",
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language: zh-CN,zh;q=0.9,en;q=0.8",
    "Referer: http://shop.example/",
)
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


def measure() -> list[Row]:
    """Measure throughput, latency, and the way of an order."""
    ensure_packages({"haproxy": "haproxy", "wrk": "wrk"})
    with tempfile.TemporaryDirectory() as directory:
        rows = _traffic(Path(directory))
        return [*rows, *asyncio.run(_orders(Path(directory)))]


def _traffic(directory: Path) -> list[Row]:
    with ExitStack() as stack:
        log = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        log.bind((ADDRESS, 0))
        ports = {name: free_port() for name in ("service", "bare", "edge")}
        texts = {
            "service": SERVICE.format(port=ports["service"], page=PAGE),
            "bare": BARE.format(port=ports["bare"], service=ports["service"], log=log.getsockname()[1]),
        }
        for name, text in texts.items():
            (directory / f"{name}.cfg").write_text(text)
            stack.enter_context(_haproxy(directory / f"{name}.cfg", ports[name]))
        configuration = _edge_configuration(directory, ports, log.getsockname()[1])
        stack.enter_context(_haproxy(configuration, ports["edge"]))
        rates: dict[str, list[float]] = {name: [] for name in ports}
        tails: dict[str, list[float]] = {name: [] for name in ports}
        for name in ports:
            _load(ports[name], 1)
        for _ in range(ROUNDS):
            for name, port in ports.items():
                rate, tail = _load(port, SECONDS)
                rates[name].append(rate)
                tails[name].append(tail)
    rate = {name: median(each) for name, each in rates.items()}
    tail = {name: median(each) for name, each in tails.items()}
    ratios = [mine / bare for mine, bare in zip(rates["edge"], rates["bare"], strict=True)]
    return [
        Row(
            "edge: requests/s on one thread, against bare HAProxy", rate["edge"], "req/s", None, "higher", rate["bare"]
        ),
        Row("edge: share of bare HAProxy's requests/s", median(ratios), "ratio", 0.9, "higher", 1.0),
        Row(
            "edge: share of the bare service's requests/s", rate["edge"] / rate["service"], "ratio", None, "higher", 1.0
        ),
        Row("edge: p99 of a request, against bare HAProxy", tail["edge"], "ms", None, "lower", tail["bare"]),
        Row("edge: p99 of a request, against the bare service", tail["edge"], "ms", None, "lower", tail["service"]),
    ]


def _edge_configuration(directory: Path, ports: dict[str, int], log: int) -> Path:
    layout = Layout(
        run_directory=str(directory),
        http_port=ports["edge"],
        health_port=free_port(),
        log_port=log,
        ipv6=False,
        threads=1,
    )
    arms = tuple(
        VariantRange(variant=variant, slot=slot, start=start, end=start + 5000)
        for variant, slot, start in (("red", "blue", 0), ("green", "green", 5000))
    )
    unlimited = Limits(requests_per_second=10_000_000, connections_per_address=10_000)
    rule = ChannelRule(name="search", utm_source=("baidu",), referrers=("baidu.com",), parameters=("gclid",))
    given = live(
        document(limits=unlimited, channels=(rule,)),
        tests=(Trial(name="button", service="web", salt="s", ranges=arms),),
    )
    pods = {name: (Server(ADDRESS, ports["service"]), None, None, None) for name in ("web:blue", "web:green")}
    rendered = render(given, pods, layout=layout)
    write_structure(rendered)
    take_structure(rendered, layout)
    return Path(layout.configuration)


@contextmanager
def _haproxy(configuration: Path, port: int) -> Iterator[None]:
    process = subprocess.Popen(["haproxy", "-db", "-q", "-f", configuration], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection((ADDRESS, port), timeout=1).close()
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
        yield
    finally:
        process.terminate()
        process.wait(10)


def _load(port: int, seconds: int) -> tuple[float, float]:
    """Give requests a second and the 99th percentile in milliseconds."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency"]
    command += [word for header in HEADERS for word in ("-H", header)]
    said = subprocess.run(
        [*command, f"http://{ADDRESS}:{port}/page"], capture_output=True, text=True, check=True
    ).stdout
    assert "Non-2xx" not in said, said
    assert "Socket errors" not in said, said
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
    tail = re.search(r"99%\s+([\d.]+)(us|ms|s)", said)
    assert rate, said
    assert tail, said
    return float(rate[1]), float(tail[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[tail[2]]


async def _orders(directory: Path) -> list[Row]:
    """Measure the way of an order through several agents, each with its HAProxy: from hearing of it to its effect."""
    given = document(limits=Limits(requests_per_second=10_000_000))
    async with AsyncExitStack() as stack:
        edges = []
        for number in range(POD_COUNT):
            (directory / f"pod-{number}").mkdir()
            edges.append(await stack.enter_async_context(edge(directory / f"pod-{number}", given)))
        taken = []
        for number in range(CHANGES):
            slot = ("green", "blue")[number % 2]
            order = live(given, active={"web": slot})
            began = time.perf_counter()
            for each in edges:
                each.order(order)
            await asyncio.gather(*(_sees(each, f"web-{slot}") for each in edges))
            taken.append((time.perf_counter() - began) * 1000)
    name = f"edge: order heard until in effect in all of {POD_COUNT} agents"
    return [
        Row(f"{name}, p50", median(taken), "ms"),
        Row(f"{name}, p99", percentile(taken, 0.99), "ms", 100.0),
    ]


async def _sees(stand: Edge, service: str) -> None:
    connection = await stand.connect()
    deadline = time.monotonic() + 30
    while (await connection.ask("/")).echo["service"] != service:
        assert time.monotonic() < deadline, f"no effect of the order for {service}"
        await asyncio.sleep(0.001)
    connection.close()
