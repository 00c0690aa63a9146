"""What a visit has shown: the pod's last words, and how they are read. Pure."""

import math
from typing import Literal

import msgspec

from flywheel.release.gate.browser.steps import Struct
from flywheel.release.gate.measurement import Measurement, Outcome

LONGEST_RESULT = 3072
"""Bytes: the kubelet keeps 4 KiB of a termination message."""
LONGEST_MESSAGE = 600
LONGEST_WHAT = 120
EXIT_CODES = {"Success": 0, "Failure": 1, "Error": 2}
KILLED = 137
TERMINATED = 143
_FAILED_TO_START = range(125, 128)


class Result(Struct, frozen=True, kw_only=True):
    """The verdict of one visit. `step` counts from 1; 0 is before the first one."""

    outcome: Literal["Success", "Failure", "Error"]
    step: int
    steps: int
    what: str
    """The step for people, such as `click #claim`."""
    message: str
    seconds: float
    pictures: tuple[str, ...] = ()
    """Names of the pictures that were taken."""
    address: str = ""
    evidence: str = ""
    """Where pictures and report are kept, such as `configmap/<name>`; empty where they are not."""

    @property
    def exit_code(self) -> int:
        """How the process ends: 0 passed, 1 a step did not hold, 2 the gate could not look."""
        return EXIT_CODES[self.outcome]

    def sentence(self) -> str:
        """Say it to people."""
        if self.outcome == "Success":
            return self.message
        place = f"step {self.step} of {self.steps}, {self.what}" if self.step else "before the first step"
        return f"{place}: {self.message}"


def encode(result: Result) -> str:
    """Write a result on one line of at most 3 KiB."""
    message, what = one_line(result.message, LONGEST_MESSAGE), one_line(result.what, LONGEST_WHAT)
    bounded = msgspec.structs.replace(
        result, message=message, what=what, seconds=round(result.seconds, 2), pictures=result.pictures[:6]
    )
    text = msgspec.json.encode(bounded)
    while len(text) > LONGEST_RESULT and message:
        # Characters of three bytes, or of six where they are escaped.
        message = message[: len(message) // 2]
        bounded = msgspec.structs.replace(bounded, message=message + "…", what=what[:40])
        text = msgspec.json.encode(bounded)
    return text.decode()


def read_result(termination_message: str, exit_code: int) -> Measurement:
    """Read what a pod of the gate left behind; total, whatever image ran there.

    Args:
        termination_message: The terminated container's message.
        exit_code: Its exit code.
    """
    try:
        result = msgspec.json.decode(termination_message, type=Result)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return Measurement(Outcome.ERROR, _without_words(exit_code)).bounded()
    if exit_code != result.exit_code:
        said = f"the browser said {result.outcome} and then ended with code {exit_code}: {result.sentence()}"
        return Measurement(Outcome.ERROR, one_line(said, LONGEST_MESSAGE)).bounded()
    value = f"{result.steps if result.outcome == 'Success' else max(result.step - 1, 0)}/{result.steps} steps"
    if math.isfinite(result.seconds):
        value += f" in {result.seconds:.1f} s"
    return Measurement(
        Outcome(result.outcome),
        one_line(result.sentence(), LONGEST_MESSAGE),
        value,
        one_line(result.evidence, LONGEST_EVIDENCE),
    ).bounded()


LONGEST_EVIDENCE = 300


def one_line(text: str, limit: int) -> str:
    """Make a text of a page safe for a line in a status: no control characters, spaces once, at most `limit`."""
    plain = " ".join("".join(each if each.isprintable() else " " for each in text[: 4 * limit]).split())
    return plain if len(plain) <= limit else plain[: limit - 1] + "…"


def _without_words(exit_code: int) -> str:
    if exit_code == KILLED:
        return "the browser was killed (exit code 137), most likely for lack of memory: raise browser.resources"
    if exit_code == TERMINATED:
        return "the browser was ended from outside (exit code 143) before it had an answer"
    if exit_code in _FAILED_TO_START:
        return f"the browser's image has no flywheel that starts (exit code {exit_code}): correct --browser-image"
    return (
        f"the browser ended with code {exit_code} and without a result that can be read: look at the pod's log, and "
        "whether --browser-image is of the operator's version"
    )
