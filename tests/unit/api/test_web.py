"""The forms of addresses and headers, against the libraries that know them."""

import ipaddress
import re

from hypothesis import given
from hypothesis import strategies as st
from tests.bad_campaigns.table import good_campaign

from flywheel.api.load import load_campaign
from flywheel.api.web import ADDRESS_RANGE_PATTERN

nearly = st.lists(st.sampled_from(["", "0", "a", "12", "ffff", "10000"]), min_size=2, max_size=9).map(":".join)


@given(st.ip_addresses())
def test_every_address_has_the_form(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    assert re.fullmatch(ADDRESS_RANGE_PATTERN, str(address)) or not int(address)


@given(st.ip_addresses(v=6))
def test_an_address_written_at_length_has_the_form(address: ipaddress.IPv6Address) -> None:
    assert re.fullmatch(ADDRESS_RANGE_PATTERN, address.exploded)


@given(nearly)
def test_what_has_the_form_is_an_address(text: str) -> None:
    if re.fullmatch(ADDRESS_RANGE_PATTERN, text):
        ipaddress.ip_address(text)


def test_addresses_and_origins_are_read_in_their_normal_form() -> None:
    manifest = good_campaign("edge")
    manifest["spec"]["edge"]["trustedProxies"] = ["10.1.2.3/8", "2001:0DB8::/32"]
    manifest["spec"]["edge"]["events"]["origins"] = ["https://m.shop.example:443", "http://localhost:3000"]
    edge = load_campaign(manifest).spec.edge
    assert edge
    assert edge.trusted_proxies == ("10.0.0.0/8", "2001:db8::/32")
    assert edge.events.origins == ("https://m.shop.example", "http://localhost:3000")
