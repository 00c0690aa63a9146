"""The live view: a snapshot as lines of text for a terminal."""

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from rehearsal.abtest import ABTestView, in_words
from rehearsal.snapshot import STAGES, Autoscaler, KeyFigures, ServiceView, Snapshot

Paint = Callable[[str], str]
BAR = 10
GOAL_BAR = 20
SHOWN_EVENTS = 3


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


def frame(
    shown: Snapshot,
    title: str,
    now: datetime,
    notes: Sequence[str],
    width: int,
    ink: Ink,
    channels: Mapping[str, int] | None = None,
) -> list[str]:
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
    if shown.figures:
        lines += [_fit(parts, width) for parts in (*_figures(shown.figures, ink), *_channels(channels or {}, ink))]
        lines.append("")
    if shown.abtest and shown.abtest.state:
        lines += [_fit(_abtest(shown.abtest, ink), width), ""]
    for kind, state, reason, message in shown.conditions:
        good = kind.endswith("Ready") or kind == "Released"
        alarming = good != (state == "True") and state != "Unknown"
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
        (f" {service.name:<13}", ink.bold),
        (f"{service.ready:>3} of {service.wanted:<3} ", str),
        (f"{bar:<{BAR}} ", ink.good if service.ready >= service.wanted else ink.warn),
    ]
    return parts + (_scaler(service.autoscaler, ink) if service.autoscaler else [])


def _scaler(scaler: Autoscaler, ink: Ink) -> list[tuple[str, Paint]]:
    use = "cpu …" if scaler.cpu is None else f"cpu {scaler.cpu}%"
    busy = scaler.cpu is not None and scaler.target is not None and scaler.cpu > scaler.target
    target = "" if scaler.target is None else f" of {scaler.target}%"
    parts: list[tuple[str, Paint]] = [(use + target, ink.warn if busy else str)]
    for load in scaler.loads:
        known = "…" if load.current is None else f"{load.current:.2g}"
        parts.append((f"  {known} of {load.target:g} {load.name}", ink.warn if load.is_high else str))
    return [*parts, (f"  HPA {scaler.floor} to {scaler.ceiling}", ink.dim)]


def _figures(figures: KeyFigures, ink: Ink) -> list[list[tuple[str, Paint]]]:
    told = {
        "PV": f"{figures.page_views}",
        "UV": f"{figures.visitors}",
        "orders": f"{figures.orders}",
        "revenue": f"{figures.revenue} {figures.currency}",
        "conversion": figures.conversion,
        "errors": figures.error_rate,
        "p95": figures.latency,
    }
    parts: list[tuple[str, Paint]] = [(" KPIs     ", ink.bold)]
    for name, value in told.items():
        parts += [(f" {name} ", ink.dim), (value, ink.bold), (" ", str)]
    if not figures.goal:
        return [parts]
    done = min(GOAL_BAR, figures.reached * GOAL_BAR // figures.goal)
    bar = "█" * done + "░" * (GOAL_BAR - done)
    return [parts, [(" goal      ", ink.bold), (bar, ink.good), (f" {figures.progress} of {figures.goal}", str)]]


def _abtest(view: ABTestView, ink: Ink) -> list[tuple[str, Paint]]:
    paint = ink.good if view.winner else str
    told = view.reason if view.verdict else in_words(view) if view.visitors else view.message
    return [(" abtest    ", ink.bold), (view.name, ink.bold), (f" {view.state}  ", paint), (told, str)]


def _channels(channels: Mapping[str, int], ink: Ink) -> list[list[tuple[str, Paint]]]:
    if not channels:
        return []
    ordered = sorted(channels.items(), key=lambda each: -each[1])
    return [[(" channels  ", ink.bold), (", ".join(f"{name} {count}" for name, count in ordered if count), str)]]


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
