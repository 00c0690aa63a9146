"""What visitors and services see of the edge, through the real HAProxy."""

import re
import uuid
from pathlib import Path

from tests.unit.edge.stand import Connection, Service, document, edge, until

from flywheel.edge.document import ChannelRule, Consent, EdgeRoute, Limits, Visitor

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


async def test_the_longest_path_wins_and_only_whole_elements_count(tmp_path: Path) -> None:
    async with edge(tmp_path) as stand:
        for path, service in {"/": "web-blue", "/pay": "pay", "/pay/card?x=1": "pay", "/payment": "web-blue"}.items():
            assert (await stand.ask(path)).echo["service"] == service, path


async def test_hosts_decide_between_equal_paths(tmp_path: Path) -> None:
    routes = (
        EdgeRoute(path="/", service="web", hosts=("shop.example",)),
        EdgeRoute(path="/", service="pay", hosts=("*.shop.example",)),
        EdgeRoute(path="/help", service="web", hosts=("*.shop.example",)),
        EdgeRoute(path="/any", service="pay"),
    )
    expected = {
        ("shop.example", "/"): "web-blue",
        ("SHOP.example:8080", "/"): "web-blue",
        ("m.shop.example", "/"): "pay",
        ("a.m.shop.example", "/help/x"): "web-blue",
        ("m.shop.example", "/any"): "pay",
        ("shop.example", "/any"): "pay",
        ("elsewhere", "/any"): "pay",
        ("elsewhere", "/"): None,
        ("myshop.example", "/"): None,
    }
    async with edge(tmp_path, document(routes=routes)) as stand:
        for (host, path), service in expected.items():
            answer = await stand.ask(path, Host=host)
            assert answer.status == (200 if service else 404), (host, path)
            assert not service or answer.echo["service"] == service, (host, path)
        assert (await stand.record(host="elsewhere", p="/"))["rf"] == "path"


async def test_a_visitor_gets_one_cookie_and_keeps_it(tmp_path: Path) -> None:
    async with edge(tmp_path, document(visitor=Visitor(max_age=100, domain="shop.example"))) as stand:
        first = await stand.ask("/page")
        (cookie,) = first.all("set-cookie")
        visitor = first.cookies["fw_vid"]
        assert UUID.fullmatch(visitor)
        assert cookie == f"fw_vid={visitor}; Max-Age=100; Path=/; HttpOnly; SameSite=Lax; Domain=shop.example"
        assert first.echo["headers"]["x-fw-visitor"] == visitor
        again = await stand.ask("/page", Cookie=f"a=b; fw_vid={visitor}")
        assert not again.all("set-cookie")
        assert again.echo["headers"]["x-fw-visitor"] == visitor
        assert (await stand.record(nv=1))["vid"] == (await stand.record(nv=0))["vid"] == visitor
        for forged in ("x", visitor.upper() + "G", "' or 1=1", visitor + "0", "%0d%0aSet-Cookie:x"):
            assert UUID.fullmatch((await stand.ask("/", Cookie=f"fw_vid={forged}")).cookies["fw_vid"]), forged


async def test_without_consent_nobody_is_known(tmp_path: Path) -> None:
    visitor = Visitor(consent=Consent(cookie="ok", granted=("yes", "all right; 'of course'")))
    async with edge(tmp_path, document(visitor=visitor)) as stand:
        known = str(uuid.uuid4())
        for cookies in (f"fw_vid={known}", f"ok=no; fw_vid={known}", f"ok=yes2; fw_vid={known}"):
            answer = await stand.ask("/?utm_source=mail", Cookie=cookies)
            assert not answer.all("set-cookie")
            assert "x-fw-visitor" not in answer.echo["headers"]
        record = await stand.record(cns=0)
        assert (record["vid"], record["nv"], record["us"], record["ch"]) == ("", 0, "mail", "other")
        assert set((await stand.ask("/?utm_source=mail", Cookie="ok=yes")).cookies) == {"fw_vid", "fw_ch"}


