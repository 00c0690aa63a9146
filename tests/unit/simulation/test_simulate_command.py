"""`flywheel simulate` as a person calls it."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from tests.answering import answering
from tests.patience import PATIENCE
from tests.unit.simulation.test_simulate_behaviour import SMALLEST

from flywheel.commands.simulate import simulate


@pytest.fixture
def site() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = b"<p>hello</p>"
            self.send_response(200)
            for name, value in (("content-type", "text/html"), ("content-length", str(len(body)))):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with answering(Handler) as address:
        yield address


def command(folder: Path, *arguments: str) -> list[str]:
    file = folder / "behaviour.yaml"
    file.write_text(yaml.safe_dump(SMALLEST), "utf-8")
    return [str(file), *arguments]


def test_a_run_writes_its_report(site: str, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    options = ("--url", site, "--duration", "1s", "--rate", "20", "--speed", "100", "-o", str(report))
    run = CliRunner().invoke(simulate, command(tmp_path, *options))
    assert run.exit_code == 0, run.output
    assert "direct" in run.stdout
    told = json.loads(report.read_text("utf-8"))
    assert told["page_views"] == told["requests"] == told["visits"]["finished"] > 0


def test_an_interrupt_ends_it_with_a_report(site: str, tmp_path: Path) -> None:
    options = ("--url", site, "--duration", "600s", "--rate", "50", "-o", "-")
    called = [sys.executable, "-c", "from flywheel.cli import main; main()", "simulate", *command(tmp_path, *options)]
    with subprocess.Popen(called, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stderr
        # The first line comes when the crowd has been under way for a while.
        assert b"came" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=PATIENCE)
    assert json.loads(out)["visits"]["started"] > 0
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--url", "ftp://shop"), "http://host:port"),
        (("--url", "http://shop/path"), "http://host:port"),
        (("--url", "http://127.0.0.1:9", "--duration", "soon"), "soon"),
    ],
)
def test_what_cannot_be_done_is_told(arguments: tuple[str, ...], words: str, tmp_path: Path) -> None:
    run = CliRunner().invoke(simulate, command(tmp_path, *arguments))
    assert run.exit_code == 2
    assert words in run.output


def test_a_wrong_file_is_told_with_paths(tmp_path: Path) -> None:
    arguments = command(tmp_path, "--url", "http://127.0.0.1:9")
    (tmp_path / "behaviour.yaml").write_text("sede: 1", "utf-8")
    run = CliRunner().invoke(simulate, arguments)
    assert run.exit_code == 1
    assert "sede: unknown field, did you mean seed?" in run.output
