"""The report as a page: everything is in it, nothing that was put in can break it, and it needs nothing else."""

import math
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.unit.abtest_command.story import BEGAN, HYPOTHESIS, Story, abtest

from flywheel.experiment.report_markup import element
from flywheel.experiment.report_model import (
    MOST_LOOKS,
    ArmAt,
    Day,
    LookAt,
    Report,
    UnreadableReport,
    VariantAt,
    VariantDesign,
    read_report,
    with_look,
    write_report,
)
from flywheel.experiment.report_page import page
from flywheel.experiment.report_scales import Scale, moments, ticks
from flywheel.experiment.told_model import Bounds, ToldComparison, ToldMetric, ToldVariant

VOID = {"meta", "br", "hr"}


@dataclass
class Node:
    name: str
    attributes: dict[str, str]
    children: list["Node"] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


class Reader(HTMLParser):
    """Reads a page as a tree, and does not forgive an end that is missing."""

    def __init__(self) -> None:
        super().__init__()
        self.nodes: list[Node] = []
        self._open: list[Node] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        node = Node(tag, {name: value or "" for name, value in attrs})
        self.nodes.append(node)
        if tag not in VOID:
            self._open.append(node)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop().name == tag

    def handle_data(self, data: str) -> None:
        for each in self._open:
            each.texts.append(data)

    def close(self) -> None:
        super().close()
        assert self._open == []


def read(report: Report) -> Reader:
    reader = Reader()
    reader.feed(page(report))
    reader.close()
    return reader


def of_class(reader: Reader, name: str) -> list[Node]:
    return [each for each in reader.nodes if name in each.attributes.get("class", "").split()]


def test_the_verdict_stands_on_top_with_its_sentence_and_what_follows() -> None:
    story = Story().run(14)
    reader = read(story.report())
    [verdict] = of_class(reader, "verdict")
    assert verdict.text.startswith('lime is better lime is better than red: "Coupon Claimed"')
    assert "It waits for a person" in verdict.text
    assert "good" in verdict.attributes["class"]
    names = [each.name for each in reader.nodes]
    assert reader.nodes.index(verdict) < names.index("table")
    assert next(each.text for each in reader.nodes if each.name == "title") == "A/B test button: lime is better"


def test_all_of_a_test_is_told() -> None:
    story = Story().run(14)
    report = story.report(notes=("The service was released meanwhile.",))
    text = " ".join(next(each.text for each in read(report).nodes if each.name == "body").split())
    lime = report.variants[1]
    for told in (
        HYPOTHESIS,
        "landing of yougou-618 in spring",
        "2027-06-16 08:00 to",
        "(Asia/Shanghai)",
        f"{lime.visitors:,}",
        f"{lime.conversions:,}",
        lime.value,
        lime.estimate,
        f"{lime.interval.low} to {lime.interval.high}",
        lime.best,
        "Guardrails",
        "errors",
        "+0.5 points",
        "Revenue per visitor",
        "Sample ratio",
        "The service was released meanwhile.",
        "fixed before anything was decided: 20,393 of each variant, from 8.1% with red",
        "at most 5% of such tests would name one",
        "Visitors do not influence each other",
        "name: BUTTON value: lime",
        "by a person",
        "planned +10%",
        "no difference",
    ):
        assert told in text, told


@pytest.mark.parametrize(
    ("story", "title", "look"),
    [
        (Story(shares={"red": 0.09, "lime": 0.08}), "red stays", "even"),
        (Story(leaving={"lime": 0.25}), "Stopped to protect visitors", "bad"),
        (Story(split={"red": 0.6, "lime": 0.4}), "The figures cannot be trusted", "bad"),
    ],
)
def test_each_verdict_has_its_words_and_its_colour(story: Story, title: str, look: str) -> None:
    [verdict] = of_class(read(story.run(14).report()), "verdict")
    assert verdict.text.startswith(title)
    assert look in verdict.attributes["class"]


def test_a_test_that_runs_says_that_nothing_is_decided() -> None:
    story = Story(shares={"red": 0.08, "lime": 0.081}).run(2)
    [verdict] = of_class(read(story.report()), "verdict")
    assert "nothing is decided yet" in verdict.text
    assert "by chance" in verdict.text


@pytest.mark.parametrize("state", ["Waiting", "Paused", "Failed", "Stopped", "Running"])
def test_a_test_of_which_nothing_is_known_has_a_page_all_the_same(state: str) -> None:
    reader = read(Report(test="t", namespace="n", campaign="c", service="s", state=state))
    assert of_class(reader, "chart") == []
    assert of_class(reader, "verdict")


