"""`python -m tests.unit.store.clickhouse_front DIRECTORY PORT`: ClickHouse's HTTP interface in front of chDB.

The same engine as in a ClickHouse server, so that the real client and our SQL run against the real thing, but for
clusters. What the server does with addresses, sessions and errors is done here as its documentation says.
"""

import gzip
import json
import re
import sys
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qsl, urlsplit

from chdb.session import Session
from tests.answering import ManyAtOnce

ADDRESS = ""
NO_SETTINGS = {"query", "database", "query_id", "default_format", "session_id", "wait_end_of_query", "compress"}
NO_SETTINGS |= {"client_protocol_version", "user", "password", "buffer_size", "role", "send_progress_in_http_headers"}
NO_SETTINGS |= {
    "http_headers_progress_interval_ms",
    "enable_http_compression",
    "cancel_http_readonly_queries_on_client_close",
}
FORMAT = re.compile(r"\bFORMAT\s+(\w+)\s*$", re.IGNORECASE)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.answer({}, b"")

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length")
        body = self.rfile.read(int(length)) if length is not None else self.read_chunks()
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.answer({}, body)

    def read_chunks(self) -> bytes:
        pieces = []
        while size := int(self.rfile.readline().strip() or b"0", 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def answer(self, _: dict, body: bytes) -> None:
        asked = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
        session = Session(ADDRESS)
        try:
            output, content = run(session, asked, body)
            self.say(200, content, {"X-ClickHouse-Format": output})
        except RuntimeError as error:
            text = str(error)
            codes = re.findall(r"Code: (\d+)", text)
            self.say(500, text.encode(), {"X-ClickHouse-Exception-Code": codes[-1] if codes else "0"})
        finally:
            session.close()

    def say(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        summary = {"read_rows": "0", "written_rows": "0", "result_rows": "0", "elapsed_ns": "1"}
        for name, value in {**headers, "X-ClickHouse-Summary": json.dumps(summary)}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def run(session: Session, asked: dict[str, str], body: bytes) -> tuple[str, bytes]:
    if database := asked.get("database"):
        session.query(f"USE `{database}`")
    for name, value in asked.items():
        if name not in NO_SETTINGS and not name.startswith(("param_", "readonly")):
            session.query(f"SET {name} = '{value}'")
    if "readonly" in asked:
        # 2 lets settings through that have been set above already.
        session.query("SET readonly = 1")
    parameters = {name[6:]: value for name, value in asked.items() if name.startswith("param_")}
    statement = asked.get("query", "")
    if statement.lstrip().upper().startswith("INSERT") and body:
        inserted = re.fullmatch(r"\s*(INSERT INTO .*?)\s+FORMAT\s+(\w+)\s*", statement, re.DOTALL | re.IGNORECASE)
        assert inserted, statement
        with session.send_insert(inserted[1], inserted[2]) as insert:
            insert.append(body)
            insert.finish()
        return "", b""
    sql = "\n".join(part for part in (statement, body.decode()) if part)
    found = FORMAT.search(sql)
    output = found[1] if found else asked.get("default_format", "TabSeparated")
    given = session.query(FORMAT.sub("", sql) if found else sql, output, params=parameters or None)
    return output, bytes(given.bytes())


if __name__ == "__main__":
    ADDRESS = sys.argv[1]
    keep = Session(ADDRESS)
    ManyAtOnce(("127.0.0.1", int(sys.argv[2])), Handler).serve_forever()
