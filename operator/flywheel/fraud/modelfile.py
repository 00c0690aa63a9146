"""Whether a model's file may be read at all: by its archive and its schema, before anything of it is made. Pure.

A file of skops is a zip archive: `schema.json` says which object is made how, and arrays lie beside it. skops itself
trusts every estimator of scikit-learn and much of NumPy and SciPy. Here only what stands in `ALLOWED` is let through,
by the way in which it is made as well: no functions, no methods, no partials, no operators.
"""

import io
import json
import zipfile
from typing import Any

PROTOCOL = 2
"""Of skops. A file that says another one would be read by other, older rules."""
SCHEMA = "schema.json"
LARGEST_UNPACKED = 16 << 20
"""Bytes of all parts of the archive together."""
MOST_PARTS = 20_000
_PACKED = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_ENCRYPTED = 0x1
_NUMBERS = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64")

CLASSIFIERS = (
    "sklearn.calibration.CalibratedClassifierCV",
    "sklearn.ensemble._forest.ExtraTreesClassifier",
    "sklearn.ensemble._forest.RandomForestClassifier",
    "sklearn.ensemble._gb.GradientBoostingClassifier",
    "sklearn.ensemble._hist_gradient_boosting.gradient_boosting.HistGradientBoostingClassifier",
    "sklearn.linear_model._logistic.LogisticRegression",
    "sklearn.linear_model._stochastic_gradient.SGDClassifier",
    "sklearn.naive_bayes.GaussianNB",
    "sklearn.pipeline.Pipeline",
    "sklearn.tree._classes.DecisionTreeClassifier",
)
"""What a model can be: all of them give probabilities, in a time that their size bounds."""
TRANSFORMERS = (
    "sklearn.impute._base.SimpleImputer",
    "sklearn.preprocessing._data.MaxAbsScaler",
    "sklearn.preprocessing._data.MinMaxScaler",
    "sklearn.preprocessing._data.RobustScaler",
    "sklearn.preprocessing._data.StandardScaler",
)
PARTS = (
    "sklearn._loss.link.Interval",
    "sklearn._loss.link.LogitLink",
    "sklearn._loss.loss.HalfBinomialLoss",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.dummy.DummyClassifier",
    "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.preprocessing._label.LabelBinarizer",
    "sklearn.preprocessing._label.LabelEncoder",
    "sklearn.tree._classes.DecisionTreeRegressor",
    "sklearn.tree._classes.ExtraTreeClassifier",
)
"""What these are made of."""
ALLOWED: dict[str, frozenset[str]] = {
    "DTypeNode": frozenset({"numpy.dtype"}),
    "DictNode": frozenset({"builtins.dict"}),
    "JsonNode": frozenset({"builtins.str"}),
    "ListNode": frozenset({"builtins.list"}),
    "LossNode": frozenset({"sklearn._loss._loss.CyHalfBinomialLoss"}),
    "NdArrayNode": frozenset({"numpy.ndarray", *(f"numpy.{each}" for each in _NUMBERS)}),
    "ObjectNode": frozenset({*CLASSIFIERS, *TRANSFORMERS, *PARTS}),
    "RandomGeneratorNode": frozenset({"numpy.random._generator.Generator"}),
    "RandomStateNode": frozenset({"numpy.random.mtrand.RandomState"}),
    "TreeNode": frozenset({"sklearn.tree._tree.Tree"}),
    "TupleNode": frozenset({"builtins.tuple"}),
    "TypeNode": frozenset({*(f"builtins.{each}" for each in ("bool", "float", "int", "str")), "numpy.int64"}),
}
"""What may be made, by how it is made."""
SHOWN = 8
"""Names in one message."""


class UnfitModel(ValueError):  # noqa: N818 - of what people have trained
    """A model that is not used. The text says why, and what to do."""


def inspect(data: bytes) -> str:
    """Look at a file without making anything of it; give the version of scikit-learn that it was trained with.

    Args:
        data: The file.

    Raises:
        UnfitModel: It is no file of skops, too large when unpacked, or holds what is not let through.
    """
    schema = _schema(data)
    if schema.get("protocol") != PROTOCOL:
        raise UnfitModel(
            f"it is written in protocol {schema.get('protocol')!r} of skops, and only {PROTOCOL} is read: dump it "
            "again with the newest skops"
        )
    kinds: set[tuple[str, str]] = set()
    versions: set[str] = set()
    _walk(schema, kinds, versions)
    foreign = sorted({f"{kind} ({loader})" for loader, kind in kinds if kind not in ALLOWED.get(loader, ())})
    if foreign:
        more = f" and {len(foreign) - SHOWN} more" if len(foreign) > SHOWN else ""
        raise UnfitModel(
            f"it holds what is not let through: {', '.join(foreign[:SHOWN])}{more}. Train a model of the estimators "
            "that docs/fraud.md names, without functions of your own"
        )
    if len(versions) != 1:
        told = ", ".join(sorted(versions)) or "none"
        raise UnfitModel(f"its parts are of one version of scikit-learn, and it names {told}: train and dump it again")
    return versions.pop()


def _schema(data: bytes) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            _bounded(archive.infolist())
            schema = json.loads(archive.read(SCHEMA))
    except UnfitModel:
        raise
    except (KeyError, ValueError, OSError, EOFError, RecursionError, NotImplementedError, zipfile.BadZipFile) as error:
        raise UnfitModel(
            f"it is no file of skops ({type(error).__name__}: {error}): write it with skops.io.dump"
        ) from error
    except Exception as error:
        # zlib and struct raise errors of their own where an archive is forged.
        raise UnfitModel(f"its archive is damaged ({type(error).__name__}: {error}): dump it again") from error
    if not isinstance(schema, dict):
        raise UnfitModel("its schema is no object: write it with skops.io.dump")
    return schema


def _bounded(parts: list[zipfile.ZipInfo]) -> None:
    """Check the archive's directory. More than it says of a part is never unpacked.

    Raises:
        UnfitModel: It holds more than is read, or in a way that is not read.
    """
    if len(parts) > MOST_PARTS:
        raise UnfitModel(f"it has {len(parts)} parts, and at most {MOST_PARTS} are read: train fewer trees")
    unpacked = sum(each.file_size for each in parts)
    if unpacked > LARGEST_UNPACKED:
        raise UnfitModel(
            f"it unpacks to {unpacked} bytes, and at most {LARGEST_UNPACKED} are read: train fewer or smaller trees"
        )
    if any(each.compress_type not in _PACKED or each.flag_bits & _ENCRYPTED for each in parts):
        raise UnfitModel("it is encrypted or packed in another way than deflate: use compression=zipfile.ZIP_DEFLATED")
    if len({each.filename for each in parts}) != len(parts):
        raise UnfitModel("two of its parts have one name: dump it again")


def _walk(schema: object, kinds: set[tuple[str, str]], versions: set[str]) -> None:
    """Gather what would be made, and how, and the versions that estimators say they are of."""
    waiting = [schema]
    while waiting:
        found = waiting.pop()
        if isinstance(found, list):
            waiting += found
        elif isinstance(found, dict):
            if "__loader__" in found or "__class__" in found or "__module__" in found:
                kinds.add((str(found.get("__loader__")), f"{found.get('__module__')}.{found.get('__class__')}"))
            version = found.get("_sklearn_version")
            if isinstance(version, dict):
                versions.add(str(version.get("content")).strip('"'))
            waiting += found.values()
