"""Crowds and hunters: as whom they come, what became of them, and the truth about them."""

import asyncio
import csv
import ipaddress
import itertools
import json
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.answering import answering
from tests.unit.simulation.test_simulate_behaviour import SMALLEST, complaints

from flywheel.commands.simulate import simulate
from flywheel.simulation.behaviour import Behaviour
from flywheel.simulation.crowd import Crowd, Place
from flywheel.simulation.fates import LABEL_COLUMNS, answered
from flywheel.simulation.groups import Stops
from flywheel.simulation.members import comings
from flywheel.simulation.plan import Pace, Shopper, shoppers
from flywheel.simulation.read import read_behaviour

EXAMPLE = Path(__file__).parents[3] / "examples/618/hunters.yaml"
TRAITS = ("Address", "Device", "Account", "Cookies")
NO_TIME = {"least": "0s", "most": "0s"}
BLOCKED, CHALLENGED = "198.51.100.1", "198.51.100.2"


def group(name: str, truth: str = "Honest", **changes: Any) -> dict[str, Any]:
    bouts = [{"at": "0s", "for": "1s", "visits": 12}]
    made = {"name": name, "truth": truth, "journey": "claims", "addresses": ["203.0.113.7"], "bouts": bouts}
    return {**made, **changes}


def behaviour(*groups: dict[str, Any], **changes: Any) -> Behaviour:
    steps = {
        "front": {"path": "/", "think": NO_TIME},
        "claim": {
            "path": "/coupon?who={user}&on={device}",
            "think": NO_TIME,
            "track": [{"event": "Coupon Claimed"}],
        },
    }
    journeys = [{"name": "look", "start": "front"}, {"name": "claims", "start": "claim"}]
    made = {**SMALLEST, "groups": list(groups), "steps": steps, "journeys": journeys, "rate": 0.01, **changes}
    return read_behaviour(yaml.safe_dump(made))


def members(own: Behaviour, seconds: float = 1e6) -> list[Shopper]:
    plan = itertools.takewhile(lambda each: each.at < seconds, shoppers(own, Pace(own.rate)))
    return [each for each in plan if each.member]


@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**31 - 1),
    keeps=st.sets(st.sampled_from(TRAITS)),
    people=st.integers(1, 5),
    visits=st.integers(1, 30),
    network=st.sampled_from(("203.0.113.7", "203.0.113.0/28", "2001:db8::/124")),
    even=st.booleans(),
)
def test_whoever_keeps_something_comes_with_it_and_others_never(
    seed: int, keeps: set[str], people: int, visits: int, network: str, even: bool
) -> None:
    bout = {"at": "2s", "for": "10s", "visits": visits, "even": even}
    own = behaviour(
        group("g", keeps=sorted(keeps), people=people, addresses=[network], bouts=[bout]), seed=seed, rate=0.01
    )
    plan = members(own, 20)
    assert plan == members(own, 20), "a function of the seed"
    assert len(plan) == visits
    assert all(2 <= each.at < 12 for each in plan)
    assert [each.at for each in plan] == sorted(each.at for each in plan)
    who = [each.member for each in plan if each.member]
    assert all(ipaddress.ip_address(each.address) in ipaddress.ip_network(network) for each in who)
    for trait, value in (("Device", "device"), ("Account", "user")):
        expected = min(people, visits) if trait in keeps else visits
        assert len({getattr(each, value) for each in who}) == expected
    assert {bool(each.jar) for each in who} == {"Cookies" in keeps}
    if "Address" in keeps:
        assert all(len({each.address for each in who if each.person == person}) <= 1 for person in range(people))
    if even:
        steps = {round(later.at - earlier.at, 6) for earlier, later in itertools.pairwise(plan)}
        assert len(steps) <= 1


def test_groups_change_nothing_about_those_who_come_alone() -> None:
    def alone(own: Behaviour) -> list[Shopper]:
        plan = itertools.takewhile(lambda each: each.at < 30, shoppers(own, Pace(2)))
        return [each for each in plan if not each.member]

    assert alone(behaviour(group("a"), group("b", people=3))) == alone(behaviour(group("a")))
    assert {each.journey for each in alone(behaviour(group("a")))} == {"look"}


def test_two_groups_are_strangers() -> None:
    made = list(comings(behaviour(group("a"), group("b")).groups, 1))
    seen = [{(each.member.device, each.member.user) for each in made if each.group.name == name} for name in "ab"]
    assert not seen[0] & seen[1]


