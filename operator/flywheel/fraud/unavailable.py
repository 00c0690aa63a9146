"""What is said of somebody while nobody can judge: `onUnavailable` of the rules that are enforced. Pure."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Literal

import msgspec

from flywheel.fraud.policy import Ruled, read_rules

Word = Literal["Allow", "Review", "Block"]
_WORDS: dict[str, Word] = {"Allow": "Allow", "Review": "Review", "Deny": "Block"}
_STRICTNESS: dict[Word, int] = {"Allow": 0, "Review": 1, "Block": 2}
_parts = msgspec.json.Decoder(dict[str, msgspec.Raw])


def said(text: bytes, campaign: str) -> tuple[tuple[str, Word], ...]:
    """Give the rules that have something against it that a thing is granted unjudged, the strictest first.

    Args:
        text: The rules of all campaigns, as the operator writes them.
        campaign: Whose rules are asked. One in Shadow stops nobody, so it has nothing to say.

    Raises:
        ValueError: The rules cannot be read.
    """
    return words_of(rules_in(text, campaign))


@lru_cache(maxsize=32)
def rules_in(text: bytes, campaign: str) -> Sequence[Ruled]:
    """Read the rules of one campaign.

    Args:
        text: The rules of all campaigns, as the operator writes them.
        campaign: Whose are wanted.

    Raises:
        ValueError: The rules cannot be read.
    """
    try:
        part = _parts.decode(text).get(campaign)
    except msgspec.DecodeError as error:
        raise ValueError(f"the rules cannot be read: {error}") from error
    return () if part is None else read_rules(bytes(part)).rules


def words_of(rules: Iterable[Ruled]) -> tuple[tuple[str, Word], ...]:
    """Give those of some rules that have something against a thing that is granted unjudged, the strictest first."""
    words = ((each.rule.name, _WORDS[each.policy.on_unavailable]) for each in rules if each.policy.mode == "Enforce")
    return tuple(sorted((each for each in words if each[1] != "Allow"), key=lambda each: -_STRICTNESS[each[1]]))
