"""The API server's rules and the operator's own are two texts of one thing: here they judge the same resources."""

import copy
import json
import random
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from tests.bad_abtests.table import BASES as TESTS
from tests.bad_abtests.table import good_abtest
from tests.bad_campaigns.table import BASES, good_campaign
from tests.bad_fraudrules.table import BASES as RULES
from tests.bad_fraudrules.table import good_fraudrule
from tests.lab.cluster.client import Cluster

from flywheel.api.load import InvalidResource, load_abtest, load_campaign, load_fraudrule

SEEDS = (618, 1111)
RESOURCES = 150
GOOD: dict[str, Callable[[], dict[str, Any]]] = {
    **{f"Campaign {base}": partial(good_campaign, base) for base in BASES},
    **{f"ABTest {base}": partial(good_abtest, base) for base in TESTS},
    **{f"FraudRule {base}": partial(good_fraudrule, base) for base in RULES},
}
LOADERS: dict[str, Callable[[dict[str, Any]], object]] = {
    "Campaign": load_campaign,
    "ABTest": load_abtest,
    "FraudRule": load_fraudrule,
}
OTHER: tuple[Any, ...] = (
    *("", "x", "X_y", "a b", "60%", "10m", "250m", "/a", "http", "2027-06-17T00:00:00Z"),
    *(-1, 0, 1, 8080, 70000, 1.5, True, False, [], {}),
    *("0s", "0%", "1Gi", "2001:db8::/32", "https://a.example:443", "fw_vid", "other", "CNY", "7.1", "None", "Reject"),
    *("33.33%", "0.01%", "Order Completed.revenue", "Decrease", "365d", "blue", {"count": "Order Completed"}),
    *(["a"], {"a": "b"}, {"name": "x"}, [{"name": "x"}], [{"name": "x"}, {"name": "x"}]),
)


@pytest.fixture(scope="module")
def defined(cluster: Cluster, definition: None) -> Cluster:
    """The cluster with the definitions, whose CEL rules it found cheap enough."""
    return cluster


def places(manifest: dict[str, Any]) -> list[tuple[str | int, ...]]:
    """The way to every place of a resource's spec."""
    found: list[tuple[str | int, ...]] = []

    def visit(value: Any, way: tuple[str | int, ...]) -> None:
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, item in items:
            found.append((*way, key))
            visit(item, (*way, key))

    visit(manifest["spec"], ("spec",))
    return found


def changed(chance: random.Random, base: str, name: str) -> dict[str, Any]:
    """A good resource with one place changed, removed, or given an unknown neighbour."""
    manifest = GOOD[base]()
    manifest["metadata"]["name"] = name
    *way, last = chance.choice(places(manifest))
    container: Any = manifest
    for step in way:
        container = container[step]
    what = chance.random()
    if what < 0.15:
        del container[last]
    elif what < 0.25 and isinstance(container, dict):
        container["unheardOf"] = 1
    else:
        container[last] = copy.deepcopy(chance.choice(OTHER))
    return manifest


@pytest.mark.parametrize("base", GOOD)
@pytest.mark.parametrize("seed", SEEDS)
def test_the_api_server_and_the_operator_judge_alike(defined: Cluster, base: str, seed: int) -> None:
    chance = random.Random(seed)
    manifests = {f"sale-{n}": changed(chance, base, f"sale-{n}") for n in range(RESOURCES)}
    documents = "\n".join(json.dumps(manifest) for manifest in manifests.values())
    said = defined.kubectl("create", "--dry-run=server", "--filename=-", input=documents, check=False)
    taken = set(re.findall(r"[a-z]+\.flywheel\.dev/(\S+) created", said))
    assert 5 < len(taken) < RESOURCES - 5, said[-2000:]
    loaded: set[str] = set()
    refusals: dict[str, str] = {}
    for name, manifest in manifests.items():
        try:
            LOADERS[manifest["kind"]](manifest)
            loaded.add(name)
        except InvalidResource as error:
            refusals[name] = str(error)
    assert {name: refusals[name] for name in taken - loaded} == {}, "the operator refuses what the API server takes"
    assert {name: manifests[name]["spec"] for name in loaded - taken} == {}, "the API server refuses more"
