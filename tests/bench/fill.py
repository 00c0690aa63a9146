"""Fill a store with millions of events and requests in seconds, the same ones every time: for benchmarks and tests.

    from tests.bench.fill import fill_statements
    for statement in fill_statements(events=5_000_000):
        session.query(statement)                  # a chDB session that has said USE flywheel, after the schema is made
        await store.run(statement)                # or through a Store

Everything is a function of the row's number and the seed: no clock and no randomness, so that another engine can be
given the same rows. The stream: `visitors` people over `days` days until `until`, in sessions of about ten events
within minutes; of the events 60 % are page views, 20 % `Product Viewed`, 12 % `Product Added`, 4 % `Coupon Claimed`,
4 % `Order Completed` with a revenue of 10 to 510. Five channels, one of them `direct`; every 200th event is a bot's.
"""

from collections.abc import Iterator

UNTIL = 1_813_104_000_000
"""2027-06-16T00:00:00+08:00: the start of the example's campaign, in milliseconds."""
CAMPAIGN = "yougou-618"
BLOCK = 1_000_000


def fill_statements(
    events: int = 5_000_000,
    *,
    requests: int = 0,
    campaign: str = CAMPAIGN,
    visitors: int = 250_000,
    days: int = 30,
    until: int = UNTIL,
    seed: int = 618,
    expires_at: int = 4_000_000_000,
) -> Iterator[str]:
    """Give the INSERT statements, each of at most a million rows."""
    for start in range(0, events, BLOCK):
        yield _events(start, min(BLOCK, events - start), campaign, visitors, days, until, seed, expires_at)
    for start in range(0, requests, BLOCK):
        yield _requests(start, min(BLOCK, requests - start), campaign, visitors, days, until, seed, expires_at)


def _common(visitors: int, days: int, until: int, seed: int, per_session: int) -> str:
    span = days * 86_400_000
    return (
        f"intDiv(number, {per_session}) AS session, sipHash64({seed}, session) AS h, "
        f"sipHash64({seed} + 1, number) AS r, "
        f"toInt64({until} - {span} + h % ({span} - 3600000) + (number % {per_session}) * 45000 + r % 45000) AS moment, "
        f"concat('v', toString(intDiv(h, 1000) % {visitors})) AS person, "
        "['direct', 'paid-search', 'social', 'email', 'referral'][1 + intDiv(h, 7) % 5] AS way"
    )


def _events(
    start: int, count: int, campaign: str, visitors: int, days: int, until: int, seed: int, expires_at: int
) -> str:
    return (
        "INSERT INTO events (campaign, message_id, type, event, time, original_time, ingest_time, visitor, user_id, "
        "channel, path, service, variant, region, bot, consent, order_id, revenue, currency, properties, context, "
        "source, expires_at, commit) "
        f"WITH {_common(visitors, days, until, seed, 10)}, r % 100 AS p, p >= 96 AS buys SELECT "
        f"'{campaign}', concat('m', toString(number)), if(p < 60, 'page', 'track'), "
        "multiIf(p < 60, 'Home', p < 80, 'Product Viewed', p < 92, 'Product Added', p < 96, 'Coupon Claimed', "
        "'Order Completed'), moment, moment, moment + 50, person, if(h % 4 = 0, concat('u', person), ''), way, "
        "concat('/p/', toString(intDiv(r, 100) % 500)), ['landing', 'seckill'][1 + intDiv(r, 3) % 2], "
        "['', 'red', 'green'][1 + h % 3], ['east', 'north', 'south'][1 + intDiv(h, 11) % 3], "
        "intDiv(r, 100) % 200 = 0, 1, if(buys, concat('o', toString(number)), ''), "
        "if(buys, 10 + intDiv(r, 100) % 50000 / 100, 0), if(buys, 'CNY', ''), "
        "concat('{\"sku\":\"', toString(intDiv(r, 100) % 500), '\"}'), '{}', 'script', "
        f"{expires_at}, 1 FROM numbers({start}, {count}) SETTINGS max_insert_block_size = 1048576"
    )


def _requests(
    start: int, count: int, campaign: str, visitors: int, days: int, until: int, seed: int, expires_at: int
) -> str:
    return (
        "INSERT INTO requests (campaign, request_id, time, ingest_time, service, slot, test, variant, channel, region, "
        "host, method, path, status, duration_ms, server_ms, bytes_in, bytes_out, visitor, bot, page, termination, "
        "expires_at, commit) "
        f"WITH {_common(visitors, days, until, seed, 12)}, r % 1000 AS p SELECT "
        f"'{campaign}', concat('r', toString(number)), moment, moment + 50, "
        "['landing', 'seckill'][1 + intDiv(r, 3) % 2], 'blue', if(h % 3 = 0, '', 'button'), "
        "['', 'red', 'green'][1 + h % 3], way, ['east', 'north', 'south'][1 + intDiv(h, 11) % 3], 'm.shop.example', "
        "'GET', concat('/p/', toString(intDiv(r, 100) % 500)), multiIf(p < 970, 200, p < 990, 404, p < 995, 500, 503), "
        "5 + intDiv(r, 1000) % 400 / 2 + if(p >= 990, 500, 0), 4 + intDiv(r, 1000) % 400 / 2, 500, 20000, person, "
        f"intDiv(r, 100) % 200 = 0, p < 300, '--', {expires_at}, 1 FROM numbers({start}, {count}) "
        "SETTINGS max_insert_block_size = 1048576"
    )
