"""Rules of coupons, and codes as people type them."""

import pytest

from shop.money import Coupon
from shop.offers import code_of, read_offers
from shop.services import phone_of


def test_rules_are_read_in_their_order() -> None:
    offers = read_offers("WELCOME=200-20  VIP618=300-30")
    assert dict(offers) == {"WELCOME": Coupon(200_00, 20_00), "VIP618": Coupon(300_00, 30_00)}
    assert next(iter(offers)) == "WELCOME"


@pytest.mark.parametrize(
    ("rules", "why"),
    [
        ("", "there must be 1 to 20 rules"),
        ("   ", "there must be 1 to 20 rules"),
        ("WELCOME", "'WELCOME' is no rule: write CODE=MINIMUM-OFF"),
        ("WELCOME=200", "is no rule"),
        ("WELCOME=200－20", "is no rule"),
        ("welcome=200-20", "is no rule"),
        ("WELCOME=200-0", "is no rule"),
        ("WELCOME=20-200", "takes off more than nothing and at most its own minimum"),
        ("A1=200-20 A1=300-30", "A1 has two rules: keep one"),
        (" ".join(f"A{number}=200-20" for number in range(21)), "there must be 1 to 20 rules"),
    ],
)
def test_a_rule_that_cannot_be_meant_keeps_the_service_from_starting(rules: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read_offers(rules)


def test_a_code_is_what_was_meant() -> None:
    assert [code_of(typed) for typed in ("VIP618", " vip618 ", "ｖｉｐ６１８", "")] == [
        "VIP618",
        "VIP618",
        "VIP618",
        "",
    ]
    assert len(code_of("A" * 1000)) == 40


def test_a_number_of_china_is_found_in_what_was_typed() -> None:
    assert phone_of("+86 138 0000 6180") == phone_of("138-0000-6180") == "13800006180"
    assert [phone_of(typed) for typed in ("1380000618", "23800006180", "13800006180 x", "1" * 1000)] == [""] * 4
