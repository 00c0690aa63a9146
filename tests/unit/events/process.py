"""The command `flywheel sidecar` as a process, beside a store and without a cluster."""

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path
from socket import SOCK_DGRAM

from tests.patience import PATIENCE
from tests.ports import free_port
from tests.unit.events.world import document

from flywheel.edge.document import encode

MAIN = "from flywheel.cli import main; main()"


class Sidecar:
    """One pod's sidecar, which is started again and again over the same spool."""

    def __init__(self, directory: Path, store: str, token: str = "token") -> None:
        self.directory = directory
        self.collect, self.log, self.own = free_port(), free_port(SOCK_DGRAM), free_port()
        self.process: asyncio.subprocess.Process | None = None
        (directory / "token").write_text(token)
        (directory / "document").mkdir()
        (directory / "document" / "edge.json").write_text(encode(document(store=store)))

    async def start(self, **options: str) -> None:
        directories = {f"--{name}-directory": self.directory / name for name in ("run", "spool", "document")}
        settings = {
            "--namespace": "shop", "--campaign": "spring", "--pod": "edge-0", "--token-file": self.directory / "token",
            "--collect-port": self.collect, "--log-port": self.log, "--sidecar-port": self.own, "--flush-for": "20s",
            "--log-format": "console", **directories,
        }  # fmt: skip
        settings |= {f"--{name.replace('_', '-')}": each for name, each in options.items()}
        arguments = [str(part) for pair in settings.items() for part in pair]
        # Nobody's cluster: the process follows the mounted document alone.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("KUBE")}
        with (self.directory / "log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", MAIN, "sidecar", *arguments, stdout=log, stderr=log,
                env={**environment, "HOME": str(self.directory), "PYTHONPATH": "operator"},
            )  # fmt: skip

    async def listening(self) -> None:
        async with asyncio.timeout(PATIENCE):
            while True:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", self.collect)
                    writer.close()
                    return
                assert self.process.returncode is None, self.said()
                await asyncio.sleep(0.02)

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()

    async def stop(self, sent: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(sent)
        async with asyncio.timeout(PATIENCE):
            return await self.process.wait()

    def said(self) -> str:
        return (self.directory / "log").read_text()
