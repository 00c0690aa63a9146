"""Jars that a pom.xml names, fetched by Maven and held against the digests beside it."""

import hashlib
import shutil
from pathlib import Path

from tools.bootstrap.debian import ensure_packages
from tools.bootstrap.steps import REPOSITORY, CannotContinueError, cache_directory, locked, run, step

KAFKA_JARS = REPOSITORY / "tests/unit/fraud_kafka/jars"
COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"


def ensure_kafka_jars() -> Path:
    """Return a directory with the jars of Kafka's broker and of Flink's connector to it.

    Raises:
        CannotContinueError: Maven or a jar could not be had, or a jar is another one than that which was locked.
    """
    return ensure_jars(KAFKA_JARS, "Apache Kafka for the tests", "15 s: it fetches 55 MB")


def ensure_jars(folder: Path, title: str, usually: str) -> Path:
    """Return a directory with the jars that `pom.xml` in `folder` names and `jars.sha256` locks.

    Raises:
        CannotContinueError: as with `ensure_kafka_jars`.
    """
    files = [folder / "pom.xml", folder / "jars.sha256"]
    fingerprint = hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()[:16]
    target = cache_directory() / "jars" / fingerprint
    with locked(target.with_suffix(".lock"), f"another installation of {title}"):
        if not (target / "complete").exists():
            ensure_packages({"maven": "mvn"})
            with step(f"Fetching {title}", usually):
                _fetch(files[0], target)
                _check(target, files[1])
                (target / "complete").touch()
    return target


def digests(folder: Path) -> str:
    """Write the digests of all jars of a folder, as `sha256sum` does: what jars.sha256 has."""
    jars = sorted(folder.glob("*.jar"))
    return "".join(f"{hashlib.sha256(jar.read_bytes()).hexdigest()}  {jar.name}\n" for jar in jars)


def _fetch(pom: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    # Maven keeps what it fetches a second time, and more than what is wanted.
    repository = target.with_suffix(".repository")
    options = [f"-Dmaven.repo.local={repository}", f"-DoutputDirectory={target}", "-DincludeScope=runtime"]
    try:
        run(["mvn", "--quiet", "--batch-mode", "--file", pom, COPY, *options])
    finally:
        shutil.rmtree(repository, ignore_errors=True)


def _check(target: Path, lock: Path) -> None:
    found, wanted = set(digests(target).splitlines()), set(lock.read_text().splitlines())
    if found != wanted:
        different = ", ".join(sorted(line.split()[-1] for line in found ^ wanted))
        raise CannotContinueError(f"these jars are not those of {lock.relative_to(REPOSITORY)}: {different}")
