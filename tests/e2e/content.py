"""Pages from Git on a real cluster: a Git server in the cluster's network, who pushes to it, and who looks at them."""

import hashlib
import hmac
import json
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from tests.e2e.releases import Releases
from tests.e2e.steps import Manifest
from tests.git_server import GitServer
from tests.lab.cluster import lifecycle
from tests.lab.cluster.client import OPERATOR_NAMESPACE, Cluster
from tests.lab.cluster.forward import enter_network
from tests.lab.cluster.paths import NODE_ADDRESS
from tests.unit.content.repositories import Repository

T = TypeVar("T")
LOOK_EVERY = 0.05
SECONDS = 30.0
HOOK_SECRET = "git-webhook"
HOOK_PORT = 8082


def within(cluster: Cluster, work: Callable[[], T]) -> T:
    """Do something in the network of the lab: the sockets and threads that it makes stay there."""
    if not cluster.lab:
        pytest.skip("the servers of these tests are processes of this machine in the network of the lab")
    pid = lifecycle.first_process(cluster.lab).pid
    done: Future[T] = Future()

    def do() -> None:
        try:
            enter_network(pid)
            done.set_result(work())
        except BaseException as problem:  # noqa: BLE001 - told to whoever waits
            done.set_exception(problem)

    threading.Thread(target=do, daemon=True).start()
    return done.result(SECONDS * 4)


class Origin:
    """A Git server that the operator and pods reach, with one repository."""

    def __init__(
        self, cluster: Cluster, directory: Path, *, credentials: tuple[str, str] | None = None, private: bool = False
    ) -> None:
        """Start it.

        Args:
            cluster: In whose network it is.
            directory: Where it keeps everything.
            credentials: User and password without which nothing is answered.
            private: Speak https, with a certificate of its own.
        """
        self.cluster = cluster
        self.root = directory / "served"
        self.root.mkdir(parents=True)
        self.repository = Repository(self.root)
        self.credentials = credentials
        self.tls = _certificate(directory) if private else None
        self._port = 0
        self.server: GitServer | None = None
        self.start()

    @property
    def url(self) -> str:
        """The address of the repository."""
        return f"{'https' if self.tls else 'http'}://{NODE_ADDRESS}:{self._port}/{self.repository.name}"

    @property
    def authority(self) -> str:
        """What has signed its certificate."""
        assert self.tls
        return self.tls[0].read_text()

    def start(self) -> None:
        """Serve, on the port of before."""

        def begin() -> GitServer:
            made = GitServer(
                self.root, bind=NODE_ADDRESS, port=self._port, credentials=self.credentials, tls=self.tls
            )
            return made.start()

        self.server = within(self.cluster, begin)
        self._port = self.server.port

    def stop(self) -> None:
        """Be away."""
        if self.server is not None:
            self.server.stop()
            self.server = None

    def asks(self, credentials: tuple[str, str] | None) -> None:
        """Want other credentials from now on."""
        self.credentials = credentials
        if self.server is not None:
            self.server.credentials = credentials


