"""From a Pydantic model to a structural schema, the dialect of JSON Schema that a CustomResourceDefinition speaks.

References are put in place, `X | None` becomes X (absent is how a resource says none), and what the API server does
not know is dropped. Defaults are dropped too: the API server would write them into people's objects; descriptions name
them.
"""

from typing import Any

from pydantic import BaseModel

Schema = dict[str, Any]

# The order of keys in crds/: what a reader asks first comes first.
_ORDER = (
    "description",
    "type",
    "format",
    "enum",
    "pattern",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "anyOf",
    "required",
    "properties",
    "items",
    "additionalProperties",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-map-type",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-validations",
)


class UnsupportedSchema(Exception):  # noqa: N818 - the model uses what a structural schema cannot say
    """A model that no structural schema describes. A mistake of ours, found by tests."""


def structural_schema(model: type[BaseModel]) -> Schema:
    """The schema of `model` as the API server takes it.

    Raises:
        UnsupportedSchema: The model recurses or has a union of types.
    """
    document = model.model_json_schema(by_alias=True, mode="validation")
    return _structural(document, document.get("$defs", {}), ())


def _structural(schema: Schema, definitions: dict[str, Schema], inside: tuple[str, ...]) -> Schema:
    while "$ref" in schema or _is_optional(schema):
        if "$ref" in schema:
            name = schema["$ref"].removeprefix("#/$defs/")
            if name in inside:
                raise UnsupportedSchema(f"{name} contains itself")
            inside = (*inside, name)
            schema = definitions[name] | {key: value for key, value in schema.items() if key != "$ref"}
        else:
            (value,) = [part for part in schema["anyOf"] if part != {"type": "null"}]
            schema = value | {key: value for key, value in schema.items() if key != "anyOf"}
    result = {key: value for key, value in schema.items() if key in _ORDER}
    if "const" in schema:
        result |= {"enum": [schema["const"]]}
    if "anyOf" in result and not result.get("x-kubernetes-int-or-string"):
        raise UnsupportedSchema(f"a union of types: {schema['anyOf']}")
    if "properties" in schema:
        result["properties"] = {
            name: _structural(value, definitions, inside) for name, value in schema["properties"].items()
        }
    if "items" in schema:
        result["items"] = _structural(schema["items"], definitions, inside)
    _map(schema, result, definitions, inside)
    return {key: result[key] for key in _ORDER if key in result}


def _is_optional(schema: Schema) -> bool:
    parts = schema.get("anyOf", [])
    return len(parts) == 2 and {"type": "null"} in parts


def _map(schema: Schema, result: Schema, definitions: dict[str, Schema], inside: tuple[str, ...]) -> None:
    """A map has the same schema for all values; the form of its keys is left to the operator."""
    result.pop("additionalProperties", None)
    values = schema.get("additionalProperties")
    keyed = schema.get("patternProperties")
    if keyed:
        (values,) = keyed.values()
    if values is True:
        result["x-kubernetes-preserve-unknown-fields"] = True
    elif isinstance(values, dict):
        result["additionalProperties"] = _structural(values, definitions, inside)
