"""How right a rule is: precision and recall with intervals, from labels of those who were found and left alone. Pure.

Whoever is stopped shows nothing any more: there is no chargeback of an order that was refused, and only the honest
appeal. So only keys count that were never stopped, each for as many as it stands for: the inverse of the chance with
which it was left alone (D. G. Horvitz and D. J. Thompson, JASA 47, 1952). Where everybody is in Shadow that is 1.

The intervals are Wilson's score intervals (E. B. Wilson, "Probable inference, the law of succession, and statistical
inference", JASA 22, 1927), which hold what they promise with few labels, too (L. D. Brown, T. T. Cai and A. DasGupta,
"Interval estimation for a binomial proportion", Statistical Science 16, 2001). With unequal weights the number of
labels is Kish's effective sample size (L. Kish, "Survey Sampling", 1965): (sum of w)^2 / sum of w^2.
"""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

Z = 1.959963984540054
"""The 97.5% quantile of the standard normal distribution: intervals hold the truth 95 times of 100."""
FEWEST = 10
"""Labels without which no rule is judged: one that was set in error must not take a rule down."""


class Sums(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a share is reckoned from; those of several workers and campaigns are added."""

    good: float = 0.0
    """Weights of those that have what is asked for."""
    total: float = 0.0
    """Weights of all."""
    squares: float = 0.0
    """Squares of these weights."""
    labels: int = 0

    @property
    def makes_sense(self) -> bool:
        """Whether these can be sums of anything; what another process says need not."""
        numbers = (self.good, self.total, self.squares)
        ordered = 0 <= self.good <= self.total * (1 + 1e-9) and 0 <= self.labels <= 1 << 53
        return all(map(math.isfinite, numbers)) and ordered and (self.squares > 0 or not self.total > 0)

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(
            good=self.good + other.good,
            total=self.total + other.total,
            squares=self.squares + other.squares,
            labels=self.labels + other.labels,
        )


class Evidence(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What is known about whom a version of a rule has found."""

    found: int = 0
    """Keys that it found."""
    alone: int = 0
    """Keys among them that were never stopped."""
    precision: Sums = Sums()
    recall: Sums = Sums()
    dishonest: int = 0
    """All persons who were labelled as dishonest: each worker knows them all, and meets some of them."""

    def __add__(self, other: "Evidence") -> "Evidence":
        return Evidence(
            dishonest=self.dishonest + other.dishonest,
            found=self.found + other.found,
            alone=self.alone + other.alone,
            precision=self.precision + other.precision,
            recall=self.recall + other.recall,
        )


class LabelledKey(NamedTuple):
    """A key that a rule found and that somebody has said something of."""

    dishonest: bool
    stopped: bool
    chance: float
    """With what chance it was left alone."""


class Met(NamedTuple):
    """Somebody who is known to be dishonest, and whether a rule found them."""

    found: bool
    stopped: bool = False
    """All keys by which they were found were stopped."""
    chance: float = 1.0


class Share(NamedTuple):
    """A share that was measured."""

    value: float
    low: float
    high: float
    labels: int
    message: str


def evidence_of(found: int, alone: int, keys: Iterable[LabelledKey], dishonest: Iterable[Met]) -> Evidence:
    """Add up what is known of one version of a rule in one campaign.

    Args:
        found: Keys that it found.
        alone: Keys among them that were never stopped.
        keys: Those that were labelled.
        dishonest: All persons who were labelled as dishonest.
    """
    persons = list(dishonest)
    kept = [each for each in keys if not each.stopped and each.chance > 0]
    met = [each for each in persons if not (each.found and each.stopped) and each.chance > 0]
    return Evidence(
        found=found,
        alone=alone,
        precision=_sums((1 / each.chance, each.dishonest) for each in kept),
        # Who was not found could not have been stopped, and stands for nobody else.
        recall=_sums((1 / each.chance if each.found else 1.0, each.found) for each in met),
        dishonest=len(persons),
    )


def _sums(weighed: Iterable[tuple[float, bool]]) -> Sums:
    weighed = list(weighed)
    return Sums(
        good=math.fsum(weight for weight, good in weighed if good),
        total=math.fsum(weight for weight, _ in weighed),
        squares=math.fsum(weight * weight for weight, _ in weighed),
        labels=len(weighed),
    )


def total(evidence: Iterable[Evidence]) -> Evidence:
    """Add up what several workers know, or what is known in several campaigns."""
    return sum(evidence, start=Evidence())


def of_workers(said: Sequence[Evidence]) -> Evidence:
    """Add up what the workers of a namespace know of one version of a rule in one campaign.

    Keys are each one worker's, persons are known to all: whom one has met, the others have not missed. Somebody whom
    several have found, by several keys, counts as found by each of them.
    """
    added = total(said)
    if len(said) < 2 or any(each.recall.labels > each.dishonest for each in said):
        return added
    persons = max(each.dishonest for each in said)
    # Who was missed weighs 1.
    misses = [round(each.recall.total - each.recall.good) for each in said]
    met = sum(each.dishonest - missed for each, missed in zip(said, misses, strict=True))
    missed = max(0, persons - met)
    recall = Sums(
        good=added.recall.good,
        total=added.recall.good + missed,
        squares=added.recall.squares - sum(misses) + missed,
        labels=added.recall.labels - sum(misses) + missed,
    )
    return msgspec.structs.replace(added, recall=recall, dishonest=persons)


def precision_of(evidence: Evidence) -> Share | None:
    """Give the share of the found who are dishonest; None where nobody has said anything of them."""
    share = _share(evidence.precision)
    if share is None:
        return None
    told = f"{share.labels} of {evidence.alone} keys that were found and left alone are labelled"
    lacks = [f"{told}: at least {FEWEST} are needed to judge by"] if share.labels < FEWEST else []
    if share.labels >= FEWEST and evidence.precision.good == evidence.precision.total:
        lacks.append("no label says Honest: precision is only right where the honest are labelled as well")
    return share._replace(message="; ".join(lacks))


def recall_of(evidence: Evidence) -> Share | None:
    """Give the share of the dishonest who were found; None where nobody is known to be dishonest."""
    share = _share(evidence.recall)
    if share is None:
        return None
    few = f"{share.labels} labels of dishonest visitors and users: at least {FEWEST} say something"
    return share._replace(message=few if share.labels < FEWEST else "")


def what_lacks(evidence: Evidence) -> str:
    """Say what it would take for a precision, where there is none."""
    if not evidence.found:
        return "this version of the rule has found nobody yet"
    if not evidence.alone:
        return f"all {evidence.found} keys that were found were stopped: raise holdout, so that some are left to label"
    return f"nobody has said yet who of the {evidence.alone} keys that were found and left alone was dishonest"


def _share(sums: Sums) -> Share | None:
    if not sums.labels or not sums.total > 0:
        return None
    value = min(1.0, max(0.0, sums.good / sums.total))
    low, high = wilson(value, sums.total**2 / sums.squares)
    return Share(value, low, high, sums.labels, "")


def wilson(share: float, size: float) -> tuple[float, float]:
    """Give the 95% score interval of a share.

    Args:
        share: Observed, 0 to 1.
        size: Of the sample; more than 0, and not necessarily a whole number.
    """
    spread = Z * Z / size
    middle = (share + spread / 2) / (1 + spread)
    half = Z / (1 + spread) * math.sqrt(share * (1 - share) / size + spread / (4 * size))
    # At the ends the formula is exact, floating point is not.
    low = 0.0 if share == 0 else max(0.0, middle - half)
    high = 1.0 if share == 1 else min(1.0, middle + half)
    return min(low, share), max(high, share)


def falls(share: Share | None, minimum: float) -> bool:
    """Tell whether a rule is surely less precise than it has to be: the whole interval lies below.

    Not the share itself: by chance alone that would take down every second rule that is just as right as it has to be.
    """
    return share is not None and share.labels >= FEWEST and share.high < minimum
