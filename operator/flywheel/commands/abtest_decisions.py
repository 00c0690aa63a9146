"""What a person can say about a test, and what is then written on it. Pure.

The operator reads commands off annotations, and goes on reading them after it was killed. What a spec says is only
changed where the command is about the spec: a pause, and more time.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from flywheel.api.abtest_decision import Decision
from flywheel.api.quantities import read_duration
from flywheel.commands.abtest_seen import OVER, SeenTest
from flywheel.commands.release_seen import Refusal
from flywheel.plan import Manifest

PREFIX = "flywheel.dev/"
LONGEST = timedelta(days=180)
"""As admission has it: a test of half a year answers a question that nobody asks any more."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is written, and what is said of it."""

    patch: Manifest | None
    """None: it is so already."""
    notes: tuple[str, ...]


def pause(seen: SeenTest) -> Order:
    """Pause a test."""
    _must_go_on(seen, "pause")
    if seen.told.state == "Decided":
        raise Refusal(f"{_named(seen)} has its verdict: nobody is assigned any more, so there is nothing to pause.")
    if seen.spec.get("suspend"):
        return Order(None, (f"{_named(seen)} is paused already.",))
    return Order(
        {"spec": {"suspend": True}},
        (
            f"{_named(seen)} pauses: everybody gets {seen.control}, nothing is counted, and its clock stands still.",
            f"Go on with: {seen.place.command('resume')}",
            _OF_GIT,
        ),
    )


def resume(seen: SeenTest) -> Order:
    """Let a paused test go on."""
    _must_go_on(seen, "resume")
    if not seen.spec.get("suspend"):
        told = f"{_named(seen)} is not paused by a person"
        why = f": it is {seen.told.state}" if seen.told.state != "Paused" else f": {_message(seen)}"
        return Order(None, (f"{told}{why}.",))
    return Order(
        {"spec": {"suspend": False}},
        (f"{_named(seen)} goes on: each visitor has the variant from before.", _OF_GIT),
    )


def stop(seen: SeenTest, now: datetime) -> Order:
    """End a test for good."""
    _must_go_on(seen, "stop")
    if seen.told.state == "Decided" and seen.winner and seen.promotes == "Automatic":
        raise Refusal(
            f"{_named(seen)} has found {seen.winner} better, and {seen.winner} is being released. Stop the release: "
            f"{seen.place.program} release abort {seen.campaign} {seen.service}{seen.place.scope}"
        )
    if PREFIX + "stop" in seen.annotations:
        return Order(None, (f"{_named(seen)} is told to stop already. If it does not: is the operator running?",))
    notes = [f"{_named(seen)} stops for good: everybody gets {seen.control}. What was counted stays in its report."]
    if seen.told.decision is None:
        notes.append("There was no verdict yet: what the figures say now proves nothing.")
    return Order(_annotated("stop", now.strftime("%Y-%m-%dT%H:%M:%SZ")), tuple(notes))


def promote(seen: SeenTest, variant: str) -> Order:
    """Release a variant to everybody.

    Args:
        seen: The test.
        variant: Its name; empty for the winner.
    """
    _must_go_on(seen, "promote")
    decision = seen.told.decision
    if seen.promotes == "Never":
        raise Refusal(
            f"{_named(seen)} has decision.promote: Never, so the operator releases nothing of it. See what to commit: "
            f"{seen.place.command('adopt')}"
        )
    if seen.told.state != "Decided" or decision is None:
        raise Refusal(
            f"{_named(seen)} is {seen.told.state} and has no verdict yet: what is ahead now may be chance. Wait for "
            f"it, or end the test ({seen.place.command('stop')}) and release the variant by its Campaign."
        )
    chosen = variant or seen.winner
    if not chosen:
        raise Refusal(
            f"{_named(seen)} has no winner ({decision.verdict}). If you want one of its variants all the same, name it "
            f"with --variant: {', '.join(seen.challengers)}."
        )
    if chosen not in seen.challengers:
        what = "the control, which everybody gets anyhow" if chosen == seen.control else "no variant of it"
        raise Refusal(f"{chosen!r} is {what}. There are: {', '.join(seen.challengers)}.")
    if seen.annotations.get(PREFIX + "promote") == chosen:
        return Order(None, (f"{_named(seen)} is told to promote {chosen} already. See how it goes: {_release(seen)}",))
    notes = [f"{chosen} is released as {seen.service} of {seen.campaign}, through the gates of its release."]
    if chosen != seen.winner:
        notes.append(f"The test has not found {chosen} better: its verdict is {decision.verdict}.")
    notes += [f"See how it goes: {_release(seen)}", f"Then bring it to Git: {seen.place.command('adopt')}"]
    return Order(_annotated("promote", chosen), tuple(notes))


def extend(seen: SeenTest, more: timedelta) -> Order:
    """Give a test more time."""
    _must_go_on(seen, "extend")
    if seen.told.state == "Decided":
        raise Refusal(f"{_named(seen)} has its verdict: more time changes nothing. Make a new ABTest to look again.")
    if more <= timedelta():
        raise Refusal("Say by how much, such as --for 7d.")
    given = (seen.spec.get("decision") or {}).get("maximumDuration")
    before = read_duration(given) if given else Decision().maximum_duration
    after = before + more
    if after > LONGEST:
        raise Refusal(
            f"{_named(seen)} may run for {written(before)} already, and at most {written(LONGEST)} are allowed: extend "
            f"it by at most {written(LONGEST - before)}."
            if before < LONGEST
            else f"{_named(seen)} may run for {written(before)} already, which is the most there is."
        )
    notes = [f"{_named(seen)} may run for {written(after)} instead of {written(before)}.", _OF_GIT]
    if (seen.spec.get("schedule") or {}).get("endsAt"):
        notes.insert(1, "Its schedule.endsAt ends it all the same: change that, too, if it comes earlier.")
    return Order({"spec": {"decision": {"maximumDuration": written(after)}}}, tuple(notes))


def written(span: timedelta) -> str:
    """Write a duration as a spec has it: 21d, 1d12h, 90s."""
    left, parts = int(span.total_seconds()), []
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m"), (1, "s")):
        if left >= size:
            parts.append(f"{left // size}{unit}")
            left %= size
    return "".join(parts) or "0s"


_OF_GIT = "If the test comes from Git, say the same there, or the next sync takes it back."


def _annotated(command: str, text: str) -> dict[str, Any]:
    return {"metadata": {"annotations": {PREFIX + command: text}}}


def _must_go_on(seen: SeenTest, verb: str) -> None:
    if seen.told.state in OVER:
        said = f": {_message(seen)}" if _message(seen) else ""
        raise Refusal(f"{_named(seen)} is {seen.told.state}, so there is nothing to {verb}{said}.")


def _message(seen: SeenTest) -> str:
    ready = seen.told.condition("Ready")
    return ready.message.rstrip(".") if ready else ""


def _named(seen: SeenTest) -> str:
    return f"The test {seen.place.test}"


def _release(seen: SeenTest) -> str:
    return f"{seen.place.program} release status {seen.campaign} --watch{seen.place.scope}"
