"""The programs inside the lab's pods, as processes of this machine: to be killed as a failing machine kills."""

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Victim:
    """One process of a pod."""

    pid: int
    command: str

    def kill(self) -> None:
        """End it at once, with no chance to say anything."""
        os.kill(self.pid, signal.SIGKILL)

    def freeze(self) -> None:
        """Let it do nothing more until it is thawed."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)


def processes_of(pod_uid: str) -> list[Victim]:
    """Return every process of a pod but the one that holds its network."""
    return sorted(_found(pod_uid), key=lambda each: each.pid)


def _found(pod_uid: str) -> Iterator[Victim]:
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if f"pod{pod_uid}" not in (entry / "cgroup").read_text():
                continue
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue  # it has ended meanwhile
        if command and not command.startswith("/pause"):
            yield Victim(int(entry.name), command)