@pytest.mark.parametrize(
    ("changes", "path", "words"),
    [
        ({"journey": "nowhere"}, "groups[0].journey", "no such journey"),
        ({"truth": "Unsure"}, "groups[0].truth", "Honest"),
        ({"addresses": ["203.0.113.300"]}, "groups[0].addresses[0]", "address"),
        ({"addresses": []}, "groups[0].addresses", "at least 1"),
        ({"addresses": ["10.0.0.0/8"]}, "groups[0].addresses", "smaller"),
        ({"addresses": ["203.0.113.7", "203.0.113.7"]}, "groups[0].addresses", "duplicate"),
        ({"keeps": ["Adress"]}, "groups[0].keeps[0]", "Address"),
        ({"people": 0}, "groups[0].people", "greater"),
        ({"bouts": []}, "groups[0].bouts", "at least 1"),
        ({"bouts": [{"for": "0s", "visits": 1}]}, "groups[0].bouts[0].for", "longer"),
        ({"bouts": [{"for": "1s", "visits": 0}]}, "groups[0].bouts[0].visits", "greater"),
        ({"name": "shoppers"}, "groups[0].name", "another name"),
        ({"adress": "x"}, "groups[0].adress", "did you mean addresses"),
    ],
)
def test_a_wrong_group_is_told_what_is_wrong(changes: dict[str, Any], path: str, words: str) -> None:
    told = complaints({"groups": [{**group("g", journey="look"), **changes}]})
    assert path in told
    assert words in told


def test_wrong_ways_of_refusing_are_told() -> None:
    assert "stops.page" in complaints({"stops": {"page": "prove"}})
    assert "stops.statuses[0]" in complaints({"stops": {"statuses": [200]}})
    assert "groups[1].name: duplicate" in complaints({"groups": [group("g", journey="look")] * 2})
    assert "smaller" in complaints({"addresses": ["10.0.0.0/8"]})


@pytest.mark.parametrize(
    ("status", "target", "what"),
    [
        (200, "", "served"),
        (403, "", "blocked"),
        (429, "", "blocked"),
        (404, "", "served"),
        (303, "/prove?return=%2Fcoupon", "challenged"),
        (303, "/prove", "served"),
        (303, "/pay/1?return=x", "served"),
        (302, "/prove?return=x", "served"),
    ],
)
def test_the_edges_no_is_told_from_answers(status: int, target: str, what: str) -> None:
    assert answered(Stops(page="/prove"), status, target) == what
    if what == "challenged":
        assert answered(Stops(), status, target) == "served"


class Edge:
    """Plays an edge that believes in addresses, and has decided about two of them."""

    def __init__(self) -> None:
        self.addresses: list[str] = []
        self.events: list[dict[str, Any]] = []
        self.visitors = itertools.count(1)


def _handler(made: Edge) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            address = self.headers.get("x-forwarded-for", "")
            if not self.path.startswith("/prove"):
                made.addresses.append(address)
            if address == BLOCKED:
                self._answer(403)
            elif address == CHALLENGED and not self.path.startswith("/prove"):
                self._answer(303, [("location", "/prove?return=%2Fcoupon")])
            else:
                self._answer(200)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.path != "/v1/track":
                self.do_GET()
                return
            made.events.append({**json.loads(body), "address": self.headers.get("x-forwarded-for", "")})
            self._answer(200)

        def _answer(self, status: int, headers: list[tuple[str, str]] | None = None) -> None:
            self.send_response(status)
            known = (self.headers.get("cookie") or "").partition("fw_vid=")[2].partition(";")[0]
            for name, value in [*(headers or []), ("content-length", "0")]:
                self.send_header(name, value)
            self.send_header("set-cookie", f"fw_vid={known or f'v-{next(made.visitors)}'}; Path=/")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@pytest.fixture
def edge() -> Iterator[tuple[Edge, str]]:
    made = Edge()
    with answering(_handler(made)) as address:
        yield made, address


MIXED = (
    group("school", people=6),
    group("farm", "Dishonest", keeps=["Address"], addresses=[BLOCKED]),
    group("pushed", "Dishonest", keeps=["Address", "Device"], addresses=[CHALLENGED]),
    group("clever", "Dishonest", keeps=["Device", "Cookies"], addresses=["198.51.100.128/25"]),
)


