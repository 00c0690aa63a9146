"""Tokens of our own ServiceAccount for programs other than the API server: each for one audience, and short-lived."""

import asyncio
import os
import time
from collections.abc import Callable
from datetime import datetime

from flywheel.kube.client import Client
from flywheel.kube.errors import LoginError
from flywheel.kube.login import own_namespace
from flywheel.kube.resources import SERVICE_ACCOUNT

ACCOUNT_VARIABLE = "FLYWHEEL_SERVICE_ACCOUNT"
LIFETIME = 600
"""Seconds; the API server gives none for less."""
RENEW_BEFORE = 120.0
"""Seconds before the end of a token at which another one is asked for."""
MOST_AUDIENCES = 1_000


def own_account() -> str:
    """Give our own ServiceAccount as `namespace:name`; empty where we are told of none, as outside a cluster."""
    name = os.environ.get(ACCOUNT_VARIABLE, "")
    return f"{own_namespace()}:{name}" if name else ""


class Tokens:
    """Asks for tokens, and keeps each for as long as it holds."""

    def __init__(self, client: Client, account: str, *, clock: Callable[[], float] = time.time) -> None:
        """Make it; nothing is asked yet.

        Args:
            client: Connections to the API server.
            account: Our own ServiceAccount as `namespace:name`; empty where there is none.
            clock: Seconds since 1970.
        """
        self._client = client
        self._account = account
        self._clock = clock
        self._kept: dict[str, tuple[str, float]] = {}
        self._asking = asyncio.Lock()

    async def token(self, audience: str) -> str:
        """Give a token for one audience that holds for two minutes at least.

        Raises:
            ApiError: The API server refuses, or does not answer.
            LoginError: We have no ServiceAccount.
        """
        if not self._account:
            raise LoginError(
                f"the operator knows no ServiceAccount of its own: run it in the cluster, with {ACCOUNT_VARIABLE} set"
            )
        async with self._asking:
            kept = self._kept.get(audience)
            if kept is not None and kept[1] - self._clock() > RENEW_BEFORE:
                return kept[0]
            if len(self._kept) >= MOST_AUDIENCES:
                self._kept.clear()
            token, until = await self._ask(audience)
            self._kept[audience] = (token, until)
            return token

    async def _ask(self, audience: str) -> tuple[str, float]:
        namespace, _, name = self._account.partition(":")
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"audiences": [audience], "expirationSeconds": LIFETIME},
        }
        path = SERVICE_ACCOUNT.path(namespace, name, "token")
        status = (await self._client.call("token", "POST", path, body=body))["status"]
        return str(status["token"]), datetime.fromisoformat(status["expirationTimestamp"]).timestamp()
