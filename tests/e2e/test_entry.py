"""Through the edge, counted, kept, and told on the Campaign."""

from tests.e2e.entry import MINUTES, NAME, EntryShop, order, tell, telling
from tests.e2e.steps import eventually

PEOPLE = 12


def test_visits_and_orders_become_key_figures(open_shop: EntryShop) -> None:
    shop = open_shop
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


def test_a_service_grows_with_orders_per_second_and_shrinks_again(open_shop: EntryShop) -> None:
    shop = open_shop

    def replicas() -> int:
        return int(shop.get("deployment", f"{NAME}-landing")["status"].get("readyReplicas", 0))

    # Given nobody buys, and the autoscaler knows that as a number, not as a silence
    def knows() -> bool:
        status = shop.get("horizontalpodautoscaler", f"{NAME}-landing").get("status", {})
        active = {each["type"]: each["status"] for each in status.get("conditions", [])}
        return active.get("ScalingActive") == "True" and bool(status.get("currentMetrics"))

    eventually(knows, "an autoscaler with figures", 2 * MINUTES, shop.describe)
    before = shop.orders()

    # When orders come in faster than one pod is worth
    with telling(shop, "flood-a", "flood-b") as tellers:
        eventually(lambda: replicas() == 4, "as many pods as may be", 2 * MINUTES, shop.describe)

    # Then it goes back when they end, and every one of them was counted
    eventually(lambda: replicas() == 1, "one pod again", 3 * MINUTES, shop.describe)
    shop.orders_become(before + sum(each.promised for each in tellers))
