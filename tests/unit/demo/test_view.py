"""The live view keeps to its columns and shows what matters."""

import re
import unicodedata
from datetime import UTC, datetime, timedelta
from io import StringIO

from hypothesis import given
from hypothesis import strategies as st

from rehearsal.abtest import ABTestView, Arm
from rehearsal.screen import Screen
from rehearsal.snapshot import STAGES, Autoscaler, EventView, KeyFigures, Load, ServiceView, Snapshot
from rehearsal.view import Ink, frame

NOW = datetime(2026, 11, 23, 14, 9, tzinfo=UTC)
text = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]) | st.just(" "), max_size=90)
counts = st.integers(0, 1000)
loads = st.lists(st.builds(Load, text, st.floats(0.001, 1e6), st.none() | st.floats(0, 1e9)), max_size=2).map(tuple)
arms = st.lists(st.builds(Arm, text, counts, st.none() | counts, text, text, text, text), max_size=3).map(tuple)
abtests = st.builds(ABTestView, text, text, text, arms, verdict=text, winner=text, reason=text)
figures = st.builds(KeyFigures, counts, counts, counts, text, text, text, text, text, counts, counts, text)
snapshots = st.builds(
    Snapshot,
    stage=st.sampled_from(["", *STAGES]),
    conditions=st.lists(st.tuples(text, text, text, text), max_size=3).map(tuple),
    services=st.lists(
        st.builds(
            ServiceView, text, counts, counts,
            st.none() | st.builds(Autoscaler, counts, counts, st.none() | counts, st.none() | counts, loads),
        ),
        max_size=4,
    ).map(tuple),
    events=st.lists(st.builds(EventView, text, text, text, text), max_size=6).map(tuple),
    figures=st.none() | figures,
    abtest=st.none() | abtests,
)  # fmt: skip


def columns(line: str) -> int:
    plain = re.sub(r"\x1b\[[0-9;]*m", "", line)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in plain)


@given(snapshots, st.integers(20, 120), st.booleans())
def test_no_line_is_wider_than_the_terminal(shown: Snapshot, width: int, colours: bool) -> None:
    lines = frame(shown, "优购网 618", NOW, ["商店 http://127.0.0.1:1234"], width, Ink(colours), {"wechat": 7})
    assert all(columns(line) <= width for line in lines)
    assert all("\n" not in line for line in lines)
    if colours:
        assert all(line.count("\x1b[") == 2 * line.count("\x1b[0m") for line in lines), "every colour ends on its line"


def test_the_view_of_a_busy_moment() -> None:
    scaler = Autoscaler(3, 5, 60, 140, (Load("orders/s", 0.3, 0.4571), Load("requests/s", 2)))
    shown = Snapshot(
        stage="Live",
        next_stage="Draining",
        next_at=NOW + timedelta(seconds=42),
        conditions=(("Ready", "True", "Running", "all services are ready"),),
        services=(ServiceView("landing", 1, 1), ServiceView("seckill", 5, 3, scaler)),
        figures=KeyFigures(412, 120, 31, "8123", "CNY", "22.1%", "0%", "35ms", 60, 31, "51.6%"),
        events=(EventView("a", "Normal", "Live", "Warm -> Live"),),
        abtest=ABTestView("claim-button", "Running", "", (Arm("red", 103, 29), Arm("green-button", 98, 51))),
    )
    channels = {"wechat": 20, "sms": 0, "direct": 30}
    drawn = "\n".join(frame(shown, "优购网 618", NOW, ["shop    http://127.0.0.1:1234"], 110, Ink(False), channels))
    assert "优购网 618  Live  next: Draining in 42 s" in drawn
    assert "● Scheduled  ● Preparing  ● Warm  ● Live  ○ Draining  ○ Retained  ○ Retired" in drawn
    assert (
        "seckill        3 of 5   ███░░      cpu 140% of 60%  0.46 of 0.3 orders/s  … of 2 requests/s  HPA 3 to 5"
        in drawn
    )
    assert "PV 412  UV 120  orders 31  revenue 8123 CNY  conversion 22.1%  errors 0%  p95 35ms" in drawn
    assert "goal      ██████████░░░░░░░░░░ 51.6% of 60" in drawn
    assert "channels  direct 30, wechat 20\n" in drawn
    assert "claim-button Running  red 103 visitors, 29 claimed; green-button 98 visitors, 51 claimed\n" in drawn
    assert "Ready=True Running  all services are ready" in drawn


def test_without_a_terminal_there_are_lines_and_no_colours() -> None:
    out = StringIO()
    screen = Screen(out)
    screen.draw(["never shown"])
    screen.say("stage     Warm -> Live")
    screen.say()
    assert out.getvalue() == "0:00  stage     Warm -> Live\n\n"
