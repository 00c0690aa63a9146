"""What the key figures have to know of a campaign: one entry of the worker's `campaigns.json`."""

from typing import Any, Literal, cast

import msgspec

from flywheel.insight.kpi import Dimension, Scope, bounds


class OrderSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Which event is an order. Its identity and value are already in the rows."""

    event: str = "Order Completed"


class GoalSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How often which event shall happen."""

    event: str
    count: int


class CampaignSettings(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One campaign; fields that only others need are passed over."""

    uid: str = ""
    currency: str = "USD"
    order: OrderSettings = OrderSettings()
    goal: GoalSettings | None = None
    services: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    session_timeout: int = 1800
    page_views: Literal["Edge", "Script"] = "Edge"
    start: int = msgspec.field(name="from", default=0)
    """Milliseconds since 1970; 0: from the first record."""

    def scope(self, campaign: str, window: str, now: int, by: Dimension | None = None) -> Scope:
        """Give what is asked about for one window that ends now."""
        start, end = bounds(window, self.start, now)
        return Scope(
            campaign=campaign,
            start=start,
            end=end,
            by=by,
            order_event=self.order.event,
            page_views=self.page_views,
            session_timeout=self.session_timeout,
        )


def read_settings(entries: object) -> tuple[dict[str, CampaignSettings], dict[str, str]]:
    """Read `campaigns.json`: the campaigns, and what is wrong with those that cannot be read."""
    read: dict[str, CampaignSettings] = {}
    wrong: dict[str, str] = {}
    if not isinstance(entries, dict):
        return read, wrong
    for campaign, entry in cast("dict[str, Any]", entries).items():
        try:
            read[campaign] = msgspec.convert(entry, CampaignSettings)
        except msgspec.ValidationError as error:
            wrong[campaign] = f"campaigns.json, {campaign}: {error}"
    return read, wrong
