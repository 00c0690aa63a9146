"""The environment of a process of the shop."""

from datetime import UTC, datetime

import pytest

from shop.settings import Settings, from_environment


def test_without_variables_the_defaults_hold() -> None:
    assert from_environment({}) == Settings()
    assert from_environment({"LISTEN_PORT": ""}) == Settings()


def test_variables_are_read() -> None:
    settings = from_environment(
        {
            "LISTEN_PORT": "9000",
            "SALE_STARTS_AT": "2027-06-16T00:00:00+08:00",
            "EVENTS_URL": "http://yougou-618-edge/",
            "WRITE_KEY": "yougou-618",
        }
    )
    assert settings.listen_port == 9000
    assert settings.sale_starts_at == datetime(2027, 6, 15, 16, tzinfo=UTC)
    assert (settings.events_url, settings.write_key) == ("http://yougou-618-edge", "yougou-618")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("LISTEN_PORT", "http"),
        ("SALE_ENDS_AT", "2027-06-19T00:00:00"),
        ("EVENTS_URL", "yougou-618-edge"),
        ("DRAIN_SECONDS", "3s"),
        ("COUPON_RULES", "WELCOME"),
    ],
)
def test_what_cannot_be_understood_is_named(name: str, text: str) -> None:
    with pytest.raises(ValueError, match=f"{name}='{text}'"):
        from_environment({name: text})
