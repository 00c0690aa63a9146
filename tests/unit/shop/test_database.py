"""The rules that must hold however many customers come at once, on a real SQLite file."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shop.database import Database, Refused, Row, Sale

NOW = datetime(2027, 6, 16, tzinfo=UTC)
FLASH, PLAIN = "kuajing-earbuds", "xingtu-backpack"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(tmp_path / "shop.sqlite", flash_stock=10)
    yield opened
    opened.close()


def refused(call: "object", *arguments: object) -> str:
    with pytest.raises(Refused) as caught:
        call(*arguments)  # type: ignore[operator]
    return caught.value.code


def test_two_processes_on_one_file_never_oversell(tmp_path: Path) -> None:
    # Two connections stand for two processes: they share nothing but the file.
    first, second = (Database(tmp_path / "shop.sqlite", flash_stock=10) for _ in range(2))

    def buy(number: int) -> Row | str:
        try:
            return (first, second)[number % 2].buy_flash(f"visitor-{number}", FLASH, Sale(), NOW)
        except Refused as error:
            return error.code

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(buy, range(60)))
    assert answers.count("sold_out") == 50
    stock = {product["sku"]: product for product in first.products()}[FLASH]
    assert (stock["flash_stock"], stock["flash_sold"]) == (0, 10)
    first.close()
    second.close()


def test_a_visitor_buys_one_piece_however_often_they_ask(database: Database) -> None:
    with ThreadPoolExecutor(8) as pool:
        bought = list(pool.map(lambda _: database.buy_flash("visitor", FLASH, Sale(), NOW), range(8)))
    assert len({purchase["id"] for purchase in bought}) == 1
    assert [purchase["first"] for purchase in bought].count(True) == 1
    assert database.figures()["flash_sold"] == 1


def test_the_sale_opens_and_closes_at_its_moments(database: Database) -> None:
    sale = Sale(NOW, NOW + timedelta(hours=1))
    tick = timedelta(microseconds=1)
    assert refused(database.buy_flash, "visitor", FLASH, sale, NOW - tick) == "not_started"
    assert refused(database.buy_flash, "visitor", FLASH, sale, NOW + timedelta(hours=1)) == "ended"
    assert database.buy_flash("visitor", FLASH, sale, NOW)["total_cents"] == 199_00
    assert refused(database.buy_flash, "visitor", PLAIN, sale, NOW) == "no_such_product"


def test_a_coupon_is_claimed_once_and_used_once(database: Database) -> None:
    with ThreadPoolExecutor(8) as pool:
        claims = list(pool.map(lambda _: database.claim_coupon("visitor", NOW), range(8)))
    assert [claim["first"] for claim in claims].count(True) == 1
    database.put_in_cart("visitor", PLAIN, 1)
    assert database.order_cart("visitor", NOW)["total_cents"] == 329_00 - 50_00 - 20_00
    database.put_in_cart("visitor", PLAIN, 1)
    assert database.order_cart("visitor", NOW)["total_cents"] == 329_00 - 50_00
    assert database.claim_coupon("visitor", NOW)["used"]


def test_a_coupon_that_the_bill_did_not_take_is_kept(database: Database) -> None:
    database.claim_coupon("visitor", NOW)
    database.put_in_cart("visitor", "qingyu-umbrella", 1)
    assert database.order_cart("visitor", NOW)["total_cents"] == 89_00
    assert not database.claim_coupon("visitor", NOW)["used"]


def test_a_cart_is_ordered_once(database: Database) -> None:
    database.put_in_cart("visitor", PLAIN, 2)

    def order(_: int) -> int | str:
        try:
            return int(database.order_cart("visitor", NOW)["total_cents"])
        except Refused as error:
            return error.code

    with ThreadPoolExecutor(4) as pool:
        assert sorted(map(str, pool.map(order, range(4)))) == ["55800", *["empty_cart"] * 3]


def test_paying_with_the_same_key_pays_once(database: Database) -> None:
    number = database.buy_flash("visitor", FLASH, Sale(), NOW)["id"]
    other = database.buy_flash("visitor", "yunduo-robot", Sale(), NOW)["id"]
    with ThreadPoolExecutor(8) as pool:
        receipts = list(pool.map(lambda _: database.pay("visitor", number, "key-one", NOW), range(8)))
    assert [receipt.pop("first") for receipt in receipts].count(True) == 1
    assert all(receipt == receipts[0] for receipt in receipts)
    assert refused(database.pay, "visitor", number, "key-two", NOW) == "already_paid"
    assert refused(database.pay, "visitor", other, "key-one", NOW) == "key_reused"
    assert refused(database.pay, "stranger", other, "key-three", NOW) == "no_such_purchase"
    assert database.figures()["paid"] == 1


def test_what_was_sold_survives_a_restart(tmp_path: Path) -> None:
    before = Database(tmp_path / "shop.sqlite", flash_stock=10)
    number = before.buy_flash("visitor", FLASH, Sale(), NOW)["id"]
    key = before.ticket_key()
    before.close()
    after = Database(tmp_path / "shop.sqlite", flash_stock=10)
    assert after.purchase("visitor", number)["total_cents"] == 199_00
    assert after.figures()["flash_sold"] == 1
    assert after.ticket_key() == key
    after.close()


steps = st.lists(
    st.tuples(
        st.sampled_from(["buy", "cart", "order", "claim", "pay"]),
        st.sampled_from(["ann", "bob", "cai"]),
        st.integers(0, 5),
    ),
    max_size=40,
)


@given(steps)
@settings(max_examples=40, deadline=None)
def test_whatever_customers_do_the_books_balance(steps: list[tuple[str, str, int]]) -> None:
    database = Database(Path(":memory:"), flash_stock=2)
    for step, visitor, number in steps:
        try:
            match step:
                case "buy":
                    database.buy_flash(visitor, FLASH, Sale(), NOW)
                case "cart":
                    database.put_in_cart(visitor, PLAIN, number)
                case "order":
                    database.order_cart(visitor, NOW)
                case "claim":
                    database.claim_coupon(visitor, NOW)
                case "pay":
                    database.pay(visitor, number, f"{visitor}-{number}", NOW)
        except Refused:
            pass
    figures = database.figures()
    flash = {product["sku"]: product for product in database.products()}[FLASH]
    assert flash["flash_stock"] + flash["flash_sold"] == 2
    assert figures["paid"] <= figures["purchases"]
    database.close()
