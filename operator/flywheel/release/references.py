"""ConfigMaps and Secrets that a pod template names: found, and pointed to the copies that a revision keeps. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

from flywheel.plan import Manifest

Kind = Literal["ConfigMap", "Secret"]
_CONTAINERS = ("initContainers", "containers")


class Reference(NamedTuple):
    """One object by which a pod is configured."""

    kind: Kind
    name: str
    optional: bool = False


def references(template: Manifest) -> tuple[Reference, ...]:
    """Name every ConfigMap and Secret that pods of a template mount or import, each once; required wins."""
    found: dict[tuple[Kind, str], bool] = {}
    for kind, holder, field in _places(template["spec"]):
        name = holder.get(field)
        if isinstance(name, str) and name:
            optional = bool(holder.get("optional"))
            found[kind, name] = found.get((kind, name), True) and optional
    return tuple(Reference(kind, name, optional) for (kind, name), optional in sorted(found.items()))


def pointed(template: Manifest, copies: Mapping[tuple[str, str], str]) -> Manifest:
    """Return the template with the names of copies, by kind and name, in the place of those that it has."""
    made: Manifest = _copied(template)
    for kind, holder, field in _places(made["spec"]):
        copy = copies.get((kind, holder.get(field, "")))
        if copy:
            holder[field] = copy
    return made


def _places(spec: Manifest) -> Iterator[tuple[Kind, dict[str, Any], str]]:
    for field in _CONTAINERS:
        for container in spec.get(field) or ():
            yield from _of_container(container)
    for volume in spec.get("volumes") or ():
        yield from _of_volume(volume)


def _of_container(container: Manifest) -> Iterator[tuple[Kind, dict[str, Any], str]]:
    for variable in container.get("env") or ():
        source = variable.get("valueFrom") or {}
        if source.get("configMapKeyRef"):
            yield "ConfigMap", source["configMapKeyRef"], "name"
        if source.get("secretKeyRef"):
            yield "Secret", source["secretKeyRef"], "name"
    for imported in container.get("envFrom") or ():
        if imported.get("configMapRef"):
            yield "ConfigMap", imported["configMapRef"], "name"
        if imported.get("secretRef"):
            yield "Secret", imported["secretRef"], "name"


def _of_volume(volume: Manifest) -> Iterator[tuple[Kind, dict[str, Any], str]]:
    if volume.get("configMap"):
        yield "ConfigMap", volume["configMap"], "name"
    if volume.get("secret"):
        yield "Secret", volume["secret"], "secretName"
    for source in (volume.get("projected") or {}).get("sources") or ():
        if source.get("configMap"):
            yield "ConfigMap", source["configMap"], "name"
        if source.get("secret"):
            yield "Secret", source["secret"], "name"


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _copied(each) for name, each in value.items()}
    return [_copied(each) for each in value] if isinstance(value, list | tuple) else value
