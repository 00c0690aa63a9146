"""The text of an annotation: each command reaches the operator once, whoever else commands something meanwhile."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.unit.release.world import release

from flywheel.commands.release_annotation import annotation_of, merged, nonce_at, part_of, parts
from flywheel.commands.release_seen import Refusal
from flywheel.release.facts import LONGEST_COMMAND, Facts, command, rollback_target
from flywheel.release.state import Candidate, Past, ReleaseState

NOON = datetime(2027, 6, 16, 12, 0, tzinfo=UTC)
NAMES = ("web", "pay", "cart", *(f"{letter * 60}" for letter in "abcdef"))


def state(service: str, revision: str = "", **fields: object) -> ReleaseState:
    preview = Candidate(slot="green", revision=revision, since=NOON) if revision else None
    return ReleaseState(service=service, preview=preview, **fields)


def asked(name: str, text: str, release_state: ReleaseState) -> str | None:
    """What the operator takes from an annotation."""
    facts = Facts(spec=release(), wanted=None, annotations={annotation_of(name): text})
    if name == "rollback":
        found = rollback_target(facts, release_state)
        return found[0] if found else None
    assert release_state.preview
    return command(facts, release_state, name, release_state.preview.revision)


@given(
    st.sampled_from(["promote", "abort", "retry", "rollback"]),
    st.lists(st.tuples(st.sampled_from(["write", "look"]), st.sampled_from(NAMES)), max_size=40),
)
def test_each_command_is_taken_exactly_once(name: str, acts: list[tuple[str, str]]) -> None:
    states = {each: state(each, f"{index:016x}") for index, each in enumerate(NAMES)}
    waiting: set[str] = set()
    text = ""
    for number, (act, service) in enumerate(acts):
        preview = states[service].preview
        assert preview
        if act == "write":
            own = {service: part_of(service, preview.revision, nonce_at(number + 1e9))}
            try:
                text = merged(name, text, own, states)
            except Refusal:
                assert len(waiting | {service}) >= 5
                continue
            assert len(text) <= LONGEST_COMMAND
            waiting.add(service)
        else:
            taken = asked(name, text, states[service])
            assert (taken is not None) == (service in waiting)
            waiting.discard(service)
            if taken:
                states[service] = replace(states[service], handled={**states[service].handled, name: taken})


@given(st.text(max_size=600))
def test_whatever_somebody_wrote_ours_is_read(before: str) -> None:
    states = {each: state(each, "two") for each in ("web", "pay")}
    try:
        text = merged("promote", before, {"web": "web=two/n"}, states)
    except Refusal:
        return
    assert len(text) <= LONGEST_COMMAND
    assert asked("promote", text, states["web"]) is not None


def test_what_a_person_wrote_by_hand_stays_until_it_is_taken() -> None:
    states = {"web": state("web", "two"), "pay": state("pay", "zwei")}
    assert merged("promote", "zwei", {"web": "web=two/n"}, states) == "web=two/n,zwei"
    taken = {**states, "pay": replace(states["pay"], handled={"promote": "zwei"})}
    assert merged("promote", "zwei", {"web": "web=two/n"}, taken) == "web=two/n"


def test_a_promotion_given_ahead_for_a_service_to_come_stays() -> None:
    assert merged("promote", "new=abc/1", {"web": "web=two/n"}, {"web": state("web")}) == "web=two/n,new=abc/1"


def test_a_command_about_a_revision_that_is_past_goes() -> None:
    past = (Past(revision="eins", outcome="Superseded", at=NOON),)
    states = {"web": state("web", "two"), "pay": state("pay", "zwei", history=past)}
    assert merged("promote", "pay=eins/1,pay=drei/2", {"web": "web=two/n"}, states) == "web=two/n,pay=drei/2"


def test_an_earlier_command_for_the_same_service_is_replaced() -> None:
    states = {"web": state("web", "two")}
    assert merged("promote", "web=one/1,two", {"web": "web=two/n"}, states) == "web=two/n"
    assert merged("rollback", "web/1", {"web": "web=one/n"}, states) == "web=one/n"


def test_a_full_annotation_is_refused_rather_than_cut() -> None:
    states = {each: state(each, "two") for each in NAMES}
    before = ",".join(part_of(each, "two", "1") for each in NAMES[3:])
    with pytest.raises(Refusal, match="is the operator running"):
        merged("abort", before, {"web": part_of("web", "t" * 200, "n")}, states)


def test_two_moments_make_two_commands() -> None:
    assert nonce_at(1_813_104_000.0) != nonce_at(1_813_104_000.001)
    assert len(nonce_at(1_813_104_000.0)) == 8
    assert nonce_at(0) == "0"


def test_only_what_the_operator_reads_counts() -> None:
    assert parts("promote", "x" * 600)[0].revision == "x" * LONGEST_COMMAND
    assert [each.service for each in parts("rollback", "web, pay=one/2")] == ["web", "pay"]
