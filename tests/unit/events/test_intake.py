"""Reading, checking and normalising: what becomes of what clients send."""

import contextlib
import itertools
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.events.world import BROWSER, DAY, KEY, NOW, as_json, document, sender, track

from flywheel.edge.bucket import bucket
from flywheel.edge.document import DeclaredEvent, Property
from flywheel.events.dedupe import Recent
from flywheel.events.incoming import DEEPEST, LARGEST_EVENT, MOST_EVENTS, depth, read_envelope
from flywheel.events.intake import Intake, Taken
from flywheel.events.refusal import REASONS, Refused
from flywheel.events.rows import DeadLetter, EventRow


def intake(*, consent: bool = False, **collect) -> Intake:
    numbers = itertools.count()
    return Intake(document(consent=consent, **collect), Recent(), lambda: f"new-{next(numbers)}")


def take(event, *, rules: Intake | None = None, **said) -> Taken:
    text = event if isinstance(event, bytes) else as_json(event)
    return (rules or intake()).take([text], sender(**said))


def row(event, **options) -> EventRow:
    taken = take(event, **options)
    assert not taken.rejected, taken.rejected
    return taken.rows[0]


def refusal(event, **options) -> tuple[str, str]:
    taken = take(event, **options)
    assert not taken.rows
    assert len(taken.letters) == 1
    assert taken.letters[0].reason == taken.rejected[0].reason
    return taken.rejected[0].reason, taken.rejected[0].detail


def test_an_order_becomes_a_row():
    found = row(track(7), address="hash", region="Hangzhou")
    assert found.message_id == "m-7"
    assert (found.type, found.event) == ("track", "Order Completed")
    assert (found.time, found.original_time, found.ingest_time) == (NOW - 500, NOW - 500, NOW)
    assert (found.visitor, found.user_id) == ("v-1", "")
    assert (found.order_id, found.revenue, found.currency, found.revenue_unknown) == ("o-7", 12.5, "CNY", False)
    assert (found.service, found.path, found.url) == ("seckill", "/coupon/1", "https://shop.example/coupon/1")
    assert (found.channel, found.bot, found.consent, found.clamped) == ("direct", False, True, False)
    assert (found.address, found.region, found.user_agent) == ("hash", "Hangzhou", BROWSER)
    assert json.loads(found.properties) == {"order_id": "o-7", "revenue": 12.5}
    assert found.expires_at == found.time // 1000 + 90 * 86_400


def test_address_and_user_agent_stay_out_of_the_context():
    found = row(track(context={"ip": "203.0.113.9", "userAgent": BROWSER, "locale": "zh", "app": {"name": "x"}}))
    assert json.loads(found.context) == {"locale": "zh", "app": {"name": "x"}}


@pytest.mark.parametrize(
    ("changed", "reason", "said"),
    [
        ({"properties": {"order_id": "o"}}, "missing_property", "properties.revenue"),
        ({"properties": {}}, "missing_property", "properties.order_id"),
        ({"properties": None}, "missing_property", "properties.order_id"),
        (
            {"properties": {"order_id": "o", "revenue": "12"}},
            "wrong_type",
            "properties.revenue: Expected float, got str",
        ),
        ({"properties": {"order_id": None, "revenue": 1}}, "wrong_type", "properties.order_id"),
        ({"properties": {"order_id": "o", "revenue": 1, "products": {}}}, "wrong_type", "properties.products"),
        ({"properties": []}, "wrong_type", "properties"),
        ({"properties": "text"}, "wrong_type", "properties"),
        ({"context": []}, "wrong_type", "context"),
        ({"event": ""}, "missing_field", "event"),
        ({"event": None}, "missing_field", "event"),
        ({"event": 7}, "wrong_type", "event"),
        ({"userId": {}}, "wrong_type", "userId"),
        ({"type": "order"}, "invalid_type", "'order'"),
        ({"type": None}, "invalid_type", "alias, group"),
        ({"type": "alias"}, "missing_field", "previousId"),
    ],
)
def test_a_bad_event_is_refused_with_a_reason(changed, reason, said):
    found, detail = refusal(track(**changed))
    assert found == reason
    assert said in detail


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "invalid_json"),
        (b"{", "invalid_json"),
        (b"nonsense", "invalid_json"),
        (b'{"type":"track","event":"\xff"}', "invalid_json"),
        (b'{"type":"track","event":"x","userId":"u","properties":{"a":"\xff"}}', "invalid_json"),
        (b"[]", "wrong_type"),
        (b'"text"', "wrong_type"),
        (b'{"a":' + b"[" * 9_000 + b"]" * 9_000 + b"}", "too_deep"),
        (as_json(track(properties={"order_id": "o", "revenue": 1, "x": "y" * LARGEST_EVENT})), "too_large"),
        (b'{"type":"track","event":"x","userId":' + b"9" * 5_000 + b"}", "wrong_type"),
    ],
)
def test_what_cannot_be_read_is_refused(text, reason):
    assert refusal(text)[0] == reason


