"""Pages from Git on a real cluster: a Git server in the cluster's network, who pushes to it, and who looks at them."""

import hashlib
import hmac
import json
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
from tests.asking import PLAIN
from tests.e2e.network import first_process, within
from tests.e2e.releases import Releases, Used
from tests.e2e.steps import Manifest
from tests.git_server import GitServer
from tests.lab.cluster import lifecycle
from tests.lab.cluster.client import OPERATOR_NAMESPACE, Cluster
from tests.lab.cluster.forward import enter_network
from tests.lab.cluster.oci import write_files_image
from tests.lab.cluster.paths import NODE_ADDRESS
from tests.load import Load, Target
from tests.unit.content.repositories import Repository
from tools.bootstrap.programs import ensure_programs

LOOK_EVERY = 0.05
SECONDS = 30.0
HOOK_SECRET = "git-webhook"
HOOK_PORT = 8082


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
            made = GitServer(self.root, bind=NODE_ADDRESS, port=self._port, credentials=self.credentials, tls=self.tls)
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

    def __init__(self, cluster: Cluster, *values: str) -> None:
        """Take the arguments for Helm that the operator was installed with."""
        self.cluster = cluster
        self.values = values
        self.secret = hashlib.sha256(str(time.time_ns()).encode()).hexdigest()

    def install(self, *values: str) -> None:
        """Let the operator listen; with further arguments for Helm, if there are any."""
        data = {"secret": self.secret}
        metadata = {"name": HOOK_SECRET, "namespace": OPERATOR_NAMESPACE}
        manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data}
        self.cluster.kubectl("apply", "-f", "-", input=json.dumps(manifest))
        self.cluster.install(*self.values, "--set", f"webhook.secretName={HOOK_SECRET}", *values)

    def remove(self) -> None:
        """Let it listen no more."""
        self.cluster.install(*self.values, "--set", "webhook.secretName=")
        self.cluster.kubectl("delete", "secret", HOOK_SECRET, "-n", OPERATOR_NAMESPACE, check=False)

    def replicas(self) -> list[str]:
        """The addresses of the operator's pods."""
        labels = "app.kubernetes.io/name=flywheel,app.kubernetes.io/component=operator"
        template = "jsonpath={.items[*].status.podIP}"
        return self.cluster.kubectl("get", "pods", "-n", OPERATOR_NAMESPACE, "-l", labels, "-o", template).split()

    def call(self, url: str, secret: str | None = None, address: str = "") -> httpx.Response:
        """Tell of a push, through the Service, or one pod of it."""
        body = json.dumps({"ref": "refs/heads/main", "repository": {"clone_url": url}}).encode()
        signature = hmac.new((secret or self.secret).encode(), body, hashlib.sha256).hexdigest()
        headers = {"Content-Type": "application/json", "X-Hub-Signature-256": f"sha256={signature}"}
        template = "jsonpath={.spec.clusterIP}"
        service = ("get", "service", "flywheel", "-n", OPERATOR_NAMESPACE, "-o", template)
        address = address or self.cluster.kubectl(*service)
        where = f"http://{address}:{HOOK_PORT}/hooks/git"
        return within(self.cluster, lambda: httpx.post(where, content=body, headers=headers, timeout=10, verify=PLAIN))


