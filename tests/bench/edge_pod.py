"""One edge pod in a process of its own, for `edge_orders`: takes documents line by line, and ends with its input."""

import asyncio
import json
import sys
from pathlib import Path

from tests.unit.edge.stand import Edge, Service, edge, until

from flywheel.edge.document import decode


async def run(directory: Path, ports: dict[str, int]) -> None:
    """Run a pod before services that are there already."""
    reader = asyncio.StreamReader(limit=1 << 20)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async with edge(directory, decode(await reader.readline())) as pod:
        for slot, port in ports.items():
            await _point(pod, slot, port)
        print(pod.port, flush=True)
        while line := await reader.readline():
            pod.order(decode(line))


async def _point(pod: Edge, slot: str, port: int) -> None:
    service = Service(slot)
    service.port = port
    pod.pods(f"web-{slot}", service)

    async def is_known() -> bool:
        servers = (await pod.api.servers())[f"web:{slot}"].values()
        return [each.port for each in servers if each.enabled] == [port]

    await until(is_known, f"HAProxy knows the pod of {slot}")


if __name__ == "__main__":
    told = json.loads(sys.argv[1])
    asyncio.run(run(Path(told.pop("directory")), told))
