"""The manifests that specs become, written down whole, so that a change of any of them is seen and meant.

`UPDATE_GOLDEN=1 pytest tests/unit/workload` writes them anew.
"""

import json
import os
from pathlib import Path

import pytest
import yaml

from flywheel.api.load import load_campaign
from flywheel.edge.compose import compose
from flywheel.edge.manifests import edge_manifests, edge_size
from flywheel.plan import Manifest
from flywheel.workload.manifests import service_manifests
from flywheel.workload.route import route_manifest
from flywheel.workload.scaling import Phase

HERE = Path(__file__).parent / "golden"
PHASES = {
    "preparing": Phase(),
    "warm": Phase(warm=True),
    "live": Phase(live=True),
    "draining": Phase(capped=True),
    "retained": Phase(zero=True),
}


def children(campaign: Manifest, phase: Phase) -> list[Manifest]:
    loaded = load_campaign(campaign)
    made = [
        manifest
        for service in loaded.spec.services
        for manifest in service_manifests(loaded.name, loaded.namespace, service, phase)
    ]
    if loaded.spec.route:
        made.append(route_manifest(loaded))
    if loaded.spec.edge:
        size = edge_size(loaded.spec.edge, zero=phase.zero)
        orders = compose(loaded, loaded.spec.edge)
        made += edge_manifests(loaded, loaded.spec.edge, orders, size, "registry.example/flywheel-edge:1")
    return made


@pytest.mark.parametrize("source", sorted(HERE.glob("*.campaign.yaml")), ids=lambda path: path.name.split(".")[0])
@pytest.mark.parametrize("phase", PHASES)
def test_manifests_are_as_written_down(source: Path, phase: str) -> None:
    expected = source.with_name(source.name.replace(".campaign.yaml", f".{phase}.yaml"))
    campaign = yaml.safe_load(source.read_text())
    # By way of JSON, as they go to the API server: parts that manifests share are written out in each.
    plain = json.loads(json.dumps(children(campaign, PHASES[phase])))
    made = yaml.safe_dump_all(plain, sort_keys=False, allow_unicode=True)
    if os.environ.get("UPDATE_GOLDEN"):
        expected.write_text(made)
    assert made == expected.read_text()


def test_nothing_in_the_manifests_is_shared_with_the_spec() -> None:
    """A manifest that is changed on its way to the API server must not change the next one."""
    campaign = yaml.safe_load((HERE / "full.campaign.yaml").read_text())
    before = yaml.safe_dump(campaign)
    children(campaign, Phase(live=True))
    assert yaml.safe_dump(campaign) == before
