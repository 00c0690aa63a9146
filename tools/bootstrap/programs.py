"""Build the lab's programs from the pinned Go modules, once for each version of what they are built from."""

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.bootstrap.golang import MODULES, ensure_go, installed_version
from tools.bootstrap.steps import REPOSITORY, cache_directory, locked, run, step

LAB = REPOSITORY / "tests/lab"
KUBERNETES_VERSION = "v1.36.3"
KUBERNETES_NAMES = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet", "kubectl")
STRIPPED = "-s -w"
KEEP_VERSIONS = 2


@dataclass(frozen=True)
class Program:
    """One `go build`: the package, the module that pins it, and what the binary is called."""

    name: str
    module: str
    package: str
    usually: str
    linker_flags: str = STRIPPED


def _version_stamp() -> str:
    """Without a version, servers report one that clients cannot parse."""
    major, minor, _ = KUBERNETES_VERSION.removeprefix("v").split(".")
    values = {
        "gitVersion": KUBERNETES_VERSION,
        "gitMajor": major,
        "gitMinor": minor,
        "gitTreeState": "clean",
        "gitCommit": "unknown",
        "buildDate": "1970-01-01T00:00:00Z",
    }
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return " ".join(f"-X {package}.{key}={value}" for package in packages for key, value in values.items())


PROGRAMS = (
    Program("kubernetes", "programs", "./kubernetes", "4 to 7 minutes", f"{STRIPPED} {_version_stamp()}"),
    Program("etcd", "programs", "go.etcd.io/etcd/server/v3", "half a minute"),
    Program("coredns", "programs", "github.com/coredns/coredns", "a minute"),
    Program("helm", "programs", "helm.sh/helm/v4/cmd/helm", "a minute"),
    Program("metrics-server", "programs", "sigs.k8s.io/metrics-server/cmd/metrics-server", "a minute"),
    Program("containerd", "containerd", "github.com/containerd/containerd/v2/cmd/containerd", "a minute"),
    Program(
        "containerd-shim-runc-v2",
        "containerd",
        "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
        "10 s",
    ),
    Program("ctr", "containerd", "github.com/containerd/containerd/v2/cmd/ctr", "10 s"),
    Program("pause", "pause", ".", "5 s"),
)


def ensure_programs() -> Path:
    """Return the directory with every program of the lab; the first call builds them (up to 12 minutes on 2 cores).

    Raises:
        CannotContinueError: Go is missing and cannot be installed, or a build failed.
    """
    go = ensure_go()
    target = cache_directory() / "programs" / _fingerprint(go)
    if not (target / "complete").exists():
        with locked(target.with_suffix(".lock"), "another build of the lab's programs"):
            _build_missing(go, target, PROGRAMS)
            _complete(target)
    return target


def ensure_helm() -> str:
    """Find helm: the environment variable HELM, else the PATH, else the lab's own, built alone when it is missing.

    Raises:
        CannotContinueError: Go is missing and cannot be installed, or the build failed.
    """
    program = os.environ.get("HELM") or shutil.which("helm")
    if program:
        return program
    go = ensure_go()
    target = cache_directory() / "programs" / _fingerprint(go)
    if not (target / "helm").exists():
        with locked(target.with_suffix(".lock"), "another build of the lab's programs"):
            _build_missing(go, target, [each for each in PROGRAMS if each.name == "helm"])
    return str(target / "helm")


def _build_missing(go: Path, target: Path, programs: Sequence[Program]) -> None:
    # Built into a directory that keeps what is finished, so that an interrupted build goes on where it was.
    target.mkdir(parents=True, exist_ok=True)
    for number, program in enumerate(programs, 1):
        if not (target / program.name).exists():
            with step(f"Building {program.name} ({number} of {len(programs)})", program.usually):
                build(go, program, target)


def _complete(target: Path) -> None:
    for name in KUBERNETES_NAMES:
        (target / name).unlink(missing_ok=True)
        (target / name).symlink_to("kubernetes")
    (target / "complete").touch()
    _remove_old_versions(target)


def build(go: Path, program: Program, target: Path) -> None:
    """Build one program into the directory `target`.

    Raises:
        CannotContinueError: the build failed.
    """
    unfinished = target / f"{program.name}.unfinished"
    environment = {
        **os.environ,
        "CGO_ENABLED": "0",
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-trimpath -buildvcs=false",
        "GOWORK": "off",
    }
    command = [str(go), "build", "-ldflags", program.linker_flags, "-o", str(unfinished), program.package]
    run(command, env=environment, cwd=LAB / program.module)
    unfinished.rename(target / program.name)


def _fingerprint(go: Path) -> str:
    """Name what the binaries are made of: sources, pinned modules, flags and compiler."""
    content = hashlib.sha256()
    for module in MODULES:
        for path in sorted(module.rglob("*")):
            if path.is_file():
                content.update(path.relative_to(LAB).as_posix().encode() + b"\0" + path.read_bytes())
    content.update(json.dumps([vars(program) for program in PROGRAMS]).encode())
    content.update(repr(installed_version(go)).encode())
    return content.hexdigest()[:16]


def _remove_old_versions(current: Path) -> None:
    others = [each for each in current.parent.iterdir() if each.is_dir() and each != current]
    others.sort(key=lambda each: each.stat().st_mtime)
    for old in others[: -(KEEP_VERSIONS - 1)]:
        shutil.rmtree(old, ignore_errors=True)
