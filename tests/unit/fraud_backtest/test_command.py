"""The command as a person calls it, against the real store behind the worker's admin port."""

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp.test_utils import TestServer
from click.testing import CliRunner, Result
from tests.unit.fraud_backtest.conftest import Bench
from tests.unit.insight.stream import LATER, Stream

from flywheel.cli import main
from flywheel.events.admin_server import AdminServer
from flywheel.events.rows import EventRow

Called = Callable[..., Result]
CUSTOMERS = ("school-0", "school-1", "school-2", "family-0")


def a_past(now: int) -> Stream:
    """A farm of 12 accounts on one device, a school of 8, a family of 3: all within minutes."""
    rows = []
    for device, people, step in (("farm", 12, 5_000), ("school", 8, 60_000), ("family", 3, 1000)):
        for number in range(people):
            who = f"{device}-{number}"
            rows.append(_row(f"{who}-claim", "Coupon Claimed", now - 3_600_000 + number * step, who, device))
    rows += [_row(f"{who}-order", "Order Completed", now - 1_800_000, who, "") for who in CUSTOMERS]
    return Stream(events=rows)


def _row(identity: str, name: str, at: int, who: str, device: str) -> EventRow:
    return EventRow(
        message_id=identity,
        type="track",
        event=name,
        time=at,
        original_time=at,
        ingest_time=at,
        visitor=who,
        user_id=f"u-{who}",
        context=json.dumps({"device": {"id": device}} if device else {}),
        expires_at=LATER,
    )


def a_rule(campaign: str, **spec: Any) -> dict[str, Any]:
    whole = {
        "campaign": campaign,
        "match": {"event": "Coupon Claimed"},
        "key": ["device"],
        "window": "10m",
        "condition": {"distinct": {"field": "user", "moreThan": 5}},
        "action": {"block": {"for": "1h", "scope": ["/coupon"]}},
    }
    return {
        "apiVersion": "flywheel.dev/v1alpha1",
        "kind": "FraudRule",
        "metadata": {"name": "device-farm", "namespace": "spring"},
        "spec": {**whole, **spec},
    }


def a_campaign(name: str, **events: Any) -> dict[str, Any]:
    return {
        "apiVersion": "flywheel.dev/v1alpha1",
        "kind": "Campaign",
        "metadata": {"name": name, "namespace": "spring"},
        "spec": {
            "services": [{"name": "landing", "image": "shop/landing:1", "port": 8080}],
            "route": {"parentRefs": [{"name": "public"}], "hostnames": ["618.example"]},
            "edge": {"routes": [{"path": "/coupon", "service": "landing"}], "events": events},
        },
    }


@pytest.fixture
def called(bench: Bench, tmp_path: Path) -> Called:
    """Call `flywheel fraud backtest` on a file with these manifests."""

    def call(*manifests: dict[str, Any], options: tuple[str, ...] = ()) -> Result:
        path = tmp_path / "rules.yaml"
        path.write_text(yaml.safe_dump_all(manifests, allow_unicode=True))

        async def serve() -> Result:
            server = TestServer(AdminServer(bench.store, None, None).application())  # type: ignore[arg-type]
            async with server:
                arguments = ["fraud", "backtest", str(path), "--url", str(server.make_url("")), *options]
                return await asyncio.to_thread(CliRunner(env={"COLUMNS": "80"}).invoke, main, arguments)

        return bench.run(serve())  # type: ignore[no-any-return]

    return call


@pytest.fixture(scope="module")
def campaign(bench: Bench) -> str:
    return bench.keep(a_past(int(time.time() * 1000)))


def test_it_says_whom_a_rule_would_have_found(called: Called, campaign: str) -> None:
    result = called(a_rule(campaign), a_campaign(campaign))
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    assert "23 events match." in said
    assert "10 would have broken the rule, of 2 keys (device) with 20 visitors." in said
    assert "3 of these visitors have paid for an order." in said
    assert "condition.distinct.moreThan: 10 finds most without hitting a customer: 2 hits of 1 key." in said
    assert max(map(len, result.output.splitlines()[:-1])) <= 160
    assert "as in the rule" in said
    assert "recommended" in said
    assert "farm" in said


def test_programs_get_it_as_json(called: Called, campaign: str) -> None:
    result = called(a_rule(campaign), a_campaign(campaign), options=("-o", "json"))
    (told,) = json.loads(result.output)
    assert (told["events"], told["hits"], told["keys"], told["visitors"], told["customers"]) == (23, 10, 2, 20, 3)
    assert told["recommended"] == 10
    assert told["path"] == "condition.distinct.moreThan"
    assert {"limit": 5.0, "hits": 10, "keys": 2, "visitors": 20, "customers": 3} in told["curve"]
    worst = told["samples"][0]
    assert (worst["key"], worst["observed"], worst["event"]) == (["farm"], 12, "farm-11-claim")
    assert worst["visitor"] == "farm-11"


def test_nobody_is_found_before_the_time_that_is_looked_at(called: Called, campaign: str) -> None:
    result = called(a_rule(campaign), a_campaign(campaign), options=("--since", "5m"))
    assert result.exit_code == 0
    assert "0 events match." in result.output
    assert "no event of that time matches" in " ".join(result.output.split())


def test_what_the_past_does_not_tell_is_said_and_the_others_are_tried(called: Called, campaign: str) -> None:
    networks = a_rule(campaign, key=["addressPrefix"], action={"tag": {"name": "x"}})
    networks["metadata"]["name"] = "networks"
    result = called(networks, a_rule(campaign), a_campaign(campaign, addresses="Hash"))
    assert result.exit_code == 1
    assert "networks cannot be tried on the past: spec.key[0] is addressPrefix" in result.output
    assert "10 would have broken the rule" in result.output


def test_without_its_campaign_the_data_tell_what_is_missing(
    called: Called, campaign: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    result = called(a_rule(campaign, key=["address"], action={"tag": {"name": "x"}}))
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    assert f"The Campaign {campaign} is not known" in said
    assert "none of the events has address in the store, so nothing can be found" in said


def test_a_rule_of_several_campaigns_needs_to_be_told_which(called: Called, campaign: str) -> None:
    rule = a_rule(campaign, selector={"matchLabels": {"season": "sale"}})
    del rule["spec"]["campaign"]
    assert "--campaign" in called(rule).output
    result = called(rule, a_campaign(campaign), options=("--campaign", campaign))
    assert "10 would have broken the rule" in result.output


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kind: Campaign\n", "holds no FraudRule"),
        ("a: [", "cannot be read"),
        ("kind: FraudRule\n", "no valid FraudRule"),
    ],
)
def test_a_file_that_is_no_rule_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "rule.yaml"
    path.write_text(text)
    result = CliRunner().invoke(main, ["fraud", "backtest", str(path)])
    assert result.exit_code == 1
    assert said in result.output


def test_a_store_that_is_away_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rule.yaml"
    path.write_text(yaml.safe_dump_all([a_rule("yougou-618"), a_campaign("yougou-618")]))
    result = CliRunner().invoke(main, ["fraud", "backtest", str(path), "--url", "http://127.0.0.1:9"])
    assert result.exit_code == 1
    assert "The event store does not answer" in result.output
