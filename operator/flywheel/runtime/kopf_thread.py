"""Kopf, kept to what it does well here: watching the custom resources.

It runs in a thread with an event loop of its own. Kopf stops for good on errors that pass by themselves (a 403 while
an API server starts, a 401 while a certificate is rotated), and when it stops it cancels every task of its loop. In
its own loop that ends Kopf alone, and it can be started again without ending the operator.

Only `kopf.on.event` is used: with that Kopf writes nothing to the cluster, not even a finalizer or an annotation.
"""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import kopf

from flywheel.kube.login import find_credentials
from flywheel.kube.resources import CAMPAIGN
from flywheel.plan import GROUP, Manifest

Receive = Callable[[str | None, Manifest], None]
"""Told the type of each event (None for an object of a list) and the object."""


class KopfThread:
    """One run of Kopf. The receiver is called in the event loop that made this object."""

    def __init__(self, receive: Receive, namespaces: Sequence[str | None]) -> None:
        self._receive = receive
        self._namespaces = [namespace for namespace in namespaces if namespace is not None]
        self._home = asyncio.get_running_loop()
        self._ended: asyncio.Future[None] = self._home.create_future()
        self._stop: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="kopf", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    async def wait(self) -> None:
        """Wait until Kopf ends; raises what it ended with."""
        await asyncio.shield(self._ended)

    def stop(self) -> None:
        """Ask Kopf to end."""
        self._stopped = True
        if self._stop is not None and not self._ended.done():
            loop, event = self._stop
            loop.call_soon_threadsafe(event.set)

    def _run(self) -> None:
        failure: BaseException | None = None
        try:
            asyncio.run(self._operate())
        except asyncio.CancelledError:
            pass
        except BaseException as error:  # noqa: BLE001 - told to whoever waits, in the other thread
            failure = error
        self._at_home(self._end, failure)

    def _at_home(self, call: Callable[..., None], *arguments: Any) -> None:
        # Kopf may take longer to end than the operator around it, and then there is nobody left to tell.
        with contextlib.suppress(RuntimeError):
            self._home.call_soon_threadsafe(call, *arguments)

    def _end(self, failure: BaseException | None) -> None:
        if self._ended.done():
            return
        if failure is None:
            self._ended.set_result(None)
        else:
            self._ended.set_exception(failure)

    async def _operate(self) -> None:
        stop = asyncio.Event()
        self._stop = (asyncio.get_running_loop(), stop)
        if self._stopped:
            return
        await kopf.operator(
            registry=self._handlers(),
            settings=make_settings(),
            standalone=True,
            clusterwide=not self._namespaces,
            namespaces=self._namespaces,
            # By itself Kopf asks for the name of the user, and the number that a container runs as has none.
            identity=cast("Any", "flywheel"),
            stop_flag=stop,
        )

    def _handlers(self) -> kopf.OperatorRegistry:
        # A registry of our own, so that Kopf does not look for credentials by itself.
        registry = kopf.OperatorRegistry()

        @kopf.on.login(registry=registry, retries=3)
        async def login(**_: Any) -> kopf.ConnectionInfo:
            found = await find_credentials()
            return kopf.ConnectionInfo(
                server=found.server,
                ca_path=found.ca_path,
                insecure=found.insecure,
                token=found.token,
                certificate_path=found.certificate_path,
                private_key_path=found.private_key_path,
                proxy_url=found.proxy_url,
            )

        @kopf.on.event(CAMPAIGN.group, CAMPAIGN.version, CAMPAIGN.plural, registry=registry)
        async def seen(event: kopf.RawEvent, **_: Any) -> None:
            self._at_home(self._receive, event["type"], dict(event["object"]))

        return registry


class _Pauses:
    """How long to wait before each of any number of attempts. Kopf ends itself when they run out."""

    def __iter__(self) -> Iterator[float]:
        yield from (0.5, 1, 2, 3)
        while True:
            yield 5


def make_settings() -> kopf.OperatorSettings:
    """Configure Kopf to watch and to write nothing."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    # The CRD is there before Kopf is started, and no right to watch all CRDs and namespaces is needed.
    settings.scanning.disabled = True
    # Never written, as there are only event handlers; but if it came to that, under our own name.
    settings.persistence.finalizer = f"{GROUP}/kopf"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=GROUP)
    settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix=GROUP)
    settings.networking.error_backoffs = _Pauses()
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 5
    settings.watching.reconnect_backoff = 0.5
    # Its task for an object is gone half a second after the last event.
    settings.queueing.idle_timeout = 0.5
    # The process is ours: Kopf must not kill it.
    settings.process.ultimate_exiting_timeout = None
    logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)
    return settings
