"""What the edge refuses: floods, oversized and malformed requests, requests that two servers read differently."""

import asyncio
import time
import uuid
from pathlib import Path

import pytest
from tests.patience import PATIENCE
from tests.unit.edge.stand import Connection, Edge, document, edge, live, until

from flywheel.edge.document import Block, Limits

HEAD = b"Host: shop.example\r\n"


async def test_a_flood_of_one_address_is_refused_and_others_are_served(tmp_path: Path) -> None:
    limits = Limits(requests_per_second=3, events_per_second=2)
    async with edge(tmp_path, document(limits=limits)) as stand:
        connection = await stand.connect()
        answers = [await connection.ask("/") for _ in range(35)]
        assert [answer.status for answer in answers] == [200] * 30 + [429] * 5
        assert answers[-1].one("retry-after") == "10"
        assert (await stand.record(st=429))["rf"] == "rate"
        # The collecting API has a count of its own.
        statuses = [(await connection.ask("/v1/p", method="POST", body=b"x")).status for _ in range(22)]
        assert statuses == [200] * 20 + [429] * 2
        connection.close()
        other = await stand.connect(source="127.0.0.9")
        assert (await other.ask("/")).status == 200
        other.close()


async def test_one_address_has_so_many_connections_and_no_more(tmp_path: Path) -> None:
    async with edge(tmp_path, document(limits=Limits(connections_per_address=3))) as stand:
        kept = [await stand.connect() for _ in range(3)]
        for connection in kept:
            assert (await connection.ask("/")).status == 200
        assert await _is_turned_away(stand)
        other = await stand.connect(source="127.0.0.9")
        assert (await other.ask("/")).status == 200
        kept.pop().close()

        async def is_served() -> bool:
            try:
                return (await stand.ask("/")).status == 200
            except (asyncio.IncompleteReadError, ConnectionError):
                return False

        await until(is_served, "there is room again")


async def _is_turned_away(stand: Edge) -> bool:
    try:
        return await (await stand.connect()).is_closed()
    except ConnectionError:
        return True


def chunked(sizes: list[int]) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (size, b"x" * size) for size in sizes) + b"0\r\n\r\n"


async def test_bodies_are_limited_whether_their_length_is_said_or_not(tmp_path: Path) -> None:
    async with edge(tmp_path, document(limits=Limits(body_bytes=100_000))) as stand:
        exact = await stand.ask("/", method="POST", body=b"x" * 100_000)
        assert (exact.status, exact.echo["length"]) == (200, 100_000)
        assert (await stand.ask("/", method="POST", body=b"x" * 100_001)).status == 413
        said = b"POST /said HTTP/1.1\r\n" + HEAD + b"Content-Length: 99999999999999\r\n\r\n"
        assert (await stand.raw(said)).status == 413
        assert (await stand.record(p="/said"))["rf"] == "body"
        head = b"POST /x HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: chunked\r\n"
        small = await stand.raw(head + b"\r\n" + chunked([1] * 50 + [8000, 7000]))
        assert (small.status, small.echo["length"]) == (200, 15_050)
        filling = b"".join(b"X-%d: %s\r\n" % (number, b"y" * 1000) for number in range(14))
        large = await stand.raw(head + filling + b"\r\n" + chunked([8000, 8000]))
        assert large.status == 200, "the largest headers leave room for a body"
        before = stand.services["web-blue"].requests
        for sizes in ([16_384], [100] * 200, [1] * 17_000, [60_000, 60_000]):
            for headers in (b"", filling):
                connection = await stand.connect()
                await connection.send(head + headers + b"\r\n" + chunked(sizes)[:-5])
                assert (await connection.answer()).status == 413, (sizes[:2], len(headers))
                connection.close()
        assert stand.services["web-blue"].requests == before


async def test_headers_and_addresses_are_limited(tmp_path: Path) -> None:
    async with edge(tmp_path, document(limits=Limits(header_bytes=8192))) as stand:
        assert (await stand.ask("/", X_A="y" * 7000)).status == 200
        refused = await stand.ask("/", X_A="y" * 9000)
        assert refused.status == 431
        assert (await stand.record(st=431))["rf"] == "header"
        assert (await stand.ask("/" + "p" * 8200)).status in (414, 431)
        many = b"".join(b"X-%d: 1\r\n" % number for number in range(200))
        assert (await stand.raw(b"GET / HTTP/1.1\r\n" + HEAD + many + b"\r\n")).status == 400
        assert (await stand.raw(b"GET / HTTP/1.1\r\n" + HEAD + b"X: " + b"y" * 100_000 + b"\r\n\r\n")).status == 400


