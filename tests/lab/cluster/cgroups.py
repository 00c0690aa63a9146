"""The lab's own cgroup tree. Two kubelets that share one kill each other's pods within seconds."""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

REMOVAL_SECONDS = 10
# Beside the pods of the kubelet: the processes of the lab itself.
SYSTEM = "system"


def create(name: str) -> None:
    """Make the tree `name` in every cgroup hierarchy of this machine, version 1 or 2."""
    for mount, version in _hierarchies():
        for tree in (mount / name, mount / name / SYSTEM):
            tree.mkdir(exist_ok=True)
            if version == 1:
                _inherit_cpuset(tree)
        if version == 2:
            _delegate_controllers(mount)


def enter(name: str) -> None:
    """Move this process into the trees `name`, so that `remove` finds it and all that it starts."""
    for tree in trees(name):
        (tree / SYSTEM / "cgroup.procs").write_text("0")


def remove(name: str) -> None:
    """Kill what runs in the trees `name` and remove them.

    Raises:
        TimeoutError: a process in them cannot be killed.
    """
    deadline = time.monotonic() + REMOVAL_SECONDS
    while remaining := trees(name):
        for tree in remaining:
            _remove_tree(tree)
        if time.monotonic() > deadline:
            raise TimeoutError(
                f"these cgroups still hold processes that cannot be killed: {', '.join(map(str, remaining))}"
            )
        time.sleep(0.05)


def trees(name: str) -> list[Path]:
    """Return the existing trees `name`, one for each hierarchy."""
    return [tree for mount, _ in _hierarchies() if (tree := mount / name).exists()]


def _hierarchies() -> list[tuple[Path, int]]:
    found: dict[Path, int] = {}
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, mount, kind, *_ = line.split()
        if kind in {"cgroup", "cgroup2"}:
            found[Path(mount)] = 2 if kind == "cgroup2" else 1
    return list(found.items())


def _inherit_cpuset(tree: Path) -> None:
    for file in ("cpuset.cpus", "cpuset.mems"):
        if (tree / file).exists():
            (tree / file).write_text((tree.parent / file).read_text())


def _delegate_controllers(mount: Path) -> None:
    """Let the children of `mount` use its controllers; on a machine with systemd most are delegated already."""
    delegated = mount / "cgroup.subtree_control"
    missing = set((mount / "cgroup.controllers").read_text().split()) - set(delegated.read_text().split())
    for controller in missing & {"cpu", "cpuset", "memory", "pids", "io", "hugetlb"}:
        # A controller that the machine keeps to itself is reported by the kubelet, if it is one that it needs.
        with suppress(OSError):
            delegated.write_text(f"+{controller}")


def _remove_tree(tree: Path) -> None:
    for directory, _, _ in os.walk(tree, topdown=False):
        with suppress(OSError):
            for pid in (Path(directory) / "cgroup.procs").read_text().split():
                with suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
        with suppress(OSError):
            Path(directory).rmdir()
