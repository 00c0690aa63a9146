"""The models of a namespace's rules: read from ConfigMaps, handed to the workers, and compared with what rules say."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from flywheel.api.fraudrule import FraudRule
from flywheel.api.fraudrule_condition import ModelFile, ScoreSign
from flywheel.api.problem import Problem
from flywheel.fraud.compiling import READ_AS
from flywheel.fraud.modelfacts import LARGEST, MOST_MODELS, ModelFacts, models_of
from flywheel.plan import Manifest, ObjectKey

CONFIG_MAP, KEY, DIGEST, MODEL = "configMap", "key", "digest", ""
"""Which part of `model` a problem is about."""


class Refused(Exception):  # noqa: N818 - an answer
    """A worker does not use a model. The text says why."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What has become of one model."""

    problem: str = ""
    """Why it is not used; empty where nothing is known against it."""
    part: str = MODEL
    """Of `model`, which part the problem is about."""
    facts: ModelFacts | None = None
    """None while no worker has it."""


Offers = Mapping[ModelFile, Offer]
"""By what rules say of them. A model that is not in it has not been looked for yet."""


class Reader(Protocol):
    """Reads objects."""

    async def get(self, key: ObjectKey) -> Manifest | None:
        """Read one object; None if it is not there."""


class Takers(Protocol):
    """Whom models are handed to."""

    async def hand_over_model(self, namespace: str, address: str, digest: str, file: bytes) -> ModelFacts:
        """Have a worker keep a model; give what it has found out about it.

        Raises:
            Refused: It does not use it.
            NotAnswered: It cannot be reached.
        """


def models_in(rules: Iterable[FraudRule]) -> tuple[ModelFile, ...]:
    """Give the models that rules ask, each once."""
    found = {sign.score.model for rule in rules for _, sign in rule.spec.condition.placed() if sign.score}
    return tuple(sorted(found, key=lambda each: (each.digest, each.config_map, each.key)))


def file_of(model: ModelFile, config_map: Manifest | None) -> bytes | Offer:
    """Find a model's file in a ConfigMap, or say why it is not there."""
    name, key = model.config_map, model.key
    if config_map is None:
        made = f"kubectl create configmap {name} --from-file={key}"
        return Offer(f"there is no ConfigMap {name} in this namespace: make it with {made}", CONFIG_MAP)
    written = (config_map.get("binaryData") or {}).get(key)
    if written is None:
        known = ", ".join(sorted(config_map.get("binaryData") or {})[:8]) or "nothing"
        return Offer(f"ConfigMap {name} has {known} in binaryData: correct the key, or put the file there", KEY)
    try:
        data = base64.b64decode(written, validate=True)
    except (binascii.Error, ValueError):
        return Offer(f"what ConfigMap {name} has there is no base64: put the file there with kubectl", KEY)
    if len(data) > LARGEST:
        return Offer(f"it has {len(data)} bytes, and at most {LARGEST} are taken: train a smaller one", KEY)
    found = f"sha256:{hashlib.sha256(data).hexdigest()}"
    if not hmac.compare_digest(found, model.digest):
        return Offer(
            f"ConfigMap {name} holds another file there, {found}: write that digest if it is the one that you trust, "
            "or put the right file back",
            DIGEST,
        )
    return data


async def offer(
    namespace: str, rules: Iterable[FraudRule], reader: Reader, takers: Takers, states: Mapping[str, bytes]
) -> dict[ModelFile, Offer]:
    """Look for the models of rules, and hand those to workers that they have not got.

    Args:
        namespace: Where.
        rules: Its rules.
        reader: Reads ConfigMaps.
        takers: The workers.
        states: What those that could be asked say of themselves, by address; others get their models another time.

    Raises:
        NotAnswered: A worker went away meanwhile.
        ValueError: What it says cannot be read.
    """
    asked, maps, found = models_in(rules), dict[str, Manifest | None](), dict[ModelFile, Offer]()
    known = {address: dict(models_of(body)) for address, body in states.items()}
    taken = sorted({each.digest for each in asked})[:MOST_MODELS]
    for model in asked:
        if model.digest not in taken:
            found[model] = Offer(f"rules of one namespace may ask {MOST_MODELS} models, and there are more: share some")
            continue
        name = model.config_map
        if name not in maps:
            maps[name] = await reader.get(ObjectKey("", "ConfigMap", namespace, name))
        file = file_of(model, maps[name])
        found[model] = file if isinstance(file, Offer) else await _handed(namespace, model.digest, file, takers, known)
    return found


async def _handed(
    namespace: str, digest: str, file: bytes, takers: Takers, known: Mapping[str, dict[str, ModelFacts]]
) -> Offer:
    for address, models in known.items():
        if digest not in models:
            try:
                models[digest] = await takers.hand_over_model(namespace, address, digest, file)
            except Refused as refused:
                return Offer(f"the worker does not use it: {refused}")
    return Offer(facts=next((models[digest] for models in known.values()), None))


def unfit_models(rule: FraudRule, offers: Offers) -> tuple[Problem, ...]:
    """Say what is wrong with the models of a rule, as far as it is known."""
    found = []
    for place, sign in rule.spec.condition.placed():
        told = offers.get(sign.score.model) if sign.score else None
        if sign.score is None or told is None:
            continue
        if told.problem:
            part = f".{told.part}" if told.part else ""
            found.append(Problem(f"spec.{place}.model{part}", told.problem))
        elif told.facts is not None and (wrong := _features_differ(sign.score, told.facts)):
            found.append(Problem(f"spec.{place}.features", wrong))
    return tuple(found)


def _features_differ(score: ScoreSign, facts: ModelFacts) -> str:
    given: tuple[Any, ...] = score.features
    if len(given) != facts.features:
        named = f" ({_listed(facts.names)})" if facts.names else ""
        return f"the model was trained with {facts.features} features{named}, and these are {len(given)}: name the same"
    known_as = [READ_AS.get(each, each) for each in given]
    for index, (wanted, name) in enumerate(zip(facts.names, known_as, strict=False)):
        if READ_AS.get(wanted, wanted) != name:
            return (
                f"the model was trained with {_listed(facts.names)}, in this order, and the feature at {index} is "
                f"{given[index]}: name the same in the same order, or train with columns of these names"
            )
    return ""


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(each[:64] for each in names[:16]) + (" .." if len(names) > 16 else "")
