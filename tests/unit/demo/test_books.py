"""What the event store's worker tells Prometheus, read as the demo reads it."""

from prometheus_client import CollectorRegistry, generate_latest

from flywheel.insight.gauges import Gauges, Measured
from flywheel.insight.kpi import Figures, WindowFigures
from rehearsal.books import visitors_by_channel


def figures(window: str, **visitors: int) -> WindowFigures:
    parts = {channel: Figures(visitors=count) for channel, count in visitors.items()}
    return WindowFigures(window, 0, 1, Figures(visitors=9), "channel", parts)


def test_visitors_of_the_whole_campaign_are_told_by_channel() -> None:
    windows = {
        "campaign": figures("campaign", wechat=12, direct=30, sms=0),
        "1m": figures("1m", wechat=1, direct=2, sms=0),
    }
    registry = CollectorRegistry()
    others = Measured(windows={"campaign": figures("campaign", wechat=99)})
    registry.register(Gauges("yougou", {"sale": Measured(windows=windows), "another": others}))
    told = generate_latest(registry).decode()
    assert visitors_by_channel(told, "sale") == {"wechat": 12, "direct": 30}
    assert visitors_by_channel(told, "nobody") == {}
    assert visitors_by_channel("", "sale") == {}
