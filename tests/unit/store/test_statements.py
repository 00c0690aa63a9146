"""The parts of the store that are pure: which statements may be asked, and how rows are addressed."""

import contextlib
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.store.material import delivery, event, lines

from flywheel.events import commit, schema
from flywheel.events.chdb_engine import ChdbEngine
from flywheel.events.commit import Delivery
from flywheel.events.engine import Limits
from flywheel.events.rows import TABLES
from flywheel.events.sift import dead_letters, sift
from flywheel.events.statement_guard import HARMLESS_TABLE_FUNCTIONS, TABLE_FUNCTIONS, Refused, check

ALLOWED = (
    "SELECT 1",
    "select event, count() from events group by event;",
    "WITH 1 AS x SELECT x -- ; DROP TABLE events",
    "SELECT ';' AS semicolon, 'file(' AS text /* remote( */",
    "SHOW TABLES",
    "DESCRIBE TABLE events",
    "EXPLAIN SELECT 1",
    "SELECT formatDateTime(at, '%F') FROM events",
    "SELECT format('{}', event) FROM events",
    "(SELECT 1) UNION ALL (SELECT 2)",
    "SELECT `event` FROM events WHERE url = 'it''s; here'",
    "SELECT 1 ; ;  -- the end",
    "SELECT 1 AS `订单`, '‘’“” $x$ \u200b' AS \"é\" -- 数",
    "SELECT url, domain(url) FROM events",
    "SELECT number FROM numbers(3)",
    "SELECT JSONExtractString(properties, 'file') FROM events",
)
REFUSED = (
    "",
    "  -- nothing",
    "DROP TABLE events",
    "INSERT INTO events SELECT * FROM events",
    "ALTER TABLE events DELETE WHERE 1",
    "SYSTEM SHUTDOWN",
    "KILL QUERY WHERE 1",
    "SET readonly = 0",
    "SELECT 1; DROP TABLE events",
    "SELECT file('/var/run/secrets/token')",
    "SELECT FILE  ('/etc/passwd')",
    "SELECT `file`('/etc/passwd')",
    "SELECT \"file\"('/etc/passwd')",
    "SELECT `fi\\x6ce`('/etc/passwd')",
    "SELECT file /* here */ ('/etc/passwd')",
    "SELECT * FROM url('http://10.0.0.1/', 'RawBLOB')",
    "SELECT * FROM remote('10.0.0.1', system.one)",
    "SELECT * FROM s3('http://x/y')",
    "SELECT * FROM executable('id', 'TSV', 'a String')",
    "SELECT * FROM merge('flywheel', '.*')",
    "SELECT * FROM salts",
    "SELECT * FROM flywheel.`salts`",
    "SELECT 1 INTO OUTFILE '/tmp/x'",
    "SELECT 1 SETTINGS max_execution_time = 0",
    "SELECT 1 FORMAT CSV",
    "SELECT $$text$$",
    "SELECT 'unended",
    "SELECT /* unended",
    "x" * 200_000,
    # The engine knows other quotes, other spaces and comments within comments.
    "SELECT “file”('/etc/passwd')",
    "SELECT ‘'’, file('/etc/passwd'), ‘'’",
    "SELECT 1 /* /* */ ' */ , file('/etc/passwd') -- '",
    "SELECT fi\u200ble('/etc/passwd')",
    "SELECT file\u200b('/etc/passwd')",
    "SELECT file\u00a0('/etc/passwd')",
    "SELECT 1\0, file('/etc/passwd')",
    "SELECT $a$'$a$, file('/etc/passwd'), $a$'$a$",
    "SELECT * APPLY(file) FROM (SELECT '/etc/passwd')",
    "SELECT * APPLY file FROM (SELECT '/etc/passwd')",
    "SELECT arrayMap(`file`, ['/etc/passwd'])",
    "SELECT aiGenerate('x')",
    "SELECT dictGet('passwords', 'p', 1)",
    "SELECT * FROM mergeTreeCodecBlockCounts('flywheel', 'salts')",
    "SELECT query FROM system.processes",
    "SELECT query FROM `system` . processes",
    "SELECT path FROM INFORMATION_SCHEMA.tables",
)


@pytest.mark.parametrize("sql", ALLOWED)
def test_a_look_is_allowed(sql: str) -> None:
    assert check(sql)


@pytest.mark.parametrize("sql", REFUSED, ids=range(len(REFUSED)))
def test_anything_else_is_refused_with_a_reason(sql: str) -> None:
    with pytest.raises(Refused) as refused:
        check(sql)
    assert len(str(refused.value)) > 20


@given(st.text(max_size=200))
def test_the_guard_never_fails_otherwise(text: str) -> None:
    with contextlib.suppress(Refused):
        assert check("SELECT " + text)


async def test_every_table_function_of_the_engine_is_judged(tmp_path: Path) -> None:
    engine = ChdbEngine(tmp_path / "store")

    async def prepare() -> None:
        pass

    await engine.start(prepare)
    try:
        answer = await engine.query("SELECT lower(name) FROM system.table_functions", None, Limits(), "TSV")
        secret = tmp_path / "secret"
        secret.write_text("a token")
        # The tricks that the guard refuses work: if these two fail, the engine has changed and the guard may be eased.
        for sql in (f"SELECT “file”('{secret}')", f"SELECT * APPLY(file) FROM (SELECT '{secret}')"):
            assert await engine.query(sql, None, Limits(), "TSV") == b"a token\n"
            with pytest.raises(Refused):
                check(sql)
    finally:
        await engine.close()
    assert set(answer.decode().split()) - TABLE_FUNCTIONS - HARMLESS_TABLE_FUNCTIONS == set()


def test_every_field_of_a_row_has_its_column() -> None:
    for name, row in TABLES.items():
        columns = [column.name for column in schema.BY_NAME[name].row_columns]
        assert columns == list(row.__struct_fields__), name


def test_every_column_says_what_it_means() -> None:
    for table in schema.TABLES:
        assert table.comment
        assert all(len(column.comment) > 3 for column in table.columns)
    page = schema.documentation()
    assert "| `message_id` |" in page
    assert "salt" not in page.lower().replace("salted", "")


def test_a_row_is_addressed_once_however_many_objects_its_line_holds() -> None:
    body = lines([event(1), event(2)])[:-1] + b',{"part":7,"message_id":"evil"}\n'
    written = commit.addressed(Delivery("618", body, 2), 12345)
    assert written.count(b'{"part":12345,"campaign":"618",') == 2
    first, _ = written.splitlines()
    assert json.loads(first)["message_id"] == "m1"


@given(st.lists(st.binary(max_size=30), max_size=5))
def test_what_is_orderly_has_an_object_at_the_beginning_of_each_line(parts: list[bytes]) -> None:
    body = b"\n".join(parts) + b"\n"
    if commit.is_orderly(body):
        assert all(line.startswith(b"{") for line in body[:-1].split(b"\n"))


def test_sifting_keeps_good_rows_and_says_why_others_are_bad() -> None:
    mixed = lines([event(1)]) + b"{}\nnonsense\n" + lines([event(2)]) + b'{"message_id":5}\n\xff\n'
    good, bad = sift("events", delivery("618", mixed))
    assert good.rows == lines([event(1), event(2)])
    assert [row.line for row in bad] == [b"{}", b"nonsense", b'{"message_id":5}', b"\xff"]
    letters = [json.loads(line) for line in dead_letters(bad, 1000, 60).splitlines()]
    assert all(re.match("The store could not read the row: .{10}", letter["detail"]) for letter in letters)
    assert letters[0]["expires_at"] == 61
