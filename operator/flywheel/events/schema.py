"""The tables of the store, in the SQL that chDB and ClickHouse share. Their comments are the documentation.

Names and order follow `flywheel.events.rows`; `campaign` is added by the worker from the sender's token. Moments are
milliseconds since 1970 in UTC; the aliases `at` and `taken_in_at` give them as dates for people.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import pairwise

VERSION = 3
"""Of the tables below. A worker refuses a store that a newer one has changed."""
OLDEST = 2
"""Version whose tables are still brought up to date."""
SEEN_FOR = 8 * 86400
"""Seconds for which a row that comes again is known for a duplicate: the sidecars believe no moment that lies more
than seven days back and spool for less than that."""
TEXT = "String"
WORD = "LowCardinality(String)"
MOMENT = "Int64"
FLAG = "Bool"
DELIVERED = ("events", "requests", "dead_letters")
"""The tables whose rows sidecars bring."""
DERIVED = ("exposures", "first_visitors")
"""The tables whose rows follow from those; see `flywheel.events.derived`."""
DELETABLE = (*DELIVERED, *DERIVED)
"""The tables with what visitors did. What is derived comes last: it must not be made anew from rows that still go."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column, and what it means."""

    name: str
    type: str
    comment: str
    clause: str = ""
    """What follows the type: CODEC, DEFAULT, MATERIALIZED or ALIAS."""

    @property
    def stored(self) -> bool:
        """Whether rows bring it, rather than it being reckoned from others."""
        return not self.clause.startswith(("ALIAS", "MATERIALIZED"))


@dataclass(frozen=True, slots=True)
class Table:
    """One table."""

    name: str
    comment: str
    columns: tuple[Column, ...]
    tail: str
    """Engine, order, partitions and time to live."""
    indexes: tuple[str, ...] = ()

    @property
    def stored_columns(self) -> tuple[Column, ...]:
        """The columns that are not reckoned from others."""
        return tuple(column for column in self.columns if column.stored)

    @property
    def row_columns(self) -> tuple[Column, ...]:
        """The columns that a sidecar's row brings."""
        return tuple(column for column in self.stored_columns if column.name not in ("campaign", "commit"))


_CAMPAIGN = Column("campaign", WORD, "Name of the Campaign, from the sender's token")
_COMMIT = Column("commit", "UInt64", "Number of the commit that stored the row; it only grows", "CODEC(Delta, ZSTD)")
_EXPIRES = Column("expires_at", "DateTime('UTC')", "When the row is deleted")
_TIME = "CODEC(Delta, ZSTD)"
# Read in full by every key figure: worth the space.
_QUICK_TIME = "CODEC(Delta, LZ4)"
_VISITOR_KEY = Column(
    "visitor_key",
    "UInt64",
    "Hash of `visitor`, quicker to count by; 0 without one. Not part of `SELECT *`",
    "MATERIALIZED if(visitor = '', 0, cityHash64(visitor))",
)
_AT = Column("at", "DateTime64(3, 'UTC')", "`time` as a date", "ALIAS fromUnixTimestamp64Milli(time, 'UTC')")
_DAILY = "PARTITION BY toYYYYMMDD(fromUnixTimestamp64Milli(time, 'UTC'))"
_LIFE = "TTL expires_at DELETE SETTINGS merge_with_ttl_timeout = 3600"
_COMMIT_INDEX = "INDEX by_commit commit TYPE minmax GRANULARITY 1"
_VISITOR_INDEX = "INDEX by_visitor visitor TYPE bloom_filter(0.01) GRANULARITY 4"
_EXPIRY_INDEX = "INDEX by_expiry expires_at TYPE minmax GRANULARITY 1"

