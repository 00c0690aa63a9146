"""What A/B tests cost the edge: requests a second of a known visitor with 0, 1 and 20 tests, in turns in one run."""

import socket
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.bench.edge import ADDRESS, PAGE, ROUNDS, SECONDS, SERVICE, SHOP, Way
from tests.bench.edge import _document as plain_document
from tests.bench.edge import _edge_configuration as edge_configuration
from tests.bench.edge import _load as load
from tests.bench.edge import _process as process
from tests.bench.rows import Row, median
from tests.ports import free_port
from tests.unit.edge.stand import live, trial
from tools.bootstrap.debian import ensure_packages

from flywheel.edge.document import BUCKETS, EdgeDocument, Segment, VariantRange

COUNTS = (0, 1, 20)
ON_ONE_SERVICE = 16
TARGET = 0.95


def measure() -> list[Row]:
    """Measure with a service that costs nothing, and with the shop's page."""
    ensure_packages({"haproxy": "haproxy", "wrk": "wrk"})
    with tempfile.TemporaryDirectory() as directory:
        return [*_free(Path(directory)), *_page(Path(directory))]


def with_tests(count: int) -> EdgeDocument:
    """Give a shop with so many tests: most on the service that is asked, each with its part of the layer."""
    here = min(count, ON_ONE_SERVICE)
    arms = (
        VariantRange(variant="red", slot="blue", start=0, end=5000),
        VariantRange(variant="lime", slot="green", start=5000, end=BUCKETS),
    )
    tests = []
    for number in range(here):
        segment = Segment(start=number * BUCKETS // here, end=(number + 1) * BUCKETS // here)
        tests.append(trial(f"test-{number}", arms, salt=f"s{number}", segments=(segment,)))
    whole = (VariantRange(variant="red", slot="", start=0, end=BUCKETS),)
    for number in range(count - here):
        segment = Segment(start=number * 100, end=number * 100 + 100)
        tests.append(trial(f"other-{number}", whole, salt=f"o{number}", service="pay", segments=(segment,)))
    return live(plain_document(), tests=tuple(tests))


def _free(directory: Path) -> list[Row]:
    port = free_port()
    (directory / "service.cfg").write_text(SERVICE.format(port=port, page=PAGE))
    with process(["haproxy", "-db", "-q", "-f", str(directory / "service.cfg")], port):
        return _rows(_compare(directory / "free", port), "free service")


def _page(directory: Path) -> list[Row]:
    with ExitStack() as stack:
        ports = {name: free_port() for name in ("store", "landing")}
        for name, port in ports.items():
            environment = {
                "PYTHONPATH": str(SHOP),
                "LISTEN_HOST": ADDRESS,
                "LISTEN_PORT": str(port),
                "STORE_URL": f"http://{ADDRESS}:{ports['store']}",
                "DATA_DIRECTORY": str(directory),
                "DRAIN_SECONDS": "0",
            }
            stack.enter_context(process([sys.executable, "-m", "shop", name], port, environment))
        return _rows(_compare(directory / "page", ports["landing"]), "shop's page")


def _compare(directory: Path, service: int) -> dict[int, Way]:
    with ExitStack() as stack:
        log = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        log.bind((ADDRESS, 0))
        ways = {}
        for count in COUNTS:
            port, place = free_port(), directory / str(count)
            place.mkdir(parents=True)
            path = edge_configuration(place, with_tests(count), port, service, log.getsockname()[1])
            ways[count] = Way(port, stack.enter_context(process(["haproxy", "-db", "-q", "-f", str(path)], port)))
        for way in ways.values():
            load(way.port, 1)
        for _ in range(ROUNDS):
            for way in ways.values():
                way.measure(SECONDS)
    return ways


def _rows(ways: dict[int, Way], where: str) -> list[Row]:
    none = ways[0]
    rows = [Row(f"edge with tests, {where}: none, requests/s", median(none.rates), "req/s", None, "higher")]
    for count, way in ways.items():
        if count:
            shares = [mine / other for mine, other in zip(way.rates, none.rates, strict=True)]
            target = TARGET if count == COUNTS[-1] else None
            name = f"edge with tests, {where}: {count}, share of the requests/s with none"
            rows.append(Row(name, median(shares), "ratio", target, "higher", 1.0))
            cost = median(way.costs) - median(none.costs)
            rows.append(Row(f"edge with tests, {where}: {count}, processor time more", cost, "us"))
    return rows
