"""The shop as its customers meet it: real processes on loopback."""

import asyncio
import contextlib
import http.client
import select
import signal
import uuid
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from tests.patience import PATIENCE
from tests.unit.shop.conftest import StartService, wait_until

JSON = {"accept": "application/json"}


class Entry(httpx.BaseTransport):
    """What the campaign's edge is to a visitor: one address for all services, by the first part of the path."""

    def __init__(self, services: dict[str, str]) -> None:
        self._http = httpx.HTTPTransport()
        self._services = services

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        service = httpx.URL(self._services.get(request.url.path.split("/")[1], self._services["landing"]))
        url = request.url.copy_with(host=service.host, port=service.port)
        passed = httpx.Request(request.method, url, headers=request.headers, stream=request.stream)
        return self._http.handle_request(passed)

    def close(self) -> None:
        self._http.close()


@pytest.fixture
def shop(start: StartService) -> Iterator[httpx.Client]:
    """A visitor in front of all services."""
    store = start("store", FLASH_STOCK="5")
    names = ("landing", "browse", "cart", "coupon", "pay", "seckill")
    services = {name: start.begin(name, STORE_URL=store) for name in names}
    start.wait_for(*services.values())
    with httpx.Client(base_url="http://shop.example", transport=Entry(services), follow_redirects=True) as visitor:
        yield visitor


def test_a_customer_walks_through_the_shop(shop: httpx.Client) -> None:
    front = shop.get("/")
    assert front.status_code == 200
    assert "618 年中大促" in front.text
    assert "立即领券" in front.text
    assert shop.cookies["yougou_session"]
    assert "领取成功" in shop.post("/coupon").text
    assert "你已经领过了" in shop.post("/coupon").text
    assert "行途 双肩包" in shop.get("/browse").text
    assert "658" in shop.post("/cart", data={"sku": "xingtu-backpack", "quantity": "2"}).text
    till = shop.post("/cart/order")
    assert till.url.path == "/pay/1"
    assert "¥538" in till.text
    paid = shop.post("/pay/1", data={"key": "a-key-of-the-page"})
    assert "付款成功" in paid.text
    assert shop.post("/pay/1", data={"key": "a-key-of-the-page"}).text == paid.text
    assert shop.post("/pay/1", data={"key": "quite-another-key"}).status_code == 409


def test_a_code_from_a_text_message_is_a_coupon_of_its_own(start: StartService) -> None:
    store = start("store")
    coupon = start("coupon", STORE_URL=store, COUPON_RULES="WELCOME=200-20 VIP618=300-30", SHOP_VERSION="1.0.1")
    terms = httpx.get(f"{coupon}/coupon", headers=JSON).json()
    assert terms["version"] == "1.0.1"
    assert [each["code"] for each in terms["coupons"]] == ["WELCOME", "VIP618"]
    assert httpx.get(f"{coupon}/coupon").headers["location"] == "/"

    # Typed in small letters, and with a Chinese keyboard's full-width ones
    with httpx.Client(base_url=coupon) as visitor:
        page = visitor.post("/coupon", data={"code": " ｖｉｐ６１８ "}).text
        assert "领取成功" in page
        assert "¥30 优惠券，满减后满 300 可用" in page
        again = visitor.post("/coupon", headers=JSON).json()["coupon"]
    assert (again["first"], again["code"], again["off_cents"]) == (False, "VIP618", 3000)

    refused = httpx.post(f"{coupon}/coupon", data={"code": "VIP619"}, headers=JSON)
    assert (refused.status_code, refused.json()["error"]) == (404, "no_such_coupon")


def test_what_was_promised_holds_when_the_rules_change(start: StartService) -> None:
    store = start("store")
    wrong, right = (start("coupon", STORE_URL=store, COUPON_RULES=f"VIP618=300-{off}") for off in (3, 30))
    cart = start("cart", STORE_URL=store)
    cookies = {"yougou_session": uuid.uuid4().hex}
    assert "¥3 优惠券" in httpx.post(f"{wrong}/coupon", cookies=cookies).text
    assert "¥3 优惠券" in httpx.post(f"{right}/coupon", cookies=cookies).text
    goods = {"sku": "xingtu-backpack", "quantity": "2"}
    bill = httpx.post(f"{cart}/cart", data=goods, cookies=cookies, headers=JSON).json()["cart"]["bill"]
    assert (bill["goods_cents"], bill["discount_cents"], bill["coupon_cents"]) == (65800, 10000, 300)


def test_whoever_wants_to_be_told_is_noted_once(start: StartService) -> None:
    store = start("store")
    coupon = start("coupon", STORE_URL=store)
    for typed in ("13800006180", "+86 138-0000-6180", "１３８００００６１８０"):
        answer = httpx.post(f"{coupon}/notify", data={"phone": typed})
        assert (answer.status_code, "登记成功" in answer.text) == (200, True), typed
    for typed in ("", "12345678901", "138000061800", "<script>"):
        assert httpx.post(f"{coupon}/notify", data={"phone": typed}).status_code == 422, typed
    assert httpx.get(f"{store}/figures").json()["reminders"] == 1
    assert httpx.get(f"{coupon}/notify").headers["location"] == "/"


