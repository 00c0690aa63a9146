"""A request to a revision, and what its answer must be."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx
import msgspec

from flywheel.api.gate_measured import HttpGate, JsonCheck
from flywheel.api.patterns import is_found
from flywheel.release.gate.calls import LARGEST_BODY, Answer, NotAnsweredError, NotReachedError, fetch
from flywheel.release.gate.compare import MILLISECONDS, failed, not_made, passed
from flywheel.release.gate.jsonpath import find
from flywheel.release.gate.measurement import Measurement, Target

PREVIEW_HEADER = "X-FW-Preview"
UNKNOWN = "unknown"
"""What the edge says when it has no such preview, and the active slot has answered."""
LONGEST_SHOWN = 60


async def measure_http(gate: HttpGate, target: Target, client: httpx.AsyncClient) -> Measurement:
    """Ask once. Whatever the other side does, there is a measurement and no exception."""
    base = target.edge if gate.through == "Edge" else _with_port(target.address, gate.port)
    if not base:
        missing = "the campaign has no edge" if gate.through == "Edge" else "the revision has no address: add a port"
        return not_made(f"{gate.method} {gate.path} could not be sent: {missing}")
    headers = {each.name: each.value for each in gate.headers}
    if gate.through == "Edge":
        headers[PREVIEW_HEADER] = target.revision
    url = f"{base.rstrip('/')}{gate.path}"
    asked = f"{gate.method} {url}"
    seconds = gate.request_timeout.total_seconds()
    content = gate.body.encode() if gate.body is not None else None
    try:
        answer = await fetch(client, gate.method, url, headers=headers, content=content, seconds=seconds)
    except NotReachedError as error:
        return not_made(f"{asked} could not be sent: {error}")
    except NotAnsweredError as error:
        return failed(f"{asked} got no answer: {error}")
    if gate.through == "Edge" and not target.promoted and answer.headers.get(PREVIEW_HEADER) == UNKNOWN:
        return not_made(f"{asked} was answered by the active slot: the edge does not know {target.revision} yet")
    return judge_answer(gate, asked, answer)


def _with_port(address: str, port: int | None) -> str:
    if not address or port is None:
        return address
    parts = urlsplit(address)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return urlunsplit((parts.scheme, f"{host}:{port}", parts.path, "", ""))


def judge_answer(gate: HttpGate, asked: str, answer: Answer) -> Measurement:
    """Hold an answer against what the gate wants; the first thing that is amiss is told."""
    value = str(answer.status)
    if complaint := next(_complaints(gate, answer), None):
        return failed(f"{asked} {complaint}", value)
    return passed(f"{asked} answered {answer.status} in {MILLISECONDS.write(answer.seconds)}", value)


def _complaints(gate: HttpGate, answer: Answer) -> Iterator[str]:
    if answer.status not in gate.statuses:
        wanted = " or ".join(map(str, gate.statuses))
        yield f"answered {answer.status}, wanted {wanted}{_led_to(answer)}{_beginning(answer)}"
    yield from _header_complaints(gate, answer)
    if gate.contains is not None and gate.contains not in answer.text:
        yield f"answered without {_quoted(gate.contains)} in {_body(answer)}{_beginning(answer)}"
    if gate.matches is not None and not is_found(gate.matches, answer.text):
        yield f"answered with nothing that matches {_quoted(gate.matches)} in {_body(answer)}{_beginning(answer)}"
    if gate.json_checks is not None:
        yield from _json_complaints(gate.json_checks, answer)
    if gate.max_latency is not None and answer.seconds > gate.max_latency.total_seconds():
        took, wanted = (MILLISECONDS.write(each) for each in (answer.seconds, gate.max_latency.total_seconds()))
        yield f"answered in {took}, wanted at most {wanted}"


def _led_to(answer: Answer) -> str:
    place = answer.headers.get("Location")
    return f" (it leads to {_quoted(place)}; redirects are not followed)" if place else ""


def _beginning(answer: Answer) -> str:
    start = answer.excerpt()
    return f" (the body begins: {start})" if start else " (the body is empty)"


def _body(answer: Answer) -> str:
    return "the body" if answer.whole else f"the first {LARGEST_BODY >> 20} MiB of the body"


def _header_complaints(gate: HttpGate, answer: Answer) -> Iterator[str]:
    for wanted in gate.expect_headers:
        found = answer.headers.get_list(wanted.name)
        if not found:
            yield f"answered without the header {wanted.name}, wanted {_quoted(wanted.value)}"
        elif not any(is_like(wanted.value, each) for each in found):
            yield f"answered with {wanted.name}: {_shortened(found[0])}, wanted {_quoted(wanted.value)}"


def is_like(wanted: str, found: str) -> bool:
    """Tell whether a text is as wanted, where `*` stands for anything; in time that grows with the text alone."""
    first, *others = wanted.split("*")
    if not others:
        return found == wanted
    *between, last = others
    if not found.startswith(first):
        return False
    position = len(first)
    for part in between:
        place = found.find(part, position)
        if place < 0:
            return False
        position = place + len(part)
    return len(found) - len(last) >= position and found.endswith(last)


def _json_complaints(checks: tuple[JsonCheck, ...], answer: Answer) -> Iterator[str]:
    if not answer.whole:
        yield f"answered with more than {LARGEST_BODY >> 20} MiB, of which the JSON cannot be read"
        return
    try:
        document = msgspec.json.decode(answer.text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        yield f"answered with a body that is no JSON{_beginning(answer)}"
        return
    for check in checks:
        if complaint := check_json(check, document):
            yield f"answered with JSON in which {complaint}"


def check_json(check: JsonCheck, document: Any) -> str | None:
    """Say what is amiss about one value of a document, or None. Pure."""
    exists, value = find(document, check.path)
    if check.exists is False:
        return f"{check.path} is there, wanted none" if exists else None
    if not exists:
        return f"{check.path} does not exist"
    if check.equals is not None and not _equals(value, check.equals):
        return f"{check.path} is {_shown(value)}, wanted {_quoted(str(check.equals))}"
    if check.matches is not None and not (isinstance(value, str) and is_found(check.matches, value)):
        return f"{check.path} is {_shown(value)}, wanted text that matches {_quoted(check.matches)}"
    return _bounds_complaint(check, value)


def _bounds_complaint(check: JsonCheck, value: Any) -> str | None:
    if check.min is None and check.max is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"{check.path} is {_shown(value)}, wanted a number"
    if check.min is not None and value < check.min:
        return f"{check.path} is {_shown(value)}, wanted at least {check.min:g}"
    if check.max is not None and value > check.max:
        return f"{check.path} is {_shown(value)}, wanted at most {check.max:g}"
    return None


def _equals(value: Any, wanted: int | str) -> bool:
    """Compare as people write: "true" is true, 3 is 3 and "3"; "0.50" is the number 0.5, and text as it is."""
    if isinstance(value, str):
        return value == str(wanted)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value] == wanted
    if isinstance(value, int | float):
        try:
            # As text first: not every whole number is a float.
            return str(value) == wanted or bool(value == (wanted if isinstance(wanted, int) else float(wanted)))
        except ValueError:
            return False
    return False


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        return f"an object of {len(value)}"
    return _shortened(msgspec.json.encode(value).decode())


def _quoted(text: str) -> str:
    return f"{_shortened(text)!r}"


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 1]}…"
