"""Apache Flink as a peer: the same rules as Flink SQL, run by real Flink on a log in a file, one after the other.

Planning a script and starting its job takes seconds and nothing of an event. So each rule is run on a short log and on
a long one, after a run on the long one that is not counted: what the long one takes more is what its events take. The
time is the processor's, of all threads of Java, at a parallelism of 1.
"""

import json
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.unit.fraud_flink.log import write
from tools.bootstrap.peers import ensure_flink_python

from flywheel.fraud.flink_sql import Connection, statements
from flywheel.fraud.rule import Rule
from flywheel.fraud.words import Event

SERVER = Path(__file__).parents[1] / "unit/fraud_flink/flink_server.py"
SHORT = 1_000
"""Events of the short log."""
WITHIN = 1_800
"""Seconds for everything."""
OPTIONS = ("--java=-Xmx3g", "--java=-XX:TieredStopAtLevel=4")
"""Java gets more memory than in tests, and compiles what it runs often as well as it can."""


@dataclass(frozen=True)
class Judged:
    """What Flink says of one rule."""

    rate: float
    """Events a second of processor time, without planning."""
    hits: int


def prepare() -> Path:
    """Have Flink and a Java installed; give the Python that starts them."""
    return ensure_flink_python()


def judged(python: Path, rules: Sequence[Rule], log: list[Event]) -> list[Judged]:
    """Judge a log by each rule alone.

    Raises:
        RuntimeError: Flink has refused a script; the message is Flink's.
    """
    with tempfile.TemporaryDirectory(prefix="flywheel-flink-") as folder:
        home = Path(folder)
        write(log[:SHORT], home / "short/log.json")
        write(log, home / "long/log.json")
        lengths = ("long", "short", "long")
        runs = [(rule, length, f"{rule.name}-{n}") for rule in rules for n, length in enumerate(lengths)]
        taken = _taken(python, [_script(home, *each) for each in runs])
        return [
            Judged((len(log) - SHORT) / (taken[3 * n + 2] - taken[3 * n + 1]), _lines(home / f"{rule.name}-2"))
            for n, rule in enumerate(rules)
        ]


def _script(home: Path, rule: Rule, length: str, name: str) -> dict[str, Any]:
    source = Connection(_files(home / length), lane="INT", place="BIGINT")
    sink = Connection(_files(home / name), lane="", place="")
    settings = {"parallelism.default": "1"}
    return {"name": name, "statements": statements(rule, source, sink), "settings": settings}


def _taken(python: Path, scripts: Sequence[dict[str, Any]]) -> list[float]:
    """Run scripts one after the other; give the processor time of each."""
    done = subprocess.run(
        [python, SERVER, "--at-once=1", *OPTIONS],
        input="".join(json.dumps(each) + "\n" for each in scripts),
        stdout=subprocess.PIPE,
        text=True,
        timeout=WITHIN,
        check=True,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    if wrong := [f"{each['name']}: {each['error'][:3000]}" for each in answers if each["error"]]:
        raise RuntimeError("; ".join(wrong))
    return [each["processor"] for each in answers]


def _files(path: Path) -> tuple[tuple[str, str], ...]:
    return (("connector", "filesystem"), ("path", str(path)), ("format", "json"))


def _lines(folder: Path) -> int:
    return sum(len(part.read_text().splitlines()) for part in folder.glob("part-*"))
