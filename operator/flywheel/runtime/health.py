"""Whether this process makes progress, told over HTTP. That it exists, Kubernetes sees by itself."""

import socket
from collections.abc import Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry
from prometheus_client.exposition import generate_latest

Check = Callable[[], str | None]
"""Says what is wrong, or None."""


class Server:
    """A small HTTP server. That it answers at all shows that the event loop turns."""

    def __init__(self, port: int) -> None:
        """Make a server; port 0 takes any that is free."""
        self._application = web.Application()
        self._runner: web.AppRunner | None = None
        self.port = port

    def add_checks(self, path: str, checks: dict[str, Check]) -> None:
        """Answer 200 at `path` while no check complains, else 503, with one line for each check."""

        async def answer(_request: web.Request) -> web.Response:
            said = {name: check() for name, check in checks.items()}
            text = "".join(f"{name}: {complaint or 'ok'}\n" for name, complaint in said.items())
            return web.Response(text=text, status=503 if any(said.values()) else 200)

        self._application.router.add_get(path, answer)

    def add_metrics(self, registry: CollectorRegistry) -> None:
        """Answer with the figures at `/metrics`."""

        async def answer(_request: web.Request) -> web.Response:
            return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

        self._application.router.add_get("/metrics", answer)

    async def start(self) -> None:
        """Listen on all addresses.

        Raises:
            OSError: When the port is taken.
        """
        self._runner = web.AppRunner(self._application, access_log=None, handle_signals=False, shutdown_timeout=1)
        await self._runner.setup()
        listening = _listen(self.port)
        await web.SockSite(self._runner, listening).start()
        self.port = listening.getsockname()[1]

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()


def _listen(port: int) -> socket.socket:
    """One socket for IPv4 and IPv6: with one for each, port 0 would be a different port in each."""
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", port))
