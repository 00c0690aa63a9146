"""Prepare this machine: `python3 -m tools.bootstrap python tests peers lab`, any of them; what is there stays."""

import sys
from collections.abc import Callable

from tools.bootstrap.debian import IMAGE_PACKAGES, TEST_PACKAGES, ensure_lab_packages, ensure_packages
from tools.bootstrap.environment import ensure_environment
from tools.bootstrap.peers import ensure_peers
from tools.bootstrap.programs import ensure_helm, ensure_programs
from tools.bootstrap.single import ensure_rollouts, ensure_sample
from tools.bootstrap.steps import CannotContinueError, cache_directory, locked, say


def _lab() -> None:
    ensure_lab_packages()
    ensure_programs()


PREPARATIONS: dict[str, Callable[[], object]] = {
    "python": ensure_environment,
    "helm": ensure_helm,
    "lab": _lab,
    "tests": lambda: ensure_packages(TEST_PACKAGES),
    "peers": ensure_peers,
    "sample": ensure_sample,
    "rollouts": ensure_rollouts,
    "images": lambda: ensure_packages(IMAGE_PACKAGES),
}


def main() -> int:
    """Do the preparations named on the command line, in their order, and return the exit code."""
    unknown = [name for name in sys.argv[1:] if name not in PREPARATIONS]
    if unknown or not sys.argv[1:]:
        say(f"usage: python3 -m tools.bootstrap {{{','.join(PREPARATIONS)}}} ...")
        return 2
    with locked(cache_directory() / "bootstrap.lock", "another preparation of this machine"):
        try:
            for name in sys.argv[1:]:
                PREPARATIONS[name]()
        except CannotContinueError as problem:
            say(f"error: {problem}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
