"""How right a rule would have been in the past: labels, which the fraud worker has, beside events of the store. Pure.

A key that a limit finds is dishonest if somebody has said so of the key itself, or else of one of its events that break
the rule, of the visitor or of the user who sent one, while nobody has said the contrary: as the worker reckons what it
found itself. A key that the rule has stopped shows nothing any more and does not count; one that it found and left
alone stands for as many as it left alone one of, any other one for itself. See `flywheel.fraud.proof`.
"""

# ruff: noqa: S608 - all names in the SQL are our own; of labels there are numbers alone

import base64
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import xxhash

from flywheel.fraud.backtest import Trial
from flywheel.fraud.known_labels import KnownLabel
from flywheel.fraud.proof import FEWEST, Evidence, Share, Sums, precision_of
from flywheel.fraud.verdicts import JOINT
from flywheel.insight.kpi import Rows, Statement

MOST = 8_000
"""Labels of one question."""
MOST_BY_HAND = 4_000
"""The same for the port that people ask, which takes shorter statements."""
_RANKED, _DISHONEST, _STOPPED = 1, 2, 4
_RECORD = struct.Struct("<QBI")
"""Of one label: the hash of whom it is about, flags, and the chance."""
_CUT = f"substring(known_labels, each * {_RECORD.size} + 1, {_RECORD.size})"
_TABLE = (
    "SELECT reinterpretAsUInt64(substring(record, 1, 8)) AS mark, "
    "reinterpretAsUInt8(substring(record, 9, 1)) AS flags, "
    f"reinterpretAsUInt32(substring(record, 10, 4)) AS chance FROM (SELECT {_CUT} AS record FROM "
    f"(SELECT arrayJoin(range(intDiv(length(known_labels), {_RECORD.size}))) AS each))"
)
"""The labels as a table."""
_CHANCES = 100_000_000
"""Chances are products of two numbers of ten thousandths: as whole numbers of these they are exact."""
_PREFIXES = {"event": "e", "visitor": "v", "user": "u", "key": "k"}


def precision_statement(trial: Trial, labels: Sequence[KnownLabel]) -> Statement:
    """Ask what labels say of those whom each of the limits would have found.

    The answer is one row of four lists, with a number for each limit: the weights of the dishonest among the keys that
    are labelled and count, the weights of all of these, the squares of the weights, and how many they are; and
    `stopped`, the same for labelled keys that do not count, as the rule has stopped them.

    Args:
        trial: The rule and the past.
        labels: At most `MOST` of them.
    """
    limits = ", ".join(map(repr, trial.limits.raw))
    weight = f"({_CHANCES}. / arrayMin(each -> each.2, said))"
    met = "arrayFilter(each -> each.3 > bound, said)"
    ranked = f"arrayExists(each -> bitAnd(each.1, {_RANKED}) != 0, met)"
    says = f"arrayExists(each -> bitAnd(each.1, {_RANKED | _DISHONEST}) = {_RANKED | _DISHONEST}, met)"
    nobody_denies = f"NOT arrayExists(each -> bitAnd(each.1, {_DISHONEST}) = 0, met)"
    by_limit = (
        "SELECT arrayJoin(arrayEnumerate(bounds)) AS rung, bounds[rung] AS bound, "
        f"{met} AS met, notEmpty(met) AS is_met, {weight} AS weight, "
        f"arrayExists(each -> bitAnd(each.1, {_STOPPED}) != 0, said) AS is_stopped, "
        f"if({ranked}, {says}, {nobody_denies}) AS is_dishonest "
        f"FROM (SELECT [{limits}] AS bounds, said FROM ({_keys(trial)}))"
    )
    summed = (
        f"SELECT rung, sumIf(weight, NOT is_stopped AND is_dishonest) AS good, sumIf(weight, NOT is_stopped) AS total, "
        "sumIf(weight * weight, NOT is_stopped) AS squares, countIf(NOT is_stopped) AS labels, "
        f"countIf(is_stopped) AS stopped FROM ({by_limit}) WHERE is_met GROUP BY rung"
    )
    sql = (
        f"WITH base64Decode('{_packed(labels)}') AS known_labels "
        f"SELECT arraySort(groupArray((rung, good, total, squares, labels, stopped))) AS rungs FROM ({summed})"
    )
    return Statement(sql, dict(trial.binder.parameters))


