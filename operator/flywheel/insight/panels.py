"""The parts of a Grafana dashboard: rows of panels, laid out from left to right."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

Panel = dict[str, Any]

DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
DATASOURCE_VARIABLE: Final[dict[str, Any]] = {
    "name": "datasource",
    "label": "Data source",
    "type": "datasource",
    "query": "prometheus",
    "refresh": 1,
    "includeAll": False,
    "multi": False,
}
"""By which whoever looks at a dashboard chooses where `DATASOURCE` is."""
SCHEMA_VERSION: Final = 39
"""Of Grafana's dashboards."""
WIDTH: Final = 24
"""Columns of Grafana's grid."""


@dataclass(frozen=True, slots=True)
class Query:
    """One question to Prometheus, and how its answers are called."""

    expression: str
    legend: str = "__auto"


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Where a figure turns from green to amber to red; below them where little of it is bad."""

    amber: float
    red: float
    low_is_bad: bool = False

    def steps(self) -> list[dict[str, Any]]:
        """Write them as Grafana does, from the lowest on."""
        if self.low_is_bad:
            return [
                {"color": "red", "value": None},
                {"color": "yellow", "value": self.red},
                {"color": "green", "value": self.amber},
            ]
        return [
            {"color": "green", "value": None},
            {"color": "yellow", "value": self.amber},
            {"color": "red", "value": self.red},
        ]


@dataclass(frozen=True, slots=True)
class Row:
    """A row with a title, and what is in it."""

    title: str
    panels: Sequence[Panel] = field(default_factory=tuple)


def stat(
    title: str,
    query: Query,
    unit: str,
    help_text: str,
    *,
    width: int = 3,
    bad: Thresholds | None = None,
    is_named: bool = False,
) -> Panel:
    """Show one figure, large, with its course in the background; or, `is_named`, what the series is called."""
    panel = _panel("stat", title, [query], unit, help_text, width, 4)
    panel["options"] = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "value",
        "graphMode": "none" if is_named else "area",
        "justifyMode": "auto",
        "textMode": "name" if is_named else "value",
        "orientation": "auto",
    }
    return _judged(panel, bad)


def gauge(
    title: str, query: Query, unit: str, help_text: str, *, width: int = 3, bad: Thresholds | None = None
) -> Panel:
    """Show how far a share has come."""
    panel = _panel("gauge", title, [query], unit, help_text, width, 4)
    panel["fieldConfig"]["defaults"] |= {"min": 0, "max": 1}
    panel["options"] = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "showThresholdLabels": False,
        "showThresholdMarkers": False,
    }
    return _judged(panel, bad)


def course(
    title: str,
    queries: Sequence[Query],
    unit: str,
    help_text: str,
    *,
    width: int = 8,
    stacked: bool = False,
    bad: Thresholds | None = None,
    has_sign: bool = False,
) -> Panel:
    """Show how figures went over time; `has_sign`: also below 0."""
    panel = _panel("timeseries", title, queries, unit, help_text, width, 8)
    panel["fieldConfig"]["defaults"] |= ({} if has_sign else {"min": 0}) | {
        "custom": {
            "drawStyle": "line",
            "lineWidth": 1,
            "fillOpacity": 30 if stacked else 5,
            "showPoints": "never",
            "spanNulls": False,
            "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
            "thresholdsStyle": {"mode": "dashed" if bad else "off"},
        },
    }
    panel["options"] = {
        "legend": {"displayMode": "table", "placement": "bottom", "showLegend": True, "calcs": ["mean", "max"]},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return _judged(panel, bad)


def band(
    title: str,
    middle: Query,
    bounds: tuple[Query, Query],
    lines: Sequence[Query],
    unit: str,
    help_text: str,
    *,
    width: int = 12,
    repeat: str = "",
) -> Panel:
    """Show how an estimate went, the band that the truth lies in, and lines to compare it with.

    Args:
        title: Its title.
        middle: The estimate.
        bounds: The lower bound and the upper one, each with a name in its legend.
        lines: To compare with.
        unit: Of all.
        help_text: What it shows.
        width: In columns of the grid.
        repeat: A variable of the dashboard: one such panel for each of its values, side by side.
    """
    lower, upper = bounds
    panel = course(title, [middle, lower, upper, *lines], unit, help_text, width=width, has_sign=True)
    panel["fieldConfig"]["overrides"] = [
        _override(lower.legend, {"lineWidth": 0, "fillOpacity": 0}),
        _override(upper.legend, {"lineWidth": 0, "fillOpacity": 25, "fillBelowTo": lower.legend}),
        _override(middle.legend, {"lineWidth": 3, "fillOpacity": 0}),
        *(_override(each.legend, {"lineStyle": {"fill": "dash", "dash": [8, 8]}, "fillOpacity": 0}) for each in lines),
    ]
    panel["options"]["legend"] = {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []}
    return panel | ({"repeat": repeat, "repeatDirection": "h"} if repeat else {})


def _override(name: str, look: dict[str, Any]) -> dict[str, Any]:
    properties = [{"id": f"custom.{each}", "value": value} for each, value in look.items()]
    return {"matcher": {"id": "byName", "options": name}, "properties": properties}


def bars(title: str, queries: Sequence[Query], unit: str, help_text: str, *, width: int = 8) -> Panel:
    """Compare figures of now with each other."""
    panel = _panel("bargauge", title, queries, unit, help_text, width, 8)
    panel["options"] = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "orientation": "horizontal",
        "displayMode": "basic",
        "showUnfilled": True,
        "valueMode": "color",
        "minVizHeight": 16,
        "minVizWidth": 8,
    }
    for target in panel["targets"]:
        target |= {"instant": True, "range": False}
    return panel


@dataclass(frozen=True, slots=True)
class Heading:
    """What is written above a dashboard and about it."""

    uid: str
    title: str
    description: str
    tags: tuple[str, ...]
    refresh: str
    since: str
    """Of which time it tells at first, such as now-3h."""


def board(
    heading: Heading,
    rows: Iterable[Row],
    variables: Sequence[dict[str, Any]],
    annotations: Sequence[dict[str, Any]] = (),
) -> dict[str, Any]:
    """Build a dashboard, with the choice of the data source before its own variables."""
    return {
        "uid": heading.uid,
        "title": heading.title,
        "description": heading.description,
        "tags": ["flywheel", *heading.tags],
        "editable": False,
        "graphTooltip": 1,
        "refresh": heading.refresh,
        "schemaVersion": SCHEMA_VERSION,
        "time": {"from": heading.since, "to": "now"},
        "timezone": "browser",
        "templating": {"list": [DATASOURCE_VARIABLE, *variables]},
        "annotations": {"list": list(annotations)},
        "links": [],
        "panels": laid_out(rows),
    }


def one_of(name: str, series: str) -> dict[str, Any]:
    """Build a variable: one value of the label of its name."""
    return {
        "name": name,
        "label": name.capitalize(),
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"query": f"label_values({series}, {name})", "refId": f"{name}s"},
        "refresh": 2,
        "sort": 1,
        "includeAll": False,
        "multi": False,
    }


def some_of(name: str, series: str) -> dict[str, Any]:
    """Build a variable: any values of the label of its name, and all of them at first."""
    every = {"selected": True, "text": ["All"], "value": ["$__all"]}
    return {**one_of(name, series), "includeAll": True, "multi": True, "current": every}


def laid_out(rows: Iterable[Row]) -> list[Panel]:
    """Give every panel its place and number."""
    placed: list[Panel] = []
    down = 0
    for row in rows:
        placed.append(
            {
                "id": len(placed) + 1,
                "type": "row",
                "title": row.title,
                "collapsed": False,
                "gridPos": {"x": 0, "y": down, "w": WIDTH, "h": 1},
                "panels": [],
            }
        )
        down += 1
        across = tallest = 0
        for panel in row.panels:
            width, height = panel["gridPos"]["w"], panel["gridPos"]["h"]
            if across + width > WIDTH:
                down, across, tallest = down + tallest, 0, 0
            placed.append(
                {"id": len(placed) + 1, **panel, "gridPos": {"x": across, "y": down, "w": width, "h": height}}
            )
            across, tallest = across + width, max(tallest, height)
        down += tallest
    return placed


def _panel(
    kind: str, title: str, queries: Sequence[Query], unit: str, help_text: str, width: int, height: int
) -> Panel:
    return {
        "type": kind,
        "title": title,
        "description": help_text,
        "datasource": DATASOURCE,
        "gridPos": {"w": width, "h": height},
        "targets": [
            {
                "refId": chr(ord("A") + number),
                "datasource": DATASOURCE,
                "editorMode": "code",
                "expr": query.expression,
                "legendFormat": query.legend,
                "range": True,
                "instant": False,
            }
            for number, query in enumerate(queries)
        ],
        "fieldConfig": {
            "defaults": {
                "unit": unit,
                "color": {"mode": "palette-classic"},
                "thresholds": {"mode": "absolute", "steps": [{"color": "green", "value": None}]},
            },
            "overrides": [],
        },
    }


def _judged(panel: Panel, bad: Thresholds | None) -> Panel:
    if bad:
        panel["fieldConfig"]["defaults"]["thresholds"]["steps"] = bad.steps()
        if panel["type"] != "timeseries":
            panel["fieldConfig"]["defaults"]["color"] = {"mode": "thresholds"}
    return panel
