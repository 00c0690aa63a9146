"""What a Campaign says of its releases, as the release commands read it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flywheel.plan import Manifest
from flywheel.release.state import ReleaseState, read_releases

AGAINST = ("Failed", "Aborted", "RolledBack")
BEFORE_SWITCH = ("Preparing", "Verifying", "AwaitingPromotion")
AT_ZERO = ("Retained", "Retired")
DEFAULT_NAMESPACE = "default"


class Refusal(Exception):  # noqa: N818 - it says no to a person, nothing is broken
    """What is asked for makes no sense now; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Place:
    """Which Campaign, and how the person calls this program."""

    campaign: str
    namespace: str = DEFAULT_NAMESPACE
    program: str = "flywheel"

    @property
    def scope(self) -> str:
        """The option that names the namespace, with a space before it; nothing where it is the default."""
        return "" if self.namespace == DEFAULT_NAMESPACE else f" -n {self.namespace}"

    def command(self, verb: str, *arguments: str) -> str:
        """Write the command line of a release command about this Campaign."""
        return " ".join([self.program, "release", verb, self.campaign, *(each for each in arguments if each)]) + (
            self.scope
        )


@dataclass(frozen=True, slots=True)
class Seen:
    """The releases of a Campaign."""

    place: Place
    states: Mapping[str, ReleaseState] = field(default_factory=dict)
    """By service, in the order of the status."""
    specs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """`spec.services[].release` by service, of services with two slots."""
    annotations: Mapping[str, str] = field(default_factory=dict)
    edge: str = ""
    """Address of the edge within the cluster."""
    at_zero: bool = False
    """Nothing runs, and no command is carried out, until it does."""
    current: bool = True
    """Whether the operator has looked at the newest spec."""

    def group(self, service: str) -> str:
        """The release group of a service; empty for none."""
        return str(self.specs.get(service, {}).get("releaseGroup") or "")

    def members(self, service: str) -> tuple[str, ...]:
        """The other services of its release group."""
        group = self.group(service)
        return tuple(name for name in self.states if group and name != service and self.group(name) == group)

    def manual_gates(self, service: str, stage: str) -> tuple[str, ...]:
        """Names of the gates of a stage (before, after) at which a person decides."""
        gates = self.specs.get(service, {}).get(stage) or ()
        return tuple(str(each.get("name", "")) for each in gates if each.get("manual"))

    def preview_hosts(self, service: str) -> tuple[str, ...]:
        """Host names at the edge under which a preview is shown."""
        return tuple(str(each) for each in self.specs.get(service, {}).get("previewHosts") or ())


def read_seen(manifest: Manifest, place: Place) -> Seen:
    """Read a Campaign as the API server gives it."""
    spec, status = manifest.get("spec") or {}, manifest.get("status") or {}
    services = [each for each in spec.get("services") or () if isinstance(each, dict)]
    specs = {str(each.get("name")): each.get("release") or {} for each in services}
    suspended = bool((spec.get("schedule") or {}).get("suspend"))
    return Seen(
        place=place,
        states=read_releases(status),
        specs={name: release for name, release in specs.items() if release.get("strategy") == "BlueGreen"},
        annotations=manifest["metadata"].get("annotations") or {},
        edge=str((status.get("edge") or {}).get("url") or ""),
        at_zero=suspended or status.get("stage") in AT_ZERO,
        current=int(status.get("observedGeneration") or 0) >= int(manifest["metadata"].get("generation") or 0),
    )


def chosen(seen: Seen, service: str) -> dict[str, ReleaseState]:
    """Give the releases that are asked about: of one service, or of all.

    Raises:
        Refusal: There are none, or none of this service.
    """
    name = seen.place.campaign
    if not seen.states:
        why = (
            f"The status of the Campaign {name} says nothing of releases yet: is the operator running?"
            if seen.specs
            else f"No service of the Campaign {name} has release.strategy: BlueGreen, so there is nothing to release."
        )
        raise Refusal(why)
    if not service:
        return dict(seen.states)
    if service not in seen.states:
        raise Refusal(
            f"The Campaign {name} has no release of a service {service!r}. There are: {', '.join(seen.states)}."
        )
    return {service: seen.states[service]}


def waits_for_person(state: ReleaseState) -> bool:
    """Whether a release goes on as soon as a person promotes it."""
    stage = "before" if state.preview else "after"
    manual = any(each.kind == "manual" and each.verdict == "Running" for each in state.gates if each.stage == stage)
    return state.phase == "AwaitingPromotion" or (manual and state.phase in ("Verifying", "Confirming"))


def clean(text: str) -> str:
    """Take out of a text what would steer a terminal: messages repeat what pages and pods have said."""
    return "".join(each if each.isprintable() else " " for each in text)