async def test_channels_come_from_utm_referrer_and_the_last_time(tmp_path: Path) -> None:
    rules = (
        ChannelRule(name="mail", utm_medium=("email", "e mail's"), parameters=("mcid",)),
        ChannelRule(name="search", utm_source=("baidu",), referrers=("baidu.com",), parameters=("gclid",)),
    )
    cases = {
        ("/", ""): "direct",
        ("/?utm_medium=Email", ""): "mail",
        ("/?utm_medium=e+mail%27s", ""): "mail",
        ("/?gclid=1&mcid=2", ""): "mail",
        ("/?gclid=1", "https://shop.example/"): "search",
        ("/?utm_source=else", "https://www.baidu.com/s"): "search",
        ("/?utm_source=else", ""): "other",
        ("/", "https://m.Baidu.com:443/x"): "search",
        ("/", "https://notbaidu.com/"): "referral",
        ("/", "https://baidu.com.evil.example/"): "referral",
        ("/", "https://shop.example/page"): "direct",
        ("/", "rubbish"): "direct",
    }
    async with edge(tmp_path, document(channels=rules)) as stand:
        for number, ((path, referrer), channel) in enumerate(cases.items()):
            headers = {"Referer": referrer} if referrer else {}
            answer = await stand.ask(path, User_Agent=f"case-{number}", **headers)
            assert (await stand.record(ua=f"case-{number}"))["ch"] == channel, (path, referrer)
            assert answer.cookies.get("fw_ch", "direct") == channel, (path, referrer)
        await stand.ask("/", Cookie="fw_ch=search", User_Agent="back")
        assert (await stand.record(ua="back"))["ch"] == "search"
        await stand.ask("/", Cookie="fw_ch=invented", User_Agent="liar")
        assert (await stand.record(ua="liar"))["ch"] == "direct"
        assert not (await stand.ask("/?gclid=1", Cookie="fw_ch=search")).cookies.get("fw_ch")


async def test_only_trusted_proxies_say_who_the_client_is(tmp_path: Path) -> None:
    forwarded = {
        "203.0.113.9": "203.0.113.9",
        "1.1.1.1, 203.0.113.9": "203.0.113.9",
        "1.1.1.1, 203.0.113.9, 10.1.1.1, 10.2.2.2": "203.0.113.9",
        "2001:db8::1": "2001:db8::1",
        "203.0.113.9, rubbish": "127.0.0.1",
        "10.0.0.1": "10.0.0.1",
        "": "127.0.0.1",
    }
    given = {"X_Forwarded_Proto": "https", "X_Request_ID": "mine-1", "X_Region": "north"}
    trusting = document(trusted_proxies=("127.0.0.0/8", "10.0.0.0/8"), region_header="X-Region")
    async with edge(tmp_path, trusting) as stand:
        for header, client in forwarded.items():
            answer = await stand.ask("/", **given, **({"X_Forwarded_For": header} if header else {}))
            seen = answer.echo["headers"]
            assert seen["x-forwarded-for"] == client, header
            assert (seen["x-forwarded-proto"], seen["x-request-id"]) == ("https", "mine-1")
            assert "; Secure" in answer.all("set-cookie")[0]
        assert (await stand.record(id="mine-1"))["reg"] == "north"
        await stand.give(document(region_header="X-Region"))
        answer = await stand.ask("/", X_Forwarded_For="203.0.113.9", **given)
        seen = answer.echo["headers"]
        assert (seen["x-forwarded-for"], seen["x-forwarded-proto"]) == ("127.0.0.1", "http")
        assert UUID.fullmatch(seen["x-request-id"])
        assert answer.one("x-request-id") == seen["x-request-id"]
        assert (await stand.record(id=seen["x-request-id"]))["reg"] == ""


async def test_headers_that_only_the_edge_may_set_are_taken_off(tmp_path: Path) -> None:
    async with edge(tmp_path) as stand:
        names = ("X-FW-Visitor", "x-fw-consent", "X_FW_Visitor", "X-Forwarded-Host", "Forwarded", "X-Real-IP", "Proxy")
        connection = await stand.connect()
        lines = "".join(f"{name}: evil\r\n" for name in names)
        await connection.send(f"GET / HTTP/1.1\r\nHost: a\r\nX-Kept: 1\r\n{lines}\r\n".encode())
        seen = (await connection.answer()).echo["headers"]
        assert seen["x-kept"] == "1"
        assert "evil" not in seen.values(), seen
        connection.close()


async def test_security_headers_are_there_and_can_be_replaced(tmp_path: Path) -> None:
    strange = "default-src 'self' \"x\" 100% %[src] # \\n $HOME ${HOME} ü"
    async with edge(tmp_path, document(response_headers={"content-security-policy": strange})) as stand:
        for path in ("/", "/pay"):
            answer = await stand.ask(path)
            assert answer.one("x-content-type-options") == "nosniff"
            assert answer.one("x-frame-options") == "SAMEORIGIN"
            assert answer.one("referrer-policy") == "strict-origin-when-cross-origin"
            assert (answer.one("content-security-policy") or "").encode("latin-1").decode() == strange
            assert answer.one("strict-transport-security") is None
        await stand.give(document(response_headers={"X-Frame-Options": "DENY"}))
        assert (await stand.ask("/")).all("x-frame-options") == ["DENY"]
        refused = await stand.ask("/", Host="bad host")
        assert refused.one("x-frame-options") == "DENY"


