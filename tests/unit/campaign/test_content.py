"""Content from Git as part of a Campaign: which commit serves while refs, repositories and servers change."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from tests.unit.campaign.world import World, campaign

from flywheel.plan import ObjectKey
from flywheel.release.work import ContentState

NOW = datetime(2027, 6, 16, 12, 0, tzinfo=UTC)
SHOP = "https://git.example/shop.git"
ONE, TWO = "1" * 40, "2" * 40
DEPLOYMENT = ObjectKey("apps", "Deployment", "shop", "yougou-618-landing")


def landing(ref: str = "main", url: str = SHOP, strategy: str = "Rolling") -> dict[str, Any]:
    return {
        "name": "landing",
        "replicas": 3,
        "content": {"git": {"url": url, "ref": ref}},
        "release": {"strategy": strategy},
    }


def tell(world: World, ref: str = "main", commit: str = "", problem: str = "", url: str = SHOP) -> None:
    """The source of content says what it found."""
    state = ContentState((url, ref), commit, problem, "RefNotFound" if problem else "")
    world.findings = replace(world.findings, contents={"landing": state})


def given(strategy: str = "Rolling") -> World:
    world = World(campaign({"services": [landing(strategy=strategy)]}))
    tell(world, commit=ONE)
    world.settle(NOW)
    return world


def served(world: World, key: ObjectKey = DEPLOYMENT) -> str:
    """The commit that the pods fetch."""
    text = str(world.manifests[key]["spec"]["template"])
    return next(commit for commit in (ONE, TWO) if commit in text)


def content(world: World) -> dict[str, str]:
    found: dict[str, str] = world.status["services"][0]["content"]
    return found


def test_the_status_says_which_ref_was_found_to_be_which_commit() -> None:
    world = given()
    assert served(world) == ONE
    assert content(world) == {"commit": ONE, "url": SHOP, "ref": "main"}
    assert world.condition("ContentReady")["status"] == "True"


def test_another_ref_is_waited_for_and_never_served_with_the_commit_of_the_one_before() -> None:
    world = given()
    before = world.manifests[DEPLOYMENT]
    world.edit(services=[landing("green")])
    world.reconcile(NOW)
    assert world.manifests[DEPLOYMENT] == before, "what was found is of the ref before, so nothing is changed yet"
    assert world.condition("ContentReady")["status"] == "False"
    assert content(world) == {"commit": ONE, "url": SHOP, "ref": "main"}
    tell(world, "green", TWO)
    world.settle(NOW)
    assert served(world) == TWO
    assert content(world) == {"commit": TWO, "url": SHOP, "ref": "green"}


def test_a_release_begins_with_the_commit_of_the_new_ref() -> None:
    world = given("BlueGreen")
    world.edit(services=[landing("green", strategy="BlueGreen")])
    world.settle(NOW)
    assert [key.name for key in world.children if key.kind == "Deployment"] == ["yougou-618-landing-blue"]
    tell(world, "green", TWO)
    world.settle(NOW)
    assert served(world, ObjectKey("apps", "Deployment", "shop", "yougou-618-landing-green")) == TWO
    assert len(world.status["releases"][0]["history"]) == 2, "no revision in between"


def test_a_ref_that_is_not_there_leaves_what_serves() -> None:
    world = given()
    world.edit(services=[landing("gren")])
    tell(world, "gren", problem="there is no ref gren")
    world.settle(NOW)
    assert served(world) == ONE
    assert content(world) == {"commit": ONE, "url": SHOP, "ref": "main", "problem": "there is no ref gren"}
    assert world.condition("ContentReady")["reason"] == "RefNotFound"


def test_after_a_restart_the_commit_of_the_status_serves_until_more_is_known() -> None:
    world = given()
    before = world.manifests[DEPLOYMENT]
    world.findings = replace(world.findings, contents={})
    world.reconcile(NOW)
    assert world.manifests[DEPLOYMENT] == before
    assert world.condition("ContentReady")["status"] == "True"


def test_a_commit_of_another_repository_is_not_looked_for_in_the_new_one() -> None:
    world = given()
    before = world.manifests[DEPLOYMENT]
    other = "https://git.example/other.git"
    world.edit(services=[landing(url=other)])
    tell(world, url=other, problem="the server does not answer")
    world.settle(NOW)
    assert world.manifests[DEPLOYMENT] == before
    assert world.condition("ContentReady")["message"].endswith("the server does not answer")