REFUSED = {
    "two lengths": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcd",
    "a list of lengths": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4, 5\r\n\r\nabcd",
    "a negative length": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -4\r\n\r\nabcd",
    "a length with a sign": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +4\r\n\r\nabcd",
    "an unknown transfer coding": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked that is not last": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "chunked twice": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "a space before the colon": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "a bad chunk size": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x4\r\nabcd\r\n0\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "an empty host": b"GET / HTTP/1.1\r\nHost:\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "a host with a path": b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "a host with user and password": b"GET / HTTP/1.1\r\nHost: user@a\r\n\r\n",
    "another host in the address": b"GET http://evil/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "a NUL in a header": b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
    "a line feed in the address": b"GET /\nx HTTP/1.1\r\nHost: a\r\n\r\n",
    "no version": b"GET /\r\n\r\n",
}


async def test_what_two_servers_could_read_differently_reaches_no_service(tmp_path: Path) -> None:
    async with edge(tmp_path) as stand:
        service = stand.services["web-blue"]
        for name, raw in REFUSED.items():
            answer = await stand.raw(raw)
            assert answer.status in (400, 422), name
            assert service.requests == 0, name
        for method in (b"TRACE", b"CONNECT"):
            target = b"a:80" if method == b"CONNECT" else b"/"
            assert (await stand.raw(method + b" " + target + b" HTTP/1.1\r\nHost: a:80\r\n\r\n")).status in (400, 405)
        assert service.requests == 0


async def test_a_smuggled_request_is_never_a_request_of_its_own(tmp_path: Path) -> None:
    both = b"POST /outer HTTP/1.1\r\nHost: a\r\nContent-Length: 46\r\nTransfer-Encoding: chunked\r\n\r\n"
    inner = b"GET /smuggled HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n"
    folded = (
        b"POST /outer HTTP/1.1\r\nHost: a\r\nX: y\r\n Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"
    )
    settings = b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n"
    upgrade = b"GET /outer HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\n" + settings
    async with edge(tmp_path) as stand:
        service = stand.services["web-blue"]
        for raw in (both + b"0\r\n\r\n" + inner, folded, upgrade):
            connection = await stand.connect()
            await connection.send(raw)
            await connection.answer()
            connection.close()
            lines = service.raw[-1].lower().partition(b"\r\n\r\n")[0].split(b"\r\n")
            names = [line.partition(b":")[0] for line in lines[1:]]
            assert names.count(b"content-length") + names.count(b"transfer-encoding") <= 1, names
            assert not {b"upgrade", b"http2-settings"} & set(names), names
            assert not any(name.startswith((b" ", b"\t")) for name in names), names
        # What comes after the chunked body is, to both, a request of its own, or nothing: never a part of the first.
        assert all(raw.count(b"HTTP/1.1") == 1 for raw in service.raw)


def lines_of(raw: bytes) -> list[tuple[str, str]]:
    """The headers that reached a service, each as often as it is there."""
    pairs = [line.partition(":") for line in raw.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]]
    return [(name.lower(), value.strip()) for name, _, value in pairs]


async def test_of_two_cookies_none_gets_past_the_check_of_the_other(tmp_path: Path, bad_visitor: str) -> None:
    async with edge(tmp_path) as stand:
        for cookies in (
            f"Cookie: fw_vid={bad_visitor}; fw_vid=<evil>; fw_ch=referral; fw_ch=<evil>\r\n",
            f"Cookie: fw_vid=<evil>; fw_vid={bad_visitor}; fw_ch=<evil>; fw_ch=referral\r\n",
            f"Cookie: fw_vid={bad_visitor}; fw_ch=referral\r\nCookie: fw_vid=<evil>; fw_ch=<evil>\r\n",
        ):
            for path in (b"/", b"/v1/t"):
                raw = b"GET " + path + b" HTTP/1.1\r\n" + HEAD + cookies.encode() + b"\r\n"
                told = (await stand.raw(raw)).echo["headers"]
                assert "evil" not in told.get("x-fw-visitor", "") + told.get("x-fw-channel", ""), cookies
        assert all("evil" not in each["vid"] + each["ch"] for each in stand.records)


async def test_of_two_headers_of_a_proxy_none_gets_past_the_check_of_the_other(tmp_path: Path) -> None:
    given = document(trusted_proxies=("127.0.0.0/8",), region_header="X-Region")
    async with edge(tmp_path, given) as stand:
        for name in (b"X-Request-ID", b"X-Region"):
            for value in (b"good\r\n" + name + b": <evil>", b"<evil>\r\n" + name + b": good", b"good, <evil>"):
                raw = b"GET /v1/t HTTP/1.1\r\n" + HEAD + name + b": " + value + b"\r\n\r\n"
                answer = await stand.raw(raw)
                told = dict(lines_of(stand.services["collect"].raw[-1]))
                assert "x-fw-region" not in told
                assert "evil" not in told["x-request-id"] + (answer.one("x-request-id") or ""), value
        good = await stand.ask("/v1/t", X_Region="CN-11", X_Request_ID="from-the-proxy")
        assert (good.echo["headers"]["x-fw-region"], good.one("x-request-id")) == ("CN-11", "from-the-proxy")
        # A proxy that writes IPv4 as IPv6 does not make one client of all.
        assert (await stand.ask("/", X_Forwarded_For="::ffff:9.8.7.6")).echo["headers"]["x-forwarded-for"] == "9.8.7.6"


