"""The 618 campaign on a real Kubernetes, start to end, in about nine minutes. `make demo` runs it."""

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

from rehearsal.abtest import in_words  # noqa: E402 - the path is set above
from rehearsal.compress import Pace  # noqa: E402
from rehearsal.play import Play  # noqa: E402
from rehearsal.screen import Screen  # noqa: E402
from rehearsal.stand import Stand  # noqa: E402
from rehearsal.store import remove_store  # noqa: E402
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
    stand.build()
    play = Play(stand.cluster, screen, NAMESPACE, pace)
    seen = asyncio.run(play.perform())
    _tell(seen, screen)
    problems = seen.problems()
    if keep:
        stand.stay(play)
    elif left := remove_store(stand.cluster, NAMESPACE, play.name, screen):
        problems.append(f"the event store was not removed: {', '.join(left)}")
    for problem in problems:
        screen.say(screen.ink.warn(f"NOT SEEN  {problem}"))
    screen.say(
        screen.ink.good(
            "Seen: every stage, a warm start, growth with the flood and back, a green button that an A/B test found"
            " better and released, two releases and one that was stopped, hunters blocked and no honest crowd harmed,"
            " no failed request, each order counted once, nothing left."
        )
        if not problems
        else "The demo failed."
    )
    return 1 if problems else 0


def _tell(seen: Seen, screen: Screen) -> None:
    screen.say()
    screen.say(screen.ink.bold("What happened"))
    screen.say(f"stages    {' -> '.join(seen.stages)}")
    screen.say(
        f"size      {seen.service}: {seen.warm} ready before the start, {seen.most_ready} at most while live,"
        f" {seen.fewest_after} after the flood"
    )
    for load in seen.busiest.values():
        screen.say(f"load      {load.current:g} {load.name} for each replica at most, target {load.target:g}")
    _tell_releases(seen, screen)
    _tell_abtest(seen, screen)
    _tell_fraud(seen, screen)
    screen.say(f"visitors  by channel, as the Campaign tells: {_told(seen.channels)}")
    figures = seen.accounts.report or {}
    if seen.crowd:
        views, people = seen.crowd["page_views"], seen.crowd["visitors"]
        mine = seen.answers + 1
        screen.say(
            f"visits    the simulator's own count: {views} page views of {people} people, {mine} of the one here, and"
            f" one each of the {seen.abtest.fresh.total()} who looked at the winner, and of the {seen.fraud.visits}"
            " visits of hunters and crowds"
        )
    screen.say(f"          the report: {figures.get('pageViews')} page views of {figures.get('visitors')} people")
    _tell_accounts(seen, screen)
    screen.say("report    the campaign's own, from its ConfigMap:")
    told = {name: (seen.report or {}).get(name) for name in ("kpis", "teardown")}
    for line in json.dumps(told, indent=2, ensure_ascii=False).splitlines():
        screen.say(f"          {line}")


def _tell_releases(seen: Seen, screen: Screen) -> None:
    for index, told in enumerate(seen.releases.values()):
        paint = screen.ink.warn if told.problems() else screen.ink.good
        screen.say(f"{'releases' if not index else '':<10}" + paint(str(told)))
    if seen.crowd:
        screen.say(f"          of the crowd's {seen.crowd['requests']:,} requests {seen.crowd['failed']} failed")


def _tell_abtest(seen: Seen, screen: Screen) -> None:
    test, last = seen.abtest, seen.abtest.last
    paint = screen.ink.warn if test.problems() else screen.ink.good
    screen.say("abtest    " + paint(str(test.told)))
    if last is None:
        return
    screen.say(f"          the test's own count at its verdict: {in_words(last)}")
    sights = (seen.crowd or {}).get("sights", {})
    for name, told in sights.items():
        ways = ", ".join(f"{count} to {step}" for step, count in told["next"].items())
        screen.say(f"          the simulator's own, to its end: {told['visitors']} people saw {name}; they went {ways}")
    saw = ", ".join(f"{count} {name or 'another page'}" for name, count in test.fresh.items())
    screen.say(f"          after the promotion new visitors saw: {saw or 'nothing'}")


def _tell_fraud(seen: Seen, screen: Screen) -> None:
    fraud = seen.fraud
    paint = screen.ink.warn if fraud.problems() else screen.ink.good
    found = ", ".join(f"{each.name} {each.would}" for each in fraud.shadow if each.mode == "Shadow")
    screen.say(f"fraud     in Shadow nobody was stopped; would have been: {found or 'nobody'}")
    screen.say("          " + paint(f"enforced: {fraud.after or 'not seen'}"))


def _told(channels: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(channels.items(), key=lambda each: -each[1]))


def _tell_accounts(seen: Seen, screen: Screen) -> None:
    accounts = seen.accounts
    paint = screen.ink.good if not accounts.problems() else screen.ink.warn
    screen.say("accounts  of orders and revenue:")
    screen.say(f"            the simulator's own count      {accounts.crowd}")
    screen.say(f"            the visitor at this machine    {accounts.person}")
    if accounts.others.orders:
        screen.say(f"            somebody else, such as you     {accounts.others}")
    screen.say(f"            the shop's books               {accounts.shop}")
    screen.say(paint(f"            flywheel kpis                  {accounts.campaign}"))
    figures = accounts.report or {}
    told = f"{figures.get('orders')} orders, {figures.get('revenue')} {figures.get('currency')}"
    screen.say(paint(f"            the report's ConfigMap         {told}, with four digits"))


if __name__ == "__main__":
    sys.exit(main())
