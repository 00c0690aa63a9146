"""What shoppers see changes where they go, and the report counts who saw what."""

import asyncio
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
import yaml
from tests.answering import answering
from tests.unit.simulation.test_simulate_behaviour import SMALLEST

from flywheel.simulation.crowd import Crowd, Place
from flywheel.simulation.plan import Pace
from flywheel.simulation.read import read_behaviour

FRONT = {
    "path": "/",
    "think": {"least": "0s", "most": "0s"},
    "next": {"claim": 1, "leave": 9},
    "prefers": [
        {"name": "green", "sees": "hue: green", "next": {"claim": 9, "leave": 1}},
        # Never reached on a green page: the first that is seen decides.
        {"name": "coloured", "sees": "hue: (red|green)", "next": {"leave": 1}},
    ],
}
BEHAVIOUR: dict[str, Any] = {
    **SMALLEST,
    "agents": [
        {"agent": "Mozilla/5.0", "weight": 9},
        {"agent": "Bot", "bot": True, "journey": "look"},
    ],
    "steps": {"front": FRONT, "claim": {"path": "/claim", "think": {"least": "0s", "most": "0s"}}},
}


class Site:
    """Shows each visitor one colour for good, and none to those of a third kind."""

    def __init__(self) -> None:
        self.came = 0
        self.claims: list[str] = []
        self.hues: dict[str, str] = {}

    def hue(self, visitor: str) -> str:
        return self.hues.setdefault(visitor, ("green", "red", "plain")[zlib.crc32(visitor.encode()) % 3])

    def visitor(self) -> str:
        self.came += 1
        return f"visitor-{self.came}"


def _handler(made: Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            known = (self.headers.get("cookie") or "").partition("fw_vid=")[2].partition(";")[0]
            visitor = known or made.visitor()
            if self.path == "/claim":
                made.claims.append(made.hue(visitor))
            hue = made.hue(visitor)
            body = f"hue: {hue}".encode() if hue != "plain" else b"no colour"
            self.send_response(200)
            for name, value in (("content-type", "text/html"), ("content-length", str(len(body)))):
                self.send_header(name, value)
            self.send_header("set-cookie", f"fw_vid={visitor}; Path=/")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@pytest.fixture
def site() -> Iterator[tuple[Site, str]]:
    made = Site()
    with answering(_handler(made)) as address:
        yield made, address


async def test_shoppers_go_where_what_they_saw_leads_them(site: tuple[Site, str]) -> None:
    made, address = site
    behaviour = read_behaviour(yaml.safe_dump(BEHAVIOUR))
    crowd = Crowd(behaviour, Pace(rate=60, speed=100), Place(address))
    await crowd.run(3, asyncio.Event())
    report = crowd.tally.report(3, 0)
    assert report["failed"] == 0
    sights, people = report["sights"], report["visits"]["started"] - report["visits"]["bots"]
    assert report["visits"]["bots"] > 0
    assert sights.keys() == {"green", "coloured"}
    green, red = sights["green"], sights["coloured"]
    assert green["visitors"] == sum(green["next"].values())
    assert red["next"] == {"leave": red["visitors"]}
    assert green["next"]["claim"] > 0.7 * green["visitors"]
    assert green["visitors"] + red["visitors"] < people, "some saw neither, and went the usual ways"
    assert "red" not in made.claims
    assert made.claims.count("green") >= green["next"]["claim"]


async def test_a_step_that_failed_has_shown_nothing(site: tuple[Site, str]) -> None:
    _, address = site
    refused = {**BEHAVIOUR, "steps": {**BEHAVIOUR["steps"], "front": {**FRONT, "expect": [201]}}}
    crowd = Crowd(read_behaviour(yaml.safe_dump(refused)), Pace(rate=30, speed=100), Place(address))
    await crowd.run(1, asyncio.Event())
    assert crowd.tally.report(1, 0)["sights"] == {}
    assert crowd.tally.requests > 0
