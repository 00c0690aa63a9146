"""The form of an alert rule."""

from typing import Any

Rule = dict[str, Any]


def alert(name: str, expression: str, wait: str, severity: str, summary: str, description: str) -> Rule:
    """Write an alert: when it fires, after which time, and what people read."""
    return {
        "alert": name,
        "expr": expression,
        "for": wait,
        "labels": {"severity": severity},
        "annotations": {"summary": summary, "description": description},
    }