EVENTS = Table(
    "events",
    "What visitors did, one row for each event of Segment's HTTP API; the first of those with equal message_id",
    (
        _CAMPAIGN,
        Column("message_id", TEXT, "The client's id of the event, unique within the campaign"),
        Column("type", WORD, "track, page, screen, identify, group or alias"),
        Column("event", WORD, "Name of a track, page or screen"),
        Column(
            "time", MOMENT, "When it happened, by the edge's clock: corrected for the client's and clamped", _QUICK_TIME
        ),
        Column("original_time", MOMENT, "When it happened as the client says", _TIME),
        Column("ingest_time", MOMENT, "When the edge took it in", _TIME),
        Column("visitor", TEXT, "The cookie fw_vid, else the client's anonymousId; empty without consent"),
        Column("user_id", TEXT, "The campaign's own id of the person, once identified"),
        Column("channel", WORD, "Where the visitor came from, by the campaign's rules"),
        Column("utm_source", WORD, "UTM parameter of the visit"),
        Column("utm_medium", WORD, "UTM parameter of the visit"),
        Column("utm_campaign", WORD, "UTM parameter of the visit"),
        Column("utm_content", WORD, "UTM parameter of the visit"),
        Column("utm_term", WORD, "UTM parameter of the visit"),
        Column("referrer", WORD, "Host name of the referring page"),
        Column("url", TEXT, "Address of the page without its query"),
        Column("path", TEXT, "Path of the page"),
        Column("service", WORD, "Service of the campaign that served the page"),
        Column("variant", WORD, "Variant of an A/B test that the visitor saw"),
        Column("region", WORD, "Value of the campaign's region header"),
        Column("bot", FLAG, "The client says that it is a program, or behaves so"),
        Column("consent", FLAG, "The visitor had consented to being recognised"),
        Column("clamped", FLAG, "The client's time was not believed"),
        Column("address", TEXT, "Client address: a salted hash, the address or nothing, as the campaign wants it"),
        Column("user_agent", TEXT, "The client's User-Agent"),
        Column("order_id", TEXT, "Identity of the order, where the event is one"),
        Column("revenue", "Float64", "Value of the order in the campaign's reporting currency"),
        Column("currency", WORD, "Currency as the client gave it"),
        Column("revenue_unknown", FLAG, "No rate is declared for the currency, so revenue is 0"),
        Column("properties", TEXT, "The event's properties, JSON text: JSONExtractString(properties, 'sku')"),
        Column("context", TEXT, "Context of the client without address and user agent, JSON text"),
        Column("source", WORD, "Who reported it: edge, script or library"),
        _EXPIRES,
        _COMMIT,
        _VISITOR_KEY,
        _AT,
        Column(
            "taken_in_at",
            "DateTime64(3, 'UTC')",
            "`ingest_time` as a date",
            "ALIAS fromUnixTimestamp64Milli(ingest_time, 'UTC')",
        ),
    ),
    # An event is found without reading others, a moment within a quarter of an hour; within that, the records of one
    # visitor stand together, which makes them quick to count and small to store.
    f"ENGINE = MergeTree {_DAILY} ORDER BY (campaign, bot, event, intDiv(time, 900000), visitor_key, time) {_LIFE}",
    (_COMMIT_INDEX, _VISITOR_INDEX, _EXPIRY_INDEX, "INDEX by_user user_id TYPE bloom_filter(0.01) GRANULARITY 4"),
)

