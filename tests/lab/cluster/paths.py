"""Where a lab keeps its things, and the addresses inside it."""

import os
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tools.bootstrap.steps import CannotContinueError, cache_directory

# Every lab has a network namespace of its own, so all labs may have the same addresses.
NODE_NAME = "node"
NODE_ADDRESS = "192.0.2.1"
API_PORT = 6443
METRICS_PORT = 4443
SERVICE_RANGE = "10.96.0.0/16"
FIRST_SERVICE_ADDRESS = "10.96.0.1"
POD_RANGE = "10.244.0.0/16"
CLUSTER_DOMAIN = "cluster.local"

# The address of a Unix socket holds 107 bytes, and the longest name under the state directory is about 40.
LONGEST_STATE_PATH = 64


@dataclass(frozen=True)
class Lab:
    """One lab by its name; everything that it writes is under `state`."""

    name: str

    @classmethod
    def named(cls, name: str | None = None) -> "Lab":
        """Return the lab `name`, by default the one that the variable LAB names.

        Raises:
            CannotContinueError: the name cannot be part of a path and of a cgroup.
        """
        name = name or os.environ.get("LAB") or "flywheel"
        if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?", name):
            raise CannotContinueError(f"LAB={name}: a lab is named by up to 20 lower-case letters, digits and dashes")
        lab = cls(name)
        if len(str(lab.state)) > LONGEST_STATE_PATH:
            raise CannotContinueError(
                f"{lab.state} is too long a path for sockets: set XDG_CACHE_HOME to a shorter one"
            )
        return lab

    @cached_property
    def state(self) -> Path:
        """The directory of everything that this lab writes."""
        return cache_directory() / "labs" / self.name

    @property
    def lock(self) -> Path:
        """Held while the lab is brought up or taken down; outside `state`, which `down` removes."""
        return self.state.with_suffix(".lock")

    @property
    def kubeconfig(self) -> Path:
        """For people and programs on the host, who reach the API server through the forwarder."""
        return self.state / "kubeconfig"

    @property
    def record(self) -> Path:
        """What is running: process ids and the port of the API server on the host."""
        return self.state / "lab.json"

    @property
    def complete(self) -> Path:
        """Exists once everything of the lab has been started."""
        return self.state / "complete"

    @property
    def control_socket(self) -> Path:
        """Where the first process of the lab takes orders."""
        return self.state / "init.sock"

    @property
    def containerd_socket(self) -> Path:
        """Where containerd answers."""
        return self.state / "containerd.sock"

    @property
    def pki(self) -> Path:
        """Keys and certificates."""
        return self.state / "pki"

    @property
    def config(self) -> Path:
        """Configuration files of the programs."""
        return self.state / "config"

    @property
    def logs(self) -> Path:
        """One file for each program."""
        return self.state / "logs"

    @property
    def cgroup(self) -> str:
        """The name of the lab's own tree in every cgroup hierarchy."""
        return f"flywheel-lab-{self.name}"
