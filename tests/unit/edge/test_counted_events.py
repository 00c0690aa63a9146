"""What services grow with, and the goal, is counted by its own name although nothing is declared."""

from flywheel.api.load import load_campaign
from flywheel.edge.compose import compose
from flywheel.events.meters import Vocabulary


def test_events_that_somebody_looks_at_are_not_lumped_together() -> None:
    scaling = {"min": 1, "max": 9, "metrics": [{"event": "Cart Filled", "perSecond": 5}, {"requests": 9}]}
    campaign = load_campaign(
        {
            "apiVersion": "flywheel.dev/v1alpha1",
            "kind": "Campaign",
            "metadata": {"name": "sale", "namespace": "shop"},
            "spec": {
                "goal": {"event": "Coupon Claimed", "count": 5},
                "services": [{"name": "web", "image": "web:1", "port": 8080, "autoscaling": scaling}],
                "edge": {},
            },
        }
    )
    assert campaign.spec.edge is not None
    words = Vocabulary(compose(campaign, campaign.spec.edge))
    said = [words.event("track", name) for name in ("Cart Filled", "Coupon Claimed", "Order Completed", "Else")]
    assert said == ["Cart Filled", "Coupon Claimed", "Order Completed", "other"]
