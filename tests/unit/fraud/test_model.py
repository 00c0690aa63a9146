"""A model gives what scikit-learn gives; whatever else is in a file is not even made."""

import importlib
import io
import json
import math
import os
import re
import sys
import zipfile
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression, RidgeClassifier, SGDClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, PolynomialFeatures
from sklearn.svm import SVC
from tests.unit.docs.pages import ROOT
from tests.unit.fraud import trained

from flywheel.fraud import modelfile
from flywheel.fraud.model import LoadedModel
from flywheel.fraud.modelfile import UnfitModel
from flywheel.fraud.modeltrial import Trial, judge, try_model
from flywheel.fraud.scores import feature


@pytest.mark.parametrize("kind", trained.KINDS)
def test_the_score_is_the_probability_that_scikit_learn_gives(kind: str):
    loaded = LoadedModel(trained.file(kind))
    rows, _ = trained.sample(300, seed=7)
    wanted = np.round(trained.model(kind).predict_proba(rows)[:, 1], 6)
    assert np.array_equal(loaded.score(rows), wanted)
    assert loaded.facts.features == 3
    one_by_one = np.concatenate([loaded.score(rows[i : i + 1]) for i in range(50)])
    assert np.array_equal(one_by_one, wanted[:50]), "however many are asked at once"


@pytest.mark.parametrize("kind", trained.KINDS)
def test_a_missing_feature_leaves_the_others_their_scores(kind: str):
    loaded = LoadedModel(trained.file(kind))
    rows, _ = trained.sample(6, seed=7)
    wanted = loaded.score(rows)
    rows[2, 1] = np.nan
    found = loaded.score(rows)
    others = [0, 1, 3, 4, 5]
    assert np.array_equal(found[others], wanted[others])
    takes = kind in {"imputed", "tree", "forest", "extra", "histogram", "calibrated"}
    assert loaded.facts.takes_missing is takes
    assert np.isnan(found[2]) != takes


def test_an_event_that_spoils_a_batch_spoils_nobody_elses_score():
    loaded = LoadedModel(trained.file("logistic"))
    rows, _ = trained.sample(20, seed=7)
    wanted = loaded.score(rows)
    rows[7] = np.inf
    found = loaded.score(rows)
    assert np.isnan(found[7])
    assert np.array_equal(np.delete(found, 7), np.delete(wanted, 7))


def test_rows_of_another_width_have_no_score():
    assert np.isnan(LoadedModel(trained.file("forest")).score(np.zeros((2, 4)))).all()


@given(st.one_of(st.integers(), st.floats(), st.booleans(), st.text(), st.none()))
@settings(max_examples=200, derandomize=True)
def test_a_feature_is_a_number_that_a_tree_can_compare(value: Any):
    found = feature(value)
    if isinstance(value, str | None):
        assert math.isnan(found)
    elif not math.isnan(found):
        assert found == float(value)
        assert np.isfinite(np.float32(found))


def test_names_of_columns_are_told():
    rows, who = trained.sample()
    found = LogisticRegression().fit(rows, who)
    wanted = np.round(found.predict_proba(rows)[:, 1], 6)
    found.feature_names_in_ = np.array(trained.FEATURES, dtype=object)
    loaded = LoadedModel(trained.dumped(found))
    assert loaded.facts.names == trained.FEATURES
    assert np.array_equal(loaded.score(rows), wanted), "and nobody is warned"


def relabelled(*classes: Any) -> bytes:
    rows, who = trained.sample()
    return trained.dumped(LogisticRegression().fit(rows, np.array(classes)[who]))


def test_the_dishonest_are_found_whatever_they_are_called():
    rows, who = trained.sample()
    wanted = LoadedModel(relabelled(0, 1)).score(rows)
    assert np.array_equal(LoadedModel(relabelled(False, True)).score(rows), wanted)
    with pytest.raises(UnfitModel, match="its classes are fraud, honest"):
        LoadedModel(relabelled("honest", "fraud"))
    many = LogisticRegression().fit(rows, who + (rows[:, 2] > 1))
    with pytest.raises(UnfitModel, match="its classes are 0, 1, 2: train it with 1 for the dishonest"):
        LoadedModel(trained.dumped(many))


