"""The configuration as text: HAProxy takes it, and nothing of a document can stand in it as a directive."""

import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.edge.stand import certificate, document, live, trial

from flywheel.edge.document import (
    Backend,
    Block,
    ChannelRule,
    Collect,
    Consent,
    EdgeDocument,
    EdgeRoute,
    EdgeService,
    ForcedVariant,
    Limits,
    Live,
    Preview,
    Segment,
    Share,
    Target,
    TargetHeader,
    Tls,
    VariantRange,
    Visitor,
    Weight,
    decode,
    encode,
)
from flywheel.edge.document import Test as Trial
from flywheel.edge.endpoints import Server
from flywheel.edge.files import write_structure
from flywheel.edge.livemaps import live_maps
from flywheel.edge.quoting import DocumentProblem, quote, quote_format, token
from flywheel.edge.render import Layout, Rendered, render

SLOW = (HealthCheck.too_slow, HealthCheck.filter_too_much)
"""Whole documents of odd texts: a few of them are enough, and not every draw becomes one."""
nasty = st.text(
    st.sampled_from(
        [*"abz019 \t\"'\\#%{}[]()$;|,:/@*.-_=!<>?&^~`+", "\n", "\r", "\0", "\x7f", "ü", "优", "😀", "\u2028"]
    ),
    max_size=12,
) | st.sampled_from(
    ["a\n    stats enable", "%[src]", "${HOME}", "' if TRUE #", "x\nglobal", '"', "-f", "--", "\\", "a b"]
)
name = st.sampled_from(["web", "pay", "_edge", "refused", "a.b", "a:b", "-", "events"]) | nasty
hosts = st.lists(st.sampled_from(["a.example", "*.a.example", "b"]) | nasty, max_size=3).map(tuple)
texts = st.lists(nasty, max_size=3).map(tuple)
paths = st.sampled_from(["/", "/a", "/a/b/", "/%41"]) | nasty.map("/{}".format) | nasty
numbers = st.integers(-5, 5) | st.integers(1, 20_000)
Text = st.SearchStrategy[str]


def trials(text: Text, service: Text, ranges: st.SearchStrategy[Any]) -> st.SearchStrategy[Trial]:
    """Tests, most of them of nonsense."""
    target = st.builds(
        Target,
        paths=texts,
        headers=st.lists(st.builds(TargetHeader, name=st.just("X-App") | text, values=texts), max_size=2).map(tuple),
        devices=st.sampled_from([(), ("Phone",), ("Tablet", "Desktop")]),
        regions=texts,
        visitors=st.sampled_from(["All", "New", "Returning"]),
    )
    return st.builds(
        Trial,
        name=text,
        service=service,
        salt=text,
        layer_salt=text,
        segments=st.lists(st.builds(Segment, start=numbers, end=numbers), max_size=2).map(tuple),
        ranges=ranges,
        holdout=st.just(0) | numbers,
        target=st.none() | target,
        sticky=st.booleans(),
        forced=st.lists(st.builds(ForcedVariant, token=text, variant=text, slot=text), max_size=2).map(tuple),
    )


