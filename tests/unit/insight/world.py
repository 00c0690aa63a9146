"""A campaign whose figures are watched."""

from flywheel.insight.monitoring import Goal, MonitoringSettings

CAMPAIGN, NAMESPACE, TITLE = "yougou-618", "shop", "优购网 618"
SETTINGS = MonitoringSettings(
    currency="CNY",
    goal=Goal("Order Completed", 50_000),
    error_rate=0.01,
    latency=0.5,
    spool_bytes=64 << 20,
    labels={"release": "stack", "app.kubernetes.io/instance": "not theirs to say"},
)
