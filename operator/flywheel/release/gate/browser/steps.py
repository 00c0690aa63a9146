"""From a gate's spec to the plan of one visit: what the pod is told, and what it carries out. Pure."""

import re
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from flywheel.api.gate_browser import STEPS, BrowserGate, BrowserStep, FillStep, RoleStep, SelectStep, TextInStep
from flywheel.release.gate.measurement import Target

Do = Literal[
    "open",
    "click",
    "clickText",
    "clickRole",
    "fill",
    "select",
    "press",
    "expectText",
    "expectTextIn",
    "visible",
    "hidden",
    "url",
    "title",
    "status",
    "waitFor",
    "screenshot",
    "noConsoleErrors",
]
PREVIEW_HEADER = "X-FW-Preview"
UNKNOWN = "unknown"
"""What the edge says in it when it has no such preview, and the active slot has answered."""
DESKTOP = (1280, 800)
PHONE = (390, 844)
LONGEST_SHOWN = 80
_DEFAULT_PORTS = {"http": 80, "https": 443}


class NoEdgeError(Exception):
    """A gate goes through the edge of a campaign that has none."""


class Struct(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel", omit_defaults=True):
    """Base of all parts: strict on decoding, frozen, camelCase on the wire."""


class Step(Struct, frozen=True, kw_only=True):
    """One step."""

    do: Do
    what: str
    """The step for people, such as `click #claim`; never holds what is filled in."""
    selector: str = ""
    label: str = ""
    role: str = ""
    text: str = ""
    """The path, text, value, key, glob or name that the step is about."""
    number: float = 0
    """Seconds to wait, or the status."""


class Plan(Struct, frozen=True, kw_only=True):
    """One visit, complete: the runner needs nothing else."""

    origin: str
    """What the browser has in its address bar: scheme, host and port."""
    dial: str
    """Scheme, host and port to connect to for it; differs from `origin` where another host name is asked for."""
    steps: tuple[Step, ...]
    headers: dict[str, str] = {}
    """On every request to the origin, and on no other."""
    allow_hosts: tuple[str, ...] = ()
    phone: bool = False
    width: int = DESKTOP[0]
    height: int = DESKTOP[1]
    locale: str = "en-US"
    step_seconds: float = 10.0
    must_know: bool = False
    """An edge that does not know the revision of X-FW-Preview shows what has the traffic: that is no visit to it."""
    trust_any_certificate: bool = False
    """Inside a cluster the certificate is made for the visitors' host name, not for the Service's."""


def plan_for(gate: BrowserGate, target: Target) -> Plan:
    """Make the plan of a visit to the revision of `target`.

    Raises:
        NoEdgeError: The gate goes through the edge, and there is none.
    """
    headers: dict[str, str] = {}
    address = target.address
    if gate.through == "Edge":
        if not target.edge:
            raise NoEdgeError("the gate goes through the edge, and the campaign has none: add spec.edge or use Preview")
        address = target.edge
        headers[PREVIEW_HEADER] = target.revision
    must_know = gate.through == "Edge" and not target.promoted
    return plan_at(gate, address, headers, trust_any_certificate=True, must_know=must_know)


def plan_at(
    gate: BrowserGate,
    address: str,
    headers: dict[str, str],
    *,
    trust_any_certificate: bool = False,
    must_know: bool = False,
) -> Plan:
    """Make the plan of a visit to `address` (scheme, host and port), with `headers` beside those of the gate.

    Raises:
        ValueError: The address is not one.
    """
    dial = origin_of(address)
    width, height = PHONE if gate.device == "Phone" else DESKTOP
    if gate.viewport:
        width, height = gate.viewport.width, gate.viewport.height
    return Plan(
        origin=f"{urlsplit(dial).scheme}://{gate.host}" if gate.host else dial,
        dial=dial,
        steps=tuple(_step(each) for each in gate.steps),
        headers={**{each.name: each.value for each in gate.headers}, **headers},
        allow_hosts=gate.allow_hosts,
        phone=gate.device == "Phone",
        width=width,
        height=height,
        locale=gate.locale,
        step_seconds=gate.step_timeout.total_seconds(),
        trust_any_certificate=trust_any_certificate,
        must_know=must_know,
    )


def origin_of(address: str) -> str:
    """Give scheme, host and port of an address as browsers write them: the port of the scheme is left out.

    Raises:
        ValueError: It has no such parts, or more than these.
    """
    parts = urlsplit(address)
    complaint = f"{address[:LONGEST_SHOWN]!r} is no address such as http://localhost:8080"
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or parts.username is not None:
        raise ValueError(complaint)
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError(f"{complaint}: leave out the path, the steps have it")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    port = "" if parts.port in (None, _DEFAULT_PORTS[parts.scheme]) else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}"


