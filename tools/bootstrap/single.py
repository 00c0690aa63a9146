"""Go programs that stand beside the lab: each built alone from a module of its own, by those who need it only."""

import hashlib
import json
import os
import shutil
from pathlib import Path

from tools.bootstrap.golang import ensure_go, installed_version
from tools.bootstrap.programs import KEEP_VERSIONS, LAB, Program, build
from tools.bootstrap.steps import cache_directory, locked, run, step

SAMPLE = Program("sample", "sample", ".", "10 s")
ROLLOUTS = Program(
    "rollouts-controller", "rollouts", "github.com/argoproj/argo-rollouts/cmd/rollouts-controller", "3 to 5 minutes"
)


def ensure_sample() -> Path:
    """Return the application that tests release, which is the load that counts failed requests as well.

    Raises:
        CannotContinueError: Go is missing and cannot be installed, or the build failed.
    """
    return _ensure(SAMPLE)


def ensure_rollouts() -> Path:
    """Return the controller of Argo Rollouts, which benchmarks are held against.

    Raises:
        CannotContinueError: Go is missing and cannot be installed, or the build failed.
    """
    return _ensure(ROLLOUTS)


def rollouts_source() -> Path:
    """Return the source of Argo Rollouts as its module pins it; the manifests are part of it.

    Raises:
        CannotContinueError: it cannot be downloaded.
    """
    command = [str(ensure_go()), "mod", "download", "-json", "github.com/argoproj/argo-rollouts"]
    told = run(command, env={**os.environ, "GOTOOLCHAIN": "local", "GOWORK": "off"}, cwd=LAB / ROLLOUTS.module)
    return Path(json.loads(told)["Dir"])


def _ensure(program: Program) -> Path:
    go = ensure_go()
    home = cache_directory() / program.name
    target = home / _fingerprint(go, program)
    if not (target / program.name).exists():
        with locked(home.with_suffix(".lock"), f"another build of {program.name}"):
            if not (target / program.name).exists():
                target.mkdir(parents=True, exist_ok=True)
                with step(f"Building {program.name}", program.usually):
                    build(go, program, target)
                _remove_old_versions(target)
    return target / program.name


def _fingerprint(go: Path, program: Program) -> str:
    content = hashlib.sha256()
    module = LAB / program.module
    for path in sorted(module.rglob("*")):
        if path.is_file():
            content.update(path.relative_to(module).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    content.update(json.dumps([vars(program), installed_version(go)]).encode())
    return content.hexdigest()[:16]


def _remove_old_versions(current: Path) -> None:
    others = [each for each in current.parent.iterdir() if each != current]
    others.sort(key=lambda each: each.stat().st_mtime)
    for old in others[: -(KEEP_VERSIONS - 1)]:
        shutil.rmtree(old, ignore_errors=True)
