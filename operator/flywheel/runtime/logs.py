"""Logging: for people or for machines, with the object that each line is about."""

import contextvars
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from pythonjsonlogger.json import JsonFormatter

LogFormat = Literal["console", "json"]

_subject: contextvars.ContextVar[tuple[str, str, str]] = contextvars.ContextVar("subject", default=("", "", ""))

_CHATTER = ("httpx", "httpcore", "kopf", "aiohttp.access", "asyncio", "aiohttp.server")
"""Libraries that are only heard when something is wrong."""


@contextmanager
def about(kind: str, namespace: str, name: str) -> Iterator[None]:
    """Mark every line that is logged inside as being about one object."""
    token = _subject.set((kind, namespace, name))
    try:
        yield
    finally:
        _subject.reset(token)


class _AddSubject(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.object_kind, record.object_namespace, record.object_name = _subject.get()
        return True


class _ConsoleFormatter(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(subject)s%(message)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        kind, namespace, name = _subject.get()
        record.subject = f"{kind} {namespace}/{name}: " if kind else ""
        return super().format(record)


class _JsonFormatter(JsonFormatter):
    def process_log_record(self, log_record: dict[str, object]) -> dict[str, object]:
        """Leave out what is empty."""
        return {name: value for name, value in log_record.items() if value not in ("", None)}


def configure(log_format: LogFormat, level: str) -> None:
    """Send all logging to standard error.

    Args:
        log_format: Lines for people, or one JSON object a line.
        level: The least level that is shown: `debug`, `info`, `warning` or `error`.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_AddSubject())
    if log_format == "json":
        fields = "{asctime}{levelname}{name}{message}{object_kind}{object_namespace}{object_name}"
        names = {
            "asctime": "time",
            "levelname": "level",
            "name": "logger",
            "object_kind": "kind",
            "object_namespace": "namespace",
            "object_name": "object",
        }
        handler.setFormatter(_JsonFormatter(fields, style="{", rename_fields=names))
    else:
        handler.setFormatter(_ConsoleFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.captureWarnings(capture=True)
    for chatter in _CHATTER:
        logging.getLogger(chatter).setLevel(logging.WARNING)
    # Each of its attempts to reach the API server is an error to Kopf. Where it gives up, we say so ourselves.
    logging.getLogger("kopf._cogs.clients").setLevel(logging.CRITICAL)
