"""`flywheel kpis` against the real answer of the service, over HTTP."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from click.testing import CliRunner
from tests.answering import answering

from flywheel.commands.kpis import COLUMNS, kpis
from flywheel.insight.kpi import Figures, WindowFigures


class Worker:
    """Answers POST /kpis."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.status = 200
        figures = Figures(visitors=1234, orders=5, revenue=99.5, latency_p95=0.25, requests=7)
        window = WindowFigures("1h", 0, 1_813_104_000_000, figures, "channel", {"": Figures(), "email": figures})
        self.answer: dict[str, Any] = {
            "campaigns": [{"campaign": "spring", "currency": "CNY", "windows": [window.plain()]}]
        }


@pytest.fixture
def worker() -> Iterator[tuple[Worker, str]]:
    made = Worker()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            made.asked.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            body = json.dumps(made.answer).encode()
            self.send_response(made.status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with answering(Handler) as address:
        yield made, address


def test_a_table_of_all_figures(worker: tuple[Worker, str]) -> None:
    made, url = worker
    found = CliRunner(env={"COLUMNS": "200"}).invoke(kpis, ["spring", "--url", url, "--by", "channel"])
    assert found.exit_code == 0, found.output
    assert made.asked == [{"campaign": "spring", "window": "campaign", "by": "channel"}]
    for text in ("spring", "email", "(none)", "1,234", "99.50", "revenue CNY", "250"):
        assert text in found.output
    assert len(COLUMNS) == 12


@pytest.mark.parametrize("width", ["80", None])
def test_no_figure_is_cut_off_where_there_is_little_room(worker: tuple[Worker, str], width: str | None) -> None:
    _, url = worker
    found = CliRunner(env={"COLUMNS": width}).invoke(kpis, ["spring", "--url", url, "--by", "channel"])
    assert found.exit_code == 0, found.output
    assert "…" not in found.output
    for text in ("email", "1,234", "99.50", "conversion", "250", "p99"):
        assert text in found.output


def test_json_is_the_answer_as_it_is(worker: tuple[Worker, str]) -> None:
    made, url = worker
    found = CliRunner().invoke(kpis, ["--url", url, "-o", "json"])
    assert json.loads(found.output) == made.answer
    assert made.asked == [{"campaign": "", "window": ""}]


def test_a_refusal_is_told(worker: tuple[Worker, str]) -> None:
    made, url = worker
    made.status, made.answer = 404, {"message": "There is no campaign 'sprnig' here."}
    found = CliRunner().invoke(kpis, ["sprnig", "--url", url])
    assert found.exit_code == 1
    assert "no campaign 'sprnig'" in found.output
