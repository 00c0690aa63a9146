"""The rehearsal's campaign against the one that is written down."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from flywheel.api.load import load_abtest, load_campaign
from flywheel.campaign.abtests import problems_of
from flywheel.campaign.stages import Stage, Timeline, resolve
from rehearsal.compress import Cut, Pace, Size, compress, compress_test, without_end
from rehearsal.play import ABTEST_FILE, CAMPAIGN_FILE, GOING_HOME_SECONDS, SHOW_SECONDS
from rehearsal.snapshot import STAGES
from rehearsal.versions import TOO_LITTLE, TOO_MUCH, Version, branch_of, version_of, with_branch, with_version

NOW = datetime(2026, 11, 23, 14, 5, 9, 250_000, tzinfo=UTC)
seconds = st.integers(1, 600)
parts = ("scheduled", "preparing", "warm", "live", "hold", "draining", "retained")
PAGE = "http://git.yougou:8080/landing.git"
paces = st.builds(Pace, **dict.fromkeys(parts, seconds))


@pytest.fixture
def written() -> dict[str, Any]:
    return _written()


def _written() -> dict[str, Any]:
    manifest: dict[str, Any] = yaml.safe_load(CAMPAIGN_FILE.read_text())
    return manifest


def _timeline(manifest: dict[str, Any]) -> Timeline:
    timeline = resolve(load_campaign(manifest).spec.schedule)
    assert isinstance(timeline, Timeline)
    return timeline


def test_the_written_campaign_is_the_case() -> None:
    campaign = load_campaign(_written())
    autoscaling = next(each.autoscaling for each in campaign.spec.services if each.name == "seckill")
    assert autoscaling
    assert (autoscaling.min, autoscaling.warm, autoscaling.max) == (10, 40, 100)
    starts = _timeline(_written()).start_of(Stage.LIVE)
    assert starts == datetime(2027, 6, 15, 16, tzinfo=UTC), "midnight in Shanghai"


@given(paces, st.integers(0, 4_000_000_000).map(lambda ms: datetime.fromtimestamp(ms / 1000 + 1_800_000_000, UTC)))
def test_every_stage_gets_its_seconds(pace: Pace, now: datetime) -> None:
    timeline = _timeline(compress(_written(), now, pace, Cut(), "shop", PAGE))
    assert tuple(each.stage.value for each in timeline.transitions) == STAGES
    beginnings = [each.at for each in timeline.transitions[1:]]
    lasted = [(after - before).seconds for before, after in pairwise(beginnings)]
    assert lasted == [pace.preparing, pace.warm, pace.live, pace.draining, pace.retained]
    # The apply takes a moment, so the first second may be a broken one.
    assert timedelta(seconds=pace.scheduled) < beginnings[0] - now <= timedelta(seconds=pace.scheduled + 1)


def test_the_default_pace_leaves_room_in_nine_minutes() -> None:
    assert 180 <= Pace().total <= 480
    assert Pace().live > SHOW_SECONDS + GOING_HOME_SECONDS + 200, "a test, three releases and a hunt have their time"


def test_sizes_are_cut_and_the_image_is_ours(written: dict[str, Any]) -> None:
    made = compress(
        written, NOW, Pace(), Cut({"seckill": Size(1, 2, 4, events="2", requests="9")}), "localhost/shop:test", PAGE
    )
    services = {service["name"]: service for service in made["spec"]["services"]}
    assert {service.get("image") for name, service in services.items() if name != "landing"} == {"localhost/shop:test"}
    assert "image" not in services["landing"]
    assert {name: service.get("replicas") for name, service in services.items() if name != "seckill"} == dict.fromkeys(
        ("landing", "browse", "cart", "coupon", "pay", "store"), 1
    )
    scaling = services["seckill"]["autoscaling"]
    assert (scaling["min"], scaling["warm"], scaling["max"]) == (1, 2, 4)
    assert scaling["metrics"] == [
        {"cpu": "60%"},
        {"memory": "80%"},
        {"event": "Order Completed", "perSecond": "2"},
        {"requests": "9"},
    ]
    assert scaling["behavior"]["scaleUp"]["policies"], "what the campaign says about growing stays"


def test_the_entry_fits_a_small_node_and_keeps_its_rules(written: dict[str, Any]) -> None:
    spec = compress(written, NOW, Pace(), Cut(goal=9), "shop", PAGE)["spec"]
    assert spec["goal"] == {"event": "Order Completed", "count": 9}
    assert spec["edge"]["replicas"] == spec["edge"]["autoscaling"]["max"] == 2
    for kept in ("routes", "limits", "events"):
        assert spec["edge"][kept] == written["spec"]["edge"][kept]
    for kept in ("channels", "order", "currency", "retention", "sessionTimeout"):
        assert spec["analytics"][kept] == written["spec"]["analytics"][kept]
    assert spec["analytics"]["store"]["size"] == Cut().store_size


def test_the_shops_own_idea_of_the_sale_moves_with_it(written: dict[str, Any]) -> None:
    made = compress(written, NOW, Pace(), Cut(flash_stock=7), "shop", PAGE)
    store = next(service for service in made["spec"]["services"] if service["name"] == "store")
    variables = {variable["name"]: variable["value"] for variable in store["env"]}
    schedule = made["spec"]["schedule"]
    assert variables == {
        "SALE_STARTS_AT": schedule["startsAt"],
        "SALE_ENDS_AT": schedule["endsAt"],
        "FLASH_STOCK": "7",
    }
    assert schedule["startsAt"].endswith("+08:00")


def test_the_written_campaign_is_not_changed(written: dict[str, Any]) -> None:
    compress(written, NOW, Pace(), Cut(), "shop", PAGE)
    assert written == _written()


def test_the_page_comes_from_the_demos_own_repository(written: dict[str, Any]) -> None:
    landing = compress(written, NOW, Pace(), Cut(), "shop", PAGE)["spec"]["services"][0]
    assert landing["name"] == "landing"
    assert landing["content"]["git"] == {"url": PAGE, "ref": "main", "interval": "10s"}
    assert landing["release"]["before"] == written["spec"]["services"][0]["release"]["before"], "the gates stay"
    assert landing["release"]["keepPrevious"] == Cut().kept


def test_versions_of_the_coupon_differ_in_nothing_else(written: dict[str, Any]) -> None:
    right = version_of(written)
    assert right == Version("1.0.1", "WELCOME=200-20 VIP618=300-30")
    for wrong in (TOO_LITTLE, TOO_MUCH):
        made = with_version(written, wrong)
        assert version_of(made) == wrong
        assert made != written
        assert with_version(made, right) == written
        load_campaign(made)
    assert written == _written()


def test_without_an_end_it_is_live_until_deleted(written: dict[str, Any]) -> None:
    made = without_end(compress(written, NOW, Pace(), Cut(), "shop", PAGE))
    assert [each.stage for each in _timeline(made).transitions] == [Stage.LIVE]
    store = next(service for service in made["spec"]["services"] if service["name"] == "store")
    assert [variable["name"] for variable in store["env"]] == ["FLASH_STOCK"], "the shop's sale has no bounds either"


def test_the_written_test_fits_the_written_campaign(written: dict[str, Any]) -> None:
    test, campaign = load_abtest(yaml.safe_load(ABTEST_FILE.read_text())), load_campaign(written)
    assert problems_of(test, campaign, []) == ()
    assert test.spec.decision.promote == "Automatic"
    service = next(each for each in campaign.spec.services if each.name == test.spec.service)
    assert [gate.name for gate in service.release.before] == ["claim", "form"], "a winner passes these"
    (variant,) = [each for each in test.spec.variants if not each.control]
    assert variant.override
    assert variant.override.content == service.content.model_copy(  # type: ignore[union-attr]
        update={"git": service.content.git.model_copy(update={"ref": "green"})}  # type: ignore[union-attr]
    ), "nothing differs but the branch"


def test_the_test_of_minutes_asks_what_the_written_one_asks(written: dict[str, Any]) -> None:
    manifest = yaml.safe_load(ABTEST_FILE.read_text())
    made = compress_test(manifest, Cut(), PAGE)
    assert manifest == yaml.safe_load(ABTEST_FILE.read_text())
    assert problems_of(load_abtest(made), load_campaign(compress(written, NOW, Pace(), Cut(), "shop", PAGE)), []) == ()
    before, after = manifest["spec"], made["spec"]
    for kept in ("campaign", "service", "hypothesis", "traffic"):
        assert after[kept] == before[kept]
    assert [each["name"] for each in after["variants"]] == [each["name"] for each in before["variants"]]
    assert after["variants"][1]["override"]["content"]["git"] == {"url": PAGE, "ref": "green", "interval": "10s"}
    assert after["metrics"]["primary"]["event"] == before["metrics"]["primary"]["event"]
    assert after["metrics"]["secondary"] == before["metrics"]["secondary"]
    assert [each.keys() for each in after["metrics"]["guardrails"]] == [
        each.keys() for each in before["metrics"]["guardrails"]
    ]
    assert after["decision"]["promote"] == before["decision"]["promote"]


def test_the_page_comes_from_another_branch_and_nothing_else_changes(written: dict[str, Any]) -> None:
    made = with_branch(written, "green")
    assert (branch_of(written), branch_of(made)) == ("main", "green")
    assert with_branch(made, "main") == written == _written()
