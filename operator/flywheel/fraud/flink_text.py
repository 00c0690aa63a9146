"""Values and names as Flink SQL writes them, so that nothing that is quoted can be read as SQL. Pure.

A text is written with letters and digits, and a few signs that mean nothing anywhere; the rest by the numbers of its
UTF-16 units. So it also passes programs that cut a script at each semicolon, or take out what looks like a remark.
"""

import re

_PLAIN = re.compile(r"[\w .,:/@+=()\[\]{}<>|#&!?*~^-]*")
_LOOKS_LIKE_A_REMARK = re.compile(r"--|/\*|\*/")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


def literal(text: str) -> str:
    """Write a text.

    Raises:
        ValueError: It has half a character in it, which no text in UTF-8 has.
    """
    text.encode()
    if _PLAIN.fullmatch(text) and not _LOOKS_LIKE_A_REMARK.search(text):
        return f"'{text}'"
    return f"U&'{''.join(map(_escaped, text))}'"


def _escaped(character: str) -> str:
    if character.isascii() and (character.isalnum() or character in " .,:/_"):
        return character
    units = character.encode("utf-16-be").hex().upper()
    return "".join(f"\\{units[i : i + 4]}" for i in range(0, len(units), 4))


def number(value: float) -> str:
    """Write a number as a DOUBLE, to the last bit."""
    written = repr(float(value)).upper()
    written = written if "E" in written else f"{written}E0"
    return f"({written})" if value < 0 else written


def name(text: str) -> str:
    """Write one of our own names of tables and columns.

    Raises:
        ValueError: It is not one: names never come from outside.
    """
    if not _NAME.fullmatch(text):
        raise ValueError(f"{text!r} is no name of ours")
    return f"`{text}`"


def interval(milliseconds: int) -> str:
    """Write a span of time of up to 999 days."""
    seconds, rest = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"INTERVAL '{days:d} {hours:02d}:{minutes:02d}:{seconds:02d}.{rest:03d}' DAY(3) TO SECOND(3)"
