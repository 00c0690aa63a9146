"""What a load says of itself: who answered, until when, how fast, and what was not answered."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

SHOWN = 5


@dataclass(frozen=True)
class Failure:
    """One request that was not answered well."""

    load: str
    client: int
    at: float
    """Seconds since 1970 at which the client knew."""
    kind: str
    """Such as EOF, reset, timeout, dial refused, status 503."""
    detail: str
    reused: bool
    """Whether the connection had carried a request before."""

    def __str__(self) -> str:
        where = "on a kept connection" if self.reused else "on a new connection"
        return f"{_clock(self.at)} {self.load} client {self.client}: {self.kind} {where} ({self.detail})"


@dataclass(frozen=True)
class Span:
    """When a version answered; seconds since 1970."""

    count: int
    first: float
    last: float
    clients: Mapping[int, tuple[float, float]]
    """The first and the last answer to each client."""


@dataclass(frozen=True)
class LoadReport:
    """One target's load."""

    name: str
    url: str
    mode: str
    total: int
    failed: int
    closed: int
    """Kept connections that the server closed while nothing was asked on them; that costs no request."""
    probes: int
    """Requests before it began, which are not counted."""
    kinds: Mapping[str, int]
    failures: tuple[Failure, ...]
    """The first thousand."""
    versions: Mapping[str, Span]
    pods: Mapping[str, int]
    p50: float
    """Milliseconds, of the requests that were answered well."""
    p99: float
    slowest: float

    @classmethod
    def of(cls, name: str, told: Mapping[str, Any]) -> Self:
        """Read it."""
        failures = tuple(
            Failure(name, each["client"], each["at"] / 1000, each["kind"], each["detail"], each["reused"])
            for each in told["failures"]
        )
        versions = {
            version: Span(
                each["count"],
                each["first"] / 1000,
                each["last"] / 1000,
                {int(client): (first / 1000, last / 1000) for client, (first, last) in each["clients"].items()},
            )
            for version, each in told["versions"].items()
        }
        same = ("url", "mode", "total", "failed", "closed", "probes", "kinds", "pods", "p50", "p99", "slowest")
        return cls(name=name, failures=failures, versions=versions, **{key: told[key] for key in same})

    def __str__(self) -> str:
        versions = ", ".join(
            f"{version} {span.count} times from {_clock(span.first)} to {_clock(span.last)}"
            for version, span in sorted(self.versions.items(), key=lambda item: item[1].first)
        )
        failed = f"{self.name} ({self.mode} {self.url}): {self.failed} of {self.total} failed"
        return f"{failed}; answered by {versions or 'nobody'}"


@dataclass(frozen=True)
class Report:
    """All loads of one run."""

    seconds: float
    loads: Mapping[str, LoadReport]

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Self:
        """Read it."""
        loads = {name: LoadReport.of(name, each) for name, each in sorted(told["loads"].items())}
        return cls(told["seconds"], loads)

    def __getitem__(self, load: str) -> LoadReport:
        return self.loads[load]

    @property
    def total(self) -> int:
        """The requests of all loads."""
        return sum(each.total for each in self.loads.values())

    @property
    def failed(self) -> int:
        """Those of them that were not answered, or with a status of 400 or more."""
        return sum(each.failed for each in self.loads.values())

    @property
    def kinds(self) -> Mapping[str, int]:
        """How many failed in which way."""
        found: Counter[str] = Counter()
        for each in self.loads.values():
            found.update(each.kinds)
        return dict(found)

    @property
    def failures(self) -> list[Failure]:
        """They, the earliest first; at most the first thousand of each load."""
        return sorted((one for each in self.loads.values() for one in each.failures), key=lambda failure: failure.at)

    @property
    def versions(self) -> set[str]:
        """Who has answered."""
        return {version for each in self.loads.values() for version in each.versions}

    def first_seen(self, load: str, version: str) -> float | None:
        """Give the moment of a version's first answer in seconds since 1970; None if there was none."""
        span = self.loads[load].versions.get(version)
        return span.first if span else None

    def last_seen(self, load: str, version: str) -> float | None:
        """Give the moment of a version's last answer in seconds since 1970; None if there was none."""
        span = self.loads[load].versions.get(version)
        return span.last if span else None

    def describe(self) -> str:
        """Say for people what went wrong, and who answered."""
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.kinds.items()))
        said = f"{self.failed} of {self.total} requests failed in {self.seconds:.1f} s"
        lines = [f"{said}: {kinds}" if kinds else said]
        lines += [f"  {failure}" for failure in self.failures[:SHOWN]]
        if self.failed > SHOWN:
            lines.append(f"  … and {self.failed - SHOWN} more")
        return "\n".join([*lines, *(f"  {each}" for each in self.loads.values())])


def _clock(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%H:%M:%S.%f")[:-3]
