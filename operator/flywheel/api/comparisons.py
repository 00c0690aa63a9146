"""How a filter compares a field with values: the words of the YAML, which those who judge use as well."""

from typing import Literal

Operator = Literal[
    "Equals",
    "NotEquals",
    "In",
    "NotIn",
    "GreaterThan",
    "GreaterOrEqual",
    "LessThan",
    "LessOrEqual",
    "StartsWith",
    "EndsWith",
    "Contains",
    "Exists",
    "DoesNotExist",
    "InRange",
]
