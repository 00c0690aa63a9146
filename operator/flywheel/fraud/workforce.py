"""How many fraud workers each namespace has, as whoever runs the operator says it. Pure."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

MOST = 16
"""Workers of one namespace: each gets every event, so that more of them would mostly throw events away."""
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Workforce:
    """How many workers share the keys of a namespace's rules."""

    everywhere: int = 1
    by_namespace: Mapping[str, int] = field(default_factory=dict)
    """Where it is another number."""

    def of(self, namespace: str) -> int:
        """Give the number of one namespace."""
        return self.by_namespace.get(namespace, self.everywhere)


ONE = Workforce()


def read_numbers(told: Iterable[str]) -> dict[str, int]:
    """Read numbers of single namespaces.

    Args:
        told: Each as `namespace=number`.

    Raises:
        ValueError: One of them is none, or says two things of one namespace. The text says which, and what is wanted.
    """
    found: dict[str, int] = {}
    for each in told:
        namespace, equals, number = each.partition("=")
        if not equals or not _NAMESPACE.fullmatch(namespace):
            raise ValueError(f"{each!r} names no namespace: write it as namespace=number, such as shop=4")
        if not (number.isascii() and number.isdecimal()) or not 1 <= int(number[:9]) <= MOST:
            raise ValueError(f"{each!r}: a namespace has 1 to {MOST} workers")
        if found.get(namespace, int(number)) != int(number):
            raise ValueError(f"{namespace} has both {found[namespace]} and {number} workers: say one of them")
        found[namespace] = int(number)
    return found
