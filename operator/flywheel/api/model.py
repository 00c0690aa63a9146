"""What every model of a resource has in common: strict fields, and rules that hold between fields.

A rule is written once, in two languages side by side: CEL for the API server, Python for everyone who loads a resource
without one. Both refuse with the same words.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler, model_validator
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import PydanticCustomError, core_schema

VALIDATIONS = "x-kubernetes-validations"
BROKEN = "broken_rules"


@dataclass(frozen=True, slots=True)
class Rule:
    """A condition between the fields of one object."""

    cel: str
    """True where the rule holds; `self` is the object that carries the rule."""
    holds: Callable[[Any], bool]
    """The same condition over the loaded model."""
    message: str
    """What is wrong and the remedy, without the path."""
    field: str = ""
    """The field of the object to blame, as it is spelled in YAML; empty: the object itself."""

    def schema(self) -> dict[str, str]:
        """The rule as the API server reads it."""
        # The API server does not take paths into metadata, whose schema is its own.
        where = {"fieldPath": f".{self.field}"} if self.field and not self.field.startswith("metadata.") else {}
        return {"rule": self.cel, "message": self.message} | where


def broken(complaints: Iterable[tuple[str, str]]) -> PydanticCustomError:
    """An error that carries several complaints: (path relative to the object, message)."""
    listed = list(complaints)
    summary = "; ".join(f"{path}: {message}" if path else message for path, message in listed)
    return PydanticCustomError(BROKEN, "{summary}", {"summary": summary, "complaints": listed})


class Model(BaseModel):
    """Base of all models: unknown fields are refused, values never change, YAML is camelCase."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        alias_generator=to_camel,
        validate_by_alias=True,
        validate_by_name=True,
        regex_engine="python-re",
    )
    constraints: ClassVar[tuple[Rule, ...]] = ()

    @model_validator(mode="after")
    def _check_constraints(self) -> Self:
        complaints = [(rule.field, rule.message) for rule in self.constraints if not rule.holds(self)]
        if complaints:
            raise broken(complaints)
        return self

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core: core_schema.CoreSchema, handler: GetJsonSchemaHandler, /
    ) -> JsonSchemaValue:
        reference = handler(core)
        if cls.constraints:
            handler.resolve_ref_schema(reference)[VALIDATIONS] = [rule.schema() for rule in cls.constraints]
        return reference


class PartialModel(Model):
    """A Kubernetes shape of which only some fields are named here; the others pass through untouched."""

    model_config = ConfigDict(extra="allow")


@dataclass(frozen=True, slots=True)
class ShapedBy:
    """Marks a plain dict that must have the shape of `model` but stays exactly as it was written."""

    model: type[Model]

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """Check with the model, keep the dict."""

        def check(value: Any, check_shape: core_schema.ValidatorFunctionWrapHandler) -> Any:
            check_shape(value)
            return value

        return core_schema.no_info_wrap_validator_function(check, handler.generate_schema(self.model))


@dataclass(frozen=True, slots=True)
class KeyedBy:
    """Marks a list in which no two items have the same values of `fields`: a list map of the API server."""

    fields: tuple[str, ...]
    remedy: str

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """Check the items, then that their keys differ."""

        def check(value: Any, check_items: core_schema.ValidatorFunctionWrapHandler) -> Any:
            items = check_items(value)
            complaints = list(self._duplicates(value))
            if complaints:
                raise broken(complaints)
            return items

        return core_schema.no_info_wrap_validator_function(check, handler(source))

    def __get_pydantic_json_schema__(
        self, core: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Say it in the API server's words."""
        return handler(core) | {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(self.fields)}

    def _duplicates(self, items: Iterable[Any]) -> Iterable[tuple[str, str]]:
        seen: dict[tuple[Any, ...], int] = {}
        for index, item in enumerate(items):
            key = tuple(item.get(field) if isinstance(item, Mapping) else None for field in self.fields)
            if isinstance(item, Mapping) and seen.setdefault(key, index) != index:
                shown = ", ".join(str(part) for part in key)
                yield f"[{index}].{self.fields[0]}", f"duplicate of item {seen[key]} ({shown}): {self.remedy}"


@dataclass(frozen=True, slots=True)
class Distinct:
    """Marks a list of scalars without repetition: a list set of the API server."""

    remedy: str

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """Check the items, then that they differ as they were written."""

        def check(value: Any, check_items: core_schema.ValidatorFunctionWrapHandler) -> Any:
            items = check_items(value)
            complaints = [
                (f"[{index}]", f"duplicate of {item}: {self.remedy}")
                for index, item in enumerate(value)
                if item in value[:index]
            ]
            if complaints:
                raise broken(complaints)
            return items

        return core_schema.no_info_wrap_validator_function(check, handler(source))

    def __get_pydantic_json_schema__(
        self, core: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Say it in the API server's words."""
        return handler(core) | {"x-kubernetes-list-type": "set"}
