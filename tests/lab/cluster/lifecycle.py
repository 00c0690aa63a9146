"""Bring a lab up and take it down."""

import json
import shutil
import socket
import sys
import time
from base64 import b64encode
from pathlib import Path
from string import Template

from tests.lab.cluster import cgroups, components, control, forward, node
from tests.lab.cluster.api import Api, wait_until
from tests.lab.cluster.oci import write_single_program_image
from tests.lab.cluster.paths import API_PORT, METRICS_PORT, NODE_ADDRESS, NODE_NAME, Lab
from tests.lab.cluster.pki import make_certificates
from tests.lab.cluster.processes import Process, spawn
from tools.bootstrap.debian import ensure_lab_packages
from tools.bootstrap.programs import ensure_programs
from tools.bootstrap.steps import CannotContinueError, locked, run, say

START_SECONDS = 60
WATCHERS = Path("/proc/sys/fs/inotify/max_user_instances")
# Each lab takes about 25.
ENOUGH_WATCHERS = 1024


def up(lab: Lab) -> None:
    """Bring `lab` up, unless it is; what an earlier one left behind after it was killed is removed first.

    Raises:
        CannotContinueError: this machine cannot run it; the message says what is missing.
        TimeoutError: it did not come up; the message says what did not happen, and where the logs are.
    """
    ensure_lab_packages()
    programs = ensure_programs()
    with locked(lab.lock, "another program that brings this lab up or down"):
        if _answers_in_the_end(lab):
            say(f"lab {lab.name} is up: export KUBECONFIG={lab.kubeconfig}")
            return
        started = time.monotonic()
        _clean(lab)
        try:
            _start(lab, programs)
        except TimeoutError as problem:
            raise TimeoutError(
                f"lab {lab.name} did not come up: {problem}. The logs are in {lab.logs}; `make lab-down` removes it."
            ) from problem
        say(f"lab {lab.name} is up after {time.monotonic() - started:.1f} s: export KUBECONFIG={lab.kubeconfig}")


def _answers_in_the_end(lab: Lab) -> bool:
    """Wait for a lab whose programs run: on a busy machine it is slow, and must not be taken for dead and replaced."""
    if not _runs(lab):
        return False
    try:
        wait_until(_api(lab).ready, "an answer of the API server", START_SECONDS)
    except TimeoutError:
        say(f"• Lab {lab.name} does not answer; it is replaced")
        return False
    return True


def down(lab: Lab) -> None:
    """Take `lab` down and remove everything of it."""
    with locked(lab.lock, "another program that brings this lab up or down"):
        _clean(lab)
    say(f"lab {lab.name} is down")


def is_up(lab: Lab) -> bool:
    """Return whether `lab` was brought up to the end, still runs, and its API server answers."""
    return _runs(lab) and _api(lab).ready()


def _runs(lab: Lab) -> bool:
    return lab.complete.exists() and all(process.runs() for process in _recorded(lab))


def has_node(lab: Lab) -> bool:
    """Return whether `lab` has a node that takes images, however slow its API server may be to answer just now."""
    processes = _recorded(lab)
    return bool(processes) and processes[0].runs() and lab.containerd_socket.exists()


def first_process(lab: Lab) -> Process:
    """Return the process whose namespaces are the lab's.

    Raises:
        CannotContinueError: the lab is not up.
    """
    processes = _recorded(lab)
    if not processes or not processes[0].runs():
        raise CannotContinueError(f"lab {lab.name} is not up: run `make lab-up` first")
    return processes[0]


def api_url(lab: Lab) -> str:
    """Return the API server's address on the host."""
    return f"https://{forward.LOOPBACK}:{_record(lab)['port']}"


def _allow_watchers() -> None:
    """Raise the machine's limit on file watchers, if a few labs need more; without them no kubelet starts."""
    if int(WATCHERS.read_text()) < ENOUGH_WATCHERS:
        say(f"• Raising fs.inotify.max_user_instances of this machine to {ENOUGH_WATCHERS} until it restarts")
        WATCHERS.write_text(str(ENOUGH_WATCHERS))


