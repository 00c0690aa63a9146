import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.events.world import CHANNELS

from flywheel.events.channels import Utm, classify, take_apart


@pytest.mark.parametrize(
    ("utm", "referrer", "parameters", "wanted"),
    [
        (Utm(), "", (), "direct"),
        (Utm(), "shop.example", (), "direct"),
        (Utm(), "blog.example", (), "referral"),
        (Utm(source="letter"), "", (), "other"),
        (Utm(source="letter"), "weibo.com", (), "weibo"),
        (Utm(medium="cpc"), "weibo.com", (), "paid-search"),
        (Utm(), "", ("gclid",), "paid-search"),
        (Utm(), "m.weibo.com", (), "weibo"),
        (Utm(), "notweibo.com", (), "referral"),
        (Utm(campaign="weibo"), "", (), "other"),
    ],
)
def test_the_first_rule_that_fits_wins(utm, referrer, parameters, wanted):
    assert classify(CHANNELS, utm, referrer, parameters, {"shop.example"}) == wanted


def test_an_address_is_taken_apart():
    found = take_apart("https://me:secret@Shop.Example:8443/a/b?utm_source=WeiBo&gclid=1&utm_campaign=a%20b#x")
    assert found.url == "https://shop.example:8443/a/b"
    assert (found.host, found.path) == ("shop.example", "/a/b")
    assert (found.utm.source, found.utm.campaign) == ("weibo", "a b")
    assert "gclid" in found.parameters


@pytest.mark.parametrize("url", ["", "http://[", "//", "?" + "&".join("a" for _ in range(200)), "http://a:999999/"])
def test_an_address_that_is_none_is_empty(url):
    assert take_apart(url).host == ""


@given(st.text())
def test_any_text_can_be_taken_apart(url):
    found = take_apart(url)
    assert "?" not in found.url
    assert "@" not in found.url.partition("//")[2].partition("/")[0]
