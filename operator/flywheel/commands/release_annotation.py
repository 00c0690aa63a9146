"""The text of an annotation that commands releases: what is written, and what of before stays. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from flywheel.commands.release_seen import Refusal
from flywheel.release.facts import ANNOTATION_PREFIX, LONGEST_COMMAND
from flywheel.release.state import ReleaseState

DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class Target:
    """One part of an annotation: `<service>=<revision>`, `<service>` or `<revision>`, and `/<nonce>`."""

    service: str
    revision: str
    text: str


def annotation_of(command: str) -> str:
    """Name the annotation of a command."""
    return ANNOTATION_PREFIX + command


def nonce_at(seconds: float) -> str:
    """Make what tells a command from an earlier one like it, from a time in seconds: eight characters."""
    left, made = int(seconds * 1000), ""
    while left:
        left, digit = divmod(left, len(DIGITS))
        made = DIGITS[digit] + made
    return made or "0"


def part_of(service: str, revision: str, nonce: str) -> str:
    """Write one part."""
    return f"{service}={revision}/{nonce}"


def parts(command: str, text: str) -> tuple[Target, ...]:
    """Read the parts of an annotation, as far as the operator reads it."""
    found = []
    for each in text[:LONGEST_COMMAND].split(","):
        part = each.strip()
        target = part.partition("/")[0]
        if not target:
            continue
        named, equals, revision = target.partition("=")
        if equals or command == "rollback":
            found.append(Target(named, revision, part))
        else:
            found.append(Target("", target, part))
    return tuple(found)


def is_handled(command: str, part: str, state: ReleaseState) -> bool:
    """Whether a service's record says that a part was carried out."""
    return any(each.text == part for each in parts(command, state.handled.get(command, "")))


def merged(command: str, before: str, own: Mapping[str, str], states: Mapping[str, ReleaseState]) -> str:
    """Write an annotation: parts for some services, and what others still wait for.

    Args:
        command: promote, abort, retry or rollback.
        before: The annotation as it is.
        own: The new part by service.
        states: The releases by service.

    Raises:
        Refusal: Parts that wait to be carried out leave no room.
    """
    revisions = {part.revision for text in own.values() for part in parts(command, text)}
    certain: list[str] = []
    perhaps: list[str] = []
    for part in parts(command, before):
        if part.service in own or (not part.service and part.revision in revisions):
            continue
        use = _use(command, part, states)
        if use is not None:
            (certain if use else perhaps).append(part.text)
    kept = list(dict.fromkeys([*own.values(), *certain]))
    if _length(kept) > LONGEST_COMMAND:
        raise Refusal(
            f"The annotation {annotation_of(command)} is full of commands that are not carried out yet. Try again in a "
            "moment; if that does not help: is the operator running?"
        )
    for text in dict.fromkeys(perhaps):
        if text not in kept and _length([*kept, text]) <= LONGEST_COMMAND:
            kept.append(text)
    return ",".join(kept)


def _length(texts: list[str]) -> int:
    return len(",".join(texts))


def _use(command: str, part: Target, states: Mapping[str, ReleaseState]) -> bool | None:
    """Whether a part will be carried out; None if it never will be, False if it may be later."""
    if part.service and part.service not in states:
        return False
    about = [states[part.service]] if part.service else list(states.values())
    waiting = [each for each in about if not is_handled(command, part.text, each)]
    if not waiting or (not part.service and len(waiting) < len(about)):
        return None
    if command == "rollback" or any(_is_current(part.revision, each) for each in waiting):
        return True
    # What became of a revision is known: when it comes again, a person decides again.
    return None if any(past.revision == part.revision for each in waiting for past in each.history) else False


def _is_current(revision: str, state: ReleaseState) -> bool:
    active = state.active.revision if state.active and state.phase in ("Confirming", "Paused") else ""
    return revision in (state.preview.revision if state.preview else "", state.held, active)