@st.composite
def documents(draw: st.DrawFn) -> EdgeDocument:
    services = draw(
        st.lists(
            st.builds(
                EdgeService,
                name=name,
                backends=st.lists(
                    st.builds(Backend, slot=st.just("") | name, service=name, port=name, capacity=st.integers(-1, 6)),
                    max_size=2,
                ).map(tuple),
            ),
            max_size=3,
        )
    )
    known = st.sampled_from([each.name for each in services] or ["none"])
    slots = [(each.name, backend.slot) for each in services for backend in each.backends] or [("none", "")]
    pair = draw(st.sampled_from(slots))
    ranges = st.just((VariantRange(variant=draw(nasty), slot=pair[1], start=0, end=draw(numbers)),))
    return EdgeDocument(
        namespace=draw(nasty),
        campaign=draw(nasty),
        services=tuple(services),
        routes=draw(st.lists(st.builds(EdgeRoute, path=paths, service=known, hosts=hosts), max_size=3).map(tuple)),
        visitor=draw(
            st.builds(
                Visitor,
                domain=st.just("") | st.just("a.example") | nasty,
                consent=st.none() | st.builds(Consent, cookie=st.just("ok") | nasty, granted=texts),
            )
        ),
        tls=draw(st.none() | st.builds(Tls, hsts_max_age=numbers)),
        trusted_proxies=draw(st.just(()) | st.just(("10.0.0.0/8", "::1", "2001:db8::/32")) | texts),
        limits=draw(
            st.just(Limits()) | st.builds(Limits, connections=numbers, header_bytes=numbers, body_bytes=numbers)
        ),
        response_headers=draw(st.dictionaries(st.just("X-A") | nasty, nasty, max_size=3)),
        region_header=draw(st.just("") | st.just("X-Region") | nasty),
        channels=draw(
            st.lists(
                st.builds(
                    ChannelRule, name=name, utm_source=texts, utm_campaign=texts, referrers=hosts, parameters=hosts
                ),
                max_size=3,
            ).map(tuple)
        ),
        collect=Collect(write_keys=(draw(nasty),)),
        store=draw(nasty),
        live=draw(
            st.just(Live())
            | st.builds(
                Live,
                active=st.just({pair[0]: pair[1]}) | st.dictionaries(nasty, nasty, max_size=1),
                fallbacks=st.just({pair[0]: pair[1]}) | st.just({}) | st.dictionaries(nasty, nasty, max_size=1),
                shares=st.just((Share(service=pair[0], slot=pair[1], basis_points=draw(numbers)),)),
                weights=st.just((Weight(service=pair[0], slot=pair[1], weight=draw(numbers)),)),
                tests=trials(nasty, st.just(pair[0]), ranges).map(lambda t: (t,)),
                blocks=st.lists(
                    st.builds(
                        Block,
                        kind=st.sampled_from(["address", "visitor"]),
                        value=st.sampled_from(["1.2.3.4", "1.2.0.0/16", "::/0", "1.2.3.0/24"]) | nasty,
                        until=numbers,
                    ),
                    max_size=3,
                ).map(tuple),
                previews=st.lists(
                    st.builds(
                        Preview,
                        service=st.just(pair[0]),
                        slot=st.just(pair[1]),
                        revision=st.sampled_from(["0123456789abcdef", "known", "unknown", "a" * 65]) | nasty,
                        hosts=hosts,
                    ),
                    max_size=2,
                ).map(tuple),
            )
        ),
    )


KEYWORDS = {
    *("#", "global", "defaults", "frontend", "backend", "description", "maxconn", "no", "nbthread", "stats", "mode"),
    *(
        "hard-stop-after",
        "tune.bufsize",
        "tune.maxrewrite",
        "tune.http.maxhdr",
        "option",
        "timeout",
        "http-error",
        "log",
    ),
    *(
        "log-format",
        "bind",
        "acl",
        "tcp-request",
        "http-request",
        "http-response",
        "http-after-response",
        "use_backend",
    ),
    *("default_backend", "stick-table", "balance", "http-reuse", "retries", "retry-on", "default-server", "server"),
}


def written(rendered: Rendered) -> Path:
    return write_structure(rendered)


def judged(path: Path) -> str:
    ended = subprocess.run(
        ["haproxy", "-c", "-dW", "-f", path], capture_output=True, text=True, timeout=20, check=False
    )
    return "" if ended.returncode == 0 else ended.stdout + ended.stderr


def _is_sound(rendered: Rendered) -> None:
    lines = [line for line in re.split(r"[\r\n\x0b\x0c\x1c-\x1e\x85\u2028\u2029]", rendered.config) if line.strip()]
    assert len(lines) >= 80
    for line in rendered.config.split("\n"):
        assert not line.strip() or line.split()[0] in KEYWORDS, line
    assert rendered.config.count("stats ") == 2
    for entries in rendered.maps.values():
        for key, value in entries.items():
            assert re.fullmatch(r"[A-Za-z0-9._:|/%*=-]+", key + value), (key, value)


@given(documents())
@settings(max_examples=40, suppress_health_check=SLOW)
def test_no_document_can_say_anything_to_haproxy(given_document: EdgeDocument) -> None:
    stamped = decode(encode(given_document.stamped()))
    try:
        rendered = render(stamped, {}, layout=Layout(ipv6=False))
    except DocumentProblem:
        return
    _is_sound(rendered)


printable = nasty.filter(lambda text: not re.search(r"[\x00-\x1f\x7f]", text))
words = st.lists(printable, max_size=3).map(tuple)
odd = printable.filter(bool)