def test_both_drawings_show_what_they_should() -> None:
    story = Story().run(14)
    effect, visitors = drawings(story.report())
    assert "Change with lime" in effect.findtext("title", "")
    [band] = effect.iter("polygon")
    assert len(band.attrib["points"].split()) == 2 * len(story.looks)
    [line] = effect.iter("polyline")
    xs = [float(each.split(",")[0]) for each in line.attrib["points"].split()]
    assert xs == sorted(xs)
    [planned] = [float(each.attrib["y1"]) for each in effect.iter("line") if each.attrib.get("class") == "goal"]
    assert planned < zero_of(effect), "more is further up"
    assert len(list(visitors.iter("polyline"))) == 2
    assert {"red", "lime", "decided"} <= {each.text for each in visitors.iter("text")}


def drawings(report: Report) -> list[ElementTree.Element]:
    found = re.findall(r'<svg [^>]*class="chart".*?</svg>', page(report), re.DOTALL)
    return [ElementTree.fromstring(each) for each in found]


def zero_of(drawing: ElementTree.Element) -> float:
    [text] = [each for each in drawing.iter("text") if each.text == "no difference"]
    return float(text.attrib["y"]) + 5


def test_every_place_is_within_the_drawing() -> None:
    for drawing in drawings(Story().run(14).report()):
        _, _, width, height = map(float, drawing.attrib["viewBox"].split())
        places = [p.split(",") for each in drawing.iter() for p in each.attrib.get("points", "").split()]
        assert places
        assert all(0 <= float(x) <= width and 0 <= float(y) <= height for x, y in places)


def test_each_variant_has_a_drawing_and_a_colour_of_its_own() -> None:
    variants = [
        {"name": "red", "control": True, "weight": "40%"},
        *({"name": each, "weight": "30%", "override": {"image": f"shop:{each}"}} for each in ("lime", "mint")),
    ]
    shares = {"red": 0.08, "lime": 0.081, "mint": 0.082}
    story = Story(abtest(variants=variants), shares, split={"red": 0.4, "lime": 0.3, "mint": 0.3}).run(3)
    titles = [each.findtext("title") for each in drawings(story.report())]
    assert ["lime" in (titles[0] or ""), "mint" in (titles[1] or ""), len(titles)] == [True, True, 3]
    reader = read(story.report())
    colours = {each.attributes["class"] for each in of_class(reader, "key")}
    assert colours == {"key control", "key colour0", "key colour1"}


def test_the_page_asks_nobody_and_runs_nothing() -> None:
    reader = read(Story().run(14).report())
    assert not {"script", "link", "img", "iframe", "object", "form"} & {each.name for each in reader.nodes}
    for each in reader.nodes:
        assert not {"src", "href", "style"} & set(each.attributes)
        assert not any(name.startswith("on") for name in each.attributes)
    policy = next(each for each in reader.nodes if each.attributes.get("http-equiv"))
    assert policy.attributes["content"].startswith("default-src 'none'")
    assert "url(" not in page(Story().run(1).report())


HOSTILE = "</style></title><script>alert(1)</script>\"'><img src=x onerror=alert(1)>&lt;\u202e领取"


def test_what_people_write_stays_text() -> None:
    story = Story().run(14)
    told = ToldMetric(
        name=HOSTILE,
        margin=HOSTILE,
        control=HOSTILE,
        variants=(ToldComparison(variant=HOSTILE, value=HOSTILE, estimate=HOSTILE, verdict=HOSTILE),),
    )
    report = story.report()
    hostile = replace(
        report,
        test=HOSTILE,
        namespace=HOSTILE,
        service=HOSTILE,
        campaign=HOSTILE,
        hypothesis=HOSTILE,
        time_zone=HOSTILE,
        notes=(HOSTILE,),
        secondary=(told,),
        checks=replace(report.checks, guardrails=(told,)),
        decision=replace(report.decision, reason=HOSTILE, winner=HOSTILE, verdict="Ship"),
        variants=(*report.variants, ToldVariant(name=HOSTILE, best=HOSTILE, interval=Bounds(low=HOSTILE))),
        design=replace(
            report.design,
            primary=HOSTILE,
            method=HOSTILE,
            variants=(*report.design.variants, VariantDesign(name=HOSTILE, override={HOSTILE: [HOSTILE]})),
        ),
        looks=tuple(
            replace(
                each,
                arms={**each.arms, HOSTILE: ArmAt(visitors=3)},
                variants={**each.variants, HOSTILE: VariantAt(lift=0.1, lift_lower=-0.1, lift_upper=0.3)},
            )
            for each in report.looks
        ),
    )
    reader = read(hostile)
    assert not {"script", "img"} & {each.name for each in reader.nodes}
    assert not any("onerror" in each.attributes for each in reader.nodes)
    assert "\u202e" not in page(hostile)
    assert len(drawings(hostile)) == 3