REQUESTS = Table(
    "requests",
    "HTTP requests that the edge answered, from HAProxy's access log; without health checks and the collecting API",
    (
        _CAMPAIGN,
        Column("request_id", TEXT, "HAProxy's id of the request, unique within the campaign"),
        Column("time", MOMENT, "When it was accepted", _QUICK_TIME),
        Column("ingest_time", MOMENT, "When the sidecar took it in", _TIME),
        Column("service", WORD, "Service that answered"),
        Column("slot", WORD, "Slot of the service, such as blue"),
        Column("test", WORD, "A/B test that the visitor takes part in"),
        Column("variant", WORD, "Variant of that test"),
        Column("fallback", "UInt8", "1 where the control answered in place of that variant"),
        Column("channel", WORD, "Where the visitor came from, by the campaign's rules"),
        Column("region", WORD, "Value of the campaign's region header"),
        Column("host", WORD, "Host name that was asked for"),
        Column("method", WORD, "HTTP method"),
        Column("path", TEXT, "Path without the query, at most 1,024 characters"),
        Column("status", "UInt16", "HTTP status of the answer"),
        Column("duration_ms", "Float32", "From the first byte of the request to the last of the answer"),
        Column("server_ms", "Float32", "Until the service began to answer; negative where none did"),
        Column("bytes_in", "UInt64", "Size of the request"),
        Column("bytes_out", "UInt64", "Size of the answer"),
        Column("visitor", TEXT, "The cookie fw_vid; empty without consent"),
        Column("new_visitor", FLAG, "The cookie was set by this answer"),
        Column("bot", FLAG, "The client says that it is a program"),
        Column("page", FLAG, "An HTML answer to a person: a page view"),
        Column("termination", WORD, "HAProxy's termination state, such as -- or SC"),
        Column("refused", WORD, "Why the edge itself refused it; empty where a service answered"),
        Column("address", TEXT, "Client address: a salted hash, the address or nothing, as the campaign wants it"),
        Column("browser", WORD, "Family of the client's browser, such as Chrome; empty without consent"),
        Column("device", WORD, "Phone, Tablet or Desktop; empty without consent"),
        Column("pod", WORD, "Pod of the edge that answered"),
        _EXPIRES,
        _COMMIT,
        _VISITOR_KEY,
        _AT,
    ),
    f"ENGINE = MergeTree {_DAILY} ORDER BY (campaign, time) {_LIFE}",
    (_COMMIT_INDEX, _VISITOR_INDEX, _EXPIRY_INDEX),
)

DEAD_LETTERS = Table(
    "dead_letters",
    "Events that were not taken in, and why",
    (
        _CAMPAIGN,
        Column("time", MOMENT, "When it was refused", _TIME),
        Column("reason", WORD, "One word, such as missing_property"),
        Column("detail", TEXT, "For people: which field, what was found, what is wanted"),
        Column("message_id", TEXT, "The client's id of the event"),
        Column("type", WORD, "Type of the event"),
        Column("event", WORD, "Name of the event"),
        Column("visitor", TEXT, "The visitor, as far as known"),
        Column("user_id", TEXT, "The user, as far as known"),
        Column("payload", TEXT, "What came, cut at 32 KiB"),
        _EXPIRES,
        _COMMIT,
        _AT,
    ),
    f"ENGINE = MergeTree {_DAILY} ORDER BY (campaign, time) {_LIFE}",
    (_COMMIT_INDEX, _EXPIRY_INDEX),
)

EXPOSURES = Table(
    "exposures",
    "When each visitor was first served each variant of an A/B test; rows of equal campaign, test, visitor_key and "
    "variant become one by and by, of which the smallest values count",
    (
        _CAMPAIGN,
        Column("test", WORD, "A/B test"),
        Column("visitor_key", "UInt64", "Hash of the visitor, as in events and requests"),
        Column("variant", WORD, "Variant that the visitor was assigned to"),
        Column("time", "SimpleAggregateFunction(min, Int64)", "When the first such request was accepted"),
        Column(
            "first",
            "SimpleAggregateFunction(min, Tuple(time Int64, channel String, browser String, device String, pod String, "
            "fallback UInt8))",
            "What is known of that request",
        ),
        Column("expires_at", "SimpleAggregateFunction(min, DateTime('UTC'))", "When the row is deleted"),
    ),
    f"ENGINE = AggregatingMergeTree ORDER BY (campaign, test, visitor_key, variant) {_LIFE}",
    (_EXPIRY_INDEX,),
)