@st.composite
def sound_trials(draw: st.DrawFn, service: str, slot: str, arms: tuple[VariantRange, ...]) -> Trial:
    """A test in order, of odd texts."""
    target = Target(
        paths=draw(st.sampled_from([(), ("/coupon", "/a*"), ("/*",)])),
        headers=tuple(TargetHeader(name="X-App", values=(each,)) for each in draw(words) if each),
        devices=draw(st.sampled_from([(), ("Phone",), ("Tablet", "Desktop")])),
        regions=tuple(each for each in draw(words) if each),
        visitors=draw(st.sampled_from(["All", "New", "Returning"])),
    )
    return Trial(
        name=draw(odd),
        service=service,
        salt=draw(nasty.filter(bool)),
        layer_salt=draw(nasty.filter(bool)),
        segments=draw(st.sampled_from([(), (Segment(start=0, end=5000), Segment(start=6000, end=10_000))])),
        ranges=arms,
        holdout=draw(st.sampled_from([0, 500])),
        target=draw(st.none() | st.just(target)),
        sticky=draw(st.booleans()),
        forced=draw(st.sampled_from([(), (ForcedVariant(token="0123456789abcdef", variant="v", slot=slot),)])),
    )


@st.composite
def sound_documents(draw: st.DrawFn) -> EdgeDocument:
    """Documents that can be carried out, with the oddest text in every place that may have any."""
    slots_ = st.lists(st.builds(Backend, slot=odd, service=odd, port=odd, capacity=st.integers(1, 4)), min_size=1)
    services = draw(
        st.lists(
            st.builds(
                EdgeService,
                name=odd,
                backends=slots_.map(lambda all_: tuple({each.slot: each for each in all_}.values())),
            ),
            min_size=1,
            max_size=3,
            unique_by=lambda each: each.name,
        )
    )
    service = draw(st.sampled_from(services))
    slot = draw(st.sampled_from(service.backends)).slot
    good_hosts = st.lists(st.sampled_from(["a.example", "*.a.example", "b", "*.b"]), max_size=3).map(tuple)
    path = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=6).map("/{}".format)
    arms = (VariantRange(variant=draw(odd), slot=slot, start=0, end=draw(st.integers(0, 10_000))),)
    rule = st.builds(
        ChannelRule, name=odd, utm_source=words, utm_medium=words, utm_campaign=words, referrers=st.just(("a.b",))
    )
    return document(
        services=tuple(services),
        routes=draw(
            st.lists(st.builds(EdgeRoute, path=path, service=st.just(service.name), hosts=good_hosts), max_size=4).map(
                tuple
            )
        ),
        visitor=Visitor(consent=draw(st.none() | st.builds(Consent, cookie=st.just("ok"), granted=words))),
        trusted_proxies=draw(st.sampled_from([(), ("10.0.0.0/8", "::1")])),
        limits=draw(st.builds(Limits, connections=st.integers(10, 99), body_bytes=st.integers(0, 99_999))),
        response_headers=draw(st.dictionaries(st.sampled_from(["X-A", "x-frame-options"]), printable)),
        region_header=draw(st.sampled_from(["", "X-Region"])),
        channels=draw(st.lists(rule, max_size=3).map(tuple)),
        live=Live(
            active={service.name: slot},
            shares=(Share(service=service.name, slot=slot, basis_points=draw(st.integers(0, 10_000))),),
            tests=(draw(sound_trials(service.name, slot, arms)),),
            blocks=(Block(kind="visitor", value=draw(nasty), until=1),),
            previews=(
                Preview(
                    service=service.name,
                    slot=slot,
                    revision=draw(st.from_regex("[A-Za-z0-9]{8,64}", fullmatch=True)),
                    hosts=draw(st.sampled_from([(), ("next.a.example", "c_d.example")])),
                ),
            ),
        ),
    )


@given(sound_documents())
@settings(max_examples=25, suppress_health_check=SLOW)
def test_haproxy_takes_whatever_is_rendered(given_document: EdgeDocument) -> None:
    with tempfile.TemporaryDirectory() as directory:
        rendered = render(given_document, {}, layout=Layout(run_directory=directory, ipv6=False))
        _is_sound(rendered)
        assert not judged(write_structure(rendered)), rendered.config
    # HAProxy can be told of no map that its configuration does not name.
    assert [name for name in rendered.maps if f"/{name}.map" not in rendered.config] == []