@given(st.text(), st.text())
def test_no_text_breaks_an_element(text: str, value: str) -> None:
    reader = Reader()
    reader.feed(element("p", text, title=value))
    reader.close()
    assert [each.name for each in reader.nodes] == ["p"]


def test_without_bounds_only_the_line_is_drawn() -> None:
    report = Story().run(14).report()

    def bare(look: LookAt) -> LookAt:
        variants = {name: VariantAt(lift=each.lift) for name, each in look.variants.items()}
        return replace(look, variants=variants)

    effect, _ = drawings(replace(report, looks=tuple(map(bare, report.looks))))
    assert list(effect.iter("polygon")) == []
    assert len(list(effect.iter("polyline"))) == 1
    effect, _ = drawings(replace(report, looks=(bare(report.looks[0]), *report.looks[1:])))
    [band] = effect.iter("polygon")
    assert len(band.attrib["points"].split()) == 2 * len(report.looks)


def test_a_report_is_read_as_it_was_written() -> None:
    report = Story().run(14).report()
    assert read_report(write_report(report)) == report
    assert write_report(report) == write_report(report)
    assert '"version":1' in write_report(report)


def test_what_is_endless_is_not_known() -> None:
    look = LookAt(at=BEGAN, variants={"lime": VariantAt(lift=0.1, lift_lower=float("-inf"), lift_upper=float("nan"))})
    looks = (look, replace(look, at=BEGAN + timedelta(hours=1)))
    report = read_report(write_report(Story().run(1).report(looks=looks)))
    assert report.looks[0].variants["lime"] == VariantAt(lift=0.1)
    assert read(report)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "cannot be read"),
        ("{}", "cannot be read"),
        ("[" * 9999, "cannot be read"),
        ('{"version":2,"test":"a","namespace":"b","campaign":"c","service":"d"}', "of version 2"),
    ],
)
def test_what_is_no_report_is_told(text: str, said: str) -> None:
    with pytest.raises(UnreadableReport, match=said):
        read_report(text)


def test_the_whole_course_is_kept_in_few_looks() -> None:
    looks: tuple[LookAt, ...] = ()
    for each in range(5000):
        looks = with_look(looks, LookAt(at=BEGAN + timedelta(minutes=each)))
        assert len(looks) <= MOST_LOOKS
    assert looks[0].at == BEGAN
    assert looks[-1].at == BEGAN + timedelta(minutes=4999)
    assert [each.at for each in looks] == sorted(each.at for each in looks)
    again = with_look(looks, LookAt(at=looks[-1].at, ratio_p=0.5))
    assert len(again) == len(looks)
    assert again[-1].ratio_p == 0.5


def test_a_full_report_fits_a_config_map() -> None:
    names = [f"variant-{each}-with-a-long-name"[:30] for each in range(8)]
    arms = {each: ArmAt(visitors=10**9, total=123456.123456789, value=0.123456789012) for each in names}
    found = VariantAt(**dict.fromkeys(VariantAt.__struct_fields__, -0.1234567890123456))
    looks = tuple(
        LookAt(at=BEGAN + timedelta(minutes=each), ratio_p=0.123456789, arms=arms, variants=dict.fromkeys(names, found))
        for each in range(MOST_LOOKS)
    )
    days = tuple(Day(day="2027-06-16", arms=arms) for _ in range(180))
    report = Story().run(1).report(looks=looks, days=days)
    assert len(write_report(report)) < 900_000


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_are_round_few_and_within(low: float, span: float) -> None:
    found = ticks(low, low + span)
    assert len(found) <= 8
    # A value is written no finer than floats of its size are.
    slack = span * 1e-6 + 8 * math.ulp(max(abs(low), abs(low + span)))
    assert all(low - slack <= each <= low + span + slack for each in found)


def test_a_scale_holds_what_lies_outside_at_its_edge() -> None:
    scale = Scale(0.0, 10.0, 100.0, 200.0)
    assert [scale(each) for each in (-5.0, 0.0, 5.0, 10.0, 99.0, float("inf"))] == [100, 100, 150, 200, 200, 200]


@pytest.mark.parametrize("span", [timedelta(minutes=20), timedelta(hours=30), timedelta(days=9), timedelta(days=180)])
def test_moments_are_few_and_round(span: timedelta) -> None:
    begin = datetime(2027, 6, 16, 9, 41, tzinfo=UTC)
    found = list(moments(begin, begin + span))
    assert 1 <= len(found) <= 9
    assert all(begin <= each <= begin + span and each.minute % 5 == 0 for each in found)
