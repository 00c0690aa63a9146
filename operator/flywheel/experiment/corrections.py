"""Many questions at once: what each answer is worth when the best of them is picked."""

from collections.abc import Hashable, Mapping
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)
"""Whatever the questions are named by."""


def shared_level(level: float, comparisons: int) -> float:
    """Share a level out to comparisons, so that all together keep it (Bonferroni).

    Each comparison's test can then be planned, looked at and stopped by itself.

    Raises:
        ValueError: There is no comparison.
    """
    if comparisons < 1:
        raise ValueError("a level is shared between one comparison or more")
    return level / comparisons


def bonferroni(p_values: Mapping[Key, float]) -> dict[Key, float]:
    """Adjust p-values: each times their number.

    Source: Dunn (1961), JASA 56.
    """
    return {name: min(1.0, value * len(p_values)) for name, value in p_values.items()}


def holm(p_values: Mapping[Key, float]) -> dict[Key, float]:
    """Adjust p-values step by step from the least: never weaker than Bonferroni, and of the same guarantee.

    With p-values that hold at any look, so do the adjusted ones of one moment.

    Source: Holm (1979), Scandinavian Journal of Statistics 6.
    """
    adjusted: dict[Key, float] = {}
    least = 0.0
    for rank, (name, value) in enumerate(sorted(p_values.items(), key=lambda each: each[1])):
        least = max(least, min(1.0, value * (len(p_values) - rank)))
        adjusted[name] = least
    return {name: adjusted[name] for name in p_values}


def rejected(adjusted: Mapping[Key, float], level: float) -> set[Key]:
    """Name what is proven at a level, from adjusted p-values."""
    return {name for name, value in adjusted.items() if value <= level}