def _start(lab: Lab, programs: Path) -> None:
    _allow_watchers()
    for directory in (lab.state, lab.logs, lab.state / "node"):
        directory.mkdir(parents=True, exist_ok=True)
    make_certificates(lab.pki)
    listening = forward.listen()
    port: int = listening.getsockname()[1]
    node.write_configuration(lab, f"https://{forward.LOOPBACK}:{port}")
    cgroups.create(lab.cgroup)
    processes = _spawn_init(lab)
    with listening:
        processes.append(_spawn_forwarder(lab, processes[0], listening))
    lab.record.write_text(json.dumps({"processes": [vars(process) for process in processes], "port": port}))
    wait_until(lab.control_socket.exists, "the start of the lab's first process", 10)

    control.start(lab, "etcd", components.etcd(lab, programs))
    control.start(lab, "kube-apiserver", components.kube_apiserver(lab, programs))
    control.start(lab, "containerd", components.containerd(lab, programs))
    wait_until(lab.containerd_socket.exists, "the start of containerd", START_SECONDS)
    _import_pause(lab, programs)
    api = _api(lab)
    wait_until(api.ready, "an answer of the API server", START_SECONDS)

    # The controllers give up when the API server has not finished its own roles, so they come after it.
    control.start(lab, "kube-controller-manager", components.kube_controller_manager(lab, programs))
    control.start(lab, "kubelet", components.kubelet(lab, programs))
    control.start(lab, "kube-scheduler", components.kube_scheduler(lab, programs))
    control.start(lab, "kube-proxy", components.kube_proxy(lab, programs))
    _apply_addons(lab, programs)
    control.start(lab, "coredns", components.coredns(lab, programs))
    control.start(lab, "metrics-server", components.metrics_server(lab, programs))
    control.start(lab, "volumes", components.volumes(lab))
    wait_until(lambda: api.node_ready(NODE_NAME), "a ready node", START_SECONDS)
    wait_until(api.accepts_pods, "the default service account", START_SECONDS)
    lab.complete.touch()


def _spawn_init(lab: Lab) -> list[Process]:
    """Start the lab's first process and return it, and the one outside whose end would end it."""
    namespaces = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
    outer = spawn(
        [*namespaces, sys.executable, "-m", "tests.lab.cluster.init", lab.name], lab.logs / "init.log", lab.cgroup
    )
    children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
    wait_until(lambda: not outer.runs() or children.read_text().split(), "the creation of the lab's namespaces", 10)
    if not outer.runs():
        raise CannotContinueError(f"the lab's namespaces cannot be made: {(lab.logs / 'init.log').read_text().strip()}")
    return [Process.of(int(children.read_text().split()[0])), outer]


def _spawn_forwarder(lab: Lab, init: Process, listening: socket.socket) -> Process:
    """Start what carries connections from `listening` to the API server; it ends with the lab."""
    arguments = [str(listening.fileno()), str(init.pid), NODE_ADDRESS, str(API_PORT)]
    command = [sys.executable, "-m", "tests.lab.cluster.forward", *arguments]
    return spawn(command, lab.logs / "forward.log", lab.cgroup, [listening.fileno()])


def _import_pause(lab: Lab, programs: Path) -> None:
    archive = lab.state / "pause.tar"
    write_single_program_image(programs / "pause", node.PAUSE_IMAGE, archive)
    import_image(lab, programs, archive)


def import_image(lab: Lab, programs: Path, archive: Path) -> None:
    """Make the images in `archive` known to the lab's node."""
    containerd(lab, programs, "images", "import", "--local", str(archive))


def containerd(lab: Lab, programs: Path, *arguments: str) -> str:
    """Ask the lab's container runtime and return the answer; paths must be absolute."""
    enter = ["nsenter", "--net", "--mount", "--pid", f"--target={first_process(lab).pid}"]
    return run([*enter, programs / "ctr", f"--address={lab.containerd_socket}", "--namespace=k8s.io", *arguments])


def _apply_addons(lab: Lab, programs: Path) -> None:
    authority = b64encode((lab.pki / "ca.crt").read_bytes()).decode()
    template = Template((Path(__file__).parent / "addons.yaml").read_text())
    manifests = lab.config / "addons.yaml"
    manifests.write_text(template.substitute(metrics_port=METRICS_PORT, address=NODE_ADDRESS, authority=authority))
    run(
        [
            programs / "kubectl",
            f"--kubeconfig={lab.kubeconfig}",
            "apply",
            "--server-side",
            "--validate=ignore",
            "-f",
            manifests,
        ]
    )


def _clean(lab: Lab) -> None:
    """Remove everything of `lab`, whether it runs, was killed, or came up only half."""
    for process in _recorded(lab):
        process.kill()
    cgroups.remove(lab.cgroup)
    if lab.state.exists():
        shutil.rmtree(lab.state)


def _record(lab: Lab) -> dict[str, object]:
    try:
        found: dict[str, object] = json.loads(lab.record.read_text())
    except FileNotFoundError:
        return {}
    return found


def _recorded(lab: Lab) -> list[Process]:
    recorded = _record(lab).get("processes", [])
    return [Process(**each) for each in recorded] if isinstance(recorded, list) else []


def _api(lab: Lab) -> Api:
    return Api(lab, api_url(lab))
