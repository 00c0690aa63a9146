"""A report as one HTML page that needs nothing else: it can be sent, printed and kept. Pure."""

from collections.abc import Iterator
from datetime import tzinfo

import yaml

from flywheel.experiment.report_charts import effect_chart, visitors_chart
from flywheel.experiment.report_markup import Child, Markup, element, joined
from flywheel.experiment.report_model import Report
from flywheel.experiment.report_style import STYLE
from flywheel.experiment.report_tables import design_table, metrics_table, tag, variants_table
from flywheel.experiment.report_words import (
    assumptions,
    banner,
    challengers_of,
    duration_told,
    method,
    moment,
    notes,
    span,
    what_next,
    zone_of,
)

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""A page that was sent around asks nobody for anything, and runs nothing."""


def page(report: Report) -> str:
    """Write the whole page."""
    zone = zone_of(report)
    body = element(
        "body",
        _head(report, zone),
        _verdict(report, zone),
        _figures(report),
        _section("Variants", variants_table(report)),
        _charts(report, zone),
        _metrics(report),
        _trust(report),
        _how(report, zone),
        _differences(report),
        _foot(report, zone),
    )
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("title", f"A/B test {report.test}: {banner(report).title}"),
        Markup(f"<style>{STYLE}</style>"),
    )
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def _head(report: Report, zone: tzinfo) -> Markup:
    ended = f" to {moment(report.ended_at, zone)}" if report.ended_at else ""
    when = f"{moment(report.started_at, zone)}{ended} ({report.time_zone})" if report.started_at else "not begun"
    return element(
        "header",
        element("p", "A/B test"),
        element("h1", report.test),
        element("p", f"{report.service} of {report.campaign} in {report.namespace} · {when}"),
        element("blockquote", report.hypothesis) if report.hypothesis else None,
    )


def _verdict(report: Report, zone: tzinfo) -> Markup:
    told, decision = banner(report), report.decision
    more: list[Child] = [element("p", decision.reason)] if decision and decision.reason else []
    following = what_next(report)
    when = [f"Decided {moment(decision.at, zone)}."] if decision and decision.at else []
    when += [f"Released {moment(decision.promoted_at, zone)}."] if decision and decision.promoted_at else []
    last = " ".join([*([following] if following else []), *when])
    if last:
        more.append(element("p", last, class_="next"))
    return element("div", element("strong", told.title), more, class_=f"verdict {told.look}", role="status")


def _figures(report: Report) -> Markup:
    return element(
        "dl",
        [element("div", element("dt", name), element("dd", value)) for name, value in _cards(report)],
        class_="figures",
    )


def _cards(report: Report) -> Iterator[tuple[str, Child]]:
    winner = report.decision.winner if report.decision else ""
    names = challengers_of(report)
    shown = winner or (names[0] if len(names) == 1 else "")
    found = next((each for each in report.variants if each.name == shown), None)
    if found is not None and found.estimate:
        between = f"very likely {found.interval.low} to {found.interval.high}" if found.interval else ""
        yield f"Change with {shown}", [found.estimate, element("small", between)]
    visitors = sum(each.visitors for each in report.variants)
    planned = _planned(report)
    yield "Visitors", [f"{visitors:,}", element("small", f"of {planned:,} planned at most" if planned else "")]
    most = f"of {span(report.design.maximum_duration)} at most" if report.design.maximum_duration else ""
    yield "Ran for", [duration_told(report), element("small", most)]
    ratio = report.checks.sample_ratio
    if ratio is not None:
        said = {"Holds": "fine", "Violated": "violated"}.get(ratio.verdict, "not known yet")
        shared = {"Holds": "as the weights say", "Violated": "not as the weights say"}.get(ratio.verdict, "")
        yield "Sample ratio", [said, element("small", f"visitors are shared out {shared}" if shared else "")]


def _planned(report: Report) -> int:
    design = report.design
    if design.variant_cap is None or design.control_cap is None:
        return 0
    return design.variant_cap * len(challengers_of(report)) + design.control_cap


def _charts(report: Report, zone: tzinfo) -> Iterator[Markup]:
    for variant in challengers_of(report):
        drawn = effect_chart(report, variant, zone)
        if drawn is not None:
            told = (
                f"The line is the change of {report.design.primary} with {variant} as it was known at each moment. The "
                "truth very likely lies in the band: it grows narrow as visitors come, and while it touches 0 nothing "
                "is proven."
            )
            yield _section(f"How sure it became: {variant}", _figure(drawn, told))
    drawn = visitors_chart(report, zone)
    if drawn is not None:
        yield _section("Visitors", _figure(drawn, "Visitors of each variant since the test began, each counted once."))


def _figure(drawn: Markup, caption: str) -> Markup:
    return element("figure", drawn, element("figcaption", caption))


def _metrics(report: Report) -> Iterator[Markup]:
    if report.checks.guardrails:
        told = element(
            "p",
            "What must not get worse by more than is allowed. A variant that surely did lost its visitors at once.",
            class_="soft",
        )
        table = metrics_table(report, report.checks.guardrails, are_guardrails=True)
        yield _section("Guardrails", told, table)
    if report.secondary:
        told = element("p", "Measured beside it; nothing is decided on these.", class_="soft")
        yield _section("Also measured", told, metrics_table(report, report.secondary, are_guardrails=False))


def _trust(report: Report) -> Markup:
    items: list[Child] = []
    ratio = report.checks.sample_ratio
    if ratio is not None:
        shared = {
            "Holds": "visitors are where the weights say, as far as chance allows.",
            "Violated": "visitors are not where the weights say, so some are lost or counted wrongly, and nothing can "
            "be compared.",
        }.get(ratio.verdict, "too few visitors to tell.")
        cause = f" Where it comes from: {ratio.hint}" if ratio.hint else ""
        items.append(element("li", tag(ratio.verdict or "Undecided"), f" Sample ratio: {shared}{cause}"))
    items += [element("li", each) for each in notes(report)]
    if not items:
        items.append(element("li", "Nothing is known yet."))
    return _section("Can it be trusted?", element("ul", items))


def _how(report: Report, zone: tzinfo) -> Markup:
    design = report.design
    rows: list[tuple[str, Child]] = [
        ("Primary metric", f"{design.primary}, {'less' if design.direction == 'Decrease' else 'more'} is better"),
        ("Smallest change worth knowing", f"{design.minimum_effect * 100:.3g}%"),
        ("Errs at most (alpha)", f"{design.alpha * 100:.3g}%"),
        ("Finds that change (power)", f"{design.power:.0%}"),
        ("Method", design.method),
        ("At least, at most", f"{span(design.minimum_duration)}, {span(design.maximum_duration)}"),
        ("A winner is promoted", {"Automatic": "automatically", "Manual": "by a person"}.get(design.promote, "never")),
        ("Began", moment(report.started_at, zone)),
        ("Ended", moment(report.ended_at, zone)),
    ]
    return _section(
        "How it was decided",
        [element("p", each) for each in method(report)],
        element("p", "All of it assumes:"),
        element("ul", [element("li", each) for each in assumptions()]),
        design_table(rows),
    )


def _differences(report: Report) -> Markup:
    parts: list[Child] = []
    for each in report.design.variants:
        if each.control:
            parts.append(element("p", element("strong", each.name), ": the service as it is."))
            continue
        text = yaml.safe_dump(each.override, sort_keys=False, allow_unicode=True, width=100) if each.override else "–"
        parts += [element("p", element("strong", each.name), ":"), element("pre", text)]
    return _section("What differed", parts)


def _section(title: str, *children: Child) -> Markup:
    return element("section", element("h2", title), *children)


def _foot(report: Report, zone: tzinfo) -> Markup:
    of = f"Figures of {moment(report.updated_at, zone)} ({report.time_zone}). " if report.updated_at else ""
    return element("footer", joined([of, "Made by Flywheel from what the campaign's own event store counted."]))
