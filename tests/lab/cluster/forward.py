"""Carry connections from the host's loopback into a lab.

A socket stays in the network namespace it was made in. So one process opens its listening socket on the host, moves
into the lab's namespace, and connects out from there: nothing is added to the host's network.
"""

import asyncio
import ctypes
import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path

CLONE_NEWNET = 0x40000000
CHUNK_BYTES = 256 * 1024
LOOPBACK = "127.0.0.1"


def listen(port: int = 0) -> socket.socket:
    """Open a listening socket on the host's loopback; port 0 takes a free one.

    Raises:
        OSError: the port is taken.
    """
    listening = socket.create_server((LOOPBACK, port), backlog=512)
    listening.setblocking(False)
    return listening


def enter_network(pid: int) -> None:
    """Move this thread into the network namespace of process `pid`."""
    library = ctypes.CDLL(None, use_errno=True)
    with Path(f"/proc/{pid}/ns/net").open() as namespace:
        if library.setns(namespace.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"cannot enter the network of process {pid}")


async def carry(listening: socket.socket, host: str, port: int, until_ended: int) -> None:
    """Pass every connection on to `host`:`port` until the process `until_ended` ends."""
    ended = asyncio.Event()
    watched = os.pidfd_open(until_ended)
    loop = asyncio.get_running_loop()
    loop.add_reader(watched, ended.set)
    # Raised as an exception, a signal would come up in the middle of some connection and be blamed on it.
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)

    carried: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # The loop alone would forget a connection whose client has sent all it has and waits for the answer.
        task = asyncio.create_task(_carry_one(reader, writer, host, port))
        carried.add(task)
        task.add_done_callback(carried.discard)

    server = await asyncio.start_server(connected, sock=listening, limit=CHUNK_BYTES)
    await ended.wait()
    # Connections that are still open end with the loop; waiting for them could take for ever.
    server.close()


async def _carry_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int) -> None:
    try:
        onward = await asyncio.open_connection(host, port, limit=CHUNK_BYTES)
    except OSError:
        writer.transport.abort()
        return
    # At the end all connections are cancelled, which Python 3.11 would report as an error of each.
    with suppress(asyncio.CancelledError):
        await asyncio.gather(_pump(reader, onward[1]), _pump(onward[0], writer))
    onward[1].close()
    writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while chunk := await reader.read(CHUNK_BYTES):
            writer.write(chunk)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
            return
    # The other direction cannot go on either once this one is broken.
    writer.transport.abort()


def run(listening: socket.socket, pid: int, host: str, port: int) -> None:
    """Carry connections into the network of process `pid` until it, or this program, ends."""
    enter_network(pid)
    with suppress(KeyboardInterrupt):
        asyncio.run(carry(listening, host, port, pid))


def main() -> None:
    """Carry connections from an inherited listening socket: FILE-DESCRIPTOR PID HOST PORT."""
    descriptor, pid, host, port = sys.argv[1:]
    run(socket.socket(fileno=int(descriptor)), int(pid), host, int(port))


if __name__ == "__main__":
    main()