class Visits:
    """Somebody who looks at a page again and again, and notes when which revision was there."""

    def __init__(self, urls: Mapping[str, str]) -> None:
        self.urls = urls
        self.first: dict[str, dict[str, float]] = {way: {} for way in urls}
        self.ending = threading.Event()

    def look(self) -> None:
        """Look until the end."""
        with httpx.Client(timeout=5, verify=PLAIN) as client:
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
    """A Campaign of pages; `app`, if there is one, is what its edge leads to."""

    def __init__(self, cluster: Cluster, namespace: str, name: str, *, edge: bool, replicas: int = 2) -> None:
        super().__init__(cluster, namespace, name, edge=edge, replicas=replicas)
        self.addresses: dict[str, str] = {}

    def service_of(self, content: Manifest, name: str = "app", **fields: Any) -> Manifest:
        """One service of content."""
        return {
            "name": name,
            "content": content,
            "replicas": self.replicas,
            "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
            **fields,
        }

    def address(self, name: str) -> str:
        """The address of a Service, which stays the same."""
        if name not in self.addresses:
            self.addresses[name] = super().address(name)
        return self.addresses[name]

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
        self.objects.apply(
            {"apiVersion": "flywheel.dev/v1alpha1", "kind": "Campaign", "metadata": metadata, "spec": body}
        )

    def ask(self, path: str = "/", way: str = "app", **headers: str) -> httpx.Response:
        """Ask for a file once, by a Service or the edge."""
        url = self.address(way) + path
        return within(self.cluster, lambda: httpx.get(url, headers=headers, timeout=10, verify=PLAIN))

    def revision_seen(self, way: str = "app") -> str:
        """What answers now; empty where nobody does."""
        if self.objects.get("Service", f"{self.name}-{way}") is None:
            return ""
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

    def comes_to_an_end(self, service: str = "app", seconds: float = 60) -> None:
        """Wait until the pods of before have left, so that whoever was still connected to them had to go, too."""

        def so() -> bool:
            selector = f"flywheel.dev/campaign={self.name},flywheel.dev/service={service}"
            return len(self.objects.select("Pod", selector)) == self.replicas

        self.eventually(so, f"the end of the old pods of {service}", seconds)

    def fails(self, after: int, seconds: float = 60) -> Manifest:
        """Wait until the release that comes after another one has failed."""

        def so() -> bool:
            state = self.state()
            return int(state.get("number", 0)) > after and state["phase"] == "Failed"

        self.eventually(so, f"the failure of a release after {after}", seconds)
        return self.state()

    @contextmanager
    def used(self, service: str = "app") -> Iterator[Used]:  # type: ignore[override]
        """Let people ask for the page through its Service, and through the edge where there is one."""
        ways = {"service": self.address(service)} | ({"edge": self.address("edge")} if self.edge else {})
        targets = [Target(f"{way}-kept", url, "ka", clients=3, think=30) for way, url in ways.items()]
        targets += [Target(f"{way}-new", url, "close", clients=1, think=50) for way, url in ways.items()]
        with Load(self.cluster, *targets) as load:
            used = Used(load)
            yield used
            self.report = used.report = load.stop()

    @contextmanager
    def visited(self) -> Iterator[Visits]:
        """Look at the page the whole time."""
        visits = Visits({way: self.address(way) for way in ("app", "edge")})
        pid = first_process(self.cluster)

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
        return {name: value for name, value in found.items() if name not in ("url", "ref")}

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


def files_image(cluster: Cluster, word: str) -> str:
    """Make an image of one page, bring it to the node, and return its name with its digest."""
    assert cluster.lab
    name, archive, programs = "localhost/page-files", cluster.lab.state / "page-files.tar", ensure_programs()
    digest = write_files_image({"index.html": f"<p>{word}</p>\n".encode()}, f"{name}:{word}", archive)
    lifecycle.import_image(cluster.lab, programs, archive)
    archive.unlink()
    # What a pull by digest would leave behind: the node looks an image up by the very name that a pod asks for.
    lifecycle.containerd(cluster.lab, programs, "images", "tag", "--force", f"{name}:{word}", f"{name}@{digest}")
    return f"{name}@{digest}"


def landing(colour: str, *, says: str = "It is yours", broken: bool = False) -> dict[str, str]:
    """The files of a landing page; a broken one has a button that does nothing."""
    script = "" if broken else f"document.querySelector('#claim').onclick = () => said.textContent = '{says}'"
    return {
        "dist/index.html": '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Claim it</title>'
        '<link rel="icon" href="data:,"><link rel="stylesheet" href="/app.css"></head>'
        '<body><button id="claim">Claim</button><p id="said"></p><script src="/app.3f9ac2d1.js"></script></body>',
        "dist/app.css": f"button {{ background: {colour}; font-size: 3rem; }}\n",
        "dist/app.3f9ac2d1.js": script + "\n",
        "README.md": "Not for visitors.\n",
    }
