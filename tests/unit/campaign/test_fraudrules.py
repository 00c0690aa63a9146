"""What is wrong with a rule beside its Campaigns: all of it is found, and nothing of what is well."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.bad_campaigns.table import changed, read_yaml
from tests.bad_fraudrules.table import BASES, BadRule, bad_fraudrules, good_fraudrule, its_campaign

from flywheel.api.fraudrule import FraudRule
from flywheel.api.load import InvalidResource, load_campaign, load_fraudrule
from flywheel.api.problem import Problem
from flywheel.campaign.fraudrules import campaigns_of, problems_of
from flywheel.campaign.loaded import Loaded

EXAMPLE = Path(__file__).parents[3] / "examples/618"
BY_OPERATOR = [bad for bad in bad_fraudrules() if bad.refused == "operator"]


def made(base: str = "base", **fields: Any) -> FraudRule:
    """A rule with some fields changed; `spec__key` is spec.key."""
    paths = {path.replace("__", "."): value for path, value in fields.items()}
    return load_fraudrule(changed(good_fraudrule(base), {"set": paths}))


def beside(rule: FraudRule, **campaign: Any) -> list[str]:
    """Paths of what is wrong."""
    paths = {path.replace("__", "."): value for path, value in campaign.items()}
    return [each.path for each in problems_of(rule, [load_campaign(changed(its_campaign(), {"set": paths}))])]


@pytest.mark.parametrize("bad", BY_OPERATOR, ids=lambda bad: bad.name)
def test_a_fault_is_found_with_field_and_remedy(bad: BadRule) -> None:
    campaigns = [load_campaign(bad.campaign)] if bad.campaign is not None else []
    problems = problems_of(load_fraudrule(bad.manifest), campaigns)
    assert list(problems) == sorted(problems)
    said = "\n".join(str(problem) for problem in problems if problem.path == bad.path)
    assert said, problems
    assert [fragment for fragment in bad.load if fragment not in said] == [], said


@pytest.mark.parametrize("base", BASES)
def test_nothing_is_wrong_with_a_good_rule(base: str) -> None:
    assert beside(made(base)) == []


def test_labels_choose_the_campaigns_that_have_them_all() -> None:
    def named(name: str, **labels: str) -> Any:
        return load_campaign(changed(its_campaign(), {"set": {"metadata.name": name, "metadata.labels": labels}}))

    campaigns = [
        named("b", season="sale", team="x"),
        named("a", season="sale"),
        named("c", season="winter"),
        named("d"),
    ]
    assert [each.name for each in campaigns_of(made("model"), campaigns)] == ["a", "b"]
    both = made("model", spec__selector__matchLabels={"season": "sale", "team": "x"})
    assert [each.name for each in campaigns_of(both, campaigns)] == ["b"]
    assert [each.name for each in campaigns_of(made("small", spec__campaign="c"), campaigns)] == ["c"]


def test_every_campaign_that_is_chosen_must_do() -> None:
    changes = {"set": {"metadata.name": "other"}, "remove": ["spec.edge", "spec.analytics"]}
    campaigns = [load_campaign(its_campaign()), load_campaign(changed(its_campaign(), changes))]
    (problem,) = problems_of(made("model"), campaigns)
    assert problem == Problem("spec.selector", "events come in at the edge: add spec.edge to Campaign other")
    assert problems_of(made("small"), campaigns) == ()


def test_a_campaign_without_a_catalogue_takes_any_event() -> None:
    assert beside(made("small", spec__match={"event": "Whatever"}), spec__edge__events__declared=[]) == []


def test_pages_have_names_that_nobody_declares() -> None:
    assert beside(made("small", spec__match={"event": "Checkout", "type": "Page"})) == []
    assert beside(made("small", spec__match={"event": "Checkout"})) == ["spec.match.event"]


@pytest.mark.parametrize(
    ("scope", "fits"),
    [("/coupon", True), ("/coupon/1", True), ("/account", True), ("/", True), ("/coupons", False), ("/acc", False)],
)
def test_a_scope_holds_a_route_or_lies_within_one(scope: str, fits: bool) -> None:
    rule = made("small", spec__key=["address"], spec__action={"block": {"for": "1m", "scope": [scope]}})
    assert beside(rule) == ([] if fits else ["spec.action.block.scope[0]"])


def test_a_campaign_without_routes_has_them_all() -> None:
    services = its_campaign()["spec"]["services"][:1]
    campaign = changed(its_campaign(), {"set": {"spec.services": services}, "remove": ["spec.edge.routes"]})
    rule = made("small", spec__action={"challenge": {"for": "1m", "page": "/anywhere", "scope": ["/x"]}})
    assert problems_of(rule, [load_campaign(campaign)]) == ()


@pytest.mark.parametrize(
    ("field", "asked", "fits"),
    [
        ("value", {"operator": "GreaterThan", "value": 5}, True),
        ("value", {"operator": "Equals", "value": 5}, True),
        ("value", {"operator": "Equals", "value": "5"}, False),
        ("value", {"operator": "StartsWith", "value": "5"}, False),
        ("value", {"operator": "Exists"}, True),
        ("code", {"operator": "Equals", "value": "5"}, True),
        ("code", {"operator": "Equals", "value": 5}, False),
        ("first", {"operator": "Equals", "value": "true", "type": "Boolean"}, True),
        ("first", {"operator": "GreaterThan", "value": 0}, False),
        ("unheard", {"operator": "GreaterThan", "value": 0}, True),
    ],
    ids=str,
)
def test_a_property_is_compared_as_it_is_declared(field: str, asked: dict[str, Any], fits: bool) -> None:
    rule = made("small", spec__match__where=[{"field": f"properties.{field}", **asked}])
    assert bool(beside(rule)) != fits


@pytest.mark.parametrize(
    ("key", "kept", "fits"),
    [
        ("address", "Hash", True),
        ("address", "Drop", False),
        ("addressPrefix", "Store", True),
        ("addressPrefix", "Hash", False),
        ("device", "Drop", True),
    ],
)
def test_a_past_is_tried_by_what_the_store_holds(key: str, kept: str, fits: bool) -> None:
    rule = made("small", spec__key=[key], spec__backtest={"since": "24h"})
    assert beside(rule, spec__edge__events__addresses=kept) == ([] if fits else ["spec.key[0]"])
    assert beside(made("small", spec__key=[key]), spec__edge__events__addresses=kept) == []


def test_a_rule_is_read_once_for_each_change_of_its_spec() -> None:
    loaded = Loaded()
    manifest = changed(good_fraudrule("small"), {"set": {"metadata.uid": "u", "metadata.generation": 1}})
    first = loaded.fraudrule(manifest)
    again = loaded.fraudrule(changed(manifest, {"set": {"status": {"hits": 5}}}))
    assert again.spec is first.spec
    assert again.status == {"hits": 5}


def test_the_rules_of_the_example_fit_its_campaign_and_stop_nobody_unseen() -> None:
    campaign = load_campaign(read_yaml((EXAMPLE / "campaign.yaml").read_text("utf-8")))
    written = (EXAMPLE / "fraudrules.yaml").read_text("utf-8").split("\n---\n")
    rules = [load_fraudrule(read_yaml(text)) for text in written]
    assert [(rule.name, problems_of(rule, [campaign])) for rule in rules] == [
        (name, ()) for name in ("coupon-burst", "device-farm", "claim-in-haste", "young-account")
    ]
    assert {rule.spec.mode for rule in rules if rule.spec.action.at_the_edge} == {"Shadow"}


@settings(max_examples=100)
@given(st.data())
def test_it_ends_with_problems_and_never_otherwise(data: st.DataObject) -> None:
    """Whatever loads can be looked at beside whatever loads."""
    rule = load_fraudrule(
        data.draw(st.sampled_from([bad.manifest for bad in BY_OPERATOR] + [good_fraudrule(base) for base in BASES]))
    )
    campaigns = []
    for manifest in data.draw(st.lists(st.sampled_from([bad.campaign for bad in BY_OPERATOR]), max_size=3)):
        try:
            campaigns.append(load_campaign(manifest or {}))
        except InvalidResource:
            continue
    found = problems_of(rule, campaigns)
    assert all(isinstance(problem, Problem) and problem.message for problem in found)