@pytest.mark.parametrize("field", ["properties", "context", "traits"])
def test_nesting_is_bounded(field):
    kind = {"type": "identify"} if field == "traits" else {}
    fine = {**track(), **kind, field: json.loads('{"a":' * (DEEPEST - 1) + "1" + "}" * (DEEPEST - 1))}
    fine["event"] = "Anything"
    row(fine)
    assert refusal({**fine, field: {"more": {"deep": fine[field]}}})[0] == "too_deep"


@given(
    st.recursive(
        st.none() | st.text('[]{}\\"ab', max_size=5),
        lambda inner: st.lists(inner) | st.dictionaries(st.text('{["', max_size=2), inner),
    )
)
def test_depth_is_counted_outside_of_texts(value):
    def deep(each) -> int:
        if isinstance(each, dict):
            return 1 + max(map(deep, each.values()), default=0)
        return 1 + max(map(deep, each), default=0) if isinstance(each, list) else 0

    assert depth(json.dumps(value).encode()) == deep(value)


def test_one_bad_event_takes_no_other_with_it():
    events = [as_json(track(number)) for number in range(10)]
    events[3] = as_json(track(3, event=None))
    taken = intake().take(events, sender())
    assert [each.message_id for each in taken.rows] == [f"m-{number}" for number in range(10) if number != 3]
    assert [(each.index, each.message_id, each.reason) for each in taken.rejected] == [(3, "m-3", "missing_field")]
    letter = taken.letters[0]
    assert (letter.type, letter.message_id, letter.visitor) == ("track", "m-3", "v-1")
    assert json.loads(letter.payload)["messageId"] == "m-3"


def test_a_batch_has_a_largest_number_of_events():
    small = {"type": "track", "event": "x"}
    envelope = read_envelope(as_json({"batch": [small] * (MOST_EVENTS + 7)}))
    taken = intake().batch(envelope, sender())
    assert len(taken.rows) == MOST_EVENTS
    assert (taken.beyond, taken.rejected[-1].index, taken.rejected[-1].reason) == (7, MOST_EVENTS, "too_many")


def test_an_event_that_was_seen_is_no_second_one():
    rules = intake()
    assert len(take(track(1), rules=rules).rows) == 1
    again = take(track(1), rules=rules)
    assert (again.rows, again.duplicates, again.rejected) == ([], 1, [])
    assert len(rules.take([as_json(track(2))] * 3, sender()).rows) == 1


def test_what_could_not_be_kept_is_new_when_it_comes_again():
    rules = intake()
    rules.forget(take(track(1), rules=rules))
    assert len(take(track(1), rules=rules).rows) == 1


def test_an_event_without_an_id_gets_one():
    assert row(track(messageId=None)).message_id == "new-0"
    assert row(track(messageId="")).message_id == "new-0"


def test_a_long_message_id_still_tells_repetitions():
    long = row(track(messageId="x" * 500)).message_id
    assert len(long) == 32
    assert long == row(track(messageId="x" * 500)).message_id != row(track(messageId="x" * 499)).message_id


def test_undeclared_events_are_taken_or_refused_as_the_campaign_says():
    event = track(event="Something Else", properties={"any": "thing"})
    assert row(event).event == "Something Else"
    assert refusal(event, rules=intake(undeclared="Reject"))[0] == "undeclared_event"
    assert row({**event, "type": "page", "name": "Home"}, rules=intake(undeclared="Reject")).event == "Home"


def test_properties_may_have_any_name():
    names = ["from", "a b", "", "数量", "field_0", "__class__", "`"]
    declared = DeclaredEvent(
        name="Odd", properties=tuple(Property(name=n, type="integer", required=True) for n in names)
    )
    rules = intake(events=(declared,))
    assert row(track(event="Odd", properties=dict.fromkeys(names, 1)), rules=rules).event == "Odd"
    reason, detail = refusal(track(event="Odd", properties=dict.fromkeys(names[:-1], 1)), rules=rules)
    assert (reason, detail.startswith("properties.`")) == ("missing_property", True)


