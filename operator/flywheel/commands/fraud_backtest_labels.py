"""What `flywheel fraud backtest` says of how right a rule would have been, where the fraud worker knows labels."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from flywheel.commands.fraud_access import Worker, Workers
    from flywheel.commands.fraud_backtest_asking import Store
    from flywheel.fraud.backtest import Trial
    from flywheel.fraud.backtest_found import Found
    from flywheel.fraud.known_labels import KnownLabel
    from flywheel.fraud.proof import Share
    from flywheel.insight.kpi import Statement

LONGEST_STATEMENT = 100_000
"""Characters that the store's port for people reads."""


@dataclass(frozen=True)
class Precision:
    """How right each of the limits of a rule would have been."""

    shares: "tuple[Share | None, ...]" = ()
    """By limit; None where nobody has said anything of whom it finds."""
    lacks: tuple[str, ...] = ()
    """What is not known, each a sentence without its full stop."""


@contextmanager
def judge(namespace: str, urls: Sequence[str], store_url: str | None) -> "Iterator[Workers | str]":
    """Reach the fraud workers, for as long as the context lasts; give why that is not possible where it is not.

    Args:
        namespace: Where they are.
        urls: Their addresses, where somebody else sees to the forwarding.
        store_url: That of the store: whoever forwards that port does so for this one, too, or does without.
    """
    from contextlib import ExitStack

    from flywheel.commands.fraud_access import workers

    if store_url and not urls:
        yield "say with --worker-url where the fraud worker is"
        return
    with ExitStack() as stack:
        try:
            reached: Workers | str = stack.enter_context(workers(namespace, urls))
        except click.ClickException as error:
            reached = _first_line(error)
        yield reached


def precision_of(trial: "Trial", found: "Found", judge: "Workers | str", store: "Store") -> Precision:
    """Ask for labels, and what they say of those whom each limit finds."""
    from flywheel.fraud.backtest_asking import left_out
    from flywheel.fraud.backtest_precision import MOST_BY_HAND, evidence_by_limit, precision_in_the_past
    from flywheel.fraud.known_labels import together

    if isinstance(judge, str):
        return Precision(lacks=(f"precision is not told, as nobody can be asked for labels: {judge}",))
    try:
        told = [_labels(each, trial.past.campaign, trial.rule.name) for each in judge]
    except click.ClickException as error:
        return Precision(lacks=(f"precision is not told, as nobody can be asked for labels: {_first_line(error)}",))
    labels = together(told, MOST_BY_HAND)
    if not labels:
        return Precision(lacks=("precision is not told, as nobody has labelled anybody yet",))
    keys = [each.keys for each in found.curve]
    known = evidence_by_limit(trial, store.ask(_statement(trial, labels)), keys)
    shares = tuple(precision_in_the_past(evidence) for evidence, _ in known)
    own = shares[found.current]
    said = own.message if own else "none of the keys that it would have found is labelled"
    return Precision(shares, (*([said] if said else []), *left_out(known[found.current][1])))


def _labels(judge: "Worker", campaign: str, rule: str) -> "list[KnownLabel]":
    import msgspec

    from flywheel.fraud.backtest_precision import MOST_BY_HAND
    from flywheel.fraud.known_labels import LabelPage

    found: list[KnownLabel] = []
    before = skip = 0
    while len(found) < MOST_BY_HAND:
        told = judge.get("/labels", campaign=campaign, rule=rule, before=before, skip=skip)
        try:
            page = msgspec.convert(told, LabelPage)
        except msgspec.ValidationError as error:
            raise click.ClickException(f"The fraud worker answers what cannot be read: {error}") from error
        found += page.labels
        before, skip = page.before, page.skip
        if not before or not page.labels:
            break
    return found[:MOST_BY_HAND]


def _statement(trial: "Trial", labels: "list[KnownLabel]") -> "Statement":
    """Write the question, with as many of the latest labels as it has room for."""
    from flywheel.commands.fraud_backtest_asking import written_out
    from flywheel.fraud.backtest_precision import precision_statement

    while len(written_out(statement := precision_statement(trial, labels))) > LONGEST_STATEMENT and len(labels) > 1:
        labels = labels[: len(labels) // 2]
    return statement


def _first_line(error: click.ClickException) -> str:
    return error.message.splitlines()[0].rstrip(".") if error.message else type(error).__name__
