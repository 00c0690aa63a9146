"""What is known of a model once it has been tried, as the worker tells it and the operator compares it. Pure."""

import re

import msgspec

MODELS = "/v1/fraud/models"
"""Where the operator hands over models: a PUT for each, with its digest as the last part of the path."""
LARGEST = 1 << 20
"""Bytes of a file: a ConfigMap holds no more."""
MOST_FEATURES = 64
"""As many as a rule can name."""
LONGEST_NAME = 256
"""Characters of a feature's name."""
MOST_MODELS = 16
"""Models that a worker keeps: the last that were handed over."""
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class ModelFacts(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What a model that can be used wants."""

    features: int
    """How many it was trained with."""
    names: tuple[str, ...] = ()
    """Of these features, where it was trained with columns that have names."""
    takes_missing: bool = False
    """Whether it gives a score where a feature is missing."""
    trained_with: str = ""
    """Version of scikit-learn."""


class _State(msgspec.Struct):
    models: dict[str, ModelFacts] = {}


_decode = msgspec.json.Decoder(_State).decode


def models_of(body: bytes) -> dict[str, ModelFacts]:
    """Give the models that a worker can ask, by what it says of itself.

    Raises:
        ValueError: It cannot be read.
    """
    try:
        return _decode(body).models
    except msgspec.MsgspecError as error:
        raise ValueError(f"the fraud worker says what cannot be read: {error}") from error
