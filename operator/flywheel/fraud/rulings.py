"""What a worker wants of the engine that judges events: few calls, all of them quick, none of them waiting."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

import msgspec

from flywheel.fraud.blocks import Decision
from flywheel.fraud.decisions import Decision as Decided
from flywheel.fraud.decisions import Done
from flywheel.fraud.listed import Lists
from flywheel.fraud.policy import Ruled
from flywheel.fraud.proof import Evidence
from flywheel.fraud.shares import Share
from flywheel.fraud.words import Event, Mode, Verdict

if TYPE_CHECKING:
    from flywheel.fraud.records import Heard, Past
    from flywheel.fraud.scores import Scorer


class Case(NamedTuple):
    """What a verdict is explained by."""

    ruled: Ruled
    decided: Decided
    event: Event


class Ruling(NamedTuple):
    """One verdict, and what follows from it."""

    verdict: Verdict
    decisions: tuple[Decision, ...] = ()
    """None in a test run, in the holdout, for exempt subjects, and while the window warms up."""
    done: Done = "Acted"
    case: Case | None = None
    """None where the engine cannot tell."""


class RulesProblem(Exception):  # noqa: N818 - of what people wrote
    """Rules that cannot be taken. The text names the rule and says why."""


class RuleFigures(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What one rule has met since its windows began."""

    rule: str
    version: str
    generation: int
    """Of the FraudRule that it was made from."""
    mode: Mode
    warm: bool
    evaluated: int = 0
    hits: int = 0
    acted: int = 0
    would: int = 0
    """Hits that nothing was done about, in Shadow or outside the share."""
    held_out: int = 0
    denied: int = 0
    """Hits that no condition was met for: a deny list names the sender."""
    watched: int = 0
    """Events that were kept since a watch list names the sender."""
    allowed: int = 0
    """Hits that nothing was done about, since an allow list names the sender."""
    without_key: int = 0
    late: int = 0
    keys: int = 0
    evicted: int = 0
    unusable: int = 0
    """Events that lacked what a condition looks at, or that a model gave no score."""
    duplicates: int = 0
    """Events that came again, of whatever rule."""
    latest: tuple[Verdict, ...] = ()
    """The latest verdicts, newest last."""
    outcomes: tuple[str, ...] = ()
    """What followed from each of these, such as `Blocked`; fewer where that is not known of the oldest."""
    awaits: int = 0
    """Where new windows wait for their past from the event store: since when they have seen everything themselves."""
    from_store: int = 0
    """From which time on windows were filled from the event store; 0 where they were not."""
    evidence: Evidence = Evidence()
    """What labels say about whom it found; the engine knows nothing of it."""


class FraudEngine(Protocol):
    """Judges the events of one campaign, in the order in which they come.

    What it says follows from rules, lists and events alone, never from a clock or from chance: the same events after
    the same rules and lists give the same rulings, byte for byte.
    """

    @property
    def generation(self) -> str:
        """Digest of the rules that hold."""

    @property
    def at_once(self) -> int:
        """Events that it wants at once: engines like many, whoever waits for an answer meanwhile likes few."""

    def figures(self) -> Sequence[RuleFigures]:
        """Tell what each rule has met."""

    def load(self, rules: bytes) -> None:
        """Take other rules, as JSON text, or none, as an empty one; what those that stay have counted stays.

        Raises:
            RulesProblem: They cannot be taken; those before go on.
        """

    def use_lists(self, lists: Lists) -> None:
        """Take other entries of the lists that rules name."""

    def spared(self, decisions: Sequence[Decision]) -> Sequence[str]:
        """Of decisions that hold, give the ids of those that must end, since their rule leaves the subject alone."""

    def judge(self, events: Sequence[Event]) -> Sequence[Ruling]:
        """Judge events, in their order. Where a longer sequence is cut makes no difference."""

    def snapshot(self) -> bytes:
        """Write down all that was counted."""

    def restore(self, state: bytes) -> None:
        """Become what `snapshot` wrote down, after the same rules were loaded.

        Raises:
            ValueError: It is of another kind of engine.
        """


@runtime_checkable
class FillingEngine(FraudEngine, Protocol):
    """An engine whose new windows can be filled with what was before."""

    def unready(self, past: "Past") -> str:
        """Say why the past of a rule is of no use to it; empty where it is."""

    def fill(self, past: "Past") -> "Iterator[Ahead]":
        """Fill the windows of a rule, where that is of any use to it: go through all of it.

        Each step is work that may be done in another thread, before the next one; nothing else may happen to the engine
        meanwhile.
        """


Ahead = Callable[[], None]
"""Work that may be done in another thread before events are judged; nothing else may happen to the engine meanwhile."""


@runtime_checkable
class ScoringEngine(FraudEngine, Protocol):
    """An engine that can ask models."""

    def use_models(self, scorer: "Scorer", knows: Callable[[str], bool]) -> None:
        """Ask models from now on. Called once, before rules are loaded.

        Args:
            scorer: Gives scores by digest.
            knows: Whether a model has been handed over.
        """

    def ahead(self, events: Sequence[Event]) -> Ahead | None:
        """Give the work that makes judging these events quick, if there is any; judging them is right without it."""


@runtime_checkable
class MovingEngine(FraudEngine, Protocol):
    """An engine whose keys can move to others and come from others."""

    @property
    def clock(self) -> int:
        """The newest arrival seen, in milliseconds since 1970; 0 before the first event."""

    def use_shard(self, shard: "Shard") -> None:
        """Judge these keys from now on."""

    def part(self, shard: "Shard", decisions: Sequence[Decision]) -> tuple[bytes, Sequence[Decision]]:
        """Write a snapshot of a part of the keys, and give those of some decisions that are about them."""

    def lacks(self, other: "MovingEngine", after: int) -> bool:
        """Say whether another engine has seen events after a moment that this one has not."""

    def take_over(self, others: "Sequence[MovingEngine]", shard: "Shard", *, complete: bool) -> None:
        """Take the keys of other engines over that have seen the same events, and judge a share from now on.

        Args:
            others: Each with keys that no other one has, and the same rules.
            shard: What is judged from now on.
            complete: Whether these are all keys that were to come. Else windows are warming again.
        """


@runtime_checkable
class HearingEngine(FraudEngine, Protocol):
    """An engine that lets another one judge by some rules, and acts on what that one finds."""

    def hear(self, heard: "Sequence[Heard]") -> Sequence[Ruling]:
        """Say what follows from verdicts of another engine: of each verdict once, and by the rules that hold now."""


class Shard(NamedTuple):
    """Which part of the keys a worker judges, by their hashes; see `sharding`.

    Every shard sees every event, as a rule may count by address, another one by user.
    """

    number: int = 0
    of: int = 1
    """How many there are; 0 is for one that has no keys yet."""
    secret: bytes = b""
    """Of the namespace's workers: who does not know it cannot make keys that fall together."""
    came_from: tuple[int, int] = (0, 1)
    """The shard that had the keys before, and of how many: of these the part that it had."""

    @property
    def share(self) -> Share:
        """The part of the keys."""
        return Share(self.number, self.of, self.came_from)


ALONE = Shard()
MakeEngine = Callable[[str, Shard], FraudEngine]
"""Makes the engine of a campaign, for a shard."""
