"""Rules on durations: Go's own durations, which CEL knows, have no days."""

from datetime import timedelta

from flywheel.api.model import Rule
from flywheel.api.quantities import DURATION_PATTERN, cel_text, read_duration

DURATION_CEL = f"matches({cel_text(DURATION_PATTERN)})"


_CEL_WORDS = frozenset(["for", "in", "as", "if", "else", "import", "namespace", "package", "return"])


def field_cel(field: str) -> str:
    """A field of `self` in CEL, where words of the language are spelled differently."""
    return f"self.__{field}__" if field in _CEL_WORDS else f"self.{field}"


def seconds_cel(cel: str) -> str:
    """CEL for the seconds of a duration that has its form."""
    return (
        f"(int('0' + {cel}.find('^[0-9]+d').replace('d', '')) * 86400 + "
        f"duration('0s' + {cel}.substring({cel}.indexOf('d') + 1)).getSeconds())"
    )


def between(field: str, attribute: str, least: str, most: str, why: str) -> Rule:
    """A rule that keeps a duration within bounds; `why` says what the bounds are good for."""
    low, high = read_duration(least), read_duration(most)

    def holds(model: object) -> bool:
        value = getattr(model, attribute)
        return not isinstance(value, timedelta) or low <= value <= high

    name = field_cel(field)
    seconds = seconds_cel(name)
    return Rule(
        cel=f"!has({name}) || !{name}.{DURATION_CEL} || ({seconds} >= {int(low.total_seconds())} && "
        f"{seconds} <= {int(high.total_seconds())})",
        holds=holds,
        message=f"{field} must be between {least} and {most}: {why}",
        field=field,
    )
