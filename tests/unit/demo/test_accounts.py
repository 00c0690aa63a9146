"""Three accounts of one sale: equal, or the demo says what does not fit."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.insight.kpi import Figures
from flywheel.insight.summary import money, rounded
from rehearsal.accounts import Account, Accounts, of_crowd, of_shop, of_worker, says

amounts = st.builds(Account, st.integers(0, 10**6), st.integers(0, 10**10))
CROWD, PERSON = Account(40, 812_345), Account(1, 26_800)
SHOP = CROWD + PERSON


def told(account: Account) -> dict[str, Any]:
    return {"orders": rounded(account.orders), "revenue": money(account.cents / 100)}


def equal(**differently: Any) -> Accounts:
    return replace(Accounts(crowd=CROWD, person=PERSON, shop=SHOP, campaign=SHOP, report=told(SHOP)), **differently)


def test_equal_accounts_have_no_problems() -> None:
    assert equal().problems() == []
    assert equal().agree
    assert equal().others == Account()


def test_what_others_bought_is_theirs_and_no_problem() -> None:
    more = SHOP + Account(2, 19_900)
    accounts = equal(shop=more, campaign=more, report=told(more))
    assert accounts.problems() == []
    assert accounts.others == Account(2, 19_900)


@pytest.mark.parametrize(
    ("differently", "problem"),
    [
        ({"crowd": None}, "nothing is known from the crowd"),
        ({"shop": None, "campaign": None}, "nothing is known from the shop, the campaign"),
        ({"campaign": SHOP - Account(1, 100)}, "the Campaign counted 40 orders, ¥8,390.45"),
        ({"campaign": SHOP + Account(0, 1)}, "the Campaign counted 41 orders, ¥8,391.46"),
        ({"report": {"orders": 40, "revenue": "8391"}}, "the report says {'orders': 40, 'revenue': '8391'}"),
        ({"report": None}, "the report says {'orders': None, 'revenue': None}"),
        ({"crowd": CROWD + Account(1, 100)}, "shoppers paid more than the shop has"),
        ({"crowd": Account(), "person": Account()}, "the crowd bought nothing"),
    ],
)
def test_whatever_does_not_fit_is_told(differently: dict[str, Any], problem: str) -> None:
    (found,) = equal(**differently).problems()
    assert problem in found


@given(amounts, amounts)
def test_a_status_says_an_account_with_its_digits(one: Account, other: Account) -> None:
    assert says(told(one), one)
    assert says(told(one), other) == (told(one) == told(other))


@given(amounts)
def test_each_account_is_read_to_the_cent(account: Account) -> None:
    revenue = account.cents / 100
    assert of_crowd({"orders": account.orders, "revenue": round(revenue, 2)}) == account
    assert of_shop({"paid": account.orders, "paid_cents": account.cents, "coupons": 3}) == account
    total = Figures(orders=account.orders, revenue=revenue).plain()
    assert of_worker({"campaigns": [{"windows": [{"total": total}]}]}) == account
