"""What people see: status, history and pictures, over HTTP."""

import base64
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.unit.release.world import BAD, http
from tests.unit.release_command.api import Api, keep_record
from tests.unit.release_command.conftest import Called, Opened

from flywheel.commands.release_show import ago
from flywheel.release.state import GateState

MANUAL = {"promotion": "Manual", "before": [http("smoke")], "previewHosts": ["preview.shop.example"]}
EDGE = {"edge": {"url": "http://shop-edge.spring.svc"}}


def wants(api: Api, revision: str) -> None:
    api.world.services["web"].wanted = revision
    api.world.settle()


@pytest.mark.parametrize("columns", ["80", ""])
def test_a_release_that_waits_shows_where_it_stands_how_to_look_and_what_to_do(
    opened: Opened, called: Called, columns: str
) -> None:
    api = opened(web=MANUAL)
    api.status = EDGE
    wants(api, "two")
    found = called("status", **({"COLUMNS": columns} if columns else {}))
    assert found.exit_code == 0, found.output
    for text in (
        "AwaitingPromotion",
        "two has passed its gates and waits for a person",
        "one  blue  since 2027-06-16 12:00:00 UTC",
        "two  green",
        "smoke",
        "Passed",
        "as wanted",
        "curl -H 'X-FW-Preview: two' http://shop-edge.spring.svc",
        "kubectl port-forward -n spring service/shop-edge 8080:http",
        "in a browser: preview.shop.example",
        "flywheel release promote shop web -n spring",
        "flywheel release abort shop web -n spring",
    ):
        assert text in found.output
    assert max(len(line.rstrip()) for line in found.output.splitlines()) <= int(columns or 200)


def test_a_stable_release_shows_the_way_back_while_it_is_warm(opened: Opened, called: Called) -> None:
    api = opened(web={})
    wants(api, "two")
    found = called("status")
    assert "previous" in found.output
    assert "flywheel release rollback shop web -n spring    (at once, to one)" in found.output
    assert "promote" not in found.output


def test_a_failed_release_shows_why_and_how_to_look_at_it(opened: Opened, called: Called) -> None:
    api = opened(web={"before": [http("smoke")]})
    api.world.services["web"].answers["smoke"] = [BAD]
    wants(api, "two")
    found = called("status", "-o", "wide")
    for text in (
        "Failed  GateFailed",
        "gate smoke: answered 500, wanted 200",
        "held",
        "http://shop-web-green.spring.svc",
        "1 (1 failed)",
        "12:00:00  Failure: answered 500, wanted 200",
        "flywheel release retry shop web -n spring",
    ):
        assert text in found.output


def test_json_is_what_the_status_says(opened: Opened, called: Called) -> None:
    api = opened(web={}, pay={})
    found = called("status", "--service", "pay", "-o", "json")
    told = json.loads(found.output)
    releases = json.loads(json.dumps(api.campaign["status"]["releases"]))
    assert told == {"campaign": "shop", "namespace": "spring", "releases": releases[1:]}


def test_an_unknown_service_and_a_campaign_without_releases_are_told(opened: Opened, called: Called) -> None:
    api = opened(web={})
    assert "There are: web." in called("status", "--service", "wbe").output
    api.world.services.clear()
    assert "is the operator running?" in called("status").output
    api.specs = {"web": {}}
    found = called("history")
    assert found.exit_code == 1
    assert "No service of the Campaign shop has release.strategy: BlueGreen" in found.output


def test_what_pages_have_said_steers_no_terminal(opened: Opened, called: Called) -> None:
    api = opened(web={"before": [http("smoke")]})
    api.world.services["web"].answers["smoke"] = [saying(BAD, "\x1b]0;owned\x07[red]领取[/red]\r\n")]
    wants(api, "two")
    for verb in (("status",), ("status", "-o", "wide"), ("history",), ("promote",)):
        output = called(*verb).output
        assert "\x1b" not in output
        assert "\x07" not in output
        assert "[red]领取[/red]" in output


def saying(found: Any, message: str) -> Any:
    return type(found)(found.outcome, message)


