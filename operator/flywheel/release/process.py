"""The part of the operator that does what releases want from outside, wired together."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx

from flywheel.kube.errors import ApiError
from flywheel.kube.gateway import Gateway
from flywheel.kube.tokens import own_account
from flywheel.release.agent import ReleaseAgent, read_secret
from flywheel.release.content.source import ContentProblem
from flywheel.release.content.watcher import ContentWatcher
from flywheel.release.content.webhook import Leader, Webhook, leads_itself
from flywheel.release.errands import Errands
from flywheel.release.gate.calls import Clients
from flywheel.release.gate.runner import MeasurementRunner, Surroundings


@dataclass(frozen=True, slots=True)
class Receiver:
    """Where Git servers tell of pushes."""

    secret_file: Path
    port: int
    leader: Leader = leads_itself
    """Which replica follows sources."""


class ReleaseProcess:
    """Runner, errands and watcher, and the agent before them."""

    def __init__(self, gateway: Gateway, on_done: Callable[[str, str], None], receiver: Receiver | None = None) -> None:
        """Make them.

        Args:
            gateway: Where Secrets and pods are looked up.
            on_done: Told namespace and name of a Campaign for which something was found.
            receiver: Where Git servers tell of pushes; None where nobody listens.
        """
        self._gateway = gateway
        self._clients = Clients()
        around = Surroundings(self._clients, self._secret, self.token)
        self._tokens = gateway.tokens(own_account())
        self._runner = MeasurementRunner(around, on_done)
        self._errands = Errands(gateway, self._clients.plain, on_done)
        self.watcher = ContentWatcher(self._credentials)
        self.watcher.on_change(on_done)
        self._webhook = (
            Webhook(receiver.secret_file, self.watcher.refresh, leader=receiver.leader, port=receiver.port)
            if receiver
            else None
        )
        self.agent = ReleaseAgent(self._runner, self._errands, self.watcher)

    @property
    def client(self) -> httpx.AsyncClient:
        """For calls to stores."""
        return self._clients.plain

    async def token(self, audience: str) -> str:
        """Give a token of the operator's own for an audience."""
        return await self._tokens.token(audience)

    async def run(self) -> None:
        """Work until cancelled."""
        try:
            if self._webhook is not None:
                await self._webhook.start()
            await self.watcher.run()
        finally:
            if self._webhook is not None:
                await self._webhook.stop()
            await self._runner.close()
            await self._errands.close()
            await self._clients.close()

    async def _secret(self, namespace: str, name: str) -> dict[str, bytes] | None:
        return await read_secret(self._gateway, namespace, name)

    async def _credentials(self, namespace: str, name: str) -> dict[str, bytes] | None:
        try:
            return await read_secret(self._gateway, namespace, name)
        except ApiError as error:
            raise ContentProblem("BadCredentials", f"Secret {name} cannot be read: {error.message}") from error
