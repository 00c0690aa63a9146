"""Which coupons can be claimed: `WELCOME=200-20 VIP618=300-30` is 20 yuan off from 200, and 30 off from 300.

A code is typed by people: from a text message, in small letters, with a Chinese keyboard's full-width characters.
"""

import re
import unicodedata
from collections.abc import Mapping

from shop.money import Coupon

_RULE = re.compile(r"([0-9A-Z]{2,20})=([1-9][0-9]{0,5})-([1-9][0-9]{0,5})")
LONGEST_CODE = 40
MOST_OFFERS = 20
Offers = Mapping[str, Coupon]
"""By code. The first is for those who name none."""


def read_offers(text: str) -> Offers:
    """Read rules with spaces between them; amounts are whole yuan.

    Raises:
        ValueError: a rule cannot be understood, or takes off more than its own minimum.
    """
    offers: dict[str, Coupon] = {}
    for rule in text.split():
        found = _RULE.fullmatch(rule)
        if not found:
            raise ValueError(f"{rule!r} is no rule: write CODE=MINIMUM-OFF in whole yuan, such as WELCOME=200-20")
        code, minimum, off = found.groups()
        if code in offers:
            raise ValueError(f"{code} has two rules: keep one")
        offers[code] = Coupon(int(minimum) * 100, int(off) * 100)
    if not 1 <= len(offers) <= MOST_OFFERS:
        raise ValueError(f"there must be 1 to {MOST_OFFERS} rules")
    return offers


def code_of(typed: str) -> str:
    """Make of what a customer typed what is meant; empty where nothing was typed."""
    return unicodedata.normalize("NFKC", typed[:LONGEST_CODE]).strip().upper()
