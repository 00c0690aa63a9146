"""Whether the trees of a model lead anywhere: scikit-learn follows their indices blindly. Needs the extra `fraud`.

A forged tree could name a node or a feature that is not there, which reads foreign memory, or lead in a circle, which
never ends. In a tree that was trained every child stands behind its parent, so that each step goes forward.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from flywheel.fraud.modelfile import UnfitModel

DEEPEST = 30
"""Objects within objects: a pipeline with a calibrated forest has twelve."""
_FORGED = "train and dump it again"


def check_trees(model: object) -> None:
    """Check all trees of a model, wherever they are in it.

    Raises:
        UnfitModel: One of them is none that was trained.
    """
    for found, features in objects_in(model):
        match type(found).__name__:
            case "Tree":
                _check_tree(found, features)
            case "TreePredictor":
                _check_predictor(found, features)
            case "GradientBoostingClassifier":
                _check_stages(found)
            case "HistGradientBoostingClassifier":
                _check_iterations(found)


def objects_in(model: object) -> Iterator[tuple[Any, int]]:
    """Give every object of a model, each once, and with how many features it is asked at most.

    Raises:
        UnfitModel: They lie in each other too deeply.
    """
    seen: dict[int, int] = {}
    waiting: list[tuple[Any, int, int]] = [(model, 1 << 31, 0)]
    while waiting:
        found, features, depth = waiting.pop()
        if depth > DEEPEST:
            raise UnfitModel(f"its objects lie in each other more than {DEEPEST} deep: {_FORGED}")
        held = getattr(found, "__dict__", None)
        if held is not None and isinstance(held.get("n_features_in_"), int):
            features = min(features, held["n_features_in_"])
        # An object that two others share is checked again where fewer features reach it.
        if seen.get(id(found), 1 << 32) <= features:
            continue
        seen[id(found)] = features
        parts: list[Any] = []
        if isinstance(found, list | tuple):
            parts = list(found)
        elif isinstance(found, np.ndarray) and found.dtype == object:
            parts = found.ravel().tolist()
        elif isinstance(found, dict):
            parts = list(found.values())
        else:
            yield found, features
            parts = list((held or {}).values())
        waiting += [(part, features, depth + 1) for part in parts if not isinstance(part, str | int | float | None)]


def _check_tree(tree: Any, features: int) -> None:
    nodes = tree.__getstate__()["nodes"]
    left, right = tree.children_left, tree.children_right
    inner = left != -1
    if tree.n_outputs != 1 or len(nodes) == 0 or np.any(inner != (right != -1)):
        raise UnfitModel(f"one of its trees has no node, or one with a single child: {_FORGED}")
    _check_indices(left[inner], right[inner], tree.feature[inner], np.flatnonzero(inner), len(nodes), features)


def _check_predictor(predictor: Any, features: int) -> None:
    nodes = predictor.nodes
    inner = nodes["is_leaf"] == 0
    if len(nodes) == 0 or np.any(nodes["is_categorical"] != 0):
        raise UnfitModel("one of its trees has no node, or takes features for categories: features are numbers here")
    chosen = nodes[inner]
    _check_indices(chosen["left"], chosen["right"], chosen["feature_idx"], np.flatnonzero(inner), len(nodes), features)


def _check_indices(left: Any, right: Any, feature: Any, own: Any, nodes: int, features: int) -> None:
    for child in (left.astype(np.int64), right.astype(np.int64)):
        if np.any(child <= own) or np.any(child >= nodes):
            raise UnfitModel(f"one of its trees leads in a circle, or to a node that is not there: {_FORGED}")
    named = feature.astype(np.int64)
    if np.any(named < 0) or np.any(named >= features):
        raise UnfitModel(f"one of its trees asks for a feature that the model does not have: {_FORGED}")


def _check_stages(model: Any) -> None:
    """Compiled code adds the trees of one stage up in as many columns as there are trees."""
    stages = model.estimators_
    if not isinstance(stages, np.ndarray) or stages.ndim != 2 or stages.shape[1] != 1:
        raise UnfitModel(f"it has several trees for one stage, which a yes or no does not need: {_FORGED}")
    if model.n_trees_per_iteration_ != 1:
        raise UnfitModel(f"it has several trees for one stage, which a yes or no does not need: {_FORGED}")


def _check_iterations(model: Any) -> None:
    if model.n_trees_per_iteration_ != 1 or any(len(each) != 1 for each in model._predictors):  # noqa: SLF001
        raise UnfitModel(f"it has several trees for one iteration, which a yes or no does not need: {_FORGED}")
    binned = getattr(getattr(model, "_bin_mapper", None), "is_categorical_", None)
    by_category = model.is_categorical_ is not None or (binned is not None and np.any(binned))
    if getattr(model, "_preprocessor", None) is not None or by_category:
        raise UnfitModel("it takes features for categories: features are numbers here")
