"""Give orders to the first process of a lab."""

import json
import signal
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.lab.cluster.paths import Lab

ANSWER_SECONDS = 10


def start(lab: Lab, name: str, argv: Sequence[str | Path]) -> None:
    """Start the program `name` and keep it running; its output goes to the lab's logs."""
    _order(
        lab, {"do": "start", "name": name, "argv": [str(word) for word in argv], "log": str(lab.logs / f"{name}.log")}
    )


def stop(lab: Lab, name: str, number: int = signal.SIGKILL) -> None:
    """Send the program `name` a signal and do not start it again when it ends."""
    _order(lab, {"do": "stop", "name": name, "signal": int(number)})


def resume(lab: Lab, name: str) -> None:
    """Start the program `name` again after `stop`."""
    _order(lab, {"do": "resume", "name": name})


def programs(lab: Lab) -> dict[str, dict[str, Any]]:
    """Return each program with whether it is running, for how many seconds, and how often it was started again.

    Raises:
        OSError: the lab is not running.
    """
    found: dict[str, dict[str, Any]] = _order(lab, {"do": "list"})["programs"]
    return found


def _order(lab: Lab, order: dict[str, Any]) -> dict[str, Any]:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(ANSWER_SECONDS)
        connection.connect(str(lab.control_socket))
        with connection.makefile("rw", encoding="utf-8") as stream:
            stream.write(json.dumps(order) + "\n")
            stream.flush()
            answer: dict[str, Any] = json.loads(stream.readline())
    if "error" in answer:
        raise RuntimeError(f"lab {lab.name} could not {order['do']} {order.get('name', '')}: {answer['error']}")
    return answer
