"""Everything a process of the shop is told by its environment, read once at its start."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from shop.offers import Offers, read_offers


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a moment needs its offset from UTC, as in 2027-06-16T00:00:00+08:00")
    return moment


def _address(text: str) -> str:
    if not text.startswith(("http://", "https://")):
        raise ValueError("write an address as http://service:port")
    return text.rstrip("/")


@dataclass(frozen=True, slots=True)
class Settings:
    """Field `x_y` is the environment variable `X_Y`."""

    listen_host: str = "0.0.0.0"
    listen_port: int = 8080
    store_url: str = "http://localhost:8081"
    store_seconds: float = 5.0
    """How long the store may take to answer before a visitor is asked to try again."""
    drain_seconds: float = 3.0
    """How long a stopping process serves on after its readiness is off, until the last proxy has heard of it."""
    ticket_rounds: int = 40_000
    data_directory: Path = Path("/data")
    flash_stock: int = 500
    """Pieces of each flash-sale product."""
    sale_starts_at: datetime | None = None
    sale_ends_at: datetime | None = None
    events_url: str = ""
    """For pay: address of the campaign's edge, which takes in events; empty: nobody is told of orders."""
    write_key: str = ""
    """For pay and the pages: a write key of the campaign; empty: pages are without the edge's script."""
    shop_version: str = "1.0.0"
    """In the foot of each page: which build a visitor sees."""
    coupon_rules: Offers = field(default_factory=lambda: read_offers("WELCOME=200-20"))
    """For coupon: what can be claimed, such as `WELCOME=200-20 VIP618=300-30`."""


_CONVERT: Mapping[str, Callable[[str], Any]] = {
    "listen_port": int,
    "store_seconds": float,
    "drain_seconds": float,
    "ticket_rounds": int,
    "data_directory": Path,
    "flash_stock": int,
    "sale_starts_at": _moment,
    "sale_ends_at": _moment,
    "events_url": _address,
    "coupon_rules": read_offers,
}


def from_environment(environment: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings; a variable that is absent or empty keeps its default.

    Raises:
        ValueError: a variable cannot be understood; the message names it and what it held.
    """
    values: dict[str, Any] = {}
    for each in fields(Settings):
        text = environment.get(each.name.upper(), "")
        if not text:
            continue
        try:
            values[each.name] = _CONVERT.get(each.name, str)(text)
        except ValueError as error:
            raise ValueError(f"environment variable {each.name.upper()}={text!r}: {error}") from error
    return Settings(**values)
