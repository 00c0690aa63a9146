"""Through the edge, counted, kept, and told on the Campaign."""

from collections.abc import Iterator

import pytest
from tests.e2e.entry import EntryShop, order, tell
from tests.lab.cluster.client import Cluster

PEOPLE = 12


@pytest.fixture
def shop(installed: Cluster, restricted: str) -> Iterator[EntryShop]:
    """The shop, open."""
    shop = EntryShop(installed, restricted)
    shop.becomes_ready(shop.apply(shop.campaign()))
    with shop.entered():
        yield shop


def test_visits_and_orders_become_key_figures(shop: EntryShop) -> None:
    # Given an edge of which every pod has the newest orders, and a store that takes what is measured
    assert shop.condition("EdgeReady")["status"] == "True"
    shop.condition_becomes("AnalyticsReady", "True")

    # When people come from different places, look around, and some of them buy, telling it twice
    for number in range(PEOPLE):
        with shop.visitor() as person:
            assert person.get("/?utm_source=wechat" if number % 2 else "/").status_code == 200
            assert person.get("/browse").status_code == 200
            if number % 3 == 0:
                assert tell(person, order(number, 12.5)).status_code == 200
                assert tell(person, order(number, 12.5)).status_code == 200
    # And a robot, an order without its number, and one told again under another message
    with shop.visitor(**{"user-agent": "Googlebot/2.1 (+http://www.google.com/bot.html)"}) as robot:
        assert robot.get("/").status_code == 200
    with shop.visitor() as person:
        refused = tell(person, {**order("none", 1.0), "properties": {"revenue": 1.0}})
        assert refused.status_code == 400
        assert "order_id" in refused.text

    # Then the Campaign says so, each once
    shop.figures_become(
        pageViews=2 * PEOPLE, visitors=PEOPLE, orders=PEOPLE // 3, revenue="50.00", averageOrderValue="12.50"
    )
    assert shop.figures()["conversion"] == "33.3%"
    goal = shop.get("campaign", shop.name)["status"]["kpis"]["goal"]
    assert (goal["reached"], goal["progress"]) == (4, "10%")
