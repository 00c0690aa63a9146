"""Who is asked about, and what several workers say together: the strongest word, and allow beats block. Pure."""

from collections.abc import Collection, Iterable, Iterator, Sequence

import msgspec

from flywheel.fraud.blocks import STRENGTH, Decision, SubjectKind
from flywheel.fraud.desk import Desk
from flywheel.fraud.fields import key_reader
from flywheel.fraud.pardons import Pardon, Pardons
from flywheel.fraud.policy import Ruled
from flywheel.fraud.rulings import Shard
from flywheel.fraud.scopes import holds
from flywheel.fraud.sharding import is_whole, owner
from flywheel.fraud.shares import Share
from flywheel.fraud.snapshot import key_of_secret
from flywheel.fraud.words import Event

KINDS: tuple[SubjectKind, ...] = ("address", "visitor", "user", "device")


class Question(msgspec.Struct, forbid_unknown_fields=True):
    """Who wants to do something. What is not known stays empty."""

    campaign: str
    address: str = ""
    visitor: str = ""
    user: str = ""
    device: str = ""
    path: str | None = None

    def subjects(self) -> Iterator[tuple[SubjectKind, str]]:
        """Give by what somebody is known."""
        for kind in KINDS:
            if value := getattr(self, kind):
                yield kind, value


class Held(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one worker knows of somebody."""

    decisions: tuple[Decision, ...] = ()
    pardons: tuple[Pardon, ...] = ()
    """By which they are left alone: whoever has one may not have the decision, and the other way round."""


NOTHING = Held()


def held_by(desk: Desk | None, question: Question, now: int) -> Held:
    """Give what one worker knows of somebody.

    Args:
        desk: Its desk of the campaign; None where it judges nothing of it.
        question: Who is meant.
        now: Milliseconds since 1970.
    """
    if desk is None:
        return NOTHING
    decisions = tuple(each for kind, value in question.subjects() for each in desk.blocks.at(kind, value, now))
    if not len(desk.pardons):
        return Held(decisions)
    subjects = tuple(question.subjects())
    pardons = (each for kind, value in subjects for each in desk.pardons.meeting(kind, value, now))
    return Held(decisions, tuple({each.subject: each for each in pardons}.values()))


def together(said: Iterable[Held], question: Question, now: int) -> list[Decision]:
    """Give what holds for somebody by all that workers know, the strongest first.

    A decision whose key has moved may be known to two of them: it holds once, as long as either says.
    """
    known: dict[str, Decision] = {}
    pardons = Pardons()
    for each in said:
        for decision in each.decisions:
            if decision.id not in known or decision.until > known[decision.id].until:
                known[decision.id] = decision
        for pardon in each.pardons:
            pardons.put(pardon, now)
    held = [each for each in known.values() if holds(each, question.path)]
    if len(pardons):
        subjects = tuple(question.subjects())
        held = [each for each in held if not any(pardons.about(*subject, each.rule, now) for subject in subjects)]
    return sorted(held, key=lambda each: -STRENGTH[each.action])


def unheard(rules: Sequence[Ruled], question: Question, missing: Collection[int], shard: Shard) -> Sequence[Ruled]:
    """Give the rules by which workers that say nothing may have decided something about somebody.

    Args:
        rules: All of the campaign.
        question: Who is meant.
        missing: The numbers of those workers.
        shard: The one that asks: the workers share keys and secret.
    """
    fields: dict[str, str | float | bool] = {"device": question.device} if question.device else {}
    event = Event(
        id="", time=0, arrived=0, address=question.address, visitor=question.visitor, user=question.user, fields=fields
    )
    return [each for each in rules if _may_be_theirs(each, event, missing, shard)]


def _may_be_theirs(ruled: Ruled, event: Event, missing: Collection[int], shard: Shard) -> bool:
    rule = ruled.rule
    if not is_whole(rule) and not all(key_reader(rule.key, rule.prefix_ipv4, rule.prefix_ipv6)(event)):
        # What is asked does not tell the key.
        return True
    secret = key_of_secret(shard.secret)
    return any(owner(rule, Share(number, shard.of), secret)(event) for number in missing)
