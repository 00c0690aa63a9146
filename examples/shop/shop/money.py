"""What a cart costs. Money is whole cents everywhere; nothing is ever rounded."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Line:
    """So many pieces of one product at one price."""

    sku: str
    quantity: int
    unit_cents: int

    @property
    def cents(self) -> int:
        return self.quantity * self.unit_cents


@dataclass(frozen=True, slots=True)
class ThresholdDiscount:
    """全场满减: for every full `threshold_cents` of the goods, `off_cents` less, without an upper bound."""

    threshold_cents: int
    off_cents: int

    def __post_init__(self) -> None:
        if not 0 < self.off_cents <= self.threshold_cents:
            raise ValueError("a discount takes off more than nothing and at most its own threshold")

    def of(self, goods_cents: int) -> int:
        """Cents taken off goods worth `goods_cents`."""
        return goods_cents // self.threshold_cents * self.off_cents


@dataclass(frozen=True, slots=True)
class Coupon:
    """One voucher of `off_cents`, good once for an order that still costs `minimum_cents` after other discounts."""

    minimum_cents: int
    off_cents: int

    def __post_init__(self) -> None:
        if not 0 < self.off_cents <= self.minimum_cents:
            raise ValueError("a coupon takes off more than nothing and at most its own minimum")

    def of(self, remaining_cents: int) -> int:
        """Cents taken off an order that costs `remaining_cents` before the coupon."""
        return self.off_cents if remaining_cents >= self.minimum_cents else 0


SALE_DISCOUNT = ThresholdDiscount(threshold_cents=300_00, off_cents=50_00)
WELCOME_COUPON = Coupon(minimum_cents=200_00, off_cents=20_00)


@dataclass(frozen=True, slots=True)
class Bill:
    """What the customer reads above the button: goods, what is taken off and why, and what is left to pay."""

    goods_cents: int
    discount_cents: int
    coupon_cents: int

    @property
    def total_cents(self) -> int:
        return self.goods_cents - self.discount_cents - self.coupon_cents


def bill(lines: Iterable[Line], coupon: Coupon | None, discount: ThresholdDiscount = SALE_DISCOUNT) -> Bill:
    """Add up `lines`: the threshold discount first, then the coupon on what is left."""
    goods = sum(line.cents for line in lines)
    off = discount.of(goods)
    return Bill(goods, off, coupon.of(goods - off) if coupon else 0)


def yuan(cents: int) -> str:
    """Write `cents` as a price tag: 129900 -> `1,299`, 1990 -> `19.90`."""
    whole, rest = divmod(cents, 100)
    return f"{whole:,}.{rest:02d}" if rest else f"{whole:,}"
