"""What tests, the demo and the make targets do with a cluster, be it the lab or one that KUBECONFIG names."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tests.lab.cluster import control, lifecycle
from tests.lab.cluster.api import wait_until
from tests.lab.cluster.images import ensure_images
from tests.lab.cluster.paths import Lab
from tools.bootstrap.programs import ensure_programs
from tools.bootstrap.steps import REPOSITORY, CannotContinueError

OPERATOR_NAMESPACE = "flywheel-system"
OUTAGE_SECONDS = 60
ESTABLISHED_SECONDS = 60
END_SECONDS = 10


@dataclass(frozen=True)
class Cluster:
    """A cluster to work on; `lab` is None when it is the user's own."""

    kubeconfig: Path
    lab: Lab | None

    @cached_property
    def environment(self) -> dict[str, str]:
        """The variables under which kubectl, helm and Kubernetes clients find this cluster."""
        path = os.pathsep.join([*([str(ensure_programs())] if self.lab else []), os.environ.get("PATH", "")])
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig), "PATH": path}

    def kubectl(self, *arguments: str, input: str | None = None, check: bool = True) -> str:  # noqa: A002
        """Run kubectl and return what it printed.

        Raises:
            CommandFailedError: it failed and `check` is set.
        """
        return self.run(["kubectl", *arguments], input=input, check=check)

    def helm(self, *arguments: str, check: bool = True) -> str:
        """Run helm and return what it printed.

        Raises:
            CommandFailedError: it failed and `check` is set.
        """
        return self.run(["helm", *arguments], check=check)

    def run(self, command: Sequence[str], *, input: str | None = None, check: bool = True) -> str:  # noqa: A002
        """Run `command` on this cluster and return what it printed, errors included unless `check` is set."""
        program = shutil.which(command[0], path=self.environment["PATH"])
        if not program:
            raise CannotContinueError(
                f"{command[0]} is not installed: it is needed to work with the cluster of {self.kubeconfig}"
            )
        done = subprocess.run(
            [program, *command[1:]], env=self.environment, input=input, capture_output=True, text=True, check=False
        )
        if check and done.returncode != 0:
            raise CommandFailedError(
                f"{' '.join(command)} ended with code {done.returncode}:\n{done.stdout}{done.stderr}"
            )
        return done.stdout if check else done.stdout + done.stderr

    @cached_property
    def images(self) -> dict[str, str]:
        """The references of the project's images, by the names of `SOURCES`, built and known to the cluster."""
        return ensure_images(self.lab)

    def install(self, *arguments: str) -> None:
        """Install the chart with the images of this tree and wait until the operator is ready."""
        started = ("edge", "analytics", "browser", "content")
        chosen = {"image": "operator", **{f"images.{name}": name for name in started}}
        image = []
        for value, name in chosen.items():
            repository, _, tag = self.images[name].rpartition(":")
            image += ["--set", f"{value}.repository={repository}", "--set", f"{value}.tag={tag}"]
        chart = [
            "upgrade",
            "--install",
            "flywheel",
            str(REPOSITORY / "charts/flywheel"),
            "--namespace",
            OPERATOR_NAMESPACE,
        ]
        self.helm(*chart, "--create-namespace", *image, "--wait", "--timeout", "120s", *arguments)

    def wait_until_established(self, definition: str) -> None:
        """Wait until the API server serves a CustomResourceDefinition; kubectl's own wait gives up where it says
        nothing yet.
        """
        path = "jsonpath={.status.conditions[?(@.type=='Established')].status}"

        def established() -> bool:
            said = self.kubectl("get", f"customresourcedefinition/{definition}", "--output", path, check=False)
            return said.strip() == "True"

        wait_until(established, f"the definition {definition} in use", ESTABLISHED_SECONDS)

    def stop_api_server(self) -> None:
        """Kill the lab's API server; it stays away until `start_api_server`."""
        self._stop(self._own_lab(), "kube-apiserver")

    def start_api_server(self) -> None:
        """Start the lab's API server again and wait until it is ready.

        The controllers and the scheduler start afresh with it: after an outage they look again only after up to a
        minute, and whoever comes next would wait for them.
        """
        lab = self._own_lab()
        control.resume(lab, "kube-apiserver")
        wait_until(lambda: lifecycle.is_up(lab), "an answer of the API server", OUTAGE_SECONDS)
        for program in ("kube-controller-manager", "kube-scheduler"):
            self._stop(lab, program)
            control.resume(lab, program)

    def _stop(self, lab: Lab, program: str) -> None:
        control.stop(lab, program)
        wait_until(lambda: not control.programs(lab)[program]["running"], f"the end of {program}", OUTAGE_SECONDS)

    @contextmanager
    def forward(self, service: str, port: int, namespace: str = "default") -> Iterator[int]:
        """Make a Service reachable on the host's loopback; the value is the port there."""
        command = [
            sys.executable,
            "-m",
            "tests.lab.cluster",
            "forward",
            f"svc/{service}:{port}",
            "--namespace",
            namespace,
        ]
        process = subprocess.Popen(command, cwd=REPOSITORY, env=self.environment, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise CommandFailedError(
                    f"svc/{service}:{port} in {namespace} cannot be reached; the reason is printed above"
                )
            yield int(line.split()[0].rpartition(":")[2])
        finally:
            process.terminate()
            process.wait(timeout=END_SECONDS)
            if process.stdout:
                process.stdout.close()

    def _own_lab(self) -> Lab:
        if not self.lab:
            raise CannotContinueError("this is done to the lab only, and KUBECONFIG names another cluster")
        return self.lab


class CommandFailedError(Exception):
    """A command failed; the message holds what it printed."""


def chosen_cluster() -> Cluster:
    """Return the cluster that KUBECONFIG names, else the lab, whether it is up or not."""
    lab = Lab.named()
    chosen = os.environ.get("KUBECONFIG")
    if chosen and Path(chosen).expanduser() != lab.kubeconfig:
        # A lab of another name may be chosen by its kubeconfig as well, as in its shell.
        other = Path(chosen).expanduser()
        if other.parent.parent == lab.state.parent:
            return Cluster(other, Lab.named(other.parent.name))
        return Cluster(other, None)
    return Cluster(lab.kubeconfig, lab)
