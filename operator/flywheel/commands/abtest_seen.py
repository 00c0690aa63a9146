"""An ABTest as the API server has it, as the commands about tests read it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from flywheel.commands.release_seen import Refusal
from flywheel.experiment.told_model import Told, UnreadableStatus, read_told
from flywheel.plan import Manifest

DEFAULT_NAMESPACE = "default"
OVER = ("Promoted", "Stopped", "Failed")


@dataclass(frozen=True, slots=True)
class Place:
    """Which test, and how the person calls this program."""

    test: str
    namespace: str = DEFAULT_NAMESPACE
    program: str = "flywheel"

    @property
    def scope(self) -> str:
        """The option that names the namespace, with a space before it; nothing where it is the default."""
        return "" if self.namespace == DEFAULT_NAMESPACE else f" -n {self.namespace}"

    def command(self, verb: str, *arguments: str) -> str:
        """Write the command line of a command about this test."""
        return " ".join([self.program, "abtest", verb, self.test, *(each for each in arguments if each)]) + self.scope


@dataclass(frozen=True, slots=True)
class SeenTest:
    """One test."""

    place: Place
    spec: Mapping[str, Any]
    told: Told
    annotations: Mapping[str, str]
    uid: str = ""
    created: str = ""
    deleted: bool = False
    current: bool = True
    """Whether the operator has looked at the newest spec."""

    @property
    def campaign(self) -> str:
        """Name of its Campaign."""
        return str(self.spec.get("campaign") or "")

    @property
    def service(self) -> str:
        """Name of the service that is tested."""
        return str(self.spec.get("service") or "")

    @property
    def control(self) -> str:
        """Name of the control."""
        return next((str(each.get("name")) for each in self._variants if each.get("control")), "")

    @property
    def challengers(self) -> tuple[str, ...]:
        """Names of the variants that are compared with the control."""
        return tuple(str(each.get("name")) for each in self._variants if not each.get("control"))

    @property
    def winner(self) -> str:
        """The variant that was found better; empty where none was."""
        return self.told.decision.winner if self.told.decision else ""

    @property
    def promotes(self) -> str:
        """What becomes of a winner: Automatic, Manual or Never."""
        return str((self.spec.get("decision") or {}).get("promote") or "Manual")

    def override(self, variant: str) -> Mapping[str, Any]:
        """Give what differs from the service, as its author wrote it."""
        return next((each.get("override") or {} for each in self._variants if each.get("name") == variant), {})

    @property
    def _variants(self) -> list[Mapping[str, Any]]:
        return [each for each in self.spec.get("variants") or () if isinstance(each, dict)]


def read_seen(manifest: Manifest, place: Place) -> SeenTest:
    """Read an ABTest.

    Raises:
        Refusal: Its status is none that this program understands.
    """
    metadata, status = manifest["metadata"], manifest.get("status") or {}
    try:
        told = read_told(status)
    except UnreadableStatus as error:
        raise Refusal(f"The ABTest {place.test}: {error}") from error
    return SeenTest(
        place=place,
        spec=manifest.get("spec") or {},
        told=told,
        annotations=metadata.get("annotations") or {},
        uid=str(metadata.get("uid") or ""),
        created=str(metadata.get("creationTimestamp") or ""),
        deleted=bool(metadata.get("deletionTimestamp")),
        current=int(status.get("observedGeneration") or 0) >= int(metadata.get("generation") or 0),
    )


def clean(text: str) -> str:
    """Take out of a text what would steer a terminal: messages repeat what pages and pods have said."""
    return "".join(each if each.isprintable() else " " for each in text)


def length(span: timedelta) -> str:
    """Write a length of time in one unit or two: 6 d 12 h."""
    seconds = span.total_seconds()
    for size, unit, name, smaller in ((86400, 3600, "d", "h"), (3600, 60, "h", "min"), (60, 1, "min", "s")):
        if seconds >= size:
            rest = int(seconds % size // unit)
            return f"{int(seconds // size)} {name}" + (f" {rest} {smaller}" if rest else "")
    return f"{max(0, int(seconds))} s"


def moment(at: datetime, now: datetime) -> str:
    """Write a moment, and how far it is."""
    distance = f"{length(now - at)} ago" if now >= at else f"in {length(at - now)}"
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC ({distance})"
