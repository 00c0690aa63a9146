"""Where the agent's orders come from: the ConfigMap, the EndpointSlices, the mounted files."""

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from flywheel.edge.document import DOCUMENT_KEY, LONGEST_DOCUMENT, EdgeDocument, decode
from flywheel.edge.endpoints import SERVICE_NAME_LABEL
from flywheel.edge.files import read_certificate
from flywheel.edge.naming import edge_name
from flywheel.edge.quoting import DocumentProblem
from flywheel.kube.gateway import Gateway
from flywheel.kube.resources import CONFIG_MAP, ENDPOINT_SLICE
from flywheel.kube.watch import Change, Synced, Watch
from flywheel.plan import CAMPAIGN_LABEL, Manifest

log = logging.getLogger(__name__)

CERTIFICATE_INTERVAL = 2.0
"""Seconds between looks at the mounted Secret; the kubelet itself takes a minute to bring a new one."""


def parse_document(text: str) -> EdgeDocument:
    """Read a document.

    Raises:
        DocumentProblem: It is none; the text says what is wrong, and where.
    """
    if len(text.encode()) > LONGEST_DOCUMENT * 2:
        raise DocumentProblem(DOCUMENT_KEY, f"has more than {LONGEST_DOCUMENT * 2} bytes")
    try:
        return decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise DocumentProblem(DOCUMENT_KEY, f"cannot be read: {error}") from error


TRUST_VOLUME_AFTER = 90.0
"""Seconds without the API server after which the mounted document is believed over the one known before."""


class Sources:
    """What the agent shall carry out, as far as it is known, and a word whenever that changes."""

    def __init__(
        self,
        namespace: str,
        campaign: str,
        document_directory: Path,
        tls_directory: Path | None,
        scratch: Path,
        on_change: Callable[[], None],
        *,
        patience: float = 0.0,
    ) -> None:
        self._namespace = namespace
        self._campaign = campaign
        self._file = document_directory / DOCUMENT_KEY
        self._tls = tls_directory
        self._scratch = scratch
        self._on_change = on_change
        self._patience = patience
        self._slices: dict[str, Manifest] = {}
        self._seen_tls: tuple[float, ...] | None = None
        self._from_api = False
        self._began = time.monotonic()
        self.document_text: str | None = None
        self.slices_known = False
        """Whether the API server has told of all pods since we started."""
        self.certificate: str | None = None
        self.certificate_problem = ""

    @property
    def slices(self) -> list[Manifest]:
        """The EndpointSlices of the campaign."""
        return list(self._slices.values())

    def give_document(self, text: str) -> None:
        """Take a document, from wherever."""
        if text != self.document_text:
            self.document_text = text
            self._on_change()

    def give_slice(self, manifest: Manifest, *, gone: bool = False) -> None:
        """Take one EndpointSlice as it is now."""
        uid = manifest["metadata"]["uid"]
        if gone:
            self._slices.pop(uid, None)
        elif SERVICE_NAME_LABEL in (manifest["metadata"].get("labels") or {}):
            # Only what the agent reads is kept.
            kept = {"addressType": manifest.get("addressType"), "ports": manifest.get("ports")}
            labels = {SERVICE_NAME_LABEL: manifest["metadata"]["labels"][SERVICE_NAME_LABEL]}
            self._slices[uid] = {**kept, "metadata": {"labels": labels}, "endpoints": manifest.get("endpoints")}
        self._on_change()

    def complete_slices(self, uids: frozenset[str]) -> None:
        """Forget the EndpointSlices that a complete list did not have."""
        self._slices = {uid: each for uid, each in self._slices.items() if uid in uids}
        self.slices_known = True
        self._on_change()

    def read_file(self) -> None:
        """Take the document from the mounted volume, unless the API server gives one.

        The volume is up to a minute behind. So whoever knows a document already waits for the API server for a while.
        """
        if self._from_api or time.monotonic() - self._began < self._patience:
            return
        try:
            self.give_document(self._file.read_text("utf-8"))
        except (OSError, UnicodeDecodeError):
            log.debug("There is no document at %s yet.", self._file)

    def read_tls(self) -> None:
        """Take the certificate from the mounted Secret when that has changed."""
        if self._tls is None:
            return
        try:
            seen: tuple[float, ...] = tuple((self._tls / name).stat().st_mtime_ns for name in ("tls.crt", "tls.key"))
        except OSError:
            seen = ()
        if seen == self._seen_tls:
            return
        before = (self.certificate, self.certificate_problem)
        try:
            found = read_certificate(self._tls, self._scratch)
        except ValueError as error:
            # Perhaps it could not be read just now: it is looked at again.
            self.certificate_problem = str(error)
        else:
            self._seen_tls = seen
            self.certificate_problem = "" if found else f"there is no tls.crt and tls.key in {self._tls}"
            # The last good one stays in use where a Secret is emptied.
            self.certificate = found or self.certificate
        if (self.certificate, self.certificate_problem) != before:
            self._on_change()

    async def poll(self) -> None:
        """Look at the mounted files until cancelled."""
        while True:
            self.read_tls()
            self.read_file()
            await asyncio.sleep(CERTIFICATE_INTERVAL)

    async def follow(self, gateway: Gateway) -> None:
        """Follow the API server until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow_document(gateway))
            group.create_task(self._follow_slices(gateway))

    async def _follow_document(self, gateway: Gateway) -> None:
        name = edge_name(self._campaign)
        watch = Watch(gateway, CONFIG_MAP, self._namespace, field_selector=f"metadata.name={name}")
        async for event in watch.events():
            # A ConfigMap that is deleted says nothing new: what was last ordered stays.
            if isinstance(event, Change) and event.type == "Present" and event.manifest["metadata"]["name"] == name:
                self._from_api = True
                self.give_document((event.manifest.get("data") or {}).get(DOCUMENT_KEY, ""))

    async def _follow_slices(self, gateway: Gateway) -> None:
        watch = Watch(gateway, ENDPOINT_SLICE, self._namespace, f"{CAMPAIGN_LABEL}={self._campaign}")
        async for event in watch.events():
            if isinstance(event, Synced):
                self.complete_slices(event.uids)
            else:
                self.give_slice(event.manifest, gone=event.type == "Deleted")
