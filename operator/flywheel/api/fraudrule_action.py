"""What becomes of whoever breaks a fraud rule: a mark, a person's look, a proof, a limit, or a closed door."""

import re
from datetime import timedelta
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from flywheel.api.durations import between
from flywheel.api.fraudrule_values import Path, ShortName
from flywheel.api.kubernetes import exactly_one
from flywheel.api.model import Distinct, Model, Rule
from flywheel.api.quantities import Duration, Integer

ACTIONS = ("block", "throttle", "challenge", "review", "tag")
Entity = Literal["Address", "AddressPrefix", "Visitor", "User", "Device"]
STATUSES = (403, 404, 410, 429, 451, 503)
"""What the edge can refuse with."""
STATUSES_IN_WORDS = "403, 404, 410, 429, 451 or 503"
_RESERVED = "^/(v1(/.*)?|fw[.]js)$"
_UNNORMAL = "//|/[.][.]?(/|$)|.+/$"
_NORMAL = (
    "in its normal form: /v1 and /fw.js are the edge's own, '//', '/./' and '/../' never arrive, and /coupon already "
    "means everything below it"
)


def _is_normal(path: str) -> bool:
    return re.search(_RESERVED, path) is None and re.search(_UNNORMAL, path) is None


class AtTheEdge(Model):
    """An action that holds for a while: whose requests, where, how long."""

    constraints: ClassVar[tuple[Rule, ...]] = (
        between("for", "for_", "1s", "30d", "it ends by itself, and an honest visitor who was hit comes back"),
        Rule(
            cel=f"!has(self.scope) || self.scope.all(p, !p.matches('{_RESERVED}') && !p.matches('{_UNNORMAL}'))",
            holds=lambda model: all(map(_is_normal, model.scope)),
            message=f"each path of scope must be one of the campaign, {_NORMAL}",
            field="scope",
        ),
    )

    for_: Duration = Field(
        alias="for", description="How long it holds after the last event that broke the rule, such as 30m; 1s to 30d."
    )
    of: Entity | None = Field(
        default=None,
        description="Whose requests: Address, AddressPrefix, User, Device (each only if key names it), or Visitor: the "
        "one who sent the event. Default: the first of these that key names, else Visitor.",
    )
    scope: Annotated[tuple[Path, ...], Field(min_length=1, max_length=16), Distinct("remove one of the two")] = Field(
        default=(),
        description="Only below these paths, by whole elements, such as [/coupon]; at most 16. Default: everywhere.",
    )


class Block(AtTheEdge):
    """Requests are refused."""

    constraints = (
        *AtTheEdge.constraints,
        Rule(
            cel=f"!has(self.status) || self.status in {list(STATUSES)}",
            holds=lambda model: model.status in STATUSES,
            message=f"the edge refuses with {STATUSES_IN_WORDS}: choose one of these",
            field="status",
        ),
    )

    status: Annotated[Integer, Field(ge=400, le=599)] = Field(
        default=403, description=f"Status of the refusal: {STATUSES_IN_WORDS}. Default 403."
    )
    body: Annotated[str, Field(max_length=1024)] = Field(
        default="", description="What is answered, as text/plain; at most 1024 characters. Default: nothing."
    )


class Throttle(AtTheEdge):
    """Requests are slowed down: more of them get 429."""

    per_second: Annotated[Integer, Field(ge=1, le=10_000)] = Field(
        description="Requests a second that are left, on average over 10 s; 1 to 10000."
    )


class Challenge(AtTheEdge):
    """Requests are led to a page that proves a person."""

    constraints = (
        *AtTheEdge.constraints,
        between("passFor", "pass_for", "1m", "30d", "nobody proves it at every click, and nobody once and for all"),
        Rule(
            cel=f"!self.page.matches('{_RESERVED}') && !self.page.matches('{_UNNORMAL}')",
            holds=lambda model: _is_normal(model.page),
            message=f"page must be a path of the campaign, {_NORMAL}",
            field="page",
        ),
    )

    page: Path = Field(
        description="Path of the page, such as /prove. It gives whoever proves to be a person a signed pass, and is "
        "open to whoever is sent there."
    )
    pass_for: Duration = Field(
        default=timedelta(hours=24),
        description="How long whoever has a pass is not asked again, by any rule; 1m to 30d. Default 24h.",
    )


class Review(Model):
    """A person looks at it; nobody is stopped."""

    queue: ShortName = Field(description="Name of the queue, such as coupon-desk.")


class Tag(Model):
    """It is marked; nobody is stopped."""

    name: ShortName = Field(description="The mark that the visitor's later events carry, such as suspicious.")


class Action(Model):
    """What follows."""

    constraints = (exactly_one(ACTIONS, ACTIONS, "action"),)

    block: Block | None = Field(
        default=None, description="Refuse requests, such as {for: 30m, scope: [/coupon]}. It always ends by itself."
    )
    throttle: Throttle | None = Field(
        default=None, description="Let few requests through, such as {perSecond: 1, for: 10m}."
    )
    challenge: Challenge | None = Field(
        default=None, description="Ask for a proof of being a person, such as {page: /prove, for: 1h}."
    )
    review: Review | None = Field(default=None, description="Ask a person, such as {queue: coupon-desk}.")
    tag: Tag | None = Field(default=None, description="Only mark it, such as {name: suspicious}.")

    @property
    def kind(self) -> str:
        """Which of the actions it is, as it is spelled in YAML."""
        return next((kind for kind in ACTIONS if getattr(self, kind) is not None), "")

    @property
    def at_the_edge(self) -> AtTheEdge | None:
        """The action, where it is one that the edge carries out."""
        return self.block or self.throttle or self.challenge