@given(nasty)
@settings(max_examples=100)
def test_hostile_text_in_every_place_that_takes_any_text(text: str) -> None:
    """With everything else in order, text is refused only for its line breaks and control characters."""
    changes: dict[str, Any] = {
        "response_headers": {"X-A": text},
        "channels": (ChannelRule(name=text or "x", utm_source=(text,), utm_medium=(text,), utm_campaign=(text,)),),
        "visitor": Visitor(consent=Consent(granted=(text,))),
    }
    arms = (VariantRange(variant=text, slot="green", start=0, end=10),)
    given_document = live(document(**changes), tests=(trial(text, arms, salt=text or "s", layer_salt=text or "l"),))
    try:
        _is_sound(render(given_document, {}))
    except DocumentProblem:
        assert re.search(r"[\x00-\x1f\x7f]", text), text


def test_haproxy_reads_every_quoted_text_as_it_was(tmp_path: Path) -> None:
    alphabet = "".join(map(chr, range(32, 127))) + "ü优😀"
    samples = [alphabet, *alphabet, *(f"a{each}b" for each in alphabet), "''", "\\'", "%%[src]", " lead and trail "]
    rules = "".join(
        f"    acl a{number} path -- {quote(sample, '')}\n"
        f"    http-request return status 200 hdr X-A {quote_format(sample, '')} if a{number}\n"
        for number, sample in enumerate(samples)
    )
    (tmp_path / "haproxy.cfg").write_text(
        f"defaults\n    mode http\n    timeout client 5s\nfrontend f\n    bind {tmp_path}/sock\n{rules}", "utf-8"
    )
    assert not judged(tmp_path / "haproxy.cfg")


def test_only_the_structure_decides_on_a_reload() -> None:
    base = document()
    pods = {"web:blue": (Server("10.0.0.1", 80), None, None, None)}
    same = [
        render(base, {}),
        render(base, pods),
        render(live(base, active={"web": "green"}, weights=(Weight(service="pay", weight=3),)), pods),
        render(live(base, blocks=(Block(kind="address", value="::1", until=1),)), {}),
        render(live(base, previews=(HOSTED,)), {}),
    ]
    assert len({each.structure for each in same}) == 1
    by_host = document(routes=(EdgeRoute(path="/", service="web", hosts=("*.a.example", "b")),))
    with_hosts = [render(by_host, {}), render(live(by_host, previews=(HOSTED,)), {})]
    assert len({each.structure for each in with_hosts}) == 1
    assert "hosts" not in same[0].maps, "a map that no rule asks is none that HAProxy knows"
    assert [each.maps["hosts"] for each in with_hosts] == [{"b": "h1"}, {"b": "h1", "next.a.example": "h0"}]
    others = [
        render(document(limits=Limits(connections=20)), {}),
        render(document(routes=(EdgeRoute(path="/", service="pay"),)), {}),
        render(document(trusted_proxies=("10.0.0.0/8",)), {}),
        render(document(response_headers={"X-A": "b"}), {}),
        render(document(tls=Tls()), {}, certificate=True),
        render(base, {"web:blue": (None,) * 8}),
    ]
    assert len({each.structure for each in [*same, *others]}) == 7
    assert same[1].config == render(base, pods).config


def test_the_whole_configuration_is_accepted_with_tls_and_ipv6(tmp_path: Path) -> None:
    layout = Layout(run_directory=str(tmp_path))
    certificate(tmp_path / "secret", "x")
    Path(layout.certificate).write_text(
        "".join((tmp_path / "secret" / each).read_text() for each in ("tls.crt", "tls.key"))
    )
    full = document(
        tls=Tls(), trusted_proxies=("10.0.0.0/8", "fd00::/8"), region_header="X-R", visitor=Visitor(consent=Consent())
    )
    pods = {"web:blue": (Server("10.0.0.1", 80), Server("fd00::1", 80, draining=True), None, None)}
    rendered = render(full, pods, certificate=True, layout=layout)
    assert not judged(written(rendered))
    assert "server s2 ipv6@[fd00::1]:80 weight 0" in rendered.config


HOSTED = Preview(service="web", slot="green", revision="0123456789abcdef", hosts=("next.a.example",))


def previewing(*previews: Preview, **changes: Any) -> EdgeDocument:
    return live(document(**changes), previews=previews)


def changed(**changes: Any) -> Preview:
    return msgspec.structs.replace(HOSTED, **changes)


def forced(**changes: Any) -> ForcedVariant:
    given = {"token": "0123456789abcdef", "variant": "v", "slot": "blue", **changes}
    return ForcedVariant(**given)


