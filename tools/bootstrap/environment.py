"""The virtual environment: the locked packages of requirements/dev.txt and this project, editable."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tools.bootstrap.debian import ensure_packages
from tools.bootstrap.steps import REPOSITORY, CannotContinueError, cache_directory, run, step

UV_VERSION = "0.13.9"
OLDEST_PYTHON = (3, 11)
ENVIRONMENT = REPOSITORY / ".venv"
STAMP = ENVIRONMENT / "made-from"
LOCKED = REPOSITORY / "requirements/dev.txt"


def ensure_environment() -> None:
    """Make .venv agree with requirements/dev.txt and pyproject.toml; nothing happens when it does.

    Raises:
        CannotContinueError: this Python is too old, or a package cannot be installed.
    """
    if sys.version_info < OLDEST_PYTHON:
        wanted = ".".join(map(str, OLDEST_PYTHON))
        raise CannotContinueError(
            f"Python {wanted} or newer is needed and this is {sys.version.split()[0]}: "
            "install one and run make PYTHON3=/path/to/it"
        )
    fingerprint = _fingerprint()
    if STAMP.exists() and STAMP.read_text() == fingerprint and (ENVIRONMENT / "bin/python").exists():
        return
    with step("Installing the Python packages of requirements/dev.txt into .venv", "half a minute"):
        STAMP.unlink(missing_ok=True)
        install(ENVIRONMENT, ["--require-hashes", "--requirement", LOCKED])
        install(ENVIRONMENT, ["--no-deps", "--editable", REPOSITORY])
        STAMP.write_text(fingerprint)


def install(environment: Path, what: Sequence[str | Path]) -> None:
    """Install packages into a virtual environment, which is made where there is none.

    Raises:
        CannotContinueError: a package cannot be installed.
    """
    uv = ensure_uv()
    variables = {**os.environ, "UV_PYTHON_DOWNLOADS": "never", "VIRTUAL_ENV": str(environment), **_index()}
    if not (environment / "bin/python").exists():
        run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, environment], env=variables)
    run([uv, "pip", "install", "--quiet", *what], env=variables)


def ensure_uv() -> Path:
    """Return the command uv; the first call on a machine without it installs it into the cache."""
    if found := shutil.which("uv"):
        return Path(found)
    home = cache_directory() / f"uv-{UV_VERSION}"
    uv = home / "bin/uv"
    if not uv.exists():
        with step("Installing uv, which installs Python packages", "10 s"):
            if (
                subprocess.run([sys.executable, "-c", "import ensurepip"], capture_output=True, check=False).returncode
                != 0
            ):
                ensure_packages({"python3-venv": "/nowhere"})
            run([sys.executable, "-m", "venv", "--clear", home])
            run([home / "bin/pip", "install", "--quiet", f"uv=={UV_VERSION}"])
    return uv


def _index() -> dict[str, str]:
    """Pass on the package index that pip is configured with, which uv does not read, and the machine's certificates."""
    found = subprocess.run(
        [sys.executable, "-m", "pip", "config", "get", "global.index-url"], capture_output=True, text=True, check=False
    )
    index = os.environ.get("PIP_INDEX_URL") or found.stdout.strip()
    return {
        "UV_SYSTEM_CERTS": "1",
        **({"UV_DEFAULT_INDEX": index} if index and "UV_DEFAULT_INDEX" not in os.environ else {}),
    }


def _fingerprint() -> str:
    content = b"\0".join(path.read_bytes() for path in (LOCKED, REPOSITORY / "pyproject.toml"))
    return hashlib.sha256(content + sys.version.encode()).hexdigest() + "\n"