@pytest.mark.parametrize(
    ("given_", "revenue", "currency", "unknown"),
    [
        ({"revenue": 2, "currency": "USD"}, 14.0, "USD", False),
        ({"revenue": 2, "currency": "usd "}, 14.0, "USD", False),
        ({"revenue": 2, "currency": "EUR"}, 0.0, "EUR", True),
        ({"revenue": 2}, 2.0, "CNY", False),
        ({"revenue": "2.5"}, 2.5, "CNY", False),
        ({"revenue": "a lot"}, 0.0, "CNY", True),
        ({"revenue": True}, 0.0, "CNY", True),
        ({"revenue": 1e300}, 0.0, "CNY", True),
        ({"revenue": -3}, -3.0, "CNY", False),
        ({}, 0.0, "CNY", False),
    ],
)
def test_revenue_is_counted_in_the_currency_of_the_campaign(given_, revenue, currency, unknown):
    found = row(track(properties=given_), rules=intake(events=()))
    assert (found.revenue, found.currency, found.revenue_unknown) == (revenue, currency, unknown)


def test_identity_is_the_cookie_before_the_client():
    assert row(track(1)).visitor == "v-1"
    assert row(track(1), visitor="").visitor == "a-1"
    assert row(track(anonymousId=None, userId=42), visitor="").user_id == "42"
    assert refusal(track(anonymousId=None), visitor="")[0] == "no_identity"


def test_the_edge_names_the_channel_and_else_the_event_does():
    page = {"url": "https://shop.example/?utm_medium=cpc"}
    assert row(track(context={"page": page}), channel="weibo").channel == "weibo"
    assert row(track(context={"page": page}), channel="made up").channel == "other"
    assert row(track(context={"page": page}), channel="direct").channel == "paid-search"
    campaign = {"name": "June", "source": "WeiBo", "medium": "social"}
    found = row(track(context={"campaign": campaign}))
    assert (found.channel, found.utm_campaign, found.utm_source) == ("weibo", "june", "weibo")
    found = row(track(context={"page": {"referrer": "https://blog.example/post"}}))
    assert (found.channel, found.referrer) == ("referral", "blog.example")
    found = row(track(context={"page": {"referrer": "https://shop.example/"}}))
    assert (found.channel, found.referrer) == ("direct", "")


def test_a_page_call_says_itself_which_page():
    event = {"type": "page", "name": "Coupon", "messageId": "p", "context": {"page": {"url": "https://shop.example/"}}}
    event["properties"] = {"url": "https://shop.example/coupon?gclid=1", "title": "t"}
    found = row(event)
    assert (found.event, found.path, found.service, found.channel) == ("Coupon", "/coupon", "seckill", "paid-search")


def test_the_variant_is_the_one_of_the_visitors_bucket():
    for number in range(50):
        found = row(track(number, context={"page": {"path": "/"}}), visitor=f"v-{number}")
        assert found.service == "landing"
        assert found.variant == ("red" if bucket("s1", f"v-{number}") < 5_000 else "green")


def test_identify_and_alias_keep_what_they_tell():
    found = row({"type": "identify", "userId": "u", "traits": {"plan": "gold"}})
    assert (found.user_id, json.loads(found.properties)) == ("u", {"plan": "gold"})
    found = row({"type": "alias", "userId": "u", "previousId": "a"}, visitor="")
    assert json.loads(found.properties) == {"previousId": "a"}


@pytest.mark.parametrize(
    ("agent", "said_by", "bot"),
    [
        ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "request", True),
        ("python-requests/2.32", "request", False),
        ("python-requests/2.32", "event", True),
        (BROWSER, "event", False),
        ("Mozilla/5.0 HeadlessChrome/126.0", "event", True),
        ("Mozilla/5.0 (Linux; Android 9; CUBOT_X18) Mobile Safari/537.36", "event", False),
    ],
)
def test_programs_are_told_from_people(agent, said_by, bot):
    context = {"userAgent": agent} if said_by == "event" else {}
    assert row(track(context=context), user_agent=agent).bot is bot


def test_our_own_script_is_known():
    assert row(track(context={"library": {"name": "fw.js"}})).source == "script"
    assert row(track(context={"library": {"name": "analytics-node"}})).source == "library"


def test_the_context_of_a_batch_is_the_ground_of_each_event():
    body = {"batch": [track(1, context={"page": {"url": "https://shop.example/coupon"}}), track(2, context=None)]}
    body["context"] = {"locale": "zh", "page": {"url": "https://shop.example/"}}
    found = intake().batch(read_envelope(as_json(body)), sender()).rows
    assert [each.service for each in found] == ["seckill", "landing"]
    assert json.loads(found[0].context)["locale"] == "zh"


def agreed(said: bool | None) -> dict[str, object]:
    return {} if said is None else {"consent": {"categoryPreferences": {"Analytics": said, "Advertising": False}}}


@pytest.mark.parametrize(("edge", "event", "kept"), [
    (True, None, True), (True, True, True), (True, False, False),
    (False, None, False), (False, True, True), (False, False, False),
])  # fmt: skip
def test_where_consent_is_required_silence_is_a_no(edge, event, kept):
    visitor = "v-1" if edge else ""
    taken = take(track(context=agreed(event)), rules=intake(consent=True), consent=edge, visitor=visitor)
    assert bool(taken.rows) is kept
    if not kept:
        letter = taken.letters[0]
        assert letter.reason == "no_consent"
        assert (letter.visitor, letter.user_id, letter.payload, letter.message_id) == ("",) * 4


