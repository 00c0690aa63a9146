"""What is said of somebody while nobody can judge: `onUnavailable` of the rules that are enforced. Pure."""

from collections.abc import Sequence
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
    try:
        part = _parts.decode(text).get(campaign)
    except msgspec.DecodeError as error:
        raise ValueError(f"the rules cannot be read: {error}") from error
    rules: Sequence[Ruled] = () if part is None else read_rules(bytes(part)).rules
    words = ((each.rule.name, _WORDS[each.policy.on_unavailable]) for each in rules if each.policy.mode == "Enforce")
    return tuple(sorted((each for each in words if each[1] != "Allow"), key=lambda each: -_STRICTNESS[each[1]]))
