"""Run the benchmarks: `python -m tests.bench [NAME]`. The figures go to build/bench.json and to the screen."""

import importlib
import os
import sys
import time

from tests.bench.rows import Row, table, write
from tools.bootstrap.steps import REPOSITORY

BENCHMARKS = (
    "decision",
    "experiment",
    "running_tests",
    "edge",
    "edge_tests",
    "edge_map",
    "sidecar",
    "fraud_block",
    "store",
    "one_campaign",
    "many_campaigns",
    "kpi",
    "arms",
    "fraud_backtest",
    "release",
    "push",
    "fraud_engine",
    "fraud_lists",
)
"""Each a module beside this one, with a function `measure() -> list[Row]`."""
EXAMPLES = ("examples/shop", "examples/618")
"""Where the steps of the end-to-end tests find the shop and its crowd; pytest has the same paths."""


def main(only: str = "") -> int:
    """Run all benchmarks, or one; give the exit status of the process: 1 where a target is missed."""
    if only and only not in BENCHMARKS:
        print(f"there is no benchmark {only}: take one of {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    sys.path += [str(REPOSITORY / path) for path in EXAMPLES]
    rows: list[Row] = []
    for name in BENCHMARKS:
        if only in ("", name):
            began = time.monotonic()
            print(f"{name}: load average {os.getloadavg()[0]:.1f} before it, on {os.cpu_count()} cores", flush=True)
            found = importlib.import_module(f"tests.bench.{name}").measure()
            rows += found
            print(f"{table(found)}\n{name} took {time.monotonic() - began:.0f} s\n", flush=True)
            write(rows, REPOSITORY / "build/bench.json")
    return int(any(row.met is False for row in rows))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