def fitted(found: Any) -> bytes:
    return trained.dumped(found.fit(*trained.sample()))


def foreign(loader: str, kind: str) -> bytes:
    """A file that says that its scaler is something else."""
    module, _, name = kind.rpartition(".")

    def change(schema: dict[str, Any]) -> None:
        text = json.dumps(schema)
        assert "StandardScaler" in text
        found = text.replace('"__loader__": "ObjectNode"', f'"__loader__": "{loader}"').replace(
            '"__class__": "StandardScaler", "__module__": "sklearn.preprocessing._data"',
            f'"__class__": "{name}", "__module__": "{module}"',
        )
        schema.clear()
        schema.update(json.loads(found))

    return trained.with_schema(trained.file("logistic"), change)


REFUSED = {
    "nothing": (b"", "no file of skops"),
    "a pickle": (b"\x80\x04\x95" + bytes(40), "no file of skops"),
    "half a file": (trained.file("logistic")[:-200], "no file of skops"),
    "a function": (
        fitted(make_pipeline(FunctionTransformer(np.negative), LogisticRegression())),
        "not let through: .*FunctionTransformer",
    ),
    "a command": (
        trained.dumped(make_pipeline(FunctionTransformer(os.system), LogisticRegression())),
        r"not let through: posix.system \(TypeNode\)",
    ),
    "a method": (foreign("MethodNode", "sklearn.preprocessing._data.StandardScaler"), r"StandardScaler \(MethodNode\)"),
    "an operator": (
        foreign("OperatorFuncNode", "operator.methodcaller"),
        r"methodcaller \(OperatorFuncNode\)",
    ),
    "a class of nobody": (foreign("ObjectNode", "evil.Scaler"), r"evil.Scaler \(ObjectNode\)"),
    "an estimator that is not reviewed": (fitted(SVC()), "sklearn.svm._classes.SVC"),
    "more features than it says": (
        fitted(make_pipeline(PolynomialFeatures(3), LogisticRegression())),
        "PolynomialFeatures",
    ),
    "no probabilities": (fitted(RidgeClassifier()), "RidgeClassifier"),
    "never fitted": (trained.dumped(LogisticRegression()), "call its fit before"),
    "an older protocol": (
        trained.with_schema(trained.file("logistic"), lambda schema: schema.update(protocol=0)),
        "protocol 0 of skops",
    ),
    "no object": (trained.altered(trained.file("logistic"), lambda *_: b"[]"), "its schema is no object"),
    "another scikit-learn": (
        trained.altered(trained.file("logistic"), lambda _, content: content.replace(b'\\"1.', b'\\"0.')),
        "trained with scikit-learn 0.9",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_let_through_is_refused_by_name(name: str):
    data, message = REFUSED[name]
    with pytest.raises(UnfitModel, match=message):
        LoadedModel(data)


def test_nothing_of_a_refused_file_is_made(tmp_path: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("skops.io.loads", lambda *_, **__: pytest.fail("it was read"))
    with pytest.raises(UnfitModel, match=r"posix\.system"):
        LoadedModel(REFUSED["a command"][0])


def test_a_bomb_is_not_unpacked():
    bomb = trained.altered(
        trained.file("logistic"), lambda name, content: content if name == "schema.json" else bytes(8 << 20)
    )
    assert len(bomb) < 200_000
    with pytest.raises(UnfitModel, match=r"unpacks to .* train fewer or smaller trees"):
        LoadedModel(bomb)


def test_a_directory_that_lies_about_sizes_gains_nothing():
    data = bytearray(trained.file("logistic"))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        part = archive.getinfo("schema.json")
    at = data.index(b"PK\x01\x02")
    while data[at + 46 : at + 46 + 11] != b"schema.json":
        at = data.index(b"PK\x01\x02", at + 1)
    data[at + 24 : at + 28] = (part.file_size // 2).to_bytes(4, "little")
    with pytest.raises(UnfitModel):
        LoadedModel(bytes(data))


def test_an_array_that_claims_to_be_huge_takes_nobody_with_it():
    def huge(name: str, content: bytes) -> bytes:
        if not name.endswith(".npy"):
            return content
        made = io.BytesIO()
        np.lib.format.write_array_header_1_0(made, {"descr": "<f8", "fortran_order": False, "shape": (10**14,)})
        return made.getvalue()

    with pytest.raises(UnfitModel, match="skops does not read it"):
        LoadedModel(trained.altered(trained.file("logistic"), huge))


def _renumbered(schema: dict[str, Any], depth: int) -> dict[str, Any]:
    """Copy a schema so that no object of it is taken for one of another copy."""

    def renumber(node: dict[str, Any]) -> dict[str, Any]:
        return node | {"__id__": node["__id__"] * 10 + depth} if "__id__" in node else node

    copied: dict[str, Any] = json.loads(json.dumps(schema), object_hook=renumber)
    return copied


def nested(schema: dict[str, Any]) -> None:
    """A forest of twenty times one forest of twenty times one forest: small, and it would think for years."""
    inner = dict(schema)
    for depth in range(1, 9):
        again = {name: inner[name] for name in ("__class__", "__module__", "__loader__", "__id__")}
        outer = _renumbered(schema, depth)
        outer["content"]["content"]["estimators_"]["content"] = [inner, *[again] * 19]
        inner = outer
    schema.update(inner)


async def test_a_model_that_never_ends_is_only_a_problem():
    data = trained.with_schema(trained.file("forest"), nested)
    assert len(data) < 1 << 20
    assert "could not be tried within 8 s" in (await try_model(data, seconds=8)).problem


async def test_a_model_that_crashes_is_only_a_problem(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert "ended with 1" in (await try_model(trained.file("tree"))).problem


def test_a_model_of_more_features_than_a_rule_names_is_refused():
    rows, who = trained.sample()
    with pytest.raises(UnfitModel, match="a rule names at most 64"):
        LoadedModel(trained.dumped(LogisticRegression().fit(np.hstack([rows] * 22), who)))


def loop(nodes: Any) -> None:
    nodes["left" if "left" in nodes.dtype.names else "left_child"][1] = 0


def outside(nodes: Any) -> None:
    nodes["right" if "right" in nodes.dtype.names else "right_child"][0] = 4_000_000


def unknown(nodes: Any) -> None:
    nodes["feature_idx" if "feature_idx" in nodes.dtype.names else "feature"][0] = 77


FORGED = [
    (kind, change)
    for kind in ("tree", "forest", "boosted", "histogram", "calibrated")
    for change in (loop, outside, unknown)
]


@pytest.mark.parametrize(("kind", "change"), FORGED, ids=lambda each: getattr(each, "__name__", each))
def test_trees_that_lead_nowhere_are_refused_before_they_are_followed(kind: str, change: Any):
    forged = trained.with_nodes(trained.file(kind), change)
    with pytest.raises(UnfitModel, match="one of its trees"):
        LoadedModel(forged)


async def test_a_trial_says_what_a_model_wants_or_why_it_is_not_used():
    tried = await try_model(trained.file("histogram"))
    assert tried == Trial(facts=LoadedModel(trained.file("histogram")).facts)
    assert "posix.system" in (await try_model(REFUSED["a command"][0])).problem
    assert "within 0.05 s" in (await try_model(trained.file("forest"), seconds=0.05)).problem


def test_a_slow_model_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("flywheel.fraud.modeltrial.SLOWEST", 1e-6)
    assert "train fewer or smaller trees" in judge(trained.file("forest")).problem


def test_the_lists_name_what_is_there():
    """A name that scikit-learn has moved would let nothing through any more."""
    for kind in (*modelfile.CLASSIFIERS, *modelfile.TRANSFORMERS, *modelfile.PARTS):
        module, _, name = kind.rpartition(".")
        assert hasattr(importlib.import_module(module), name), kind


def test_the_page_names_what_is_let_through():
    _, _, section = (ROOT / "docs/fraud.md").read_text("utf-8").partition("### What a file may hold")
    said = set(re.findall(r"`([A-Z]\w+)`", section.partition("It is looked at")[0]))
    assert said == {each.rpartition(".")[2] for each in (*modelfile.CLASSIFIERS, *modelfile.TRANSFORMERS)}


def test_a_loss_that_is_not_reviewed_is_refused_by_name():
    with pytest.raises(UnfitModel, match=r"ModifiedHuber \(LossNode\)"):
        LoadedModel(fitted(SGDClassifier(loss="modified_huber", random_state=1)))
