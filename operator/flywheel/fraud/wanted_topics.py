"""Which campaigns have rules that Flink judges by, as the worker's rules say now, and by which topics. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from flywheel.fraud.flink_topics import Topics
from flywheel.fraud.policy import Ruled, Rules

_documents = msgspec.json.Decoder(dict[str, Rules])


class Topic(NamedTuple):
    """Both topics of a campaign."""

    campaign: str
    events: str
    verdicts: str
    partitions: int
    """How many are made where there is none."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    text: bytes
    topics: Mapping[str, Topic]
    """By campaign: those whose events go out."""
    rules: Mapping[str, Mapping[str, Ruled]]
    """By campaign and name: those whose verdicts come from elsewhere."""


class WantedTopics:
    """Follows the rules."""

    def __init__(self, rules: Callable[[], bytes], namespace: str, prefix: str, partitions: int) -> None:
        """Make it.

        Args:
            rules: Gives the rules of all campaigns, as the journal has them.
            namespace: Of the campaigns.
            prefix: How all topics begin.
            partitions: Of topics that are made.
        """
        self._rules, self._namespace, self._prefix, self._partitions = rules, namespace, prefix, partitions
        self._wanted = _Wanted(b"{}", {}, {})
        self._made: frozenset[Topic] = frozenset()

    def events(self) -> dict[str, str]:
        """Give the topic of events of each campaign whose events go out."""
        return {name: topic.events for name, topic in self._now().topics.items()}

    def verdicts(self) -> dict[str, str]:
        """Give the campaign of each topic of verdicts that are acted on."""
        now = self._now()
        return {topic.verdicts: name for name, topic in now.topics.items() if name in now.rules}

    def topic(self, campaign: str) -> Topic | None:
        """Give the topics of a campaign."""
        return self._now().topics.get(campaign)

    def rules(self, campaign: str) -> Mapping[str, Ruled]:
        """Give the rules of a campaign that Flink judges by, by their names."""
        return self._now().rules.get(campaign, {})

    def fresh(self) -> list[Topic]:
        """Give the topics that nobody has seen to yet."""
        return [each for each in self._now().topics.values() if each not in self._made]

    def made(self, topic: Topic) -> None:
        """Note that a topic is there."""
        self._made |= {topic}

    def forget(self) -> None:
        """Have all topics seen to once more."""
        self._made = frozenset()

    def _now(self) -> _Wanted:
        text, known = self._rules(), self._wanted
        if text is not known.text:
            self._wanted = known = self._read(text)
        return known

    def _read(self, text: bytes) -> _Wanted:
        try:
            found = _documents.decode(text)
        except msgspec.MsgspecError:
            # The engine says what is wrong, and goes on with the rules before.
            return _Wanted(text, self._wanted.topics, self._wanted.rules)
        judged = {name: [r for r in each.rules if r.policy.mode != "Off"] for name, each in found.items()}
        topics = {
            name: self._topic(name) for name, rules in judged.items() if any(r.engine != "Embedded" for r in rules)
        }
        by_name = {name: {r.rule.name: r for r in rules if r.engine == "Flink"} for name, rules in judged.items()}
        return _Wanted(text, topics, {name: rules for name, rules in by_name.items() if rules})

    def _topic(self, campaign: str) -> Topic:
        names = Topics("", self._namespace, campaign, self._prefix)
        return Topic(campaign, names.events, names.verdicts, self._partitions)
