"""The two drawings of a report: how sure the change became, and how many visitors were there. Pure; SVG."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

from flywheel.experiment.report_markup import Child, Markup, element, joined
from flywheel.experiment.report_model import LookAt, Report, VariantAt
from flywheel.experiment.report_scales import Scale, bounds, moments, ticks
from flywheel.experiment.report_style import COLOURS
from flywheel.experiment.report_words import planned_lift

WIDTH = 760.0
HEIGHT = 320.0
LEFT, RIGHT, TOP, BOTTOM = 56.0, 118.0, 16.0, 34.0
CONTROL = "control"
SETTLED = 0.3
"""Share of the time at the beginning whose bounds do not stretch the axis: nobody knows anything then."""
FARTHEST = 1.8
"""Times the widest of what is worth seeing, for bounds that stretch the axis all the same."""


@dataclass(frozen=True, slots=True)
class Frame:
    """Where the drawing is, and what its axes mean."""

    across: Scale
    up: Scale
    begin: datetime
    zone: tzinfo

    def x(self, at: datetime) -> float:
        """Give the place of a moment."""
        return self.across((at - self.begin).total_seconds())


def colour_of(report: Report, variant: str) -> str:
    """Give the class that colours a variant, the same in all drawings and tables; see `report_style`."""
    if any(each.control for each in report.design.variants if each.name == variant):
        return CONTROL
    others = [each.name for each in report.design.variants if not each.control]
    return f"colour{others.index(variant) % COLOURS}" if variant in others else CONTROL


def effect_chart(report: Report, variant: str, zone: tzinfo) -> Markup | None:
    """Draw the change of one variant over time, in its band; None while there is nothing to draw."""
    seen = [(look.at, found) for look in report.looks if (found := look.variants.get(variant)) and _is_known(found)]
    if len(seen) < 2:
        return None
    planned = planned_lift(report)
    frame = _frame(report, _reach(seen, planned), zone)
    colour = colour_of(report, variant)
    band = [(frame.x(at), frame.up(each.lift_upper or 0.0)) for at, each in seen]
    band += [(frame.x(at), frame.up(each.lift_lower or 0.0)) for at, each in reversed(seen)]
    line = [(frame.x(at), frame.up(each.lift or 0.0)) for at, each in seen]
    at, last = seen[-1]
    return _drawing(
        f"Change with {variant} over time, with what the truth very likely lies in",
        _percents(frame),
        _days(frame, report),
        element("polygon", points=_points(band), fill="currentColor", class_=colour, opacity=0.18),
        _across(frame, 0.0, "axis"),
        _across(frame, planned, "goal"),
        _line(line, colour),
        _named(frame, 0.0, "axis", "no difference"),
        _named(frame, planned, "goal", f"planned {planned * 100:+.3g}%"),
        element("circle", cx=frame.x(at), cy=frame.up(last.lift or 0.0), r=4.5, fill="currentColor", class_=colour),
        _decided(frame, report),
        _label(frame.x(at) + 10, frame.up(last.lift or 0.0), f"{(last.lift or 0.0) * 100:+.3g}%", colour),
    )


def visitors_chart(report: Report, zone: tzinfo) -> Markup | None:
    """Draw the visitors of each arm over time; None while there is nothing to draw."""
    looks = [each for each in report.looks if each.arms]
    if len(looks) < 2:
        return None
    cap = report.design.variant_cap
    most = max(arm.visitors for look in looks for arm in look.arms.values())
    # A plan that is far away would press all lines to the ground.
    shown = cap if cap is not None and cap <= 4 * most else None
    frame = _frame(report, (0.0, 1.06 * max(most, shown or 0, 1)), zone)
    names = [each.name for each in report.design.variants] or sorted(looks[-1].arms)
    parts: list[Child] = [_counts(frame), _days(frame, report)]
    if shown is not None:
        parts += [_across(frame, float(shown), "goal"), _named(frame, float(shown), "goal", f"planned {shown:,}")]
    last = sorted(names, key=lambda each: colour_of(report, each) == CONTROL)
    parts += [_visitors(frame, report, looks, name) for name in last]
    parts.append(_decided(frame, report))
    ends = [(frame.up(float(_arm(looks[-1], name))), name) for name in names]
    x = frame.x(looks[-1].at) + 10
    parts += [_label(x, y, name, colour_of(report, name)) for y, name in _apart(ends)]
    return _drawing("Visitors of each variant over time", *parts)


def small_interval(
    lower: float, estimate: float, upper: float, reach: float, colour: str, mark: float | None
) -> Markup:
    """Draw one interval small enough for a table; `mark` is the margin, or the planned effect."""
    scale = Scale(-reach, reach, 4.0, 136.0)
    parts: list[Child] = [
        element("line", x1=4, x2=136, y1=11, y2=11, class_="rule"),
        element("line", x1=scale(0.0), x2=scale(0.0), y1=2, y2=20, class_="axis"),
    ]
    if mark is not None:
        parts.append(element("line", x1=scale(mark), x2=scale(mark), y1=2, y2=20, class_="goal"))
    ends = {"x1": scale(lower), "x2": scale(upper), "y1": 11.0, "y2": 11.0}
    look = {"stroke": "currentColor", "stroke_linecap": "round", "class_": colour}
    parts.append(element("line", **ends, **look, stroke_width=5, opacity=0.45))
    parts.append(element("circle", cx=scale(estimate), cy=11, r=4, fill="currentColor", class_=colour))
    return element("svg", *parts, viewBox="0 0 140 22", class_="small", aria_hidden="true")


def _is_known(found: VariantAt) -> bool:
    return None not in (found.lift, found.lift_lower, found.lift_upper)


def _reach(seen: Sequence[tuple[datetime, VariantAt]], planned: float) -> tuple[float, float]:
    """Give the change that the axis shows: all that is settled, the plan, and no early bound that is far out."""
    settled = [each for _, each in seen[int(len(seen) * SETTLED) :]]
    last = settled[-1]
    near = [0.0, planned, last.lift_lower or 0.0, last.lift_upper or 0.0]
    most = FARTHEST * max(abs(each) for each in near)
    ends = [end or 0.0 for each in settled for end in (each.lift_lower, each.lift_upper)]
    return bounds([*near, *(max(-most, min(most, each)) for each in ends)])


def _frame(report: Report, reach: tuple[float, float], zone: tzinfo) -> Frame:
    begin = (report.started_at or report.looks[0].at).astimezone(zone)
    end = max(report.looks[-1].at, report.ended_at or report.looks[-1].at)
    whole = max(1.0, (end - begin).total_seconds())
    return Frame(Scale(0.0, whole, LEFT, WIDTH - RIGHT), Scale(*reach, HEIGHT - BOTTOM, TOP), begin, zone)


def _drawing(title: str, *parts: Child) -> Markup:
    return element(
        "svg", element("title", title), *parts, viewBox=f"0 0 {WIDTH:g} {HEIGHT:g}", class_="chart", role="img"
    )


def _percents(frame: Frame) -> Iterator[Markup]:
    for value in ticks(frame.up.low, frame.up.high):
        yield from _rule(frame, value, "0%" if abs(value) < 1e-9 else f"{value * 100:+.3g}%")


def _counts(frame: Frame) -> Iterator[Markup]:
    for value in ticks(frame.up.low, frame.up.high, 5):
        yield from _rule(frame, value, f"{value:,.0f}")


def _rule(frame: Frame, value: float, text: str) -> Iterator[Markup]:
    y = frame.up(value)
    yield element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="rule")
    yield element("text", text, x=LEFT - 8, y=y + 4, class_="tick", text_anchor="end")


def _days(frame: Frame, report: Report) -> Iterator[Markup]:
    end = max(report.looks[-1].at, report.ended_at or report.looks[-1].at).astimezone(frame.zone)
    marks = list(moments(frame.begin, end))
    is_within_days = len(marks) > 1 and marks[1] - marks[0] < timedelta(days=1)
    for at in marks:
        x = frame.x(at)
        yield element("line", x1=x, x2=x, y1=HEIGHT - BOTTOM, y2=HEIGHT - BOTTOM + 5, class_="axis")
        text = f"{at:%a %H:%M}" if is_within_days else f"{at:%a} {at.day} {at:%b}"
        yield element("text", text, x=x, y=HEIGHT - BOTTOM + 20, class_="tick", text_anchor="middle")


def _across(frame: Frame, value: float, look: str) -> Markup:
    y = frame.up(value)
    return element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_=look)


def _named(frame: Frame, value: float, look: str, text: str) -> Markup:
    return element("text", text, x=LEFT + 6, y=frame.up(value) - 5, class_=f"{look}-text")


def _decided(frame: Frame, report: Report) -> Markup | None:
    at = report.decision.at if report.decision else None
    if at is None or not report.looks[0].at <= at <= (report.ended_at or report.looks[-1].at):
        return None
    x = frame.x(at)
    line = element("line", x1=x, x2=x, y1=TOP, y2=HEIGHT - BOTTOM, class_="decided")
    return joined([line, element("text", "decided", x=x + 5, y=TOP + 9, class_="tick")])


def _visitors(frame: Frame, report: Report, looks: Sequence[LookAt], name: str) -> Markup:
    begin = (LEFT, frame.up(0.0))
    line = [begin, *((frame.x(each.at), frame.up(float(_arm(each, name)))) for each in looks)]
    return _line(line, colour_of(report, name))


def _line(places: Sequence[tuple[float, float]], colour: str) -> Markup:
    look = {"fill": "none", "stroke": "currentColor", "stroke_linejoin": "round", "class_": colour}
    # Dashes, as lines of equal arms lie upon each other.
    dashes = "7 6" if colour == CONTROL else None
    return element("polyline", points=_points(places), stroke_width=2.5, stroke_dasharray=dashes, **look)


def _arm(look: LookAt, name: str) -> int:
    return look.arms[name].visitors if name in look.arms else 0


def _apart(ends: list[tuple[float, str]], least: float = 15.0) -> Iterator[tuple[float, str]]:
    """Move labels apart that would cover each other."""
    lowest = HEIGHT
    for y, name in sorted(ends, reverse=True):
        lowest = min(y, lowest - least)
        yield lowest, name


def _label(x: float, y: float, text: str, colour: str) -> Markup:
    return element("text", text, x=x, y=y + 4, class_=f"label {colour}")


def _points(places: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
