"""Trying a model in a process of its own, so that one that crashes, grows or never ends takes nobody with it.

`python -m flywheel.fraud.modeltrial` reads the file from its input and writes what came of it as one JSON object.
"""

import asyncio
import contextlib
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from flywheel.fraud.modelfacts import LARGEST, ModelFacts
from flywheel.fraud.modelfile import UnfitModel

SECONDS = 90.0
"""For a whole trial, scikit-learn's start included, on a machine that has little time for it."""
CPU_SECONDS = 30
"""Of the processor, which an honest trial never needs."""
MEMORY = 3 << 29
"""Bytes of addresses: three times what scikit-learn takes with a model of the largest size."""
ROWS = 100
"""As many events as are judged at once."""
SLOWEST = 0.25
"""Seconds of the processor that these may take: events of a whole campaign wait for each other."""
SLOWEST_ONE = 0.05
"""Seconds that a single event may take."""
_KEPT = ("PATH", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "HOME", "LD_LIBRARY_PATH")
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


class Trial(msgspec.Struct, frozen=True, omit_defaults=True):
    """What came of a trial."""

    problem: str = ""
    """Why the model is not used; empty where it is."""
    facts: ModelFacts | None = None


_decode = msgspec.json.Decoder(Trial).decode


async def try_model(data: bytes, seconds: float = SECONDS) -> Trial:
    """Try a model in a process of its own.

    Args:
        data: The file.
        seconds: After which it is given up.
    """
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ} | _ONE_THREAD
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "flywheel.fraud.modeltrial",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        env=environment,
    )  # fmt: skip
    try:
        async with asyncio.timeout(seconds):
            told, _ = await process.communicate(data)
    except TimeoutError:
        return Trial(f"it could not be tried within {seconds:g} s: train a smaller one")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        return Trial(
            f"the process that tried it ended with {process.returncode} (negative: the number of a signal), as a "
            "forged or far too large model does: train and dump it again"
        )
    try:
        return _decode(told)
    except msgspec.DecodeError:
        return Trial("the process that tried it says nothing that can be read: train and dump it again")


def judge(data: bytes) -> Trial:
    """Try a model in this process."""
    try:
        from flywheel.fraud.model import LoadedModel

        model = LoadedModel(data)
        spent = {count: _spent(model.score, count, model.facts.features) for count in (1, ROWS)}
    except UnfitModel as error:
        return Trial(str(error))
    except MemoryError:
        return Trial(f"it needs more than {MEMORY} bytes of memory: train a smaller one")
    if spent[ROWS] > SLOWEST or spent[1] > SLOWEST_ONE:
        return Trial(
            f"it takes {spent[1]:.3f} s for one event and {spent[ROWS]:.3f} s for {ROWS}; at most {SLOWEST_ONE:g} s "
            f"and {SLOWEST:g} s are allowed: train fewer or smaller trees"
        )
    return Trial(facts=model.facts)


def _spent(score: Callable[[NDArray[np.float64]], object], rows: int, features: int) -> float:
    """Give the seconds of the processor for some rows, at best of three."""
    asked = np.random.default_rng(0).normal(size=(rows, features))
    best = float("inf")
    for _ in range(3):
        began = time.process_time()
        score(asked)
        best = min(best, time.process_time() - began)
    return best


def main() -> int:
    """Try the model that is read from the input."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):
        os.nice(5)
        # Where the pod has no memory left, it is this process that goes, and not the worker.
        Path("/proc/self/oom_score_adj").write_text("1000", "ascii")
    data = sys.stdin.buffer.read(LARGEST + 1)
    # What a library prints must not stand where the answer is read.
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    with answer:
        answer.write(msgspec.json.encode(judge(data)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
