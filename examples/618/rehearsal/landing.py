"""The landing page's repository: a Git server in a pod of the cluster, and what the demo pushes into it."""

import json
import shutil
import tempfile
import time
from io import BytesIO
from pathlib import Path
from typing import Any

from dulwich import porcelain
from dulwich.errors import GitProtocolError
from dulwich.repo import Repo
from tests.lab.cluster.client import Cluster, CommandFailedError

Manifest = dict[str, Any]
PAGE = Path(__file__).resolve().parents[2] / "landing"
SERVER = Path(__file__).with_name("git_server.py")
NAME, PORT, REPOSITORY = "git", 8080, "landing.git"
AUTHOR = b"Yougou Marketing <marketing@yougou.example>"
READY = "--timeout=90s"
PUSH_SECONDS = 20.0
"""A pod that is ready is not reachable everywhere in the same moment."""
MAIN, VARIANT = "main", "green"
"""The branch that the campaign serves, and the one with green buttons, which the A/B test is about."""
RED, GREEN = "--claim:#d6123a", "--claim:#0b7a3b"
"""The colour of the page's buttons on either branch."""
SOON, NOW = "6 月 16 日零点 开抢", "正在抢购，抢完为止"
"""When the sale opens; and what the demo pushes once it is open."""


def git_server(namespace: str, image: str) -> Manifest:
    """Build the server from `image`, that of the operator: Dulwich is in it. It is no part of the campaign."""
    labels = {"app.kubernetes.io/name": NAME}
    metadata = {"name": NAME, "namespace": namespace, "labels": labels}
    pod = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 1,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [_container(image)],
        "volumes": [{"name": "program", "configMap": {"name": NAME}}, {"name": "repositories", "emptyDir": {}}],
    }
    items: list[Manifest] = [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": metadata,
            "data": {SERVER.name: SERVER.read_text("utf-8")},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"selector": labels, "ports": [{"port": PORT}]},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        },
    ]
    return {"apiVersion": "v1", "kind": "List", "items": items}


def _container(image: str) -> Manifest:
    return {
        "name": NAME,
        "image": image,
        "command": ["/opt/flywheel/bin/python", f"/program/{SERVER.name}", f"/srv/git/{REPOSITORY}", str(PORT)],
        "ports": [{"containerPort": PORT}],
        "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "10m", "memory": "48Mi"}, "limits": {"memory": "192Mi"}},
        "volumeMounts": [
            {"name": "program", "mountPath": "/program", "readOnly": True},
            {"name": "repositories", "mountPath": "/srv/git"},
        ],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }


class WorkTree:
    """A clone on this machine, as an author of the page has it."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="landing-")
        self.path = Path(self._folder.name) / "landing"
        shutil.copytree(PAGE, self.path)
        porcelain.init(self.path).close()
        with Repo(str(self.path)) as repository:
            repository.refs.set_symbolic_ref(b"HEAD", b"refs/heads/main")  # type: ignore[arg-type]

    def switch(self, branch: str) -> None:
        """Go on with another branch, as `git switch` does; one that is not there begins here."""
        if branch.encode() not in porcelain.branch_list(self.path):
            porcelain.branch_create(self.path, branch)
        porcelain.checkout(self.path, branch)

    def change(self, name: str, before: str, after: str) -> None:
        """Edit a file.

        Raises:
            ValueError: what is to be replaced is not there.
        """
        file = self.path / name
        text = file.read_text("utf-8")
        if before not in text:
            raise ValueError(f"{file} has no {before!r}")
        file.write_text(text.replace(before, after), "utf-8")

    def commit(self, message: str) -> str:
        """Commit everything; returns the commit."""
        porcelain.add(self.path, [str(each) for each in self.path.iterdir() if each.name != ".git"])
        commit = porcelain.commit(self.path, message.encode(), author=AUTHOR, committer=AUTHOR)
        return commit.decode()

    def push(self, url: str) -> None:
        """Push all branches, as `git push --all` does.

        Raises:
            dulwich.errors.GitProtocolError: the server refuses.
            OSError: it cannot be reached.
        """
        heads = [b"refs/heads/" + branch for branch in porcelain.branch_list(self.path)]
        porcelain.push(self.path, url, [head + b":" + head for head in heads], BytesIO(), BytesIO())

    def close(self) -> None:
        self._folder.cleanup()


class Landing:
    """The repository of the landing page, as campaign and author see it."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster, self._namespace = cluster, namespace
        self.url = f"http://{NAME}.{namespace}:{PORT}/{REPOSITORY}"
        """Its address within the cluster."""
        self._tree: WorkTree | None = None

    def open(self) -> tuple[str, str]:
        """Put up the server, push the page as it is written, and a branch with green buttons; returns the commits."""
        tree = self._tree = WorkTree()
        made = git_server(self._namespace, self._cluster.images["operator"])
        self._cluster.kubectl("apply", "-n", self._namespace, "-f", "-", input=json.dumps(made))
        self._cluster.kubectl("rollout", "status", f"deployment/{NAME}", "-n", self._namespace, READY)
        commit = tree.commit("The front page of 618")
        green = self.change(VARIANT, RED, GREEN, "Green buttons: are they pressed more often?")
        self.push()
        return commit, green

    def change(self, branch: str, before: str, after: str, message: str) -> str:
        """Commit a change of the page on a branch, and do not push it yet; returns the commit."""
        tree = self._opened()
        tree.switch(branch)
        tree.change("index.html", before, after)
        return tree.commit(message)

    def push(self) -> None:
        """Push what was committed, as soon as the server can be reached.

        Raises:
            CommandFailedError: it could not be pushed.
        """
        deadline = time.monotonic() + PUSH_SECONDS
        with self._cluster.forward(NAME, PORT, self._namespace) as port:
            while True:
                try:
                    self._opened().push(f"http://127.0.0.1:{port}/{REPOSITORY}")
                except (GitProtocolError, OSError) as error:
                    if time.monotonic() > deadline:
                        raise CommandFailedError(f"the landing page could not be pushed: {error}") from error
                    time.sleep(0.3)
                else:
                    return

    def close(self) -> None:
        """Remove what was on this machine; the server goes with its namespace."""
        if self._tree:
            self._tree.close()

    def _opened(self) -> WorkTree:
        if self._tree is None:
            raise ValueError("the repository was not opened yet")
        return self._tree
