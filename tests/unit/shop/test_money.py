"""What a cart costs, to the cent."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shop.money import SALE_DISCOUNT, WELCOME_COUPON, Coupon, Line, ThresholdDiscount, bill, yuan

cents = st.integers(1, 10**9)
discounts = st.tuples(cents, cents).map(lambda pair: ThresholdDiscount(max(pair), min(pair)))
coupons = st.tuples(cents, cents).map(lambda pair: Coupon(max(pair), min(pair)))
lines = st.lists(st.builds(Line, st.just("sku"), st.integers(1, 99), cents), max_size=8)


@pytest.mark.parametrize(
    ("goods", "off"),
    [(0, 0), (299_99, 0), (300_00, 50_00), (599_99, 50_00), (600_00, 100_00), (2_399_00, 350_00)],
)
def test_the_sales_discount_counts_full_thresholds_only(goods: int, off: int) -> None:
    assert SALE_DISCOUNT.of(goods) == off


def test_the_coupon_looks_at_what_is_left_after_the_discount() -> None:
    # 240.00 would be enough, but 300.00 less 50.00 is what the customer still pays; 249.00 gets no discount at all.
    assert bill([Line("a", 1, 300_00)], WELCOME_COUPON).total_cents == 230_00
    assert bill([Line("a", 1, 249_00)], WELCOME_COUPON).total_cents == 229_00
    assert bill([Line("a", 1, 199_99)], WELCOME_COUPON).total_cents == 199_99


@given(lines, discounts, st.none() | coupons)
def test_a_bill_adds_up_and_is_never_negative(
    goods: list[Line], discount: ThresholdDiscount, coupon: Coupon | None
) -> None:
    total = bill(goods, coupon, discount)
    assert total.goods_cents == sum(line.quantity * line.unit_cents for line in goods)
    assert total.total_cents + total.discount_cents + total.coupon_cents == total.goods_cents
    assert 0 <= total.total_cents <= total.goods_cents


@given(discounts, cents, cents)
def test_one_more_full_threshold_takes_off_exactly_one_more_time(
    discount: ThresholdDiscount, goods: int, times: int
) -> None:
    assert discount.of(goods + times * discount.threshold_cents) == discount.of(goods) + times * discount.off_cents


@given(discounts, cents, cents)
def test_splitting_an_order_never_pays(discount: ThresholdDiscount, one: int, other: int) -> None:
    assert discount.of(one + other) >= discount.of(one) + discount.of(other)


@pytest.mark.parametrize(("threshold", "off"), [(100, 0), (100, 101), (0, 0), (100, -1)])
def test_a_discount_that_gives_goods_away_is_refused(threshold: int, off: int) -> None:
    with pytest.raises(ValueError, match="takes off"):
        ThresholdDiscount(threshold, off)
    with pytest.raises(ValueError, match="takes off"):
        Coupon(threshold, off)


@pytest.mark.parametrize(("price", "text"), [(129900, "1,299"), (1990, "19.90"), (5, "0.05"), (0, "0")])
def test_price_tags(price: int, text: str) -> None:
    assert yuan(price) == text
