"""What an author writes into a Campaign so that its Git says what runs since a test was won. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from flywheel.commands.abtest_seen import SeenTest
from flywheel.commands.release_seen import Refusal
from flywheel.plan import Manifest
from flywheel.workload.merge import strategic_merge

MERGED = ("image", "content", "env", "podTemplate")
"""What an override can be made of, in the order in which it is written."""


@dataclass(frozen=True, slots=True)
class Adoption:
    """A change of one service of a Campaign."""

    campaign: str
    namespace: str
    service: str
    index: int
    """Of the service in `spec.services`."""
    changes: Mapping[str, Any]
    """Fields of the service as they are to be; empty where the Campaign says all of it already."""


def chosen(seen: SeenTest, variant: str) -> str:
    """Choose whose override is adopted.

    Args:
        seen: The test.
        variant: Its name; empty for what was promoted, or found better.

    Raises:
        Refusal: There is none, or it is none of the test.
    """
    name = variant or seen.annotations.get("flywheel.dev/promote", "") or seen.winner
    if name in seen.challengers:
        return name
    listed = ", ".join(seen.challengers)
    if name == seen.control and variant:
        raise Refusal(f"{name} is the control: the Campaign says that already. There are: {listed}.")
    if variant:
        raise Refusal(f"The test {seen.place.test} has no variant {variant!r}. There are: {listed}.")
    raise Refusal(
        f"The test {seen.place.test} is {seen.told.state} and has no winner to adopt. If you want one of its variants "
        f"all the same, name it with --variant: {listed}."
    )


def adoption_of(seen: SeenTest, campaign: Manifest, variant: str) -> Adoption:
    """Merge what a variant changes into the service, as its author has written it.

    Raises:
        Refusal: The Campaign has no such service.
    """
    services = (campaign.get("spec") or {}).get("services") or []
    found = next(((at, each) for at, each in enumerate(services) if each.get("name") == seen.service), None)
    if found is None:
        raise Refusal(f"The Campaign {seen.campaign} has no service {seen.service} any more.")
    index, service = found
    changes = _changes(service, seen.override(variant))
    return Adoption(seen.campaign, seen.place.namespace, seen.service, index, changes)


def _changes(service: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    wanted: dict[str, Any] = {name: override[name] for name in ("image", "content") if override.get(name)}
    if override.get("env"):
        wanted["env"] = _environment(service.get("env") or [], override["env"])
    if override.get("podTemplate"):
        wanted["podTemplate"] = strategic_merge(service.get("podTemplate") or {}, override["podTemplate"])
    return {name: wanted[name] for name in MERGED if name in wanted and wanted[name] != service.get(name)}


def _environment(before: list[dict[str, Any]], over: list[dict[str, Any]]) -> list[dict[str, Any]]:
    given = {each["name"]: each for each in over}
    known = {each.get("name") for each in before}
    return [given.get(each.get("name", ""), each) for each in before] + [
        each for name, each in given.items() if name not in known
    ]


def lines_of(adoption: Adoption) -> str:
    """Write the lines that change, to be put into the Campaign's file."""
    fragment = {"spec": {"services": [{"name": adoption.service, **adoption.changes}]}}
    return yaml.safe_dump(fragment, sort_keys=False, allow_unicode=True, width=120)


def patch_of(adoption: Adoption) -> str:
    """Write the same as a JSON patch, which fails where the services have another order by now."""
    path = f"/spec/services/{adoption.index}"
    steps: list[dict[str, Any]] = [{"op": "test", "path": f"{path}/name", "value": adoption.service}]
    steps += [{"op": "add", "path": f"{path}/{name}", "value": value} for name, value in adoption.changes.items()]
    return json.dumps(steps, ensure_ascii=False)


def command_of(adoption: Adoption) -> str:
    """Write the command that patches the Campaign, for a shell."""
    quoted = patch_of(adoption).replace("'", "'\\''")
    return f"kubectl patch campaign {adoption.campaign} -n {adoption.namespace} --type=json -p '{quoted}'"
