"""Install the Debian packages that are missing, in one go, without starting the services that come with some."""

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tools.bootstrap.steps import CannotContinueError, run, step

# Package -> a file or command that shows that it, or something as good, is installed.
LAB_PACKAGES = {
    "runc": "runc",
    "containernetworking-plugins": "/usr/lib/cni/bridge",
    "nftables": "nft",
    "iptables": "iptables",
    "iproute2": "ip",
    "util-linux": "nsenter",
    "openssl": "openssl",
}
IMAGE_PACKAGES = {
    "buildah": "buildah",
    "skopeo": "skopeo",
    "debootstrap": "debootstrap",
    "ca-certificates": "/etc/ssl/certs/ca-certificates.crt",
}
# Real programs that the tests and benchmarks hold the project's parts against.
TEST_PACKAGES = {
    "haproxy": "haproxy",
    "prometheus": "promtool",
    "chromium": "chromium",
    "wrk": "wrk",
    "nginx": "nginx",
    "git": "git",
}

# Debian asks this program whether the service of a package that is being installed may be started.
SERVICE_POLICY = Path("/usr/sbin/policy-rc.d")
OUR_POLICY = """#!/bin/sh
# flywheel: what it installs for tests is not started as a service; without effect once that process has ended
kill -0 {pid} 2>/dev/null && exit 101
exit 0
"""


def ensure_lab_packages() -> None:
    """Install what the lab needs from the distribution.

    Raises:
        CannotContinueError: this is not Linux, the user is not root, or the packages cannot be installed.
    """
    if not Path("/proc/self/ns/net").exists():
        raise CannotContinueError(
            "the lab runs Kubernetes in Linux namespaces and needs Linux: export KUBECONFIG=... of a cluster"
        )
    if os.geteuid() != 0:
        raise CannotContinueError(
            "the lab makes namespaces and cgroups and needs root: use sudo, or export KUBECONFIG=... of a cluster"
        )
    ensure_packages(LAB_PACKAGES)


def ensure_packages(packages: Mapping[str, str]) -> None:
    """Install those of `packages` whose file or command is missing.

    Raises:
        CannotContinueError: they cannot be installed here; the message lists them.
    """
    missing = [package for package, evidence in packages.items() if not _present(evidence)]
    if not missing:
        return
    if not shutil.which("apt-get") or os.geteuid() != 0:
        how = (
            "run this as root" if shutil.which("apt-get") else "this is no Debian, so install what corresponds to them"
        )
        raise CannotContinueError(f"these Debian packages are needed: {' '.join(missing)}; {how} and try again")
    with step(f"Installing Debian packages: {' '.join(missing)}", "a minute"), _no_services():
        _install(missing)


@contextmanager
def _no_services() -> Iterator[None]:
    """Keep Debian from starting what is installed; a machine that has a policy of its own keeps it."""
    if SERVICE_POLICY.exists() and "# flywheel:" not in SERVICE_POLICY.read_text(errors="replace"):
        yield
        return
    SERVICE_POLICY.write_text(OUR_POLICY.format(pid=os.getpid()))
    SERVICE_POLICY.chmod(0o755)
    try:
        yield
    finally:
        SERVICE_POLICY.unlink(missing_ok=True)


def _install(packages: Iterable[str]) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "--yes", "--no-install-recommends", *packages]
    try:
        run(install, env=environment)
    except CannotContinueError:
        # The list of packages is missing or older than what the mirror holds.
        try:
            run(["apt-get", "update"], env=environment)
        finally:
            run(install, env=environment)


def _present(evidence: str) -> bool:
    return (
        Path(evidence).exists() if evidence.startswith("/") else shutil.which(evidence, path=_search_path()) is not None
    )


def _search_path() -> str:
    return os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"])
