"""Programs of others that the tests hold ours against: Segment's client libraries, Grafana's schema of dashboards."""

import hashlib
import sys
from pathlib import Path

from tools.bootstrap.environment import install
from tools.bootstrap.node import ensure_node_packages
from tools.bootstrap.steps import REPOSITORY, cache_directory, locked, step

SEGMENT_LOCK = REPOSITORY / "requirements/segment.txt"
SEGMENT_PACKAGES = REPOSITORY / "tests/unit/segment"
GRAFANA_PACKAGES = REPOSITORY / "tests/unit/insight/grafana"


def ensure_peers() -> None:
    """Install all of them.

    Raises:
        CannotContinueError: one could not be installed.
    """
    ensure_segment_python()
    ensure_node_packages(SEGMENT_PACKAGES)
    ensure_node_packages(GRAFANA_PACKAGES)


def ensure_segment_python() -> Path:
    """Return a Python that has Segment's library; what the library needs does not go together with what we need.

    Raises:
        CannotContinueError: it could not be installed.
    """
    fingerprint = hashlib.sha256(SEGMENT_LOCK.read_bytes() + sys.version.encode()).hexdigest()[:16]
    home = cache_directory() / f"segment-{fingerprint}"
    with locked(home.with_suffix(".lock"), "another installation of Segment's library"):
        if not (home / "complete").exists():
            with step("Installing Segment's library for Python", "10 s"):
                install(home, ["--require-hashes", "--requirement", SEGMENT_LOCK])
                (home / "complete").touch()
    return home / "bin/python"
