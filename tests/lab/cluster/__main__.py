"""The lab's command line; `make lab-up` and the like call it."""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys

from tests.lab.cluster import control, forward, lifecycle
from tests.lab.cluster.client import OPERATOR_NAMESPACE, Cluster, CommandFailedError, chosen_cluster
from tools.bootstrap.steps import CannotContinueError, say


def main() -> int:
    """Run one command and return its exit code."""
    arguments = _parse()
    cluster = chosen_cluster()
    try:
        match arguments.command:
            case "up":
                return _up(cluster)
            case "down":
                return _down(cluster)
            case "status":
                return _status(cluster)
            case "shell":
                return _shell(cluster, arguments.run)
            case "images":
                return _images(cluster)
            case "install":
                return _install(cluster)
            case _:
                return _forward(cluster, arguments.to, arguments.namespace, arguments.port)
    except (CannotContinueError, CommandFailedError, TimeoutError) as problem:
        say(f"error: {problem}")
        return 1


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="lab", description="A real Kubernetes on this machine. LAB=name chooses one of several."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="bring it up")
    commands.add_parser("down", help="remove everything of it")
    commands.add_parser("status", help="say what is running")
    commands.add_parser("images", help="build the images and bring them to the cluster")
    commands.add_parser("install", help="images and chart onto the cluster")
    shell = commands.add_parser("shell", help="a shell with kubectl, helm and KUBECONFIG")
    shell.add_argument("--run", help="one command instead of a shell")
    forwarding = commands.add_parser("forward", help="a port of the lab on this machine's loopback")
    forwarding.add_argument("to", help="svc/NAME:PORT")
    forwarding.add_argument("--namespace", default="default")
    forwarding.add_argument("--port", type=int, default=0, help="the port on this machine; by default a free one")
    return parser.parse_args()


def _up(cluster: Cluster) -> int:
    if not cluster.lab:
        say(f"KUBECONFIG={cluster.kubeconfig} is set: that cluster is used, and no lab is started")
        return 0
    lifecycle.up(cluster.lab)
    return 0


def _down(cluster: Cluster) -> int:
    if not cluster.lab:
        say(f"KUBECONFIG={cluster.kubeconfig} is set: that cluster is left alone; unset it to take the lab down")
        return 0
    lifecycle.down(cluster.lab)
    return 0


def _status(cluster: Cluster) -> int:
    if not cluster.lab:
        print(cluster.kubectl("version"), end="")
        return 0
    if not lifecycle.is_up(cluster.lab):
        print(f"lab {cluster.lab.name} is down")
        return 3
    print(f"lab {cluster.lab.name} is up at {lifecycle.api_url(cluster.lab)}\nexport KUBECONFIG={cluster.kubeconfig}\n")
    for name, program in control.programs(cluster.lab).items():
        state = f"running for {program['seconds']} s" if program["running"] else "STOPPED"
        print(f"{name:26}{state}" + (f", started again {program['restarts']} times" if program["restarts"] else ""))
    print("\n" + cluster.kubectl("get", "nodes,pods", "--all-namespaces"), end="")
    return 0


def _shell(cluster: Cluster, command: str | None) -> int:
    if cluster.lab:
        lifecycle.first_process(cluster.lab)
    if command:
        return subprocess.run(["/bin/sh", "-c", command], env=cluster.environment, check=False).returncode
    shell = os.environ.get("SHELL") or shutil.which("bash") or "/bin/sh"
    say(f"A shell with kubectl and helm for {cluster.kubeconfig}; leave it with exit.")
    return subprocess.run([shell], env=cluster.environment, check=False).returncode


def _images(cluster: Cluster) -> int:
    if cluster.lab and not lifecycle.is_up(cluster.lab):
        say(f"lab {cluster.lab.name} is down: the images are built now, and imported by `make images` once it is up")
    for reference in cluster.images.values():
        print(reference)
    return 0


def _install(cluster: Cluster) -> int:
    cluster.install()
    print(cluster.helm("status", "flywheel", "--namespace", OPERATOR_NAMESPACE), end="")
    return 0


def _forward(cluster: Cluster, to: str, namespace: str, port: int) -> int:
    name, separator, service_port = to.removeprefix("svc/").partition(":")
    if not (name and separator and service_port.isdigit()):
        raise CannotContinueError(f"TO={to}: name a Service and one of its ports, as in TO=svc/shop:80")
    # Whoever asked for the connection ends it with SIGTERM or Ctrl-C, which is no failure.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return (
            _forward_to_lab(cluster, name, service_port, namespace, port)
            if cluster.lab
            else _port_forward(cluster, name, service_port, namespace, port)
        )
    except KeyboardInterrupt:
        return 0


def _forward_to_lab(cluster: Cluster, name: str, service_port: str, namespace: str, port: int) -> int:
    assert cluster.lab is not None
    init = lifecycle.first_process(cluster.lab)
    where = ["service", name, "--namespace", namespace]
    address = cluster.kubectl("get", *where, "--output", "jsonpath={.spec.clusterIP}")
    if address in {"", "None"}:
        raise CannotContinueError(
            f"svc/{name} in {namespace} has no address of its own, so nothing can be forwarded to it"
        )
    try:
        listening = forward.listen(port)
    except OSError as problem:
        reason = f"PORT={port} of this machine cannot be used ({problem.strerror})"
        raise CannotContinueError(f"{reason}: choose another, or none for a free one") from problem
    _announce(listening.getsockname()[1], f"svc/{name}:{service_port}", namespace)
    forward.run(listening, init.pid, address, int(service_port))
    return 0


def _port_forward(cluster: Cluster, name: str, service_port: str, namespace: str, port: int) -> int:
    command = ["kubectl", "port-forward", f"service/{name}", f"{port or ''}:{service_port}", "--namespace", namespace]
    process = subprocess.Popen(command, env=cluster.environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if found := re.match(rf"Forwarding from {re.escape(forward.LOOPBACK)}:(\d+)", line):
                _announce(int(found[1]), f"svc/{name}:{service_port}", namespace)
        return process.wait()
    finally:
        process.terminate()
        process.wait()


def _announce(port: int, target: str, namespace: str) -> None:
    # The first word is read by programs, the rest by people.
    print(f"http://{forward.LOOPBACK}:{port} leads to {target} in {namespace}; Ctrl-C ends it", flush=True)


if __name__ == "__main__":
    sys.exit(main())
