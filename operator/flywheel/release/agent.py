"""What releases want from outside, done in the background: measured, told, tried and followed.

A decision says what it wants each time it is made; what is found is in the next observation. Nothing here is progress:
whatever is lost with the process is wanted again by the next one.
"""

import base64
import binascii
from typing import Protocol

from flywheel.kube.gateway import Gateway
from flywheel.plan import ObjectKey
from flywheel.release.content.source import GitSource
from flywheel.release.content.watcher import ContentWatcher
from flywheel.release.errands import Errands
from flywheel.release.gate.runner import MeasurementRunner
from flywheel.release.work import ContentState, Findings, Source, Work

NO_WORK = Work()


class Agent(Protocol):
    """Who does what releases want."""

    def findings(self, uid: str) -> Findings:
        """Give what was found for a Campaign so far."""

    def want(self, uid: str, namespace: str, name: str, work: Work) -> None:
        """Take what is wanted for a Campaign now; what was wanted before and is not any more is forgotten."""


class Nobody:
    """Does nothing: where there are no releases."""

    def findings(self, uid: str) -> Findings:
        """Give nothing."""
        return Findings()

    def want(self, uid: str, namespace: str, name: str, work: Work) -> None:
        """Take nothing."""


async def read_secret(gateway: Gateway, namespace: str, name: str) -> dict[str, bytes] | None:
    """Read a Secret's data; None where there is none.

    Raises:
        ApiError: It cannot or may not be read.
    """
    manifest = await gateway.get(ObjectKey("", "Secret", namespace, name))
    if manifest is None:
        return None
    found = {}
    for key, value in (manifest.get("data") or {}).items():
        try:
            found[key] = base64.b64decode(value, validate=True)
        except (binascii.Error, TypeError):
            continue
    return found


class ReleaseAgent:
    """Does what releases want. For one event loop."""

    def __init__(self, runner: MeasurementRunner, errands: Errands, watcher: ContentWatcher) -> None:
        self._runner = runner
        self._errands = errands
        self._watcher = watcher
        self._wanted: dict[str, Work] = {}
        self._namespaces: dict[str, str] = {}

    def findings(self, uid: str) -> Findings:
        """Give what was found for a Campaign so far."""
        work = self._wanted.get(uid, NO_WORK)
        measurements = {}
        for wanted in work.measuring:
            found = self._runner.result((uid, *wanted.look))
            if found is not None:
                measurements[wanted.look] = found
        namespace = self._namespaces.get(uid, "")
        return Findings(
            measurements=measurements,
            drained=self._errands.drained(uid),
            resumed=self._errands.resumed(uid),
            reachable=self._errands.reachable(uid),
            contents={each.service: self._content(namespace, work.campaign, each) for each in work.sources},
        )

    def want(self, uid: str, namespace: str, name: str, work: Work) -> None:
        """Take what is wanted for a Campaign now; what was wanted before and is not any more is forgotten."""
        before = self._wanted.get(uid, NO_WORK)
        if work == NO_WORK:
            self._wanted.pop(uid, None)
            self._namespaces.pop(uid, None)
        else:
            self._wanted[uid], self._namespaces[uid] = work, namespace
        looks = {each.look for each in work.measuring}
        gone = {(uid, *each.look) for each in before.measuring if each.look not in looks}
        if gone:
            self._runner.forget(lambda key: key in gone)
        for wanted in work.measuring:
            self._runner.begin((uid, *wanted.look), wanted.gate, wanted.target)
        self._errands.want(uid, namespace, name, work.telling, work.probing)
        for source in work.sources:
            self._content(namespace, name, source)

    def _content(self, namespace: str, campaign: str, source: Source) -> ContentState:
        git = source.git
        asked = GitSource(namespace, git.url, git.ref, git.secret_name)
        found = self._watcher.current(asked, campaign, git.interval.total_seconds())
        if found is None:
            return ContentState((git.url, git.ref))
        commit = found.resolved.commit if found.resolved else ""
        return ContentState((git.url, git.ref), commit, found.message, found.reason or "")
