"""The 618 campaign on a real Kubernetes, start to end, in about three minutes. `make demo` runs it."""

import argparse
import asyncio
import json
import os
import signal
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1])]

from tests.lab.cluster.client import CommandFailedError, chosen_cluster  # noqa: E402
from tools.bootstrap.steps import CannotContinueError  # noqa: E402

from rehearsal.compress import Pace  # noqa: E402 - the path is set above
from rehearsal.play import Play  # noqa: E402
from rehearsal.screen import Screen  # noqa: E402
from rehearsal.stand import Stand  # noqa: E402
from rehearsal.verdict import Seen  # noqa: E402

NAMESPACE = "yougou"


def main() -> int:
    """Run the demo. The exit code is 0 only when everything that it claims was seen to happen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--keep", action="store_true", default=bool(os.environ.get("KEEP")), help="leave it up at the end"
    )
    options = parser.parse_args()
    # A stop asked for by another program is a stop asked for at the keyboard.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    screen = Screen()
    stand = Stand(chosen_cluster(), NAMESPACE, screen)
    code = 1
    try:
        code = _demo(stand, screen, options.keep)
    except KeyboardInterrupt:
        screen.end()
        screen.say("Stopped; one moment, what the demo made is being removed.")
        code, options.keep = 130, False
    except (CannotContinueError, CommandFailedError, TimeoutError) as problem:
        screen.end()
        screen.say(f"error: {problem}")
    finally:
        if not options.keep:
            stand.strike()
    return code


def _demo(stand: Stand, screen: Screen, keep: bool) -> int:
    pace = Pace()
    screen.say(
        "优购网 618: a sale of three days, prepared, opened to a crowd, closed and removed, on a real Kubernetes."
    )
    screen.say(f"The cluster is {stand.describe()}.")
    screen.say(f"Days become seconds here: all is over about {pace.total} s after the campaign is applied.")
    screen.say()
    image = stand.build()
    play = Play(stand.cluster, screen, image, NAMESPACE, pace)
    seen = asyncio.run(play.perform())
    _tell(seen, screen)
    problems = seen.problems()
    if keep:
        stand.stay(play, image)
    for problem in problems:
        screen.say(screen.ink.warn(f"NOT SEEN  {problem}"))
    screen.say(
        screen.ink.good("Seen: every stage, a warm start, the autoscaler at work, and nothing left behind.")
        if not problems
        else "The demo failed."
    )
    return 1 if problems else 0


def _tell(seen: Seen, screen: Screen) -> None:
    screen.say()
    screen.say(screen.ink.bold("What happened"))
    screen.say(f"stages    {' -> '.join(seen.stages)}")
    screen.say(f"size      {seen.service}: {seen.warm} ready before the start, {seen.most_ready} at most while live")
    screen.say(
        f"visitors  {seen.answers} pages at this machine; the crowd: {json.dumps(seen.crowd, ensure_ascii=False)}"
    )
    screen.say("report    the campaign's own, from its ConfigMap:")
    for line in json.dumps((seen.report or {}).get("teardown"), indent=2, ensure_ascii=False).splitlines():
        screen.say(f"          {line}")


if __name__ == "__main__":
    sys.exit(main())