async def test_a_client_cannot_have_headers_of_the_edge_taken_off_or_speak_another_protocol(tmp_path: Path) -> None:
    async with edge(tmp_path) as stand:
        service = stand.services["web-blue"]
        named = b"Connection: X-FW-Visitor, X-Forwarded-For, X-Request-ID, close\r\n"
        assert (await stand.raw(b"GET / HTTP/1.1\r\n" + HEAD + named + b"\r\n")).status == 200
        said = [value for name, value in lines_of(service.raw[-1]) if name == "connection"]
        assert not any("x-" in value.lower() for value in said), said
        socket = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nConnection: Upgrade\r\n"
        for upgrade in (b"Upgrade: websocket, h2c\r\n", b"Upgrade: h2c\r\nUpgrade: websocket\r\n"):
            connection = await stand.connect()
            await connection.send(b"GET / HTTP/1.1\r\n" + HEAD + socket + upgrade + b"\r\n")
            await connection.answer()
            connection.close()
            assert "upgrade" not in dict(lines_of(service.raw[-1])), upgrade


async def test_a_websocket_may_still_be_opened(tmp_path: Path) -> None:
    async with edge(tmp_path) as stand:
        answer = await stand.ask(
            "/", Connection="Upgrade", Upgrade="websocket", Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZQ=="
        )
        assert answer.echo["headers"]["upgrade"] == "websocket"
        assert answer.echo["headers"]["connection"].lower() == "upgrade"


async def test_slow_clients_are_shown_out_and_slow_services_are_waited_for(tmp_path: Path) -> None:
    async with edge(tmp_path, document(limits=Limits(client_timeout=0.4, server_timeout=PATIENCE))) as stand:
        service = stand.services["web-blue"]

        async def trickle(head: bytes) -> int:
            connection = await stand.connect()
            await connection.send(head)
            answer = asyncio.create_task(connection.answer())
            while not answer.done():
                connection.writer.write(b"x")
                await asyncio.sleep(0.05)
            connection.close()
            return (await answer).status

        slow = (
            b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ",
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9000\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1000\r\n",
        )
        assert await asyncio.gather(*map(trickle, slow)) == [408, 408, 408]
        assert service.requests == 0
        service.delay = 1.0
        assert (await stand.ask("/", method="POST", body=b"x")).status == 200, "the client had nothing more to say"
        await stand.give(document(limits=Limits(client_timeout=0.4, server_timeout=0.5)))
        service.hold = asyncio.Event()
        assert (await stand.ask("/")).status == 504
        service.hold.set()


async def _status(connection: Connection, visitor: str = "") -> int:
    return (await connection.ask("/", **({"Cookie": f"fw_vid={visitor}"} if visitor else {}))).status


@pytest.fixture
def bad_visitor() -> str:
    return str(uuid.uuid4())


async def test_blocks_come_and_go_on_open_connections(tmp_path: Path, bad_visitor: str) -> None:
    async with edge(tmp_path) as stand:
        mine, other = await stand.connect(), await stand.connect(source="127.0.5.9")
        later = int(time.time()) + 1000
        assert stand.document is not None

        async def give(until: int) -> None:
            blocks = (
                Block(kind="address", value="127.0.4.0/23", until=later),
                Block(kind="address", value="127.0.5.9", until=later - 2000),
                Block(kind="visitor", value=bad_visitor, until=until),
                Block(kind="visitor", value="no visitor of ours; add map", until=until),
            )
            assert stand.document is not None
            await stand.give(live(stand.document, blocks=blocks))

        await give(later)
        assert [await _status(mine), await _status(mine, bad_visitor), await _status(other)] == [200, 403, 403]
        assert (await stand.record(st=403))["rf"] == "blocked"

        async def is_over() -> bool:
            return await _status(mine, bad_visitor) == 200

        soon = int(time.time()) + 2
        await give(soon)
        await until(is_over, "the block of the visitor has ended by itself")
        assert time.time() >= soon
        await stand.give(live(stand.document, blocks=()))
        assert await _status(other) == 200
        await _many(stand, mine)
        assert not stand.reloads


async def _many(stand: Edge, connection: Connection) -> None:
    """So many that the map is replaced as a whole, and then all gone again."""
    assert stand.document is not None
    until_ = int(time.time()) + 1000
    blocks = tuple(
        Block(kind="address", value=f"127.{1 + number // 250}.{number % 250}.0/24", until=until_)
        for number in range(3000)
    )
    await stand.give(live(stand.document, blocks=blocks))
    inside = await stand.connect(source="127.5.5.5")
    assert await _status(inside) == 403
    assert await _status(connection) == 200
    await stand.give(live(stand.document, blocks=()))
    assert await _status(inside) == 200
