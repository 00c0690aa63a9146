"""Making visits and plans from the YAML that people write."""

from collections.abc import Callable
from typing import Any

import yaml

from flywheel.api.gate_browser import BrowserGate
from flywheel.release.gate.browser.runner import Visit, visit
from flywheel.release.gate.browser.steps import Plan, plan_at


def gate(steps: str, **fields: Any) -> BrowserGate:
    return BrowserGate.model_validate({"steps": yaml.safe_load(steps), **fields})


def plan(address: str, steps: str = "[{open: /}]", headers: dict[str, str] | None = None, **fields: Any) -> Plan:
    return plan_at(gate(steps, **fields), address, headers or {})


async def look(address: str, steps: str, headers: dict[str, str] | None = None, **fields: Any) -> Visit:
    return await visit(plan(address, steps, headers, **{"stepTimeout": "1m", **fields}))


async def look_in_vain(address: str, steps: str, until: Callable[[Visit, str], bool]) -> Visit:
    """Look at what does not come, for a short time; for longer where the machine was too slow to get that far."""
    for seconds in (1, 5, 30):
        visited = await look(address, steps, stepTimeout=f"{seconds}s")
        if until(visited, f"{seconds} s"):
            break
    return visited