def host_and_port(origin: str) -> tuple[str, int]:
    """Give where to connect to for an origin."""
    parts = urlsplit(origin)
    return parts.hostname or "", parts.port or _DEFAULT_PORTS[parts.scheme]


def url_matches(glob: str, url: str, origin: str) -> bool:
    """Whether the page at `url` is where `glob` says: `*` stands for any characters, everything else for itself."""
    here = url.removeprefix(origin) if url.startswith(f"{origin}/") else url
    if "#" not in glob:
        here = here.partition("#")[0]
    pattern = ".*".join(re.escape(part) for part in re.split(r"\*+", glob))
    return re.fullmatch(pattern, here, re.DOTALL) is not None


def encode(plan: Plan) -> str:
    """Write a plan as JSON for an environment variable, in which Kubernetes would expand `$(NAME)`."""
    return msgspec.json.encode(plan).decode().replace("$", "\\u0024")


def decode(text: str) -> Plan:
    """Read a plan.

    Raises:
        msgspec.MsgspecError: It is none.
    """
    return msgspec.json.decode(text, type=Plan)


def _step(step: BrowserStep) -> Step:
    for name, attribute in STEPS.items():
        value = getattr(step, attribute)
        if value is not None:
            return _of_value(name, value)  # type: ignore[arg-type]
    raise AssertionError("the model takes no step without one of its fields")


def _of_value(do: Do, value: object) -> Step:
    match value:
        case RoleStep():
            named = f' "{_shown(value.name)}"' if value.name else ""
            return Step(do=do, what=f"{_SPOKEN[do]} {value.role}{named}", role=value.role, text=value.name or "")
        case FillStep() | SelectStep():
            selector, label = value.selector or "", value.label or ""
            return Step(
                do=do,
                what=f"{_SPOKEN[do]} {_shown(selector or label)}",
                selector=selector,
                label=label,
                text=value.value,
            )
        case TextInStep():
            what = f'{_SPOKEN[do]} "{_shown(value.text)}" in {_shown(value.selector)}'
            return Step(do=do, what=what, selector=value.selector, text=value.text)
        case _:
            return _of_scalar(do, value)


def _of_scalar(do: Do, value: object) -> Step:
    if do == "waitFor":
        seconds = value.total_seconds()  # type: ignore[attr-defined]
        return Step(do=do, what=f"wait {seconds:g} s", number=seconds)
    if do == "status":
        return Step(do=do, what=f"status {value}", number=float(str(value)))
    if do == "noConsoleErrors":
        return Step(do=do, what=_SPOKEN[do])
    text = str(value)
    shown = f'"{_shown(text)}"' if do in _QUOTED else _shown(text)
    given = {"selector": text} if do in _OF_SELECTORS else {"text": text}
    return Step(do=do, what=f"{_SPOKEN[do]} {shown}", **given)  # type: ignore[arg-type]


_QUOTED = {"clickText", "expectText", "title"}
_OF_SELECTORS = {"click", "visible", "hidden"}
_SPOKEN: dict[str, str] = {
    "open": "open",
    "click": "click",
    "clickText": "click",
    "clickRole": "click",
    "fill": "fill",
    "select": "select in",
    "press": "press",
    "expectText": "expect",
    "expectTextIn": "expect",
    "visible": "visible",
    "hidden": "hidden",
    "url": "url",
    "title": "title",
    "screenshot": "screenshot",
    "noConsoleErrors": "no console errors",
}


def _shown(text: str) -> str:
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 1] + "…"
