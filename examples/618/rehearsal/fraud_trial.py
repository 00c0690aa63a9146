"""The rules on fraud tried on the sale so far: what `flywheel fraud backtest` says, in a line for each."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

TIMES = ("within", "lessThan")
"""Limits that are times, which programs are told in milliseconds."""


@dataclass(frozen=True, slots=True)
class TrialView:
    """What a rule would have done."""

    rule: str
    key: str
    """What is counted by, such as device."""
    events: int = 0
    hits: int = 0
    keys: int = 0
    visitors: int = 0
    customers: int = 0
    """Of these visitors, those who have paid for an order."""
    path: str = ""
    limit: float = 0.0
    recommended: float | None = None
    """The limit that finds most and hits no customer."""

    def __str__(self) -> str:
        if not self.hits:
            return f"{self.rule}: none of {self.events} events would have broken it"
        return (
            f"{self.rule}: {self.hits} of {self.events} events would have broken it, of {self.keys} × {self.key} with"
            f" {self.visitors} visitors, {self.customers} of them paying customers; {self._advice()}"
        )

    def _advice(self) -> str:
        name = self.path.removeprefix("condition.")
        if self.recommended is None:
            return f"no {name} finds anybody without a customer among them"
        written = ", as written" if self.recommended == self.limit else f" instead of {self._text(self.limit)}"
        return f"recommended {name}: {self._text(self.recommended)}{written}"

    def _text(self, limit: float) -> str:
        return f"{limit / 1000:g}s" if self.path.endswith(TIMES) else f"{limit:g}"


def trials_told(text: str, rules: Sequence[Mapping[str, Any]]) -> tuple[TrialView, ...]:
    """Read what the command prints for programs.

    Args:
        text: JSON.
        rules: The rules that were tried, as they are written.

    Raises:
        ValueError: it is no such thing.
        KeyError: neither.
    """
    keys = {each["metadata"]["name"]: ", ".join(each["spec"]["key"]) for each in rules}
    counts = ("events", "hits", "keys", "visitors", "customers", "path", "limit", "recommended")
    return tuple(
        TrialView(each["rule"], keys[each["rule"]], *(each[name] for name in counts)) for each in json.loads(text)
    )


def have_hit(trials: Sequence[TrialView], wanted: Sequence[str]) -> bool:
    """Tell whether all of the wanted rules would have found somebody."""
    return {each.rule for each in trials if each.hits}.issuperset(wanted)
