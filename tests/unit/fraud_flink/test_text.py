"""What is quoted for Flink SQL stays text, whatever it is."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.unit.fraud_flink.log import ODD

from flywheel.fraud.flink_sql import Connection, refusals, statements
from flywheel.fraud.flink_text import interval, literal, name, number
from flywheel.fraud.rule import AccountAge, Count, Distinct, Filter, Linked, Match, Rule, Score, Sequence, Sum

TOPIC = Connection((("connector", "filesystem"),), lane="INT", place="BIGINT")
LITERAL = re.compile(r"(?:U&)?'[^']*'")
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40) | st.sampled_from(ODD)


def read(written: str) -> str:
    """Read a literal as SQL does."""
    if not written.startswith("U&"):
        return written[1:-1].replace("''", "'")
    units = re.sub(r"\\([0-9A-F]{4})", lambda found: chr(int(found[1], 16)), written[3:-1])
    return units.encode("utf-16", "surrogatepass").decode("utf-16")


@given(texts)
@example("\\0041")
@example("a''b")
def test_a_literal_says_what_it_was_made_of(text: str) -> None:
    written = literal(text)
    assert LITERAL.fullmatch(written)
    assert read(written) == text


@given(texts)
def test_programs_that_cut_scripts_find_nothing_in_a_literal(text: str) -> None:
    written = literal(text)
    assert not re.search(r"[;`\"\r\n\u2028\u2029$%]|--|/\*|\*/", written)


def test_half_a_character_is_refused() -> None:
    with pytest.raises(ValueError, match="surrogates"):
        literal("\ud800")


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_the_same_to_the_last_bit(value: float) -> None:
    assert float(number(value).strip("()")) == value
    assert "E" in number(value), "without an exponent it would be a DECIMAL"


@given(st.integers(0, 90 * 86_400_000))
def test_an_interval_is_as_long_as_it_was(milliseconds: int) -> None:
    found = re.fullmatch(
        r"INTERVAL '(\d+) (\d\d):(\d\d):(\d\d)\.(\d{3})' DAY\(3\) TO SECOND\(3\)", interval(milliseconds)
    )
    assert found
    days, hours, minutes, seconds, rest = map(int, found.groups())
    assert hours < 24
    assert max(minutes, seconds) < 60
    assert (((days * 24 + hours) * 60 + minutes) * 60 + seconds) * 1000 + rest == milliseconds


def test_names_never_come_from_outside() -> None:
    with pytest.raises(ValueError, match="no name of ours"):
        name("a` b")


def rule_of(text: str) -> Rule:
    """Give a rule that has a text wherever one may be."""
    where = (Filter(field=text or "x", operator="In", values=(text or "x", "b")),)
    match = Match(types=(text,), events=(text,), where=where)
    return Rule(
        name=text or "x",
        match=match,
        key=(text or "x", "user"),
        window=5000,
        lateness=100,
        conditions=(
            Distinct(field=text or "x", more_than=2),
            Sum(field=text or "x", more_than=1),
            Sequence(steps=(match,), within=500),
            AccountAge(less_than=5, created_at=text or "x"),
        ),
    )


def skeleton(rule: Rule) -> list[str]:
    """Give statements without the texts in them, nor the names of the attributes that events have anyway."""
    return [LITERAL.sub("'x'", each) for each in statements(rule, TOPIC, TOPIC)]


@given(texts.filter(lambda text: text not in {"address", "visitor", "user", "userId", "type", "event", "messageId"}))
def test_no_text_of_a_rule_changes_what_is_asked(text: str) -> None:
    assert skeleton(rule_of(text)) == skeleton(rule_of("x"))


def rule(*conditions: object, **more: object) -> Rule:
    given = {"name": "r", "key": ("user",), "window": 1000, "lateness": 100, **more}
    return Rule(conditions=conditions, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("refused", "why"),
    [
        (rule(Linked(accounts="user", through="device", more_than=2)), "linked cannot be said in Flink SQL"),
        (rule(Score(model="sha256:0", features=("a",), more_than=0.5)), "score cannot be said in Flink SQL"),
        (rule(Count(more_than=2), window=0), "window is 0 ms"),
        (
            rule(Count(more_than=2), match=Match(where=(Filter(field="a", operator="LessThan", values=("b",)),))),
            "takes a number",
        ),
        (
            rule(Count(more_than=2), match=Match(where=(Filter(field="a", operator="InRange", values=("b",)),))),
            "does not appear to be",
        ),
    ],
    ids=["linked", "score", "window", "text that is less", "no network"],
)
def test_what_cannot_be_said_is_refused(refused: Rule, why: str) -> None:
    found = refusals(refused)
    assert any(why in str(each) for each in found), found
    with pytest.raises(ValueError, match=re.escape(why)):
        statements(refused, TOPIC, TOPIC)
