"""HTML and SVG that cannot be broken by what is put in: every text is escaped but what was made here. Pure."""

import html
from collections.abc import Iterable

_VOID = frozenset({"meta", "br", "hr"})
_DRAWN = str.maketrans({"\u0000": None, "\u202e": None, "\u202d": None, "\u2066": None, "\u2067": None, "\u2068": None})
"""Signs that turn the direction of what follows make a text say something else than it does."""


class Markup(str):
    """Text that is markup already."""

    __slots__ = ()


Child = str | Markup | None | Iterable["Child"]
"""None is nothing; texts are escaped."""


def element(name: str, /, *children: Child, **attributes: str | float | None) -> Markup:
    """Write an element.

    Args:
        name: Of the element.
        children: What is in it.
        attributes: By name: `class_` is `class`, `stroke_width` is `stroke-width`; those that are None are left out.
    """
    told = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_written(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        return Markup(f"<{name}{told}>")
    return Markup(f"<{name}{told}>{joined(children)}</{name}>")


def joined(children: Child) -> Markup:
    """Put children one after another."""
    if children is None:
        return Markup("")
    if isinstance(children, Markup):
        return children
    if isinstance(children, str):
        return Markup(html.escape(children.translate(_DRAWN), quote=False))
    return Markup("".join(joined(each) for each in children))


def _written(value: str | float) -> str:
    # Two decimals of a pixel are enough, and the same everywhere.
    text = f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
    return html.escape(text.translate(_DRAWN), quote=True)