async def test_each_comes_from_its_address_with_what_it_has(edge: tuple[Edge, str]) -> None:
    made, address = edge
    crowd = Crowd(behaviour(*MIXED, stops={"page": "/prove"}), Pace(0.01), Place(address))
    await crowd.run(1.5, asyncio.Event())
    report = crowd.tally.report(1.5, 0)
    assert report["failed"] == 0
    came = Counter(made.addresses)
    assert (came["203.0.113.7"], came[BLOCKED], came[CHALLENGED]) == (12, 12, 12)
    school = [each for each in made.events if each["address"] == "203.0.113.7"]
    assert len({each["userId"] for each in school}) == len({each["context"]["device"]["id"] for each in school}) == 6
    assert len({each["anonymousId"] for each in school}) == 6, "cookies came again with their person"
    clever = [each for each in made.events if each["address"] not in ("203.0.113.7", "")]
    assert len({each["context"]["device"]["id"] for each in clever}) == 1
    assert len({each["userId"] for each in clever}) == 12
    assert len({each["address"] for each in clever}) > 5
    # Nobody who was stopped has claimed anything.
    assert report["events"] == {"Coupon Claimed": 24}


async def test_the_report_says_who_was_stopped_and_who_was_harmed(edge: tuple[Edge, str]) -> None:
    _, address = edge
    crowd = Crowd(behaviour(*MIXED, stops={"page": "/prove"}), Pace(0.01), Place(address))
    await crowd.run(1.5, asyncio.Event())
    fates = crowd.tally.report(1.5, 0)["fates"]
    met = {name: (each["served"], each["blocked"], each["challenged"]) for name, each in fates["groups"].items()}
    assert met == {"school": (12, 0, 0), "farm": (0, 12, 0), "pushed": (0, 0, 12), "clever": (12, 0, 0)}
    assert fates["honest"]["stopped_share"] == 0
    assert fates["dishonest"]["stopped_share"] == pytest.approx(2 / 3, abs=1e-4)
    rows = list(csv.DictReader(crowd.tally.fates.labels().splitlines()))
    assert all(bool(each["visitor"]) != bool(each["user"]) for each in rows), "each line is about one of them"
    labelled = Counter((each["label"], "user" if each["user"] else "visitor") for each in rows)
    # The clever one kept the cookies, and so is one visitor with twelve users.
    assert labelled == {
        ("Honest", "visitor"): 6, ("Honest", "user"): 6, ("Dishonest", "visitor"): 25, ("Dishonest", "user"): 36,
    }  # fmt: skip
    assert {each["source"] for each in rows if each["label"] == "Honest"} == {"simulation:school"}


async def test_whoever_gets_no_answer_is_neither_served_nor_stopped() -> None:
    crowd = Crowd(behaviour(group("g")), Pace(0.01), Place("http://127.0.0.1:9"))
    await crowd.run(1.5, asyncio.Event())
    told = crowd.tally.report(1.5, 0)["fates"]["groups"]["g"]
    assert (told["visits"], told["unanswered"], told["served"], told["refused"]) == (12, 12, 0, 0)


def test_the_command_writes_labels_and_prints_the_seed(edge: tuple[Edge, str], tmp_path: Path) -> None:
    _, address = edge
    file, labels = tmp_path / "hunters.yaml", tmp_path / "truth.csv"
    file.write_text(EXAMPLE.read_text("utf-8"), "utf-8")
    options = (
        "--url",
        address,
        "--duration",
        "2s",
        "--rate",
        "0.01",
        "--speed",
        "50",
        "--seed",
        "7",
        "--labels",
        str(labels),
    )
    run = CliRunner().invoke(simulate, [str(file), *options])
    assert run.exit_code == 0, run.output
    assert "seed 7" in run.stdout
    assert "hundred-accounts" in run.stdout
    rows = list(csv.DictReader(labels.read_text("utf-8").splitlines()))
    assert tuple(rows[0]) == LABEL_COLUMNS
    assert {"simulation:school", "simulation:botnet"} <= {each["source"] for each in rows}


def test_single_shoppers_have_addresses_if_the_file_says_so() -> None:
    own = behaviour(addresses=["192.0.2.0/28"], returning={"share": "50%", "among": 5})
    plan = list(itertools.takewhile(lambda each: each.at < 30, shoppers(own, Pace(3))))
    assert len({each.address for each in plan}) > 8
    by_number = {each.number: each for each in plan}
    again = [each for each in plan if each.earlier is not None and by_number[each.earlier].earlier is None]
    assert again
    assert all(each.address == by_number[each.earlier or 0].address for each in again)
