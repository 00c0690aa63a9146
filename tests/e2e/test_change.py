"""Changing a campaign while people are in the shop."""

from tests.e2e.steps import NAME, Shop, eventually

BROKEN = "localhost/yougou-shop:never-built"


def test_a_broken_image_is_explained_and_the_last_good_pods_keep_serving(shop: Shop) -> None:
    # Given a shop that serves, and visitors in it
    shop.becomes_ready(shop.apply(shop.campaign()))
    serving = shop.ready_pods()
    assert len(serving) == 2
    shop.send_crowd(rate=3, seconds=25)

    # When an image is asked for that does not exist
    broken = shop.apply(shop.campaign(image=BROKEN))

    # Then the campaign says which service, which image and what to do, in words
    def explained() -> bool:
        said = shop.condition("ServicesReady")
        words = ("seckill", BROKEN, "check the image's name")
        return said.get("status") == "False" and all(word in said["message"] for word in words)

    eventually(explained, "a condition that explains the broken image", else_tell=shop.describe)
    assert shop.condition("Ready")["status"] != "True"
    assert shop.condition("Ready")["observedGeneration"] == broken

    # And the pods of before serve on: nobody was turned away
    report = shop.crowd_report(seconds=60)
    assert report["failed"] == 0, report
    assert report["requests"] > 50
    assert shop.ready_pods() == serving

    # And a good image heals it
    shop.becomes_ready(shop.apply(shop.campaign(version="1.0.1")))
    assert not shop.ready_pods() & serving


def test_changing_the_image_rolls_without_a_failed_request(shop: Shop) -> None:
    # Given a shop that serves, and visitors who keep coming
    shop.becomes_ready(shop.apply(shop.campaign(version="1.0.0")))
    before = shop.ready_pods()
    revision = _revision(shop)
    shop.send_crowd(rate=4, seconds=40)

    # When a new image is asked for; where the cluster is not the lab, it is the same one with another version
    other = "docker.io/library/yougou-shop:1.0.0" if shop.cluster.lab else shop.image
    shop.becomes_ready(shop.apply(shop.campaign(image=other, version="1.1.0")))

    # Then every pod is a new one, the status names the new revision, and no visitor saw a failure
    eventually(lambda: len(shop.ready_pods()) == 2, "two pods of the new image", else_tell=shop.describe)
    assert not shop.ready_pods() & before
    assert _revision(shop) != revision
    report = shop.crowd_report(seconds=90)
    assert report["failed"] == 0, report
    assert report["requests"] > 100


def _revision(shop: Shop) -> str:
    services = shop.get("campaign", NAME)["status"]["services"]
    return next(str(each["revision"]) for each in services if each["name"] == "seckill")
