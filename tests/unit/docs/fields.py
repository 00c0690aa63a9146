"""The fields of the resources as paths: `services[].autoscaling.min`."""

from collections.abc import Iterator
from typing import Annotated, Any, get_args, get_origin

from flywheel.api.model import Model, ShapedBy
from flywheel.api.route import ParentReference

OURS = (ParentReference,)
"""Shapes of Kubernetes whose fields are documented here all the same, as they are few."""


def field_paths(model: type[Model], prefix: str = "") -> Iterator[str]:
    """Walk the fields of a model; Kubernetes' own shapes, documented elsewhere, count as one field.

    Of fields that hold the same, such as the gates before and after a switch, only the first is walked into.
    """
    known: set[type[Model]] = set()
    for name, field in model.model_fields.items():
        annotation = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
        inner, repeated = _model_in(annotation)
        path = f"{prefix}{field.alias or name}"
        yield path
        if inner is not None and inner not in known:
            known.add(inner)
            yield from field_paths(inner, f"{path}[]." if repeated else f"{path}.")


def _model_in(annotation: Any) -> tuple[type[Model] | None, bool]:
    """Find the model that a field holds, and whether it holds several."""
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return annotation, False
    arguments = get_args(annotation)
    shape = next((each.model for each in arguments if isinstance(each, ShapedBy)), None)
    if shape is not None:
        return (shape if shape in OURS else None), False
    repeated = get_origin(annotation) is tuple
    for argument in arguments:
        found, nested = _model_in(argument)
        if found is not None:
            return found, repeated or nested
    return None, False


def is_used(path: str, value: Any) -> bool:
    """Tell whether a manifest sets the field at `path`."""
    head, _, rest = path.partition(".")
    name = head.removesuffix("[]")
    if not isinstance(value, dict) or name not in value:
        return False
    if not rest:
        return True
    inner = value[name]
    return any(is_used(rest, each) for each in inner) if head.endswith("[]") else is_used(rest, inner)
