"""Load that counts every request that was not answered, and tells who answered whom until when.

It runs `sample load` (tests/lab/sample) as a process in the lab's network, so that it reaches Services and pods by
their addresses; on a person's own cluster in a pod; without a cluster on this machine. No request is ever sent again.
One that was sent on a kept connection and died with it has failed, whatever its method.

    with Load(cluster, Target("post", url, mode="post"), Target("page", url)) as load:
        ...
        load.until_answered("page", "v2")
        report = load.stop()
    assert not report.failed, report.describe()
"""

import json
import queue
import subprocess
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, Self

from tests.lab.cluster import lifecycle
from tests.lab.cluster.api import wait_until
from tests.lab.cluster.client import Cluster
from tests.lab.cluster.sample_image import ensure_sample
from tests.load_report import Report
from tools.bootstrap import single

Mode = Literal["ka", "post", "close"]
"""GET on kept connections, POST on kept ones, GET with a connection each."""

READY_SECONDS = 30.0
ANSWER_SECONDS = 10.0
SLOW_START_SECONDS = 120.0
"""A pod of a person's own cluster may have to pull the image first."""

RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


@dataclass(frozen=True)
class Target:
    """One load: where it goes, and how."""

    name: str
    url: str
    mode: Mode = "ka"
    clients: int = 8
    think: int = 10
    """Milliseconds between an answer and a client's next request."""
    headers: Mapping[str, str] = field(default_factory=dict)


class Load:
    """A load at work from the beginning of the `with` block until `stop` or the block's end."""

    def __init__(
        self,
        cluster: Cluster | None,
        *targets: Target,
        host: str = "",
        timeout: float = 10.0,
        ready: float = READY_SECONDS,
        namespace: str = "default",
    ) -> None:
        """Prepare, but do not start.

        Args:
            cluster: Where it runs; None is this machine.
            targets: What is asked, all at the same time.
            host: The Host of each request; by default that of the URL.
            timeout: Seconds after which a request without its answer has failed.
            ready: Seconds to wait for a first answer of each target, which is not counted.
            namespace: Where its pod is, on a cluster that is not the lab.
        """
        self._cluster, self._namespace = cluster, namespace
        self._timeout, self._ready = timeout, ready
        self._options = ["load", f"--timeout={timeout}s", f"--ready={ready}s"]
        self._options += [f"--host={host}"] if host else []
        for each in targets:
            self._options.append(f"--load={each.name}={each.url},{each.mode},{each.clients},{each.think}")
            self._options += [f"--header={each.name}/{name}: {value}" for name, value in each.headers.items()]
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._said: list[str] = []
        self._process: subprocess.Popen[str] | None = None
        self._summary: Report | None = None

    def __enter__(self) -> Self:
        """Start it, and return when each target has answered once.

        Raises:
            AssertionError: a target did not answer well in time; the message says which, and what came instead.
        """
        command = [*_prefix(self._cluster, self._namespace), *self._options]
        environment = self._cluster.environment if self._cluster else None
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environment)
        self._threads = [threading.Thread(target=each, daemon=True) for each in (self._read, self._listen)]
        for thread in self._threads:
            thread.start()
        try:
            starting = ANSWER_SECONDS if self._cluster is None or self._cluster.lab else SLOW_START_SECONDS
            self._next("ready", self._ready + self._timeout + starting)
        except BaseException:
            self._kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it, if `stop` has not."""
        try:
            if error is None:
                self.stop()
        finally:
            self._kill()

    def snapshot(self) -> Report:
        """Say what there was until now; the load goes on."""
        assert self._process, "the load has not begun"
        if self._summary:
            return self._summary
        self._order("snapshot\n")
        return Report.of(self._next("snapshot", ANSWER_SECONDS))

    def stop(self) -> Report:
        """Let the requests under way end, and say what there was; asked again it says the same."""
        assert self._process, "the load has not begun"
        assert self._process.stdin
        if self._summary is None:
            self._process.stdin.close()
            self._summary = Report.of(self._next("summary", self._timeout + ANSWER_SECONDS))
        return self._summary

    def until_answered(self, load: str, version: str, within: float = 60.0) -> Report:
        """Wait until a load has an answer of a version, and return what there was by then.

        Raises:
            AssertionError: it has none in time; the message says who answered instead.
        """
        return self.until(lambda report: version in report[load].versions, f"an answer of {version} to {load}", within)

    def until(self, holds: Callable[[Report], object], what: str, within: float = 60.0) -> Report:
        """Wait until a report fulfils a condition, and return that report.

        Raises:
            AssertionError: none did in time; the message has the last one.
        """
        last: list[Report] = []

        def look() -> bool:
            last[:] = [self.snapshot()]
            return bool(holds(last[0]))

        try:
            wait_until(look, what, within)
        except TimeoutError as problem:
            raise AssertionError(f"{problem}; {last[0].describe()}") from problem
        return last[0]

    def _order(self, text: str) -> None:
        assert self._process
        assert self._process.stdin
        try:
            self._process.stdin.write(text)
            self._process.stdin.flush()
        except OSError as problem:
            raise AssertionError(f"the load has ended before its time: {self._last_words()}") from problem

    def _next(self, event: str, seconds: float) -> dict[str, Any]:
        """Give the next line of one sort; one of another sort belongs to a question that nobody waits for any more."""
        while True:
            try:
                line = self._lines.get(timeout=seconds)
            except queue.Empty as problem:
                raise AssertionError(f"the load did not say '{event}' within {seconds:.0f} s") from problem
            if line is None:
                raise AssertionError(f"the load has ended before it said '{event}': {self._last_words()}")
            found: dict[str, Any] = json.loads(line)
            if found["event"] == event:
                return found

    def _read(self) -> None:
        assert self._process
        assert self._process.stdout
        for line in self._process.stdout:
            if line.startswith("{"):
                self._lines.put(line)
        self._lines.put(None)

    def _listen(self) -> None:
        assert self._process
        assert self._process.stderr
        for line in self._process.stderr:
            self._said = [*self._said[-20:], line.strip()]

    def _last_words(self) -> str:
        self._threads[1].join(ANSWER_SECONDS)
        return "; ".join(self._said) or "it said nothing"

    def _kill(self) -> None:
        assert self._process
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(ANSWER_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        for thread in self._threads:
            thread.join(ANSWER_SECONDS)
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream:
                stream.close()


def _prefix(cluster: Cluster | None, namespace: str) -> Sequence[str]:
    """Give the command that runs the sample program where the cluster's addresses mean something."""
    if cluster is None:
        return [str(single.ensure_sample())]
    if cluster.lab:
        init = lifecycle.first_process(cluster.lab)
        return ["nsenter", "--net", f"--target={init.pid}", str(single.ensure_sample())]
    name, image = f"load-{uuid.uuid4().hex[:8]}", ensure_sample(None).image
    options = ["--restart=Never", "--stdin", "--rm", "--quiet", f"--image={image}", f"--namespace={namespace}"]
    # Some namespaces of tests admit only pods of the restricted standard.
    confined = {"spec": {"containers": [{"name": name, "securityContext": RESTRICTED}]}}
    options += ["--override-type=strategic", f"--overrides={json.dumps(confined)}"]
    return ["kubectl", "run", name, *options, "--command", "--", "/sample"]
