"""The live view: a snapshot as lines of text for a terminal."""

import unicodedata
from collections.abc import Callable, Sequence
from datetime import datetime

from rehearsal.snapshot import STAGES, ServiceView, Snapshot

Paint = Callable[[str], str]
BAR = 10
SHOWN_EVENTS = 4


class Ink:
    """Colours, or none of them."""

    def __init__(self, colours: bool) -> None:
        self._colours = colours

    def __call__(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colours else text

    def bold(self, text: str) -> str:
        return self(text, "1")

    def dim(self, text: str) -> str:
        return self(text, "2")

    def good(self, text: str) -> str:
        return self(text, "32")

    def warn(self, text: str) -> str:
        return self(text, "33")


def frame(shown: Snapshot, title: str, now: datetime, notes: Sequence[str], width: int, ink: Ink) -> list[str]:
    """Draw the whole view. No line is wider than `width` columns; Chinese characters take two."""
    left = (
        f"  next: {shown.next_stage} in {max(0, round((shown.next_at - now).total_seconds()))} s"
        if shown.next_at
        else ""
    )
    lines = [
        ink.dim("─" * width),
        _fit([(f" {title}  ", ink.bold), (shown.stage or "…", ink.good), (left, ink.dim)], width),
        _fit([(" ", str), *_stages(shown.stage, ink)], width),
        "",
    ]
    lines += [_fit(_service(each, ink), width) for each in shown.services]
    if not shown.services:
        lines.append(ink.dim(" no pods"))
    lines.append("")
    for kind, state, reason, message in shown.conditions:
        alarming = (kind in ("Ready", "ServicesReady", "RouteReady")) != (state == "True") and state != "Unknown"
        paint = ink.warn if alarming else ink.good
        lines.append(_fit([(f" {kind}={state}", paint), (f" {reason}", str), (f"  {message}", ink.dim)], width))
    lines += [
        _fit([(f" {event.reason}", ink.bold), (f"  {event.message}", ink.dim)], width)
        for event in shown.events[-SHOWN_EVENTS:]
    ]
    lines += [_fit([(f" {note}", str)], width) for note in notes]
    return lines


def _stages(current: str, ink: Ink) -> list[tuple[str, Paint]]:
    reached = STAGES.index(current) if current in STAGES else -1
    parts: list[tuple[str, Paint]] = []
    for index, stage in enumerate(STAGES):
        paint = ink.bold if index == reached else ink.good if index < reached else ink.dim
        parts += [(("● " if index <= reached else "○ ") + stage, paint), ("  ", str)]
    return parts


def _service(service: ServiceView, ink: Ink) -> list[tuple[str, Paint]]:
    shown = min(max(service.wanted, service.ready), BAR)
    ready = min(service.ready, BAR)
    bar = "█" * ready + "░" * (shown - ready)
    parts: list[tuple[str, Paint]] = [
        (f" {service.name:<10}", ink.bold),
        (f"{service.ready:>3} of {service.wanted:<3} ", str),
        (f"{bar:<{BAR}} ", ink.good if service.ready >= service.wanted else ink.warn),
    ]
    scaler = service.autoscaler
    if scaler:
        use = "cpu …" if scaler.cpu is None else f"cpu {scaler.cpu}%"
        busy = scaler.cpu is not None and scaler.target is not None and scaler.cpu > scaler.target
        target = "" if scaler.target is None else f" of {scaler.target}%"
        parts += [(use + target, ink.warn if busy else str), (f"  HPA {scaler.floor} to {scaler.ceiling}", ink.dim)]
    return parts


def _fit(parts: Sequence[tuple[str, Paint]], width: int) -> str:
    line, room = "", width
    for text, paint in parts:
        kept = ""
        for character in text.replace("\n", " "):
            columns = (
                2 if unicodedata.east_asian_width(character) in "WF" else 0 if unicodedata.combining(character) else 1
            )
            if columns > room:
                return line + paint(kept)
            kept, room = kept + character, room - columns
        line += paint(kept) if kept else ""
    return line
