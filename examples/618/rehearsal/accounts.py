"""Three accounts of one sale: what the shoppers paid, what the shop has in its books, what the Campaign says.

The shoppers keep their own count, the shop's books are rows of its database, and the Campaign has counted events that
passed its edge: nobody copies from another, so that they are equal says something.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flywheel.insight.summary import money, rounded


@dataclass(frozen=True, slots=True)
class Account:
    """Orders that were paid, and their worth in cents."""

    orders: int = 0
    cents: int = 0

    def __add__(self, other: "Account") -> "Account":
        return Account(self.orders + other.orders, self.cents + other.cents)

    def __sub__(self, other: "Account") -> "Account":
        return Account(self.orders - other.orders, self.cents - other.cents)

    def __str__(self) -> str:
        return f"{self.orders} orders, ¥{self.cents / 100:,.2f}"


def of_crowd(report: Mapping[str, Any]) -> Account:
    """Read what `flywheel simulate` counted."""
    return Account(report["orders"], round(report["revenue"] * 100))


def of_shop(figures: Mapping[str, Any]) -> Account:
    """Read the books of the shop's store."""
    return Account(figures["paid"], figures["paid_cents"])


def of_worker(answer: Mapping[str, Any]) -> Account:
    """Read what `flywheel kpis --window campaign -o json` prints of one campaign: exact, unlike the status."""
    total = answer["campaigns"][0]["windows"][0]["total"]
    return Account(total["orders"], round(total["revenue"] * 100))


def says(figures: Mapping[str, Any], account: Account) -> bool:
    """Tell whether a status or a report says `account`, with the digits that are written there."""
    return (figures.get("orders"), figures.get("revenue")) == (rounded(account.orders), money(account.cents / 100))


@dataclass(slots=True)
class Accounts:
    """What is known at the end; None where nobody could be asked."""

    crowd: Account | None = None
    person: Account = Account()
    """The one visitor at this machine."""
    shop: Account | None = None
    campaign: Account | None = None
    report: Mapping[str, Any] | None = None
    """The key figures in the report that stays."""

    @property
    def others(self) -> Account:
        """What somebody else bought, such as a person whom the demo had invited to open the shop in a browser."""
        return (self.shop or Account()) - (self.crowd or Account()) - self.person

    @property
    def agree(self) -> bool:
        """Whether the Campaign, exactly and in its report, says what the shop has in its books."""
        return self.shop is not None and self.shop == self.campaign and says(self.report or {}, self.shop)

    def problems(self) -> list[str]:
        """Say what does not fit; empty when all is equal."""
        if self.crowd is None or self.shop is None or self.campaign is None:
            unknown = [name for name in ("crowd", "shop", "campaign") if getattr(self, name) is None]
            return [f"orders and revenue could not be compared: nothing is known from the {', the '.join(unknown)}"]
        found = []
        if not self.crowd.orders:
            found.append("the crowd bought nothing")
        if self.others.orders < 0 or self.others.cents < 0:
            found.append(f"shoppers paid more than the shop has: {self.crowd + self.person}; the books: {self.shop}")
        if self.campaign != self.shop:
            found.append(f"the Campaign counted {self.campaign}; the shop's books have {self.shop}")
        if not says(self.report or {}, self.shop):
            told = {name: (self.report or {}).get(name) for name in ("orders", "revenue")}
            found.append(f"the report says {told}; the shop's books have {self.shop}")
        return found