def _certificate(directory: Path) -> tuple[Path, Path]:
    certificate, key = directory / "tls.crt", directory / "tls.key"
    kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    about = ["-subj", "/CN=git", "-addext", f"subjectAltName=IP:{NODE_ADDRESS}"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(["openssl", "req", *kind, *about, *files], check=True, capture_output=True)
    return certificate, key


class Hook:
    """The operator's webhook, called as Gitea does."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.secret = hashlib.sha256(str(time.time_ns()).encode()).hexdigest()

    def install(self) -> None:
        """Let the operator listen."""
        data = {"secret": self.secret}
        metadata = {"name": HOOK_SECRET, "namespace": OPERATOR_NAMESPACE}
        manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data}
        self.cluster.kubectl("apply", "-f", "-", input=json.dumps(manifest))
        self.cluster.install("--set", f"webhook.secretName={HOOK_SECRET}")

    def remove(self) -> None:
        """Let it listen no more."""
        self.cluster.install("--set", "webhook.secretName=")
        self.cluster.kubectl("delete", "secret", HOOK_SECRET, "-n", OPERATOR_NAMESPACE, check=False)

    def call(self, url: str, secret: str | None = None) -> httpx.Response:
        """Tell of a push."""
        body = json.dumps({"ref": "refs/heads/main", "repository": {"clone_url": url}}).encode()
        signature = hmac.new((secret or self.secret).encode(), body, hashlib.sha256).hexdigest()
        headers = {"Content-Type": "application/json", "X-Hub-Signature-256": f"sha256={signature}"}
        template = "jsonpath={.spec.clusterIP}"
        address = self.cluster.kubectl("get", "service", "flywheel", "-n", OPERATOR_NAMESPACE, "-o", template)
        where = f"http://{address}:{HOOK_PORT}/hooks/git"
        return within(self.cluster, lambda: httpx.post(where, content=body, headers=headers, timeout=10))


class Visits:
    """Somebody who looks at a page again and again, and notes when which revision was there."""

    def __init__(self, urls: Mapping[str, str]) -> None:
        self.urls = urls
        self.first: dict[str, dict[str, float]] = {way: {} for way in urls}
        self.ending = threading.Event()

    def look(self) -> None:
        """Look until the end."""
        with httpx.Client(timeout=5) as client:
            while not self.ending.wait(LOOK_EVERY):
                for way, url in self.urls.items():
                    with suppress(httpx.HTTPError):
                        seen = client.get(url, headers={"Connection": "close"}).headers.get("X-Content-Revision", "")
                        self.first[way].setdefault(seen, time.time())

    def seen(self, revision: str) -> bool:
        """Whether a revision has been there, whichever way one comes."""
        return all(revision in first for first in self.first.values())

    def when(self, revision: str) -> float:
        """Seconds since 1970 at which it was there, whichever way one comes."""
        return max(first[revision] for first in self.first.values())


class Pages(Releases):
    """A Campaign whose one service is a page from Git."""

    def service_of(self, content: Manifest, name: str = "app", **fields: Any) -> Manifest:
        """One service of content."""
        return {
            "name": name,
            "content": content,
            "replicas": self.replicas,
            "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
            **fields,
        }

    def apply_page(self, *services: Manifest) -> None:
        """Apply the Campaign; the first service is the one at the edge."""
        edge = {
            "replicas": 2,
            "autoscaling": {"max": 2},
            "drainFor": "3s",
            "routes": [{"path": "/", "service": services[0]["name"]}],
            "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}},
            "sidecarResources": {"requests": {"cpu": "20m", "memory": "96Mi"}},
            "limits": {"requestsPerSecond": 100_000, "connectionsPerAddress": 2000, "connections": 4000},
        }
        body = {"services": list(services), **({"edge": edge} if self.edge else {})}
        metadata = {"name": self.name}
        self.objects.apply({"apiVersion": "flywheel.dev/v1alpha1", "kind": "Campaign", "metadata": metadata, "spec": body})

    def ask(self, path: str = "/", way: str = "app", **headers: str) -> httpx.Response:
        """Ask for a file once, by a Service or the edge."""
        url = self.address(way) + path
        return within(self.cluster, lambda: httpx.get(url, headers=headers, timeout=10))

    def revision_seen(self, way: str = "app") -> str:
        """What answers now; empty where nobody does."""
        try:
            return self.ask(way=way).headers.get("X-Content-Revision", "")
        except httpx.HTTPError:
            return ""

    def shows(self, commit: str, seconds: float = 60, service: str = "app") -> None:
        """Wait until a commit is what everybody gets, and its release is over."""
        ways = ("app", "edge") if self.edge and service == "app" else (service,)

        def so() -> bool:
            over = service != "app" or self.state(service).get("phase") == "Stable"
            return over and all(self.revision_seen(way) == commit for way in ways)

        self.eventually(so, f"{commit} serves", seconds)

    @contextmanager
    def visited(self) -> Iterator[Visits]:
        """Look at the page the whole time."""
        visits = Visits({way: self.address(way) for way in ("app", "edge")})
        pid = lifecycle.first_process(self.cluster.lab).pid if self.cluster.lab else 0

        def look() -> None:
            enter_network(pid)
            visits.look()

        thread = threading.Thread(target=look, daemon=True)
        thread.start()
        try:
            yield visits
        finally:
            visits.ending.set()
            thread.join(SECONDS)

    def content(self, service: str = "app") -> Manifest:
        """What the status says of a service's content."""
        told = self.campaign.get("status", {}).get("services", [])
        found: Manifest = next((each.get("content", {}) for each in told if each["name"] == service), {})
        return found

    def said(self, status: str, *words: str, seconds: float = 30) -> Manifest:
        """Wait for ContentReady with a status, and words of its reason or message."""

        def so() -> bool:
            found = self.condition("ContentReady")
            told = f"{found.get('reason')} {found.get('message')}"
            return found.get("status") == status and all(word in told for word in words)

        self.eventually(so, f"ContentReady={status} {words}", seconds)
        return self.condition("ContentReady")

    def describe(self) -> str:
        """All that helps to understand a failure."""
        said = self.campaign.get("status", {})
        ended = "custom-columns=POD:.metadata.name,END:.status.initContainerStatuses[*].lastState.terminated.message"
        pods = self.cluster.kubectl("get", "pods", "-n", self.namespace, "-o", ended, check=False)
        return f"{super().describe()}\n{json.dumps(said.get('services'), indent=1)}\n{pods}"


def landing(colour: str, *, says: str = "It is yours", broken: bool = False) -> dict[str, str]:
    """The files of a landing page; a broken one has a button that does nothing."""
    script = "" if broken else f"document.querySelector('#claim').onclick = () => said.textContent = '{says}'"
    return {
        "dist/index.html": '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Claim it</title>'
        '<link rel="icon" href="data:,"><link rel="stylesheet" href="/app.css"></head>'
        '<body><button id="claim">Claim</button><p id="said"></p><script src="/app.3f9ac2d1.js"></script></body></html>',
        "dist/app.css": f"button {{ background: {colour}; font-size: 3rem; }}\n",
        "dist/app.3f9ac2d1.js": script + "\n",
        "README.md": "Not for visitors.\n",
    }


@contextmanager
def directory_of(name: str) -> Iterator[Path]:
    """A directory that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix=f"{name}-") as made:
        yield Path(made)
