"""Keeps HAProxy as the operator says: compares what shall be with what HAProxy has, and changes what differs.

Level-triggered: it does not matter what was missed, who died or who has changed something by hand. Everything is
written to files before HAProxy is told, so that a HAProxy that starts anew has it too.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from flywheel.edge import files, naming
from flywheel.edge.bringing import Bringing
from flywheel.edge.document import Applied, EdgeDocument, Trouble, encode
from flywheel.edge.endpoints import Endpoints, Slots, place_all
from flywheel.edge.enforcer import Enforcer
from flywheel.edge.quoting import DocumentProblem
from flywheel.edge.render import Layout, Rendered, render
from flywheel.edge.reporter import Reporter
from flywheel.edge.runtime_api import ReloadRefused, RuntimeApiError
from flywheel.edge.sources import TRUST_VOLUME_AFTER, Sources, parse_document
from flywheel.kube.gateway import Gateway

log = logging.getLogger(__name__)

DEBOUNCE = 0.005
"""Seconds in which changes gather: a rollout brings several at once."""
LOOK = 5.0
"""Seconds after which HAProxy is compared with what shall be although nothing has changed."""
RETRY = 0.5
WITHOUT_PODS = 20.0
"""Seconds for which the first start waits to hear of the pods."""


def _ignore(*_: object) -> None:
    pass


@dataclass(frozen=True)
class Observer:
    """Who is told of what the agent does, for metrics and for the collector. Called in the agent's event loop."""

    on_document: Callable[[EdgeDocument], None] = _ignore
    """A document has become the one that is carried out."""
    on_applied: Callable[[str, float], None] = _ignore
    """Generation, and seconds from hearing of a change to its effect."""
    on_reload: Callable[[str], None] = _ignore
    """Result of a reload: ok, refused, failed."""
    on_trouble: Callable[[Trouble | None], None] = _ignore


