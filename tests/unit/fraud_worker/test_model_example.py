"""The example's script trains a model that the example's rule can ask."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import yaml
from tests.patience import PATIENCE
from tests.unit.docs.pages import ROOT

from flywheel.api.load import load_fraudrule
from flywheel.fraud.model import LoadedModel
from flywheel.fraud.models import digest_of

EXAMPLE = ROOT / "examples/fraud-model"


def trained(*arguments: str) -> str:
    command = [sys.executable, str(EXAMPLE / "train.py"), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE).stdout


def test_the_example_trains_a_model_for_its_rule(tmp_path: Path):
    said = trained(str(tmp_path / "model.skops"))
    data = (tmp_path / "model.skops").read_bytes()
    assert f"digest: {digest_of(data)}" in said
    rule = load_fraudrule(yaml.safe_load((EXAMPLE / "fraudrule.yaml").read_text()))
    [sign] = rule.spec.condition.signs
    names = runpy.run_path(str(EXAMPLE / "train.py"), run_name="read")
    assert sign.score
    assert list(sign.score.features) == names["FEATURES"]
    model = LoadedModel(data)
    assert model.facts.features == len(sign.score.features)
    assert model.facts.takes_missing, "half of the browsers do not tell their screen"
    rows, dishonest = names["made_up"](seed=7)
    found = model.score(rows) > float(sign.score.more_than)
    assert dishonest[found].mean() > 0.95
    assert found.sum() > 0.3 * dishonest.sum()


def test_it_learns_from_a_file(tmp_path: Path):
    names = runpy.run_path(str(EXAMPLE / "train.py"), run_name="read")
    rows, dishonest = names["made_up"](800)
    lines = [",".join([*("" if np.isnan(cell) else str(cell) for cell in row), str(int(label))])
             for row, label in zip(rows, dishonest, strict=True)]  # fmt: skip
    (tmp_path / "claims.csv").write_text("\n".join([",".join([*names["FEATURES"], "dishonest"]), *lines]))
    said = trained(str(tmp_path / "model.skops"), str(tmp_path / "claims.csv"))
    assert re.search(r"on 240 events", said)
    LoadedModel((tmp_path / "model.skops").read_bytes())
