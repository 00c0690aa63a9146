"""A worker as a process of its own, for tests that kill it."""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp
from tests.ports import free_port
from tests.unit.fraud_worker.world import CAMPAIGN, KEYS, operator, token


class Process:
    """A worker that is killed and started again over the same volume."""

    def __init__(
        self, directory: Path, *engine: str, rules: Sequence[object] = (), snapshot_every: float = 0.15
    ) -> None:
        self.directory, self.engine = directory, engine
        self.port, self.admin_port = free_port(), free_port()
        self.variables = {"ADMIN_PORT": str(self.admin_port), "SNAPSHOT_EVERY": str(snapshot_every)}
        self.process: asyncio.subprocess.Process | None = None
        (directory / "keys.json").write_text(json.dumps(KEYS.documents()))
        (directory / "rules.json").write_text(json.dumps({CAMPAIGN: rules}))
        (directory / "token").write_text(token())

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def admin(self) -> str:
        """Address of the port for people."""
        return f"http://127.0.0.1:{self.admin_port}"

    async def start(self) -> None:
        arguments = ("-m", "tests.unit.fraud_worker.worker_process", str(self.directory), str(self.port))
        arguments += self.engine
        variables = {**os.environ, **self.variables, "PYTHONPATH": "operator:."}
        with (self.directory / "log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable,
                *arguments,
                stdout=log,
                stderr=log,
                env=variables,
            )

    async def kill(self) -> None:
        assert self.process
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()

    async def state(self) -> dict[str, Any]:
        try:
            url = f"{self.url}/v1/fraud/state"
            async with aiohttp.ClientSession() as session, session.get(url, headers=operator()) as response:
                found: dict[str, Any] = await response.json()
                return found if found.get("ready") and found["campaigns"] else {}
        except aiohttp.ClientError:
            return {}

    async def is_ready(self) -> bool:
        assert self.process
        assert self.process.returncode is None, (self.directory / "log").read_text()
        return bool(await self.state())
