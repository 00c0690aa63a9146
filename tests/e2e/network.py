"""Processes of this machine in the network of the lab, where pods and the operator reach them by the node's address."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from http.server import BaseHTTPRequestHandler
from typing import TypeVar

import pytest
from tests.answering import ManyAtOnce
from tests.lab.cluster import lifecycle
from tests.lab.cluster.client import Cluster
from tests.lab.cluster.forward import enter_network
from tests.lab.cluster.paths import NODE_ADDRESS

T = TypeVar("T")
SECONDS = 120.0


def within(cluster: Cluster, work: Callable[[], T]) -> T:
    """Do something in the network of the lab: the sockets and threads that it makes stay there."""
    pid = first_process(cluster)
    done: Future[T] = Future()

    def do() -> None:
        try:
            enter_network(pid)
            done.set_result(work())
        except BaseException as problem:  # noqa: BLE001 - told to whoever waits
            done.set_exception(problem)

    threading.Thread(target=do, daemon=True).start()
    return done.result(SECONDS)


def first_process(cluster: Cluster) -> int:
    """The process whose network is the lab's; tests that need it are skipped on a cluster of somebody's own."""
    if not cluster.lab:
        pytest.skip("the servers of this test are processes of this machine, in the network of the lab")
    return lifecycle.first_process(cluster.lab).pid


class Answering:
    """An HTTP server in the network of the lab."""

    def __init__(self, cluster: Cluster, handler: type[BaseHTTPRequestHandler]) -> None:
        def begin() -> ManyAtOnce:
            made = ManyAtOnce((NODE_ADDRESS, 0), handler)
            threading.Thread(target=made.serve_forever, args=(0.05,), daemon=True).start()
            return made

        self._server = within(cluster, begin)

    @property
    def address(self) -> str:
        """Host and port."""
        return f"{NODE_ADDRESS}:{self._server.server_address[1]}"

    def stop(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()
