"""What was decided about one Campaign: the plan, and what its status will have to say."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from flywheel.api.campaign import Campaign
from flywheel.api.problem import Problem
from flywheel.campaign.entry import EdgeOrders
from flywheel.campaign.observed import Questions
from flywheel.campaign.releasing import Releasing
from flywheel.campaign.stages import Stage, Timeline, Transition
from flywheel.plan import ObjectKey, Plan, Remaining
from flywheel.release.work import Work
from flywheel.workload.scaling import Size


class Course(Enum):
    """What is being done with a Campaign."""

    RUN = "run"
    """Its children are kept as the stage asks for."""
    REST = "rest"
    """There are no children and shall be none: before its time, or after it."""
    TEAR_DOWN = "tear down"
    LET_GO = "let go"
    """It is deleted and its children stay."""
    FREEZE = "freeze"
    """Its spec cannot be followed: what runs is left as it is."""


@dataclass(frozen=True, slots=True)
class Teardown:
    """How far the removal of everything has come."""

    started_at: datetime
    waiting_for: tuple[Remaining, ...] = ()
    """What is still there."""
    blocked_by: tuple[str, ...] = ()
    """What of that does not go by itself, each with the reason."""
    complete: bool = False
    """Nothing is left, and every API resource was searched for it."""


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision about one Campaign."""

    course: Course
    plan: Plan = field(default_factory=Plan)
    questions: Questions = field(default_factory=Questions)
    """When not empty, the plan is not to be carried out: answer these and decide again."""
    campaign: Campaign | None = None
    stage: Stage | None = None
    next_transition: Transition | None = None
    timeline: Timeline | None = None
    problems: tuple[Problem, ...] = ()
    teardown: Teardown | None = None
    suspended: bool = False
    route_missing: bool = False
    """A route is asked for and the cluster does not serve the Gateway API."""
    sizes: Mapping[str, Size] = field(default_factory=dict)
    """The size of each service, by its name."""
    edge: EdgeOrders | None = None
    gone_edge_pods: tuple[str, ...] = ()
    """Edge pods that are no more and have still an entry."""
    releases: Releasing = Releasing()  # noqa: RUF009 - frozen
    """How released services go on."""
    work: Work = Work()  # noqa: RUF009 - frozen
    """What releases want to know from outside."""
    winners: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Service -> the A/B test and the variant of it that it runs instead of what its spec says."""
    origins: Mapping[ObjectKey, str] = field(default_factory=dict)
    """The field of the spec that each applied object comes from."""