def _keys(trial: Trial) -> str:
    """Select the labelled keys: `said`, a tuple for each label of flags, chance and how far it goes up the limits.

    What is said of a key holds as far as any event of it does; what is said of others as far as events of theirs do.
    """
    return (
        "SELECT k, max(most) AS peak, arrayFlatten([arrayMap(each -> (each.1, each.2, peak), groupArrayArray(of_key)), "
        "groupArrayArray(of_event)]) AS said FROM ("
        f"SELECT k, number, max(value) AS most, "
        f"groupUniqArrayIf((flags, chance), is_said AND bitAnd(flags, {_RANKED}) != 0) AS of_key, "
        f"arrayMap(each -> (each.1, each.2, most), "
        f"groupUniqArrayIf((flags, chance), is_said AND bitAnd(flags, {_RANKED}) = 0)) AS of_event "
        f"FROM ({_judged(trial)} UNION ALL {_said(trial, with_label=True)}) GROUP BY k, number"
        ") GROUP BY k HAVING notEmpty(said)"
    )


def _judged(trial: Trial) -> str:
    """Select the events of labelled keys with what was measured."""
    return (
        "SELECT k, cityHash64(id) AS number, value, toUInt8(0) AS flags, toUInt32(0) AS chance, false AS is_said "
        f"FROM ({trial.judged()}) WHERE k IN ({_said(trial, with_label=False)})"
    )


def _said(trial: Trial, *, with_label: bool) -> str:
    """Select the events that a label is about; once for each label."""
    texts = ", '\\x1f', ".join(trial.key_texts())
    marks = (
        "[xxHash64(concat('e', message_id)), xxHash64(concat('v', visitor)), xxHash64(concat('u', user_id)), "
        f"xxHash64(concat('k', {texts}))]"
    )
    events = (
        f"SELECT {trial.key()} AS k, cityHash64(message_id) AS number, arrayJoin({marks}) AS mark FROM events "
        f"WHERE {trial.within()} AND {trial.in_time()} AND {trial.meant()} AND k != 0"
    )
    chosen = "k, number, -inf AS value, flags, chance, true AS is_said" if with_label else "DISTINCT k"
    return f"SELECT {chosen} FROM ({events}) AS seen INNER JOIN ({_TABLE}) AS told ON seen.mark = told.mark"


def _packed(labels: Sequence[KnownLabel]) -> str:
    """Write the labels: numbers in one text, since so many literals would take long to be read."""
    return base64.b64encode(b"".join(_records(labels))).decode()


def _records(labels: Sequence[KnownLabel]) -> Iterator[bytes]:
    for each in labels:
        flags = (_RANKED if each.kind == "key" else 0) | (_DISHONEST if each.dishonest else 0)
        flags |= _STOPPED if each.stopped else 0
        chance = max(1, round(each.chance * _CHANCES))
        for text in (f"{_PREFIXES[each.kind]}{JOINT.join(each.value)}", *(f"e{event}" for event in each.events)):
            mark = xxhash.xxh64_intdigest(text.encode("utf-8", "surrogatepass"))
            yield _RECORD.pack(mark, flags, chance)


def evidence_by_limit(trial: Trial, rows: Rows, keys: Sequence[int]) -> list[tuple[Evidence, int]]:
    """Read the answer to `precision_statement`: for each limit what is known, and how many keys do not count.

    Args:
        trial: The rule and the past.
        rows: The answer.
        keys: How many keys each of the limits finds.
    """
    row: Mapping[str, Any] = rows[0] if rows else {}
    found = {int(rung): rest for rung, *rest in row.get("rungs") or []}
    return [_evidence(found.get(number), each) for number, each in enumerate(keys[: len(trial.limits.raw)], start=1)]


def _evidence(rest: Sequence[Any] | None, keys: int) -> tuple[Evidence, int]:
    if rest is None:
        return Evidence(found=keys, alone=keys), 0
    good, total, squares, labels, stopped = rest
    sums = Sums(good=float(good), total=float(total), squares=float(squares), labels=int(labels))
    return Evidence(found=keys, alone=max(0, keys - int(stopped)), precision=sums), int(stopped)


def precision_in_the_past(evidence: Evidence) -> Share | None:
    """Give the share of those whom a rule would have found who are dishonest; None where nobody has said anything."""
    share = precision_of(evidence)
    if share is None or share.labels >= FEWEST:
        return share
    few = f"{share.labels} of {evidence.found} keys that it would have found are labelled"
    return share._replace(message=f"{few}: at least {FEWEST} are needed to judge by")