class Agent:
    """One edge pod's hand on its HAProxy."""

    def __init__(
        self,
        gateway: Gateway | None,
        *,
        namespace: str,
        campaign: str,
        pod: str,
        layout: Layout,
        document_directory: str = naming.DOCUMENT_DIRECTORY,
        tls_directory: str | None = naming.TLS_DIRECTORY,
        observer: Observer | None = None,
        enforcer: Enforcer | None = None,
    ) -> None:
        self._enforcer = enforcer
        self.layout = replace(layout, ipv6=layout.ipv6 and files.has_ipv6())
        self._observer = observer or Observer()
        self._changed = asyncio.Event()
        self._heard_at = 0.0
        self._run_directory = Path(layout.run_directory)
        self._gateway = gateway
        self._good: EdgeDocument | None = self._remembered()
        self.sources = Sources(
            namespace,
            campaign,
            Path(document_directory),
            Path(tls_directory) if tls_directory else None,
            self._run_directory,
            self._note_change,
            # What is mounted may be older than what was last carried out; the API server knows better, if there is one.
            patience=TRUST_VOLUME_AFTER if gateway is not None and self._good is not None else 0.0,
        )
        self._reporter = Reporter(namespace, campaign, pod)
        self._haproxy = Bringing(self.layout, enforcer, self._observer.on_reload)
        self._began = time.monotonic()
        self._endpoints: Endpoints = files.load_endpoints(self._endpoints_file)
        self._parsed: tuple[str, EdgeDocument] | None = None
        self._checked = ""
        """Text of the configuration that HAProxy's own check took last."""
        self._refused: dict[str, str] = {}
        self._reached = False
        self._applied_generation = ""
        self._applied_at = ""
        self._trouble: Trouble | None = None
        self._other_troubles: dict[str, Trouble] = {}
        self.started = False
        """Whether HAProxy may start: there is a configuration. What the startup probe of the sidecar asks."""

    @property
    def _document_file(self) -> Path:
        return self._run_directory / "document.json"

    @property
    def _endpoints_file(self) -> Path:
        return self._run_directory / "endpoints.json"

    @property
    def document(self) -> EdgeDocument | None:
        """The document that is carried out; None before there is a usable one."""
        return self._good

    @property
    def applied(self) -> Applied:
        """What this pod says of itself."""
        trouble = self._trouble or next(iter(self._other_troubles.values()), None)
        return Applied(generation=self._applied_generation, at=self._applied_at, trouble=trouble)

    def report_trouble(self, part: str, trouble: Trouble | None) -> None:
        """Take the trouble of another part of the pod (its spool, the store) into the report; None: it is over."""
        if trouble is None:
            self._other_troubles.pop(part, None)
        else:
            self._other_troubles[part] = trouble
        self._reporter.tell(self.applied)

    def _note_change(self) -> None:
        if not self._changed.is_set():
            self._heard_at = time.monotonic()
        self._changed.set()

    async def run(self) -> None:
        """Keep HAProxy as it shall be, until cancelled.

        Raises:
            OSError: The directory that it shares with HAProxy cannot be made.
        """
        self._run_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        async with asyncio.TaskGroup() as group:
            group.create_task(self.sources.poll(), name="edge files")
            group.create_task(self._keep(), name="edge agent")
            if self._gateway is not None:
                group.create_task(self.sources.follow(self._gateway), name="edge watches")
                group.create_task(self._reporter.run(self._gateway), name="edge report")

    async def _keep(self) -> None:
        pause = LOOK
        while True:
            # What another hand has changed shows only when everything is read again.
            everything = False
            try:
                async with asyncio.timeout(pause):
                    await self._changed.wait()
                await asyncio.sleep(DEBOUNCE)
            except TimeoutError:
                self._heard_at = time.monotonic()
                everything = True
            self._changed.clear()
            if everything:
                self._haproxy.forget()
            pause = self._next_look() if await self._turn() else RETRY

    def _next_look(self) -> float:
        left = self._haproxy.leaves_in(time.monotonic())
        return LOOK if left is None else min(LOOK, left)

    def _remembered(self) -> EdgeDocument | None:
        """Read what was carried out before this process started: it holds on where what comes now cannot be used."""
        try:
            document = parse_document(self._document_file.read_text("utf-8"))
        except (OSError, ValueError):
            return None
        return document

    async def _turn(self) -> bool:
        """Bring HAProxy to what shall be; give whether that is done."""
        try:
            await self._converge()
        except RuntimeApiError as error:
            self._haproxy.forget()
            self._say_of_haproxy(error)
        except OSError as error:
            self._say(Trouble(reason="VolumeUnusable", message=f"{self._run_directory} cannot be written: {error}"))
        else:
            return True
        return False

    async def _converge(self) -> None:
        document, problem = self._choose_document()
        if document is None:
            if problem is not None:
                self._say(problem)
            return
        if not self._knows_pods():
            return
        found = await self._usable(document, problem)
        if found is None:
            return
        rendered, document, self._endpoints, problem = found
        files.save_endpoints(self._endpoints_file, self._endpoints)
        self._write_certificate(document)
        files.take_structure(rendered, self.layout)
        if not self.started:
            self.started = True
            self._observer.on_document(document)
        await self._bring(rendered, document)
        files.forget_structures(self.layout, rendered.structure)
        self._reached = True
        self._remember(document)
        self._done(document, problem or self._certificate_trouble(document))

    def _remember(self, document: EdgeDocument) -> None:
        if document is not self._good:
            self._good = document
            files.write_if_changed(self._document_file, encode(document))

    def _knows_pods(self) -> bool:
        """Whether it is worth starting: a HAProxy that knows no pod answers 503 to everybody."""
        sources = self.sources
        waited = time.monotonic() - self._began > WITHOUT_PODS
        return sources.slices_known or bool(self._endpoints) or self.started or waited

    def _choose_document(self) -> tuple[EdgeDocument | None, Trouble | None]:
        """Read the newest document, or give the last good one with what is wrong with the newest."""
        text = self.sources.document_text
        if text is None:
            return self._good, None
        if self._parsed is not None and self._parsed[0] == text:
            return self._parsed[1], None
        try:
            self._parsed = (text, parse_document(text))
        except DocumentProblem as error:
            return self._good, Trouble(reason="InvalidDocument", message=str(error))
        return self._parsed[1], None

    async def _usable(
        self, document: EdgeDocument, problem: Trouble | None
    ) -> tuple[Rendered, EdgeDocument, Endpoints, Trouble | None] | None:
        """Give a configuration that HAProxy takes: the newest, else the last good one."""
        candidates = [document] if self._good is None or self._good is document else [document, self._good]
        for candidate in candidates:
            try:
                endpoints = self._placed(candidate)
                return await self._prepared(candidate, endpoints), candidate, endpoints, problem
            except DocumentProblem as error:
                problem = Trouble(reason="InvalidDocument", message=str(error))
            except files.ConfigurationRefused as error:
                problem = Trouble(reason="ConfigurationRefused", message=str(error))
        if problem is not None:
            self._say(problem)
        return None

    async def _prepared(self, document: EdgeDocument, endpoints: Endpoints) -> Rendered:
        """Render a document, write its files and let HAProxy judge them, where their structure is a new one."""
        rendered = render(document, endpoints, certificate=self._has_certificate(document), layout=self.layout)
        if said := self._refused.get(rendered.structure):
            raise files.ConfigurationRefused(said)
        if rendered.structure == self._checked:
            files.write_structure(rendered)
            return rendered
        self._write_certificate(document)
        path = files.write_structure(rendered)
        if rendered.decided and self._enforcer is not None:
            self._enforcer.write(Path(rendered.directory))
        try:
            await files.check(path)
        except files.ConfigurationRefused as error:
            if len(self._refused) > 100:
                self._refused.clear()
            self._refused[rendered.structure] = str(error)
            raise
        self._checked = rendered.structure
        return rendered

    def _placed(self, document: EdgeDocument) -> dict[str, Slots]:
        if not self.sources.slices_known and self._endpoints:
            return {name: tuple(slots) for name, slots in self._endpoints.items()}
        return place_all(document, self._endpoints, self.sources.slices)

    def _has_certificate(self, document: EdgeDocument) -> bool:
        return document.tls is not None and (
            self.sources.certificate is not None or Path(self.layout.certificate).exists()
        )

    def _write_certificate(self, document: EdgeDocument) -> None:
        if document.tls is not None and self.sources.certificate is not None:
            files.write_if_changed(Path(self.layout.certificate), self.sources.certificate)

    def _certificate_trouble(self, document: EdgeDocument) -> Trouble | None:
        if document.tls is None or not self.sources.certificate_problem:
            return None
        return Trouble(reason="CertificateUnusable", message=self.sources.certificate_problem)

    async def _bring(self, rendered: Rendered, document: EdgeDocument) -> None:
        certificate = self.sources.certificate if document.tls is not None else None
        try:
            await self._haproxy.bring(rendered, certificate)
        except ReloadRefused as error:
            self._refused[rendered.structure] = str(error)
            raise

    def _done(self, document: EdgeDocument, problem: Trouble | None) -> None:
        generation = document.generation
        if generation != self._applied_generation:
            self._applied_generation = generation
            self._applied_at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            self._observer.on_document(document)
            self._observer.on_applied(generation, time.monotonic() - self._heard_at)
        self._say(problem)

    def _say_of_haproxy(self, error: RuntimeApiError) -> None:
        if isinstance(error, ReloadRefused):
            self._say(Trouble(reason="ConfigurationRefused", message=str(error)))
        elif self._reached or time.monotonic() - self._began > WITHOUT_PODS:
            # Before, HAProxy has only just been allowed to start.
            self._say(Trouble(reason="HAProxyUnreachable", message=str(error)))

    def _say(self, trouble: Trouble | None) -> None:
        before, self._trouble = self._trouble, trouble
        if (before and before.reason) != (trouble and trouble.reason):
            self._observer.on_trouble(trouble)
            if trouble is not None:
                log.warning("%s: %s", trouble.reason, trouble.message)
            else:
                log.info("All is well again.")
        self._reporter.tell(self.applied)