PROBLEMS: dict[str, EdgeDocument] = {
    "services": document(services=()),
    "services[0].backends": document(services=(EdgeService(name="web", backends=()),)),
    "routes[0].service": document(routes=(EdgeRoute(path="/", service="none"),)),
    "routes[0].path": document(routes=(EdgeRoute(path="/a b", service="web"),)),
    "routes[0].hosts[0]": document(routes=(EdgeRoute(path="/", service="web", hosts=("A b",)),)),
    "trustedProxies[0]": document(trusted_proxies=("10.0.0.0/33",)),
    "visitor.consent.cookie": document(visitor=Visitor(consent=Consent(cookie="a;b"))),
    "visitor.domain": document(visitor=Visitor(domain="a; Path=/x")),
    "live.shares[0]": live(document(), shares=(Share(service="web", slot="red", basis_points=1),)),
    "live.tests[0].ranges": live(
        document(),
        tests=(trial("t", [VariantRange(variant="v", slot="blue", start=0, end=9) for _ in range(2)]),),
    ),
    "live.tests[0].segments": live(document(), tests=(trial("t", []), trial("u", []))),
    "live.tests[1].layerSalt": live(document(), tests=(trial("t", []), trial("u", [], layer_salt="other"))),
    "live.tests[0].salt": live(document(), tests=(trial("t", [], salt=""),)),
    "live.tests[0].layerSalt": live(document(), tests=(trial("t", [], layer_salt=""),)),
    "live.tests[0].holdout": live(document(), tests=(trial("t", [], holdout=-1),)),
    "live.tests[0].service": live(document(), tests=(trial("t", [], service="nowhere"),)),
    "live.tests[0].forced[0].token": live(document(), tests=(trial("t", [], forced=(forced(token="short"),)),)),
    "live.tests[0].forced[0].slot": live(document(), tests=(trial("t", [], forced=(forced(slot="red"),)),)),
    "live.tests[0].target.paths": live(document(), tests=(trial("t", [], target=Target(paths=("/a\n",))),)),
    "live.tests[0].target.headers[0].name": live(
        document(), tests=(trial("t", [], target=Target(headers=(TargetHeader(name="a b", values=("x",)),))),)
    ),
    "live.tests[16]": live(document(), tests=tuple(trial(f"t{number}", [], segments=()) for number in range(17))),
    "live.previews[0]": previewing(changed(slot="red")),
    "live.previews[1]": previewing(HOSTED, changed(slot="blue", hosts=())),
    "live.previews[1].hosts": previewing(HOSTED, changed(revision="0" * 16)),
    "live.previews": previewing(*(changed(revision=f"{number:016x}", hosts=()) for number in range(65))),
    "live.previews[0].revision": previewing(changed(revision="unknown")),
    "live.previews[0].hosts": previewing(changed(hosts=tuple(f"{number}.example" for number in range(9)))),
    "live.previews[0].hosts[0]": previewing(changed(hosts=("*.a.example",))),
    "live.previews[0].hosts[1]": previewing(
        changed(hosts=("next.a.example", "a.example")),
        routes=(EdgeRoute(path="/", service="web", hosts=("a.example",)),),
    ),
    "limits.bodyBytes": document(limits=Limits(body_bytes=-1)),
}


@pytest.mark.parametrize("path", PROBLEMS)
def test_what_cannot_be_carried_out_is_named(path: str) -> None:
    with pytest.raises(DocumentProblem) as raised:
        render(PROBLEMS[path], {})
    assert raised.value.path == path


def test_a_narrow_block_ends_no_sooner_than_the_wide_one_around_it() -> None:
    blocks = (
        Block(kind="address", value="10.0.0.0/8", until=100),
        Block(kind="address", value="10.1.0.0/16", until=50),
        Block(kind="address", value="10.1.1.1", until=200),
        Block(kind="address", value="10.1.1.1/32", until=20),
        Block(kind="address", value="2001:db8::/32", until=7),
    )
    assert live_maps(live(document(), blocks=blocks))["addresses"] == {
        "10.0.0.0/8": "100",
        "10.1.0.0/16": "100",
        "10.1.1.1/32": "200",
        "2001:db8::/32": "7",
    }


def test_names_that_are_odd_become_digests_and_never_meet_others() -> None:
    assert token("web-1") == "web-1"
    assert re.fullmatch(r"_[0-9a-f]{16}", token("web 1"))
    assert len({token(each) for each in ("a b", "a  b", "a|b", "_refused", "-", ".")}) == 6
    assert msgspec.json.encode(token(""))