async def test_the_collector_gets_what_the_edge_knows_and_nothing_else(tmp_path: Path) -> None:
    async with edge(tmp_path) as stand:
        visitor = str(uuid.uuid4())
        answer = await stand.ask(
            "/v1/track",
            method="POST",
            body=b"{}",
            Cookie=f"fw_vid={visitor}; secret=1",
            X_FW_Visitor="forged",
            X_FW_Address="forged",
            Origin="https://m.shop.example",
        )
        seen = answer.echo["headers"]
        assert answer.echo["service"] == "collect"
        assert (seen["x-fw-visitor"], seen["x-fw-address"], seen["x-fw-consent"]) == (visitor, "127.0.0.1", "1")
        assert (seen["x-fw-channel"], seen["origin"]) == ("direct", "https://m.shop.example")
        assert UUID.fullmatch(seen["x-request-id"])
        assert "cookie" not in seen
        assert "x-fw-visitor" not in (await stand.ask("/fw.js")).echo["headers"]
        assert not (await stand.ask("/fw.js")).all("set-cookie")
        assert (await stand.record(p="/fw.js"))["svc"] == "_collect"
        await stand.services["collect"].stop()
        gone = await stand.ask("/v1/track", method="POST", body=b"{}")
        assert (gone.status, gone.one("retry-after")) == (503, "5")
        assert (await stand.ask("/")).status == 200


async def test_the_access_log_is_json_whatever_is_asked(tmp_path: Path) -> None:
    async with edge(tmp_path) as stand:
        stand.services["web-blue"].content_type = "text/html; charset=utf-8"
        nasty = 'a"b\\c\t\u4f18{}%s'
        connection = await stand.connect()
        line = "GET /p%22?utm_source=%22%0a%00%ff&utm_term=T HTTP/1.1"
        text = f"{line}\r\nHost: shop.example\r\nUser-Agent: {nasty}\r\n\r\n"
        await connection.send(text.encode())
        assert (await connection.answer()).status == 200
        connection.close()
        record = await stand.record(ua=nasty)
        expected = {"svc": "web", "slot": "blue", "m": "GET", "p": "/p%22", "st": 200, "page": 1, "nv": 1, "ut": "t"}
        assert expected.items() <= record.items()
        assert (record["host"], record["ts"], record["ip"], record["cns"]) == ("shop.example", "--", "127.0.0.1", 1)
        assert record["d"] >= record["sd"] >= 0
        assert record["bo"] > 100
        assert abs(record["t"] / 1000 - (tmp_path / "run/haproxy.cfg").stat().st_mtime) < 600
        assert (await stand.raw(b"RUBBISH\r\n\r\n")).status == 400
        assert (await stand.record(st=400))["svc"] == ""


async def test_page_views_are_answers_of_html_to_people(tmp_path: Path) -> None:
    async with edge(tmp_path) as stand:
        html = stand.services["web-blue"]
        html.content_type = "text/html"
        await stand.ask("/seen")
        await stand.ask("/posted", method="POST", body=b"x")
        await stand.ask("/fetched-ahead", Sec_Purpose="prefetch;prerender")
        html.content_type = "application/json"
        await stand.ask("/data")
        pages = {path: (await stand.record(p=path))["page"] for path in ("/seen", "/posted", "/fetched-ahead", "/data")}
        assert pages == {"/seen": 1, "/posted": 0, "/fetched-ahead": 0, "/data": 0}


async def test_a_pod_that_is_gone_costs_no_request(tmp_path: Path) -> None:
    async with edge(tmp_path, document(limits=Limits(requests_per_second=10_000))) as stand:
        spare = await Service("spare").start()
        stand.pods("web-blue", stand.services["web-blue"], spare)
        await until(lambda: len([s for s in stand.agent._endpoints["web:blue"] if s]) == 2, "both pods are known")
        await spare.stop()
        for number in range(20):
            body = b"x" if number % 2 else b""
            assert (await stand.ask("/", method="POST" if body else "GET", body=body)).status == 200


async def test_nobody_to_answer_says_when_to_come_again(tmp_path: Path) -> None:
    async with edge(tmp_path) as stand:
        stand.pods("pay")
        await until(lambda: not any(stand.agent._endpoints["pay"]), "no pod is left")
        connection: Connection = await stand.connect()

        async def is_refused() -> bool:
            return (await connection.ask("/pay")).status == 503

        await until(is_refused, "the edge says so")
        answer = await connection.ask("/pay")
        assert (answer.status, answer.one("retry-after")) == (503, "5")
        assert (await connection.ask("/")).status == 200
        connection.close()
