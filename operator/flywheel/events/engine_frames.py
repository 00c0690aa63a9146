"""How a worker and its engine process talk over a socket: a header of JSON and a body of bytes, with their lengths."""

import asyncio
import socket
import struct
from typing import Literal

import msgspec

_LENGTHS = struct.Struct(">II")
LONGEST_HEADER = 4 << 20
LONGEST_BODY = 512 << 20


class Order(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What the engine is to do."""

    id: int
    kind: Literal["run", "insert", "query", "stream", "more", "cancel", "close"]
    statement: str = ""
    parameters: dict[str, str | int | float | bool | list[str | int]] = {}
    settings: dict[str, str] = {}
    output_format: str = "JSONEachRow"


class Answer(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What came of it."""

    id: int
    kind: Literal["ready", "failed", "done", "piece", "error"]
    code: int = 0
    message: str = ""


class FrameError(Exception):
    """The other side does not speak our language."""


def pack(header: Order | Answer, body: bytes | memoryview = b"") -> tuple[bytes, bytes | memoryview]:
    """Write a frame: its beginning, and its body.

    Raises:
        FrameError: It is too long.
    """
    head = msgspec.json.encode(header)
    if len(head) > LONGEST_HEADER or len(body) > LONGEST_BODY:
        raise FrameError(f"A frame of {len(head)} + {len(body)} bytes is too long.")
    return _LENGTHS.pack(len(head), len(body)) + head, body


def _lengths(raw: bytes) -> tuple[int, int]:
    head, body = _LENGTHS.unpack(raw)
    if head > LONGEST_HEADER or body > LONGEST_BODY:
        raise FrameError(f"A frame announces {head} + {body} bytes.")
    return head, body


async def read_answer(reader: asyncio.StreamReader) -> tuple[Answer, bytes]:
    """Read one answer of the engine.

    Raises:
        asyncio.IncompleteReadError: It went away.
    """
    head, body = _lengths(await reader.readexactly(_LENGTHS.size))
    answer = msgspec.json.decode(await reader.readexactly(head), type=Answer)
    return answer, await reader.readexactly(body)


def read_order(channel: socket.socket) -> tuple[Order, bytes] | None:
    """Read one order of the worker; None once the worker is gone."""
    lengths = _receive(channel, _LENGTHS.size)
    if lengths is None:
        return None
    head, body = _lengths(bytes(lengths))
    header, payload = _receive(channel, head), _receive(channel, body)
    if header is None or payload is None:
        return None
    return msgspec.json.decode(header, type=Order), bytes(payload)


def _receive(channel: socket.socket, count: int) -> bytearray | None:
    gathered = bytearray(count)
    view, filled = memoryview(gathered), 0
    while filled < count:
        got = channel.recv_into(view[filled:])
        if not got:
            return None
        filled += got
    return gathered