def test_a_watched_status_is_renewed_and_bears_an_outage(opened: Opened, called: Called, monkeypatch) -> None:
    api = opened(web=MANUAL)
    wants(api, "two")
    monkeypatch.setattr("flywheel.commands.release_views.EVERY", 0.01)
    answer, looks = api.answer, []

    def changing(method: str, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        looks.append(path)
        if len(looks) == 2:
            api.broken = 3
        if len(looks) == 4:
            return 404, {"kind": "Status", "code": 404, "message": "gone"}
        return answer(method, path, body)

    monkeypatch.setattr(api, "answer", changing)
    found = called("status", "--watch")
    assert found.exit_code == 1
    assert "There is no Campaign shop" in found.output
    assert len(looks) == 4
    assert api.broken == 0


def test_watching_json_makes_no_sense(opened: Opened, called: Called) -> None:
    opened(web={})
    assert called("status", "--watch", "-o", "json").exit_code == 2


def test_a_history_says_what_became_of_revisions_and_which_can_be_gone_back_to(opened: Opened, called: Called) -> None:
    api = opened(web=MANUAL)
    for name in ("two", "three"):
        wants(api, name)
        api.annotations["flywheel.dev/promote"] = f"web={name}"
        api.world.settle()
        api.world.pass_time(120)
    api.world.services["web"].answers["smoke"] = [BAD]
    wants(api, "four")
    keep_record(api, "web", "two")
    keep_record(api, "web", "three")
    lines = json.loads(called("history", "-o", "json").output)
    assert [(each["revision"], each["outcome"], each["back"], each["source"]) for each in lines] == [
        ("one", "Promoted", "no", ""),
        ("two", "Promoted", "yes", "shop:two"),
        ("three", "Promoted", "serves", "shop:three"),
        ("four", "Failed", "no", ""),
    ]
    output = called("history").output
    for text in ("2027-06-16 12:00:00", "gate smoke: answered 500", "shop:two"):
        assert text in output


def test_a_history_names_what_serves_and_what_is_on_its_way(opened: Opened, called: Called) -> None:
    api = opened(web=MANUAL, pay={})
    wants(api, "two")
    lines = json.loads(called("history", "web", "-o", "json").output)
    assert [(each["revision"], each["outcome"]) for each in lines] == [("one", "Promoted"), ("two", "Preview")]
    web = api.world.services["web"]
    assert web.state
    web.state = msgspec.structs.replace(web.state, history=())
    lines = json.loads(called("history", "web", "-o", "json").output)
    assert [(each["revision"], each["outcome"]) for each in lines] == [("one", "Active"), ("two", "Preview")]
    assert "service" in called("history").output


def test_a_history_without_the_right_to_read_records_says_so(opened: Opened, called: Called) -> None:
    api = opened(web={})
    wants(api, "two")
    api.refuses["GET /api/v1/namespaces/spring/configmaps/shop-web-two"] = 403
    found = called("history")
    assert found.exit_code == 0
    assert "the right `get` on configmaps in the namespace spring is missing" in found.output


def with_pictures(api: Api, **binary: bytes) -> None:
    web = api.world.services["web"]
    gate = GateState(
        name="shopping", stage="before", kind="browser", digest="d", verdict="Failed", evidence="configmap/evidence"
    )
    assert web.state
    web.state = msgspec.structs.replace(web.state, gates=(gate,))
    api.lag = 100
    api.config_maps["evidence"] = {
        "data": {"report.json": '{"message": "no"}', "plan.json": "{}"},
        "binaryData": {name: base64.b64encode(content).decode() for name, content in binary.items()},
    }


def test_pictures_and_report_become_files(opened: Opened, called: Called, tmp_path: Path) -> None:
    api = opened(web={})
    with_pictures(api, **{"01-failed.jpg": b"\xff\xd8"})
    assert "flywheel release pictures shop web --into pictures -n spring" in called("status").output
    for _ in range(2):
        found = called("pictures", "web", "--into", str(tmp_path / "out"))
        assert found.exit_code == 0, found.output
    assert found.output.split() == [str(tmp_path / "out/shopping" / name) for name in ("01-failed.jpg", "report.json")]
    assert (tmp_path / "out/shopping/01-failed.jpg").read_bytes() == b"\xff\xd8"
    assert json.loads((tmp_path / "out/shopping/report.json").read_text()) == {"message": "no"}


def test_no_file_is_written_elsewhere(opened: Opened, called: Called, tmp_path: Path) -> None:
    api = opened(web={})
    names = ("../up.jpg", "/tmp/abs.jpg", ".hidden", "..", "a/b.jpg", "ok.jpg", "x" * 300)
    with_pictures(api, **dict.fromkeys(names, b"x"))
    assert called("pictures", "web", "shopping", "--into", str(tmp_path / "out")).exit_code == 0
    assert sorted(each.name for each in (tmp_path / "out").rglob("*") if each.is_file()) == ["ok.jpg", "report.json"]
    assert not (tmp_path / "up.jpg").exists()


def test_no_file_is_written_through_a_link(opened: Opened, called: Called, tmp_path: Path) -> None:
    api = opened(web={})
    with_pictures(api, **{"a.jpg": b"x"})
    (tmp_path / "out/shopping").mkdir(parents=True)
    (tmp_path / "out/shopping/a.jpg").symlink_to(tmp_path / "target")
    found = called("pictures", "web", "--into", str(tmp_path / "out"))
    assert found.exit_code == 1
    assert "cannot be written" in found.output
    assert not (tmp_path / "target").exists()


def test_where_there_are_no_pictures_it_is_said(opened: Opened, called: Called, tmp_path: Path) -> None:
    api = opened(web={})
    into = ("--into", str(tmp_path / "out"))
    assert "only browser gates do" in called("pictures", "web", *into).output
    with_pictures(api)
    assert "Those that have: shopping." in called("pictures", "web", "other", *into).output
    api.refuses["GET /api/v1/namespaces/spring/configmaps/evidence"] = 403
    assert "You lack the right `get` on configmaps" in called("pictures", "web", *into).output
    api.refuses.clear()
    del api.config_maps["evidence"]
    assert "holds no pictures any more" in called("pictures", "web", *into).output


def test_lengths_of_time_read_well() -> None:
    assert [ago(each) for each in (0, 59, 60, 200, 3600, 7500, 200_000)] == [
        "0 s",
        "59 s",
        "1 min",
        "3 min 20 s",
        "1 h",
        "2 h 5 min",
        "2 d 7 h",
    ]
