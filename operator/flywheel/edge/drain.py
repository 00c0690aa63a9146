"""Ending an edge pod without losing a request: `flywheel edge-drain` runs this as `preStop` of the container `haproxy`.

From its start the pod says that it is not ready, and every answer asks the client to open its next connection
elsewhere. When it returns, Kubernetes stops HAProxy with SIGUSR1, which ends what it has begun and takes nothing new.
"""

import asyncio
import logging
import time
from pathlib import Path

from flywheel.edge.files import DRAINING, STATE_MAP, write_atomically
from flywheel.edge.render import Layout
from flywheel.edge.runtime_api import RuntimeApi, RuntimeApiError

log = logging.getLogger(__name__)

LONGER = 300
"""Seconds for which the word holds beyond the wait; a container that is started again forgets it then."""


def drain(run_directory: str, seconds: float) -> None:
    """Take the pod out of service, and return after `seconds`."""
    asyncio.run(_drain(Layout(run_directory=run_directory), seconds))


async def _drain(layout: Layout, seconds: float) -> None:
    until = str(int(time.time() + seconds) + LONGER)
    began = time.monotonic()
    _write(layout, until)
    try:
        await mark_draining(layout, until)
    except RuntimeApiError as error:
        log.warning("HAProxy cannot be told that it is about to stop: %s", error)
    await asyncio.sleep(max(0.0, seconds - (time.monotonic() - began)))


def _write(layout: Layout, until: str) -> None:
    for directory in Path(layout.run_directory).glob("structure-*"):
        write_atomically(directory / f"{STATE_MAP}.map", f"{DRAINING} {until}\n")


async def mark_draining(layout: Layout, until: str) -> None:
    """Tell the running HAProxy until when, in seconds since 1970, it is about to stop."""
    api = RuntimeApi(layout.stats_socket)
    structure = (await api.process()).description
    path = f"{layout.directory(structure)}/{STATE_MAP}.map"
    await api.change_map(path, await api.map(path), {DRAINING: until})
