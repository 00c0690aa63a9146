"""Reaching the admin ports of a namespace's workers from where a person sits."""

import contextlib
import re
import select
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import click

from flywheel.events.naming import ADMIN_PORT, WORKER

START_TIMEOUT = 60.0
"""Seconds that `kubectl port-forward` may take to say which port it has; on a busy machine it needs many of them."""
_SAID = re.compile(rb"Forwarding from 127\.0\.0\.1:(\d+) ")
_MOST_WORDS = 1 << 16


@dataclass(frozen=True, slots=True)
class Target:
    """A worker whose admin port is wanted."""

    name: str
    """For people."""
    pod: str
    port: int
    needs: str
    """What there has to be in the namespace for there to be a worker."""


STORE = Target("event store", f"{WORKER}-0", ADMIN_PORT, "a Campaign with spec.analytics or spec.edge")


@contextlib.contextmanager
def worker_address(namespace: str, url: str | None, target: Target = STORE) -> Iterator[str]:
    """Give an address at which the worker's admin port answers, for as long as the context lasts.

    Args:
        namespace: Where the worker is.
        url: Its address, where somebody else sees to the forwarding.
        target: Which worker.

    Raises:
        click.ClickException: There is no way; the message says why and what to do.
    """
    if url:
        yield url.rstrip("/")
        return
    with _forwarding(namespace, target) as process:
        yield f"http://127.0.0.1:{_port(process, namespace, target)}"


@contextlib.contextmanager
def worker_addresses(namespace: str, targets: Sequence[Target]) -> Iterator[tuple[str, ...]]:
    """Give addresses at which the admin ports of several workers answer, for as long as the context lasts.

    Raises:
        click.ClickException: There is no way to one of them; the message says why and what to do.
    """
    with contextlib.ExitStack() as stack:
        # All begin before the first is waited for.
        begun = [(target, stack.enter_context(_forwarding(namespace, target))) for target in targets]
        yield tuple(f"http://127.0.0.1:{_port(process, namespace, target)}" for target, process in begun)


def replicas_of(namespace: str, stateful_set: str, target: Target) -> int:
    """Give how many workers there are to be of a kind; 0 where nothing needs one.

    Args:
        namespace: Where they are.
        stateful_set: What they belong to.
        target: One of them.

    Raises:
        click.ClickException: That cannot be told; the message says why and what to do.
    """
    command = [_kubectl(target), "get", "statefulset", stateful_set, f"--namespace={namespace}", "--ignore-not-found"]
    try:
        done = subprocess.run(  # noqa: S603 - a list of arguments, no shell
            [*command, "--output=jsonpath={.spec.replicas}"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=START_TIMEOUT,
            check=False,
        )
        said = done.stdout.decode(errors="replace").strip() or ("" if done.returncode else "0")
        reason = done.stderr.decode(errors="replace").strip() or f"kubectl says {said!r}"
    except subprocess.TimeoutExpired:
        said, reason = "", f"it said nothing for {START_TIMEOUT:g} s"
    if not said.isdecimal():
        raise click.ClickException(_unreached(namespace, target, reason))
    return int(said)


def _kubectl(target: Target) -> str:
    found = shutil.which("kubectl")
    if found is None:
        raise click.ClickException(
            "kubectl is not installed, which forwards the port of the worker. Install it, or forward port "
            f"{target.port} of the pod {target.pod} otherwise and give its address with --url "
            "(of a fraud worker to flywheel erase with --fraud-url)."
        )
    return found


@contextlib.contextmanager
def _forwarding(namespace: str, target: Target = STORE) -> Iterator["subprocess.Popen[bytes]"]:
    kubectl = _kubectl(target)
    command = [kubectl, "port-forward", "--address=127.0.0.1", f"--namespace={namespace}", f"pod/{target.pod}"]
    process = subprocess.Popen(  # noqa: S603 - a list of arguments, no shell
        [*command, f":{target.port}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        # An interrupt in an interactive prompt is for the line that is typed, not for the forwarding.
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout:
            process.stdout.close()


def _port(process: "subprocess.Popen[bytes]", namespace: str, target: Target = STORE) -> int:
    deadline = time.monotonic() + START_TIMEOUT
    words = b""
    stream = process.stdout
    while stream and (left := deadline - time.monotonic()) > 0 and len(words) < _MOST_WORDS:
        if not select.select([stream], [], [], left)[0]:
            break
        piece = stream.read1(4096)  # type: ignore[attr-defined]
        if not piece:
            break
        words += piece
        if said := _SAID.search(words):
            return int(said[1])
    reason = words.decode(errors="replace").strip() or f"it said nothing for {START_TIMEOUT:g} s"
    raise click.ClickException(_unreached(namespace, target, reason))


def _unreached(namespace: str, target: Target, reason: str) -> str:
    return (
        f"The {target.name} of the namespace {namespace} cannot be reached: {reason}\nIs there {target.needs} in it, "
        f"and is the pod {target.pod} running? (kubectl get pods -n {namespace})"
    )
