"""How many requests the running HAProxy has counted: what the records of its access log are compared with."""

from flywheel.edge.render import EDGE_FRONTEND
from flywheel.edge.runtime_api import RuntimeApiError, ask
from flywheel.events.losses import WorkerCount

_ORDER = f"show info;show stat {EDGE_FRONTEND} 1 -1"


async def worker_counts(stats_socket: str) -> dict[int, WorkerCount]:
    """Ask the running process, in one order, so that all of the answer is of one process and one moment.

    Raises:
        RuntimeApiError: It does not answer, or not as expected.
    """
    return parse_counts(await ask(stats_socket, _ORDER))


def parse_counts(text: str) -> dict[int, WorkerCount]:
    """Read the answers to `show info` and `show stat`, one after the other.

    Raises:
        RuntimeApiError: They are none.
    """
    information, _, table = text.partition("\n# pxname")
    found = dict(line.split(": ", 1) for line in information.splitlines() if ": " in line)
    lines = [line.split(",") for line in f"# pxname{table}".splitlines() if line]
    try:
        columns = dict(zip(lines[0], lines[1], strict=False))
        return {int(found["Pid"]): WorkerCount(int(columns["req_tot"]), int(columns["scur"]))}
    except (KeyError, ValueError, IndexError) as error:
        raise RuntimeApiError(f"HAProxy's counters cannot be understood: {text[:200]!r}") from error
