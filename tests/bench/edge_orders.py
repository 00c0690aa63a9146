"""How soon an order takes effect in several edge pods at once.

Each pod is a process of its own, as in a cluster: an agent with its HAProxy (`tests.bench.edge_pod`). The way of the
order from the API server to the agents is not part of it: all are told at the same moment over a pipe.
"""

import asyncio
import json
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from tests.bench.rows import Row, median, percentile
from tests.ports import free_port
from tests.unit.edge.stand import document, live

from flywheel.edge.document import Limits, encode

POD_COUNT = 3
CHANGES = 100
PATIENCE = 30.0
ADDRESS = "127.0.0.1"
SERVICES = """
global
    nbthread 1
defaults
    mode http
    timeout client 60s
frontend blue
    bind 127.0.0.1:{blue}
    http-request return status 200 content-type text/plain string blue!
frontend green
    bind 127.0.0.1:{green}
    http-request return status 200 content-type text/plain string green
"""
REQUEST = b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n"
LENGTH = 5
Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def measure(directory: Path) -> list[Row]:
    """Switch the active slot again and again, and see when every pod sends visitors to the other one."""
    ports = {name: free_port() for name in ("blue", "green")}
    (directory / "services.cfg").write_text(SERVICES.format(**ports))
    given = document(limits=Limits(requests_per_second=10_000_000))
    with ExitStack() as stack:
        stack.callback(_end, [subprocess.Popen(["haproxy", "-db", "-q", "-f", str(directory / "services.cfg")])])
        pods: list[subprocess.Popen[str]] = []
        stack.callback(_end, pods)
        for number in range(POD_COUNT):
            (directory / f"pod-{number}").mkdir()
            told = json.dumps({"directory": str(directory / f"pod-{number}"), **ports})
            command = [sys.executable, "-m", "tests.bench.edge_pod", told]
            pods.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1))
            _tell(pods[-1], encode(given))
        doors = [int(_heard(pod)) for pod in pods]
        orders = [encode(live(given, active={"web": slot})) for slot in ("green", "blue")]
        taken = asyncio.run(_switch(pods, doors, orders))
    name = f"edge: order heard until in effect in all of {POD_COUNT} pods"
    return [Row(f"{name}, p50", median(taken), "ms"), Row(f"{name}, p99", percentile(taken, 0.99), "ms", 100.0)]


async def _switch(pods: list[subprocess.Popen[str]], doors: list[int], orders: list[str]) -> list[float]:
    lines = [await asyncio.open_connection(ADDRESS, door) for door in doors]
    taken = []
    for number in range(CHANGES):
        began = time.perf_counter()
        for pod in pods:
            _tell(pod, orders[number % 2])
        await asyncio.gather(*(_sees(line, (b"green", b"blue!")[number % 2]) for line in lines))
        taken.append((time.perf_counter() - began) * 1000)
    for _, writer in lines:
        writer.close()
    return taken


async def _sees(line: Line, wanted: bytes) -> None:
    reader, writer = line
    deadline = time.monotonic() + PATIENCE
    while True:
        writer.write(REQUEST)
        await reader.readuntil(b"\r\n\r\n")
        if await reader.readexactly(LENGTH) == wanted:
            return
        assert time.monotonic() < deadline, f"no effect of the order for {wanted!r}"
        await asyncio.sleep(0.001)


def _tell(pod: subprocess.Popen[str], text: str) -> None:
    assert pod.stdin is not None
    pod.stdin.write(f"{text}\n")
    pod.stdin.flush()


def _heard(pod: subprocess.Popen[str]) -> str:
    assert pod.stdout is not None
    line = pod.stdout.readline()
    assert line, "a pod has ended"
    return line


def _end(processes: list[subprocess.Popen[str]] | list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        if process.stdin is not None:
            # A pod ends when nobody can tell it anything any more.
            process.stdin.close()
        else:
            process.terminate()
    for process in processes:
        process.wait(20)
