import math

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from tests.unit.events.test_access_log import record
from tests.unit.events.world import as_json, document, sender, track

from flywheel.events.access_log import AccessLog
from flywheel.events.collect import Collector
from flywheel.events.dedupe import Recent
from flywheel.events.intake import Intake
from flywheel.events.meters import BOUNDS, MOST_SERIES, Counter, Meters, Vocabulary
from flywheel.events.script import Script


def written(meters: Meters) -> dict[str, dict]:
    registry = CollectorRegistry()
    registry.register(meters)
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {
        sample.name + str(sorted(sample.labels.items())): sample for family in families for sample in family.samples
    }


def test_every_metric_says_of_which_campaign_it_is():
    meters = Meters("shop", "spring")
    meters.event(Vocabulary(document()), "track", "Order Completed", "weibo")
    meters.order(Vocabulary(document()), "weibo", 12.5, "CNY")
    meters.durations.observe(("landing", "", ""), 0.02)
    samples = written(meters)
    assert all({"namespace", "campaign"} <= set(each.labels) for each in samples.values())
    found = {each.name: each.value for each in samples.values()}
    assert found["campaign_events_total"] == found["campaign_orders_total"] == 1
    assert found["campaign_revenue_total"] == 12.5
    assert found["campaign_request_duration_seconds_count"] == 1
    assert found["flywheel_log_records_lost_total"] == 0


def test_a_histogram_counts_each_value_in_every_bucket_above_it():
    meters = Meters("shop", "spring")
    values = [0.0, *BOUNDS, 0.03, 99.0]
    for value in values:
        meters.durations.observe(("landing", "", ""), value)
    samples = [each for each in written(meters).values() if each.name == "campaign_request_duration_seconds_bucket"]
    for sample in samples:
        bound = math.inf if sample.labels["le"] == "+Inf" else float(sample.labels["le"])
        assert sample.value == sum(value <= bound for value in values)
    assert len(samples) == len(BOUNDS) + 1


def test_nobody_can_make_series(tmp_path):
    """A flood of made-up names on every way in: what is counted is one more of the same few series."""
    meters, rules = Meters("shop", "spring"), document()
    collector = Collector(None, meters, script=Script(b""))  # type: ignore[arg-type]
    collector.use_document(rules)
    log = AccessLog(None, meters, tmp_path / "state")  # type: ignore[arg-type]
    log.use_document(rules)
    intake = Intake(rules, Recent())
    for number in range(3_000):
        name = f"made-up-{number}"
        event = track(
            number, event=name, context={"campaign": {"source": name}, "page": {"url": f"https://{name}/{name}"}}
        )
        event["properties"] = {"currency": name, "revenue": 1}
        taken = intake.take([as_json(event), as_json({**event, "type": name})], sender(channel=name, region=name))
        collector._count(collector.rules, taken)
        made_up = dict.fromkeys(("svc", "slot", "test", "var", "ch", "reg", "host", "m", "p", "us", "rf"), name)
        log.take(as_json(record(number, **made_up, st=number, pid=number)))
    series = sum(len(each.values) for each in meters.sources)
    assert series < 60, {each.name: len(each.values) for each in meters.sources}
    assert set(meters.events.values) == {("other", "other"), ("(page)", "other")}


def test_even_documents_that_change_for_ever_make_no_endless_series():
    counter = Counter("x_total", "x", ("a", "b"))
    for number in range(2 * MOST_SERIES):
        counter.add((str(number), "b"))
    assert len(counter.values) == MOST_SERIES + 1
    assert counter.values[("other", "other")] == MOST_SERIES


def test_what_is_paid_back_runs_no_counter_backwards():
    meters = Meters("shop", "spring")
    meters.order(Vocabulary(document()), "direct", -5.0, "CNY")
    assert meters.revenue.values == {}
    assert meters.orders.values == {("direct",): 1.0}