FIRST_VISITORS = Table(
    "first_visitors",
    "Which visitor was the first to say that they are a user; rows of equal campaign and user_key become one by and "
    "by, of which the smallest values count",
    (
        _CAMPAIGN,
        Column("user_key", "UInt64", "Hash of the user_id: cityHash64(user_id)"),
        Column("time", "SimpleAggregateFunction(min, Int64)", "When the first such event happened"),
        Column(
            "first", "SimpleAggregateFunction(min, Tuple(time Int64, visitor String))", "That moment, and its visitor"
        ),
        Column("expires_at", "SimpleAggregateFunction(min, DateTime('UTC'))", "When the row is deleted"),
    ),
    f"ENGINE = AggregatingMergeTree ORDER BY (campaign, user_key) {_LIFE}, index_granularity = 1024",
    (_EXPIRY_INDEX,),
)

SEEN = Table(
    "seen",
    "Identities of the rows that are stored: how a row that comes again is known for a duplicate",
    (
        Column("id", "UInt128", "Hash of table, campaign and the row's own id", "CODEC(NONE)"),
        Column("kind", "LowCardinality(String)", "Table in which the row is"),
        Column("commit", "UInt64", "Number of the commit that stored the row", "CODEC(Delta, ZSTD)"),
        Column("seen_at", "DateTime('UTC')", "When it was stored"),
    ),
    # Looked up by ids that are spread evenly, so each costs one granule: small ones.
    "ENGINE = MergeTree PARTITION BY toYYYYMMDD(seen_at) ORDER BY id "
    f"TTL seen_at + INTERVAL {SEEN_FOR} SECOND DELETE SETTINGS index_granularity = 512, ttl_only_drop_parts = 1, "
    "merge_with_ttl_timeout = 3600, min_compress_block_size = 8192, max_compress_block_size = 16384",
    (_COMMIT_INDEX,),
)

ERASURES = Table(
    "erasures",
    "Visitors and users whose rows were, or are being, deleted on request; rows older than that are not taken in again",
    (
        Column("id", "UInt64", "Number of the row; it only grows"),
        Column("receipt", TEXT, "Of the request; one for a user has a row for each of its visitors as well"),
        _CAMPAIGN,
        Column("visitor", TEXT, "The visitor, or nothing"),
        Column("user_id", TEXT, "The user, or nothing"),
        Column("requested_at", MOMENT, "When it was asked for; rows up to this moment go"),
        Column("finished_at", MOMENT, "When the last row was gone; 0 until then"),
        Column("version", "UInt64", "The row with the highest counts"),
    ),
    "ENGINE = ReplacingMergeTree(version) ORDER BY id",
)

SALTS = Table(
    "salts",
    "One secret of each campaign, with which its sidecars hash client addresses",
    (
        _CAMPAIGN,
        Column("salt", TEXT, "Secret; hexadecimal"),
        Column("made_at", MOMENT, "When it was made; the first one counts"),
    ),
    "ENGINE = MergeTree ORDER BY (campaign, made_at)",
)

WRITERS = Table(
    "writers",
    "Workers that have opened the store; only the last one may write",
    (
        Column("epoch", "UInt64", "Grows with each worker"),
        Column("owner", TEXT, "Name of the pod or host"),
        Column("opened_at", MOMENT, "When"),
    ),
    "ENGINE = MergeTree ORDER BY epoch",
)

TABLES = (EVENTS, REQUESTS, DEAD_LETTERS, EXPOSURES, FIRST_VISITORS, SEEN, ERASURES, SALTS, WRITERS)
BY_NAME = {table.name: table for table in TABLES}
DOCUMENTED = (EVENTS, REQUESTS, DEAD_LETTERS, EXPOSURES, FIRST_VISITORS, ERASURES)
"""The tables that people query."""
IDENTITY = {
    "events": "message_id",
    "requests": "request_id",
    # A dead letter has no id of its own: it is the same where all of it is.
    "dead_letters": "time, reason, detail, message_id, type, event, visitor, user_id, payload",
}
REQUIRED = {
    "events": "message_id != '' AND type != '' AND isFinite(revenue)",
    "requests": "request_id != '' AND isFinite(duration_ms) AND isFinite(server_ms)",
    "dead_letters": "reason != ''",
}
"""What a row must have beyond what the types ask for."""


