"""What the store asks of an engine, whichever it is: chDB in a process of its own, or a ClickHouse cluster."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

Value = str | int | float | bool | list[str] | list[int] | list[str | int]
Parameters = Mapping[str, Value]
"""Values of `{name:Type}` in a statement."""

_UNREADABLE = frozenset({6, 25, 26, 27, 33, 36, 38, 41, 53, 69, 70, 72, 117, 130, 131, 190, 321, 349, 441, 467, 676})
"""Codes with which ClickHouse says that the data, not the statement or the machine, is at fault."""
_PASSING = frozenset({74, 75, 76, 159, 202, 209, 210, 236, 241, 242, 243, 252, 319, 335, 394, 425, 999})
"""Codes of what may go by: disk full, memory, too many parts, time, a connection."""


class EngineError(Exception):
    """The engine did not carry out a statement.

    Attributes:
        code: ClickHouse's number of the error; 0 where it has none.
        message: What the engine said, for people.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    @property
    def is_about_data(self) -> bool:
        """Rows could not be read: the same rows will never be."""
        return self.code in _UNREADABLE

    @property
    def is_passing(self) -> bool:
        """The same may succeed later."""
        return self.code in _PASSING


class EngineDown(Exception):  # noqa: N818 - a state, of which the message says more
    """The engine is not there at present, or went away during a statement: whether that took effect is not known."""


class StoreError(Exception):
    """The store cannot be used at all: its tables are of a newer version, or another worker has taken over."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one query may take."""

    seconds: float = 30.0
    memory: int = 600 << 20
    """Bytes."""
    rows: int = 10_000
    """Of the result; more are refused."""
    result_bytes: int = 64 << 20

    def settings(self) -> dict[str, str]:
        """Give them as settings of ClickHouse."""
        return {
            "max_execution_time": f"{self.seconds:g}",
            "max_memory_usage": str(self.memory),
            "max_result_rows": str(self.rows),
            "max_result_bytes": str(self.result_bytes),
            "result_overflow_mode": "throw",
            "max_threads": "2",
        }


class Engine(Protocol):
    """All methods raise `EngineError` where the engine refuses, and `EngineDown` where it is not there."""

    shared: bool
    """Whether others may use the same tables at the same time."""
    generation: int
    """Grows whenever the engine, or the connection to it, is a new one: what was in memory is gone then."""

    async def start(self, prepare: Callable[[], Awaitable[None]]) -> None:
        """Start, and call `prepare` now and after every restart before anything else is let in."""

    async def close(self) -> None:
        """End it, after what is under way."""

    def complaint(self) -> str | None:
        """Say what is wrong, or None."""

    async def run(
        self, statement: str, parameters: Parameters | None = None, *, seconds: float = 60.0
    ) -> list[dict[str, object]]:
        """Carry out a statement that may change things, one after the other; give the rows of a SELECT."""

    async def insert(self, table: str, rows: bytes, *, seconds: float = 60.0) -> None:
        """Insert rows, one JSON object a line; all of them or an error that is about data."""

    async def query(self, sql: str, parameters: Parameters | None, limits: Limits, output_format: str) -> bytes:
        """Answer a query that can change nothing, in one of ClickHouse's formats."""

    def stream(
        self, sql: str, parameters: Parameters | None, limits: Limits, output_format: str
    ) -> AsyncIterator[bytes]:
        """Answer like `query`, piece by piece, however much it is."""
