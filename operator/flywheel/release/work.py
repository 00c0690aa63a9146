"""What releases wait for from outside: asked for in a decision, found in a later observation. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from flywheel.api.content import GitContent
from flywheel.api.release import Drain, Gate
from flywheel.release.gate.measurement import Measurement, Target
from flywheel.release.revision import Configuration, Revision


class Look(NamedTuple):
    """One measurement of a gate: of which release, and the which."""

    service: str
    revision: str
    number: int
    """Of the release."""
    stage: str
    gate: str
    measured: int


@dataclass(frozen=True, slots=True)
class Measuring:
    """A measurement that is wanted."""

    look: Look
    gate: Gate
    target: Target


class Pods(NamedTuple):
    """The pods of one revision in a slot."""

    service: str
    slot: str
    revision: str


@dataclass(frozen=True, slots=True)
class Telling:
    """Pods that are to be told to send keep-alive clients away, or that this is over."""

    pods: Pods
    drain: Drain
    port: int
    resume: bool = False


@dataclass(frozen=True, slots=True)
class Probing:
    """An address that is to be tried."""

    pods: Pods
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Source:
    """Content that is to be followed."""

    service: str
    git: GitContent


@dataclass(frozen=True, slots=True)
class Work:
    """Everything that is wanted from outside now."""

    campaign: str = ""
    """Its name."""
    measuring: tuple[Measuring, ...] = ()
    telling: tuple[Telling, ...] = ()
    probing: tuple[Probing, ...] = ()
    sources: tuple[Source, ...] = ()


@dataclass(frozen=True, slots=True)
class ContentState:
    """What is known of a service's content in Git."""

    of: tuple[str, str] = ("", "")
    """Address of the repository, and the ref in it that was asked for."""
    commit: str = ""
    """The last one that was found; empty before there is any."""
    problem: str = ""
    """Why nothing newer is known."""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Findings:
    """What came of it so far."""

    measurements: Mapping[Look, Measurement] = field(default_factory=dict)
    drained: frozenset[Pods] = frozenset()
    resumed: frozenset[Pods] = frozenset()
    reachable: frozenset[Pods] = frozenset()
    contents: Mapping[str, ContentState] = field(default_factory=dict)
    """By service."""
    configurations: Mapping[tuple[str, str], Configuration | None] = field(default_factory=dict)
    """ConfigMaps and Secrets by kind and name; None where there is none. Only those asked about."""
    forbidden: frozenset[tuple[str, str]] = frozenset()
    """Those of them that the operator may not read."""
    records: Mapping[str, Revision | None] = field(default_factory=dict)
    """Revisions by the name of their record; None where there is none. Only those asked about."""
