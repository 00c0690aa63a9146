"""The definitions of the Gateway API in the version that this project is made for, on and off a cluster."""

import json
import subprocess
from pathlib import Path

from tests.lab.cluster.client import Cluster
from tools.bootstrap.golang import ensure_go

MODULE = "sigs.k8s.io/gateway-api@v1.6.1"
PROBE = "customresourcedefinition/httproutes.gateway.networking.k8s.io"


def definitions() -> list[Path]:
    """Return the files of the standard channel; they come as a Go module, whose content the checksum database knows."""
    done = subprocess.run(
        [ensure_go(), "mod", "download", "-json", MODULE], cwd="/", capture_output=True, text=True, check=True
    )
    directory = Path(json.loads(done.stdout)["Dir"]) / "config/crd/standard"
    return sorted(directory.glob("gateway.networking.k8s.io_*.yaml"))


def is_installed(cluster: Cluster) -> bool:
    """Return whether the cluster knows HTTPRoutes."""
    return bool(cluster.kubectl("get", PROBE, "--ignore-not-found", "--output=name"))


def install(cluster: Cluster) -> None:
    """Bring the definitions to the cluster and wait until routes can be made."""
    cluster.kubectl("apply", "--server-side", *(f"--filename={file}" for file in definitions()))
    cluster.wait_until_established(PROBE.rpartition("/")[2])


def remove(cluster: Cluster) -> None:
    """Take the definitions and all their objects away."""
    files = (f"--filename={file}" for file in definitions())
    cluster.kubectl("delete", "--ignore-not-found", "--timeout=60s", *files)
