"""Which events of the store a rule means, and which of them it leaves alone: filters in SQL. Pure."""

import ipaddress
from collections.abc import Iterable

from flywheel.api.fraudrule_exceptions import Exemption
from flywheel.api.fraudrule_match import Filter, Match
from flywheel.fraud.backtest_fields import Binder, Field, field_of

_ORDERINGS = {"GreaterThan": ">", "GreaterOrEqual": ">=", "LessThan": "<", "LessOrEqual": "<="}


def meant(match: Match, binder: Binder) -> str:
    """Say which events a rule looks at.

    Raises:
        flywheel.fraud.backtest_fields.Untried: A filter asks for what the store does not have.
    """
    found = []
    if match.names:
        found.append(f"event IN ({binder.texts(match.names)})")
    if match.type:
        found.append(f"type = {binder.text(match.type.lower())}")
    found += [_holds(each, binder) for each in match.where]
    return " AND ".join(found)


def spared(exempt: Iterable[Exemption], binder: Binder) -> str:
    """Say which events a rule counts and leaves alone; empty where it has no exemptions.

    Raises:
        flywheel.fraud.backtest_fields.Untried: A filter asks for what the store does not have.
    """
    return " OR ".join(f"({all_hold(each.where, binder)})" for each in exempt)


def named(event: str, where: Iterable[Filter], binder: Binder) -> str:
    """Say which events have a name and fit filters.

    Raises:
        flywheel.fraud.backtest_fields.Untried: A filter asks for what the store does not have.
    """
    return " AND ".join([f"event = {binder.text(event)}", *(_holds(each, binder) for each in where)])


def all_hold(where: Iterable[Filter], binder: Binder) -> str:
    """Say which events fit all of some filters."""
    return " AND ".join(_holds(each, binder) for each in where)


def _holds(asked: Filter, binder: Binder) -> str:
    """Say which events fit a filter. One without the field fits NotEquals, NotIn and DoesNotExist only."""
    found = field_of(asked.field, binder)
    match asked.operator:
        case "Exists":
            return f"{found.text} != ''"
        case "DoesNotExist":
            return f"{found.text} = ''"
        case "Equals" | "In":
            return f"({_equals(asked, found, binder)})"
        case "NotEquals" | "NotIn":
            return f"NOT ({_equals(asked, found, binder)})"
        case "InRange":
            return f"({' OR '.join(_in_range(str(value), found, binder) for value in asked.wanted)})"
        case "StartsWith" | "EndsWith" | "Contains":
            return _on_text(asked, found, binder)
        case _:
            return f"{found.number} {_ORDERINGS[asked.operator]} {binder.number(float(asked.wanted[0]))}"


def _equals(asked: Filter, found: Field, binder: Binder) -> str:
    if asked.kind == "Number":
        return " OR ".join(f"{found.number} = {binder.number(float(value))}" for value in asked.wanted)
    if asked.kind == "Boolean":
        return " OR ".join(f"{found.truth} = '{str(bool(value)).lower()}'" for value in asked.wanted)
    # An empty text is as none.
    texts = [str(value) for value in asked.wanted]
    return f"{found.string} != '' AND {found.string} IN ({binder.texts(texts)})"


def _on_text(asked: Filter, found: Field, binder: Binder) -> str:
    wanted = binder.text(str(asked.wanted[0]))
    tests = {
        "StartsWith": f"startsWith({found.string}, {wanted})",
        "EndsWith": f"endsWith({found.string}, {wanted})",
        "Contains": f"position({found.string}, {wanted}) > 0",
    }
    return f"({found.string} != '' AND {tests[asked.operator]})"


def _in_range(value: str, found: Field, binder: Binder) -> str:
    network = ipaddress.ip_network(value, strict=False)
    kind = f"isIPv{network.version}String"
    return f"if({kind}({found.string}), isIPAddressInRange({found.string}, {binder.text(str(network))}), 0)"
