"""The first process of a lab: prepares the namespaces it was born in, then runs the programs that it is told to.

It takes orders as one line of JSON each on a Unix socket, starts a program again when it ends unasked, and collects
the processes that others left behind. When it dies, the kernel takes everything else in the lab with it.
"""

import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.lab.cluster.paths import NODE_ADDRESS, Lab

RESTART_DELAY_SECONDS = 1.0

# Places that programs write to whatever their configuration says; each lab gets its own.
PRIVATE_DIRECTORIES = ("/var/lib/cni", "/var/lib/kubelet", "/var/log/containers", "/var/log/pods")

# Settings of the whole machine that a kubelet insists on. It gets files in their place, and the machine stays as it is.
SHIELDED_SETTINGS = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}


@dataclass
class Program:
    """A program that shall run, and its process when it does."""

    argv: list[str]
    log: str
    process: subprocess.Popen[bytes] | None = None
    wanted: bool = True
    restarts: int = 0
    started_at: float = 0.0
    due_at: float = field(default=0.0)


class Supervisor:
    """Keeps the programs running."""

    def __init__(self) -> None:
        self.programs: dict[str, Program] = {}

    def obey(self, order: dict[str, Any]) -> dict[str, Any]:
        """Carry out one order and return the answer."""
        match order:
            case {"do": "start", "name": name, "argv": argv, "log": log}:
                self.programs[name] = Program(argv, log)
                self._start(self.programs[name])
            case {"do": "stop", "name": name, "signal": number}:
                program = self.programs[name]
                program.wanted = False
                if program.process:
                    with suppress(ProcessLookupError):
                        os.kill(program.process.pid, number)
            case {"do": "resume", "name": name}:
                program = self.programs[name]
                program.wanted = True
                if not program.process:
                    self._start(program)
            case {"do": "list"}:
                pass
            case _:
                return {"error": f"unknown order {order}"}
        return {"programs": {name: self._describe(program) for name, program in self.programs.items()}}

    def collect(self) -> None:
        """Reap every process that ended, and note which of the programs is due to be started again."""
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for program in self.programs.values():
                if program.process and program.process.pid == pid:
                    program.process.returncode = -1
                    program.process = None
                    program.due_at = time.monotonic() + RESTART_DELAY_SECONDS

    def restart_due(self) -> float | None:
        """Start the programs that are due, and return the seconds until the next one is."""
        waiting = [program for program in self.programs.values() if program.wanted and not program.process]
        for program in waiting:
            if program.due_at <= time.monotonic():
                program.restarts += 1
                self._start(program)
        return min(
            (max(0.0, program.due_at - time.monotonic()) for program in waiting if not program.process), default=None
        )

    @staticmethod
    def _start(program: Program) -> None:
        program.started_at = time.monotonic()
        with Path(program.log).open("ab") as log:
            program.process = subprocess.Popen(
                program.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )

    @staticmethod
    def _describe(program: Program) -> dict[str, Any]:
        return {
            "running": program.process is not None,
            "restarts": program.restarts,
            "seconds": round(time.monotonic() - program.started_at) if program.process else 0,
        }


def prepare_mounts(state: Path) -> None:
    """Give the lab its own versions of the places that are not set by any configuration."""
    # Pods share mounts with the node, which a private root does not allow; the host does not see it, this is a copy.
    _call("mount", "--make-rshared", "/")
    _call("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    for place in PRIVATE_DIRECTORIES:
        own = state / "node" / place.strip("/").replace("/", "-")
        own.mkdir(parents=True, exist_ok=True)
        Path(place).mkdir(parents=True, exist_ok=True)
        _call("mount", "--bind", own, place)
    for setting, value in SHIELDED_SETTINGS.items():
        shield = state / "node" / setting.replace("/", "-")
        shield.write_text(value)
        _call("mount", "--bind", shield, f"/proc/sys/{setting}")
    # Writable and shared by itself, so that mounts of pods propagate wherever the state directory lies.
    (state / "kubelet").mkdir(exist_ok=True)
    resolver = state / "node" / "resolv.conf"
    resolver.write_text(f"nameserver {NODE_ADDRESS}\n")
    _call("mount", "--bind", resolver, Path("/etc/resolv.conf").resolve())


def prepare_network() -> None:
    """Make the node's address; there is no way out of this network, and none in but the forwarders."""
    _call("ip", "link", "set", "lo", "up")
    _call("ip", "link", "add", "lab0", "type", "bridge")
    _call("ip", "address", "add", f"{NODE_ADDRESS}/24", "dev", "lab0")
    _call("ip", "link", "set", "lab0", "up")
    _call("ip", "route", "add", "default", "dev", "lab0")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


def serve(control: socket.socket) -> None:
    """Obey orders until killed."""
    supervisor = Supervisor()
    woken, wake = socket.socketpair()
    woken.setblocking(False)
    wake.setblocking(False)
    signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    selector = selectors.DefaultSelector()
    selector.register(woken, selectors.EVENT_READ)
    selector.register(control, selectors.EVENT_READ)
    while True:
        ready = selector.select(supervisor.restart_due())
        with suppress(BlockingIOError):
            woken.recv(4096)
        supervisor.collect()
        if any(key.fileobj is control for key, _ in ready):
            _answer(supervisor, control)


def _answer(supervisor: Supervisor, control: socket.socket) -> None:
    connection, _ = control.accept()
    connection.settimeout(5)
    with connection, suppress(OSError), connection.makefile("rw", encoding="utf-8") as stream:
        try:
            answer = supervisor.obey(json.loads(stream.readline()))
        except (KeyError, OSError, ValueError) as problem:
            answer = {"error": f"{type(problem).__name__}: {problem}"}
        stream.write(json.dumps(answer) + "\n")
        stream.flush()


def _call(*command: str | Path) -> None:
    subprocess.run([str(word) for word in command], check=True)


def main() -> None:
    """Become the first process of the lab named on the command line."""
    lab = Lab.named(sys.argv[1])
    prepare_mounts(lab.state)
    prepare_network()
    control = socket.socket(socket.AF_UNIX)
    control.bind(str(lab.control_socket))
    control.listen(16)
    serve(control)


if __name__ == "__main__":
    main()