def test_where_it_is_not_a_no_leaves_a_count_without_a_person():
    event = track(userId="u", context={**agreed(said=False), "page": {"path": "/coupon"}, "locale": "zh"})
    found = row(event, address="hash", user_agent=BROWSER)
    assert (found.visitor, found.user_id, found.address, found.user_agent, found.variant) == ("",) * 5
    assert (found.properties, found.context, found.consent) == ("{}", "{}", False)
    assert (found.service, found.revenue, found.order_id) == ("seckill", 12.5, "o-0")
    assert refusal({"type": "identify", "userId": "u", "context": agreed(said=False)})[0] == "no_consent"


def test_nothing_of_a_person_who_did_not_agree_is_kept_of_a_bad_event():
    letter = take(b'{"userId": "me", broken', rules=intake(consent=True), consent=False, visitor="").letters[0]
    assert (letter.reason, letter.payload, letter.visitor) == ("invalid_json", "", "")


def test_nothing_of_a_person_is_kept_of_a_bad_event_that_says_no():
    for bad in (
        as_json(track(event=None, context=agreed(said=False))),
        as_json(track(context=agreed(said=False)))[:-1],
    ):
        letter = take(bad).letters[0]
        assert letter.reason in ("missing_field", "invalid_json")
        assert (letter.visitor, letter.user_id, letter.payload, letter.message_id) == ("",) * 4
    assert take(track(event=None, context=agreed(said=True))).letters[0].visitor == "v-1"


def test_a_wrong_clock_is_set_right_by_the_batch():
    ahead = "2026-11-24T17:00:00Z"
    body = {"batch": [track(timestamp="2026-11-24T16:59:55Z")], "sentAt": ahead}
    envelope = read_envelope(as_json(body))
    found = intake().batch(envelope, sender(sent_at=NOW + DAY)).rows[0]
    assert (found.time, found.original_time, found.clamped) == (NOW - 5_000, NOW + DAY - 5_000, False)


def test_a_date_in_another_form_is_no_obstacle():
    assert row(track(timestamp="2026-11-23")).time == NOW - 17 * 3_600_000
    found = row(track(timestamp="2015-2-02T00:30:08.276Z"))
    assert (found.time, found.clamped) == (NOW, True)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = ("type", "event", "name", "messageId", "userId", "anonymousId", "previousId", "groupId", "timestamp", "sentAt")
FIELDS += ("context", "properties", "traits", "writeKey", "other")
CONTEXT = ("page", "campaign", "library", "consent", "userAgent", "referrer", "ip")
likely = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(FIELDS, json_values),
        "type": st.sampled_from(["track", "page", "identify", "alias", "group", "screen", "x"]) | json_values,
        "context": st.fixed_dictionaries({}, optional=dict.fromkeys(CONTEXT, json_values)) | json_values,
        "event": st.sampled_from(["Order Completed", "Other"]) | json_values,
        "properties": st.fixed_dictionaries({}, optional={"order_id": json_values, "revenue": json_values})
        | json_values,
    },
)
ANY = intake()
ASKING = intake(consent=True)
_rows, _letters = msgspec.json.Decoder(EventRow), msgspec.json.Decoder(DeadLetter)


@given(likely | json_values, st.booleans(), st.booleans())
def test_whatever_comes_becomes_a_row_or_a_letter(value, asks, consent):
    """Total: no event raises anything but a refusal, and what is kept can be read again."""
    rules = ASKING if asks else ANY
    text = json.dumps(value).encode()
    taken = rules.take([text], sender(visitor="", consent=consent))
    assert len(taken.rows) + len(taken.letters) + taken.duplicates == 1
    for each in taken.rows:
        again = _rows.decode(msgspec.json.encode(each))
        assert again == each
        assert isinstance(json.loads(each.properties), dict)
        assert isinstance(json.loads(each.context), dict)
        assert NOW - 7 * DAY <= each.time <= NOW
        assert "?" not in each.url
    for letter in taken.letters:
        assert letter.reason in REASONS
        assert letter.detail
        _letters.decode(msgspec.json.encode(letter))
        if not consent:
            assert not letter.payload


@given(st.binary(max_size=300))
def test_any_bytes_are_an_answer(data):
    taken = ANY.take([data], sender())
    assert len(taken.rows) + len(taken.letters) + taken.duplicates == 1
    with contextlib.suppress(Refused):
        read_envelope(data)


def test_the_write_key_is_part_of_an_event():
    assert row(track(writeKey=KEY)).message_id == "m-0"