def test_a_drained_service_sends_its_clients_away_and_takes_them_back(start: StartService) -> None:
    for service in ("store", "coupon", "browse"):
        address = start(service, STORE_URL="http://127.0.0.1:9")
        with httpx.Client(base_url=address) as client:
            assert "connection" not in client.get("/healthz").headers
            assert client.post("/drain").headers["connection"] == "close"
            still = client.get("/readyz")
            assert (still.status_code, still.headers["connection"]) == (200, "close"), "it serves on"
            assert client.post("/resume").json() == {"service": service, "leaving": False}
            assert "connection" not in client.get("/healthz").headers
            assert client.get("/drain").status_code == 405


def test_an_unused_connection_is_kept_for_longer_than_clients_keep_theirs(start: StartService) -> None:
    """Else a client asks just as it is closed, and its visitor is told that the store is away."""
    kept = httpx.Limits().keepalive_expiry
    assert kept
    address = httpx.URL(start("store"))
    connection = http.client.HTTPConnection(address.host, address.port)
    with contextlib.closing(connection):
        connection.request("GET", "/healthz")
        assert connection.getresponse().read()
        assert connection.sock is not None
        readable, _, _ = select.select([connection.sock], [], [], kept + 1)
        assert not readable, "it was closed"


def test_what_a_customer_types_cannot_break_the_shop(shop: httpx.Client) -> None:
    assert shop.post("/cart", data={"sku": "<script>", "quantity": "1"}).status_code == 404
    assert shop.post("/cart", data={"sku": "xingtu-backpack", "quantity": "-1"}).status_code == 422
    assert shop.post("/cart", data={"sku": "xingtu-backpack", "quantity": "1e3"}).status_code == 422
    assert shop.post("/cart", content=b"x" * 9000).status_code == 413
    assert shop.post("/cart", json=["no", "object"]).status_code == 400
    assert (
        shop.post("/cart", content=b'{"sku": "\\ud800"}', headers={"content-type": "application/json"}).status_code
        == 400
    )
    assert shop.get(f"/pay/{10**30}").status_code == 404
    assert shop.get("/", headers={"cookie": "yougou_session=../../etc"}).cookies["yougou_session"] != "../../etc"
    assert shop.post("/seckill/kuajing-earbuds", data={"ticket": "1.invented"}).status_code == 403


async def test_the_crowd_never_buys_more_than_there_is(start: StartService) -> None:
    store = start("store", FLASH_STOCK="20")
    replicas = [start("seckill", STORE_URL=store) for _ in range(2)]

    async def visit(number: int) -> tuple[int, ...]:
        cookies = {"yougou_session": uuid.uuid4().hex}
        async with httpx.AsyncClient(
            base_url=replicas[number % 2], cookies=cookies, headers=JSON, timeout=30, verify=False
        ) as http:
            offer = (await http.get("/seckill")).json()["flash"][0]
            # An impatient visitor presses the button three times at once.
            path, fields = f"/seckill/{offer['sku']}", {"ticket": offer["ticket"]}
            answers = await asyncio.gather(*(http.post(path, json=fields) for _ in range(3)))
            return tuple(answer.status_code for answer in answers)

    answers = Counter(await asyncio.gather(*(visit(number) for number in range(60))))
    assert answers == {(201, 201, 201): 20, (409, 409, 409): 40}
    async with httpx.AsyncClient() as http:
        figures = (await http.get(f"{store}/figures")).json()
    assert figures["flash_sold"] == figures["purchases"] == 20


def test_before_the_start_the_sale_is_shown_and_closed(start: StartService) -> None:
    opens = datetime.now(UTC) + timedelta(hours=1)
    seckill = start("seckill", STORE_URL=start("store", SALE_STARTS_AT=opens.isoformat()))
    with httpx.Client(base_url=seckill, headers=JSON) as visitor:
        page = visitor.get("/seckill").json()
        assert not page["countdown"]["open"]
        assert 3000 < page["countdown"]["seconds"] <= 3600
        offer = page["flash"][0]
        refused = visitor.post(f"/seckill/{offer['sku']}", json={"ticket": offer["ticket"]})
    assert (refused.status_code, refused.json()["error"]) == (425, "not_started")


def test_without_the_store_the_front_page_stands_and_the_rest_says_so(start: StartService) -> None:
    nowhere = "http://127.0.0.1:9"
    front = httpx.get(start("landing", STORE_URL=nowhere))
    assert front.status_code == 200
    assert "618 年中大促" in front.text
    cart = httpx.get(start("cart", STORE_URL=nowhere) + "/cart")
    assert cart.status_code == 503
    assert cart.headers["retry-after"] == "3"
    assert "人太多了" in cart.text


def test_a_stopping_service_serves_on_until_everybody_knows(start: StartService) -> None:
    address = start("landing", STORE_URL="http://127.0.0.1:9", DRAIN_SECONDS="8")
    with httpx.Client(base_url=address) as visitor:
        assert "connection" not in visitor.get("/").headers
        start.processes[address].send_signal(signal.SIGTERM)
        wait_until(lambda: visitor.get("/readyz").status_code == 503, "readiness is off")
        still_served = visitor.get("/")
    assert still_served.status_code == 200
    assert still_served.headers["connection"] == "close"
    assert start.processes[address].wait(timeout=PATIENCE) == 0