CREATE_VERSION = (
    "CREATE TABLE IF NOT EXISTS schema_version (version UInt32 COMMENT 'Version of the tables', "
    "applied_at DateTime('UTC') COMMENT 'When') ENGINE = MergeTree ORDER BY version"
)


def create_statements(*, fsync: bool) -> Iterator[str]:
    """Give the statements that make the tables that are not there yet.

    Args:
        fsync: Have each insert wait until the disk has it, so that an acknowledged row survives a power cut as well.
    """
    for table in TABLES:
        yield _create(table, fsync=fsync)
    for name in DELIVERED:
        yield from _transient(BY_NAME[name])


def add_statements(there: Collection[tuple[str, str]]) -> Iterator[str]:
    """Give the statements that add columns which the tables of an older version lack.

    Args:
        there: Table and name of each column that is there.
    """
    for table in TABLES:
        for before, column in pairwise(table.columns):
            if (table.name, column.name) not in there:
                yield f"ALTER TABLE {table.name} ADD COLUMN IF NOT EXISTS {_definition(column)} AFTER {before.name}"


def _definition(column: Column) -> str:
    if column.clause.startswith(("ALIAS", "DEFAULT", "MATERIALIZED")):
        return f"{column.name} {column.type} {column.clause} COMMENT {quote(column.comment)}"
    return f"{column.name} {column.type} COMMENT {quote(column.comment)} {column.clause}"


def _create(table: Table, *, fsync: bool) -> str:
    lines = [_definition(column) for column in table.columns]
    settings = "fsync_after_insert = 1, fsync_part_directory = 1" if fsync else ""
    tail = table.tail
    if settings:
        tail += f", {settings}" if " SETTINGS " in tail else f" SETTINGS {settings}"
    body = ", ".join([*lines, *table.indexes])
    return f"CREATE TABLE IF NOT EXISTS {table.name} ({body}) {tail} COMMENT {quote(table.comment)}"


def _transient(table: Table) -> Iterator[str]:
    """Make the tables in memory through which a commit passes; anew, as their columns may have changed."""
    rows = ", ".join(f"{column.name} {_arriving(column)}" for column in table.row_columns)
    identity = f"reinterpretAsUInt128(sipHash128({quote(table.name)}, campaign, {IDENTITY[table.name]}))"
    yield f"DROP TABLE IF EXISTS arriving_{table.name} SYNC"
    yield (
        f"CREATE TABLE arriving_{table.name} (part UInt64, campaign String, {rows}, id UInt128 MATERIALIZED {identity})"
        " ENGINE = Memory COMMENT 'Rows of the commit that is under way'"
    )
    yield f"DROP TABLE IF EXISTS judged_{table.name} SYNC"
    yield (
        f"CREATE TABLE judged_{table.name} (part UInt64, id UInt128, verdict LowCardinality(String), "
        f"campaign String, {rows}) ENGINE = Memory COMMENT 'The same rows, and what becomes of them'"
    )


def _arriving(column: Column) -> str:
    """Give the type in which a column arrives: numbers of seconds for dates, and no dictionaries for a moment."""
    if column.type.startswith("DateTime"):
        return "Int64"
    return "String" if column.type == WORD else column.type


def quote(text: str) -> str:
    """Write a text as an SQL literal."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def documentation() -> str:
    """Write the tables for docs/events.md, in Markdown."""
    parts = []
    for table in DOCUMENTED:
        rows = "\n".join(
            f"| `{column.name}` | {column.type} | {column.comment} |"
            for column in table.columns
            if column.name != "version"
        )
        parts.append(f"### `{table.name}`\n\n{table.comment}.\n\n| column | type | meaning |\n|---|---|---|\n{rows}\n")
    return "\n".join(parts)
