"""Programs of others that the tests hold ours against: Segment's client libraries, Grafana's schema, Flink, Kafka."""

import hashlib
import sys
from pathlib import Path

from tools.bootstrap.environment import install
from tools.bootstrap.maven import ensure_kafka_jars
from tools.bootstrap.node import ensure_node_packages
from tools.bootstrap.steps import REPOSITORY, cache_directory, locked, step

SEGMENT_LOCK = REPOSITORY / "requirements/segment.txt"
FLINK_LOCK = REPOSITORY / "requirements/flink.txt"
SEGMENT_PACKAGES = REPOSITORY / "tests/unit/segment"
GRAFANA_PACKAGES = REPOSITORY / "tests/unit/insight/grafana"


def ensure_peers() -> None:
    """Install all of them.

    Raises:
        CannotContinueError: one could not be installed.
    """
    ensure_segment_python()
    ensure_flink_python()
    ensure_kafka_jars()
    ensure_node_packages(SEGMENT_PACKAGES)
    ensure_node_packages(GRAFANA_PACKAGES)


def ensure_segment_python() -> Path:
    """Return a Python that has Segment's library; what the library needs does not go together with what we need.

    Raises:
        CannotContinueError: it could not be installed.
    """
    return _ensure_python("segment", SEGMENT_LOCK, "Segment's library for Python", "10 s")


def ensure_flink_python() -> Path:
    """Return a Python that has Apache Flink's jars, a Java that runs them, and py4j to talk with it.

    Raises:
        CannotContinueError: it could not be installed.
    """
    return _ensure_python("flink", FLINK_LOCK, "Apache Flink and Java", "20 s: it fetches 360 MB")


def _ensure_python(name: str, lock: Path, title: str, usually: str) -> Path:
    fingerprint = hashlib.sha256(lock.read_bytes() + sys.version.encode()).hexdigest()[:16]
    home = cache_directory() / f"{name}-{fingerprint}"
    with locked(home.with_suffix(".lock"), f"another installation of {title}"):
        if not (home / "complete").exists():
            with step(f"Installing {title}", usually):
                install(home, ["--require-hashes", "--requirement", lock])
                (home / "complete").touch()
    return home / "bin/python"
