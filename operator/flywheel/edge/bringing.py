"""Brings a running HAProxy to a configuration: by a reload where its structure is another one, else part by part."""

import logging
import time
from collections.abc import Callable
from pathlib import Path

from flywheel.edge.enforcer import Enforcer
from flywheel.edge.leaving import Leaving
from flywheel.edge.livemaps import ACTIVE, LIVE_MAPS, Maps
from flywheel.edge.render import Layout, Rendered
from flywheel.edge.runtime_api import LiveServer, Master, ReloadRefused, RuntimeApi, RuntimeApiError
from flywheel.edge.servers import ServerState
from flywheel.edge.testmaps import RANGES, SEGMENTS

log = logging.getLogger(__name__)


class Bringing:
    """What is known of the running process, and the way to change it."""

    def __init__(self, layout: Layout, enforcer: Enforcer | None, on_reload: Callable[[str], None]) -> None:
        """Make it; nothing is asked yet.

        Args:
            layout: Where HAProxy is reached.
            enforcer: Keeps the maps of decisions, if anybody decides.
            on_reload: Told the result of a reload: ok, refused, failed.
        """
        self._api = RuntimeApi(layout.stats_socket)
        self._master = Master(layout.master_socket)
        self._certificate_file = layout.certificate
        self._enforcer, self._on_reload = enforcer, on_reload
        self._certificate_in_use: tuple[int, str] | None = None
        self._known_maps: tuple[int, Maps] = (0, {})
        """Process, and what its maps hold as far as we know."""
        self._leaving = Leaving()

    def forget(self) -> None:
        """Read everything again at the next time: another hand may have changed it."""
        self._known_maps = (0, {})

    def leaves_in(self, now: float) -> float | None:
        """Give the seconds until somebody is let go who is still kept; None where nobody is."""
        return self._leaving.ends_in(now)

    async def bring(self, rendered: Rendered, certificate: str | None) -> None:
        """Bring the running HAProxy to a configuration whose files are written.

        Args:
            rendered: The configuration.
            certificate: What visitors are shown; None without HTTPS, or where it is not known.

        Raises:
            ReloadRefused: HAProxy does not take it.
            RuntimeApiError: It does not answer, or not as expected.
        """
        process = await self._api.process()
        if process.description != rendered.structure:
            await self._reload(rendered)
            process = await self._api.process()
        if process.description != rendered.structure:
            raise RuntimeApiError(f"HAProxy runs {process.description!r} after a reload, not {rendered.structure!r}")
        await self._bring_maps(rendered, process.pid)
        if self._enforcer is not None:
            await self._bring_decisions(self._enforcer, rendered, process.pid)
        await self._bring_servers(rendered)
        if certificate is not None:
            await self._bring_certificate(process.pid, certificate)

    async def _bring_decisions(self, enforcer: Enforcer, rendered: Rendered, pid: int) -> None:
        if rendered.decided:
            await enforcer.bring(Path(rendered.directory), pid)
        else:
            enforcer.rest()

    async def _reload(self, rendered: Rendered) -> None:
        began = time.monotonic()
        try:
            await self._master.reload()
        except ReloadRefused:
            self._on_reload("refused")
            raise
        except RuntimeApiError:
            self._on_reload("failed")
            raise
        self._on_reload("ok")
        log.info("HAProxy has the structure %s after %.2f s.", rendered.structure, time.monotonic() - began)

    async def _bring_maps(self, rendered: Rendered, pid: int) -> None:
        """Bring the maps up to date, so that no request meets a test whose ranges are not there."""
        known = self._known_maps[1] if self._known_maps[0] == pid else {}
        names = [name for name in LIVE_MAPS if name in rendered.maps]
        found = {name: known[name] if name in known else await self._api.map(rendered.map_path(name)) for name in names}
        # Until all is done, what is known is not certain.
        self._known_maps = (0, {})
        for name in names:
            wanted = rendered.maps[name]
            if name in (RANGES, SEGMENTS):
                # Buckets of tests that go stay until nothing points to them any more.
                wanted = {**found[name], **wanted}
            await self._change_map(rendered, name, found, wanted)
        for name in (SEGMENTS, RANGES):
            await self._change_map(rendered, name, found, rendered.maps[name])
        self._known_maps = (pid, found)

    async def _change_map(self, rendered: Rendered, name: str, found: Maps, wanted: dict[str, str]) -> None:
        if found[name] != wanted:
            await self._api.change_map(rendered.map_path(name), found[name], wanted)
            found[name] = dict(wanted)

    async def _bring_servers(self, rendered: Rendered) -> None:
        running = await self._api.servers()
        active = {where.partition("|")[0] for where in rendered.maps[ACTIVE].values()}
        changes = [
            (backend, name, state, running.get(backend, {}).get(name))
            for backend, servers in self._leaving.held_back(rendered.servers, running, active, time.monotonic()).items()
            for name, state in servers.items()
            if not _is_as_wanted(state, running.get(backend, {}).get(name))
        ]
        # Who comes is let in before anybody goes, or else there would be a moment with nobody.
        for backend, name, state, found in sorted(changes, key=lambda each: not (each[2].enabled and each[2].weight)):
            wanted = LiveServer(state.address, state.port, state.weight, state.enabled, state.watched)
            await self._api.set_server(backend, name, wanted, found)

    async def _bring_certificate(self, pid: int, certificate: str) -> None:
        if self._certificate_in_use == (pid, certificate):
            return
        # Also after a start of our own or of HAProxy: which certificate it has read then is not known.
        await self._api.set_certificate(self._certificate_file, certificate)
        self._certificate_in_use = (pid, certificate)


def _is_as_wanted(wanted: ServerState, found: LiveServer | None) -> bool:
    if found is None or found.enabled != wanted.enabled:
        return False
    same_place = (found.address, found.port) == (wanted.address, wanted.port)
    # Who is watched may be out just now. Who no longer is would stay out for ever.
    heeded = bool(found.watched) if wanted.watched else found.up and not found.watched
    # A free place may keep the address of the pod that left it: nobody is sent there.
    return not wanted.enabled or (same_place and found.weight == wanted.weight and heeded)
