"""How a step of the preparation runs, says how far it is, and fails."""

import fcntl
import os
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
HEARTBEAT_SECONDS = 30
OUTPUT_TAIL_LINES = 30


class CannotContinueError(Exception):
    """Something is missing that this program cannot install; the message says what, and what a person can do."""


def cache_directory() -> Path:
    """Return the directory outside the tree that keeps everything built or downloaded."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "flywheel"


def say(message: str) -> None:
    """Tell the person at the terminal what is being done."""
    print(message, file=sys.stderr, flush=True)


@contextmanager
def step(title: str, usually: str = "") -> Iterator[None]:
    """Announce `title`, say every half minute that it still runs, and how long it took at the end."""
    say(f"• {title}" + (f" (usually {usually})" if usually else ""))
    started = time.monotonic()
    finished = threading.Event()

    def beat() -> None:
        while not finished.wait(HEARTBEAT_SECONDS):
            say(f"  … still at it after {time.monotonic() - started:.0f} s")

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        finished.set()
        thread.join()
    say(f"  done in {time.monotonic() - started:.0f} s")


def run(command: Sequence[str | Path], *, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> str:
    """Run `command` quietly and return its output.

    Raises:
        CannotContinueError: it failed; the message ends with the last lines that it printed.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words,
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    except OSError as problem:
        raise CannotContinueError(f"{words[0]} cannot be run: {problem}") from problem
    if done.returncode != 0:
        tail = "\n".join(done.stdout.splitlines()[-OUTPUT_TAIL_LINES:])
        raise CannotContinueError(f"this command ended with code {done.returncode}:\n  {shlex.join(words)}\n{tail}")
    return done.stdout


@contextmanager
def locked(file: Path, other: str) -> Iterator[None]:
    """Let only one program at a time do this; a second one says that it waits for `other`."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"• Waiting for {other} to end")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
