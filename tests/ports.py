"""Ports for servers that tests start, on this machine and for nobody else."""

import contextlib
import random
import socket

FROM, TO = 20_000, 32_000
"""Below those that the kernel gives to whoever calls out, and above those of known services."""


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """Return a port that nobody listens on, and that nobody is given while its server is being started again."""
    while True:
        port = random.randint(FROM, TO)
        with socket.socket(socket.AF_INET, kind) as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def free_ports(count: int) -> list[int]:
    """Return several that differ."""
    found: set[int] = set()
    while len(found) < count:
        found.add(free_port())
    return list(found)
