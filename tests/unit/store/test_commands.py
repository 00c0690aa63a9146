"""The commands that people use, against a worker as `flywheel analytics` starts it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
import duckdb
import httpx
import pytest
from click.testing import CliRunner
from tests.patience import PATIENCE
from tests.ports import free_ports
from tests.unit.store.material import ROOT

from flywheel.cli import main
from flywheel.commands import forward, query_prompt
from flywheel.commands.query_prompt import Prompt

TABLES = [
    {"name": "events", "comment": "What visitors did", "columns": [{"name": "at", "type": "D", "comment": "when"}]}
]


@pytest.fixture(scope="module")
def admin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The real command, without a cluster: its settings come from a file."""
    directory = tmp_path_factory.mktemp("analytics")
    (directory / "campaigns.json").write_text(json.dumps({"618": {"currency": "CNY", "retention": 86400}}))
    ingest, port, metrics = free_ports(3)
    command = [sys.executable, "-c", "from flywheel.cli import main; main()", "analytics", "--namespace=spring"]
    command += [f"--data-directory={directory / 'volume'}", f"--settings-file={directory / 'campaigns.json'}"]
    command += [f"--ingest-port={ingest}", f"--admin-port={port}", f"--metrics-port={metrics}", "--log-format=console"]
    environment = {name: value for name, value in os.environ.items() if name != "KUBERNETES_SERVICE_HOST"}
    environment |= {"PYTHONPATH": f"{ROOT / 'operator'}", "KUBECONFIG": str(directory / "none"), "HOME": str(directory)}
    with (directory / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        _wait(f"http://127.0.0.1:{ingest}/readyz", process, directory / "log")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        assert process.wait(PATIENCE) == 0, (directory / "log").read_text()


def _wait(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            if httpx.get(url, trust_env=False).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.05)
    raise AssertionError(log.read_text())


def run(*arguments: str, text: str | None = None):
    return CliRunner().invoke(main, list(arguments), input=text)


def test_a_query_is_answered_in_each_format(admin: str) -> None:
    sql = "SELECT 618 AS campaign, '优惠' AS words"
    assert "│" in run("query", "--url", admin, sql).output
    assert json.loads(run("query", "--url", admin, "--format", "json", sql).output) == {
        "campaign": 618,
        "words": "优惠",
    }
    assert run("query", "--url", admin, "--format", "csv", text=sql).output == '"campaign","words"\n618,"优惠"\n'


def test_a_wrong_query_ends_with_a_reason(admin: str) -> None:
    ended = run("query", "--url", admin, "DROP TABLE events")
    assert (ended.exit_code, "may not be asked" in ended.output) == (1, True)
    ended = run("query", "--url", admin, "SELECT wrong FROM events")
    assert (ended.exit_code, "wrong" in ended.output) == (1, True)


def test_an_erasure_gives_a_receipt_and_ends(admin: str) -> None:
    ended = run("erase", "--url", admin, "--campaign", "618", "--visitor", "v1")
    assert ended.exit_code == 0, ended.output
    assert "Receipt " in ended.output
    assert "Every row is gone." in ended.output
    assert run("erase", "--url", admin, "--campaign", "618").exit_code == 2


def test_an_erasure_in_a_campaign_without_rows_asks_for_its_name(admin: str) -> None:
    ended = run("erase", "--url", admin, "--campaign", "o'618", "--visitor", "v1")
    assert (ended.exit_code, "no rows of a campaign" in ended.output) == (0, True)


def test_a_table_is_exported(admin: str, tmp_path: Path) -> None:
    path = tmp_path / "events.parquet"
    ended = run("export", "--url", admin, "--table", "events", "--since", "7d", "--output", str(path))
    assert ended.exit_code == 0, ended.output
    columns = [row[0] for row in duckdb.sql(f"DESCRIBE SELECT * FROM '{path}'").fetchall()]
    assert columns[:4] == ["campaign", "message_id", "type", "event"]
    assert list(tmp_path.iterdir()) == [path]


def test_the_key_figures_are_at_hand(admin: str) -> None:
    figures = httpx.post(f"{admin}/kpis", json={"campaign": "618", "window": "1h"}, trust_env=False, timeout=PATIENCE)
    assert figures.status_code == 200, figures.text
    assert "618" in figures.text
    unknown = httpx.post(f"{admin}/kpis", json={"campaign": "nobody"}, trust_env=False)
    assert (unknown.status_code, "618" in unknown.json()["message"]) == (404, True)


def test_nobody_there_is_said_so() -> None:
    [port] = free_ports(1)
    ended = run("query", "--url", f"http://127.0.0.1:{port}", "SELECT 1")
    assert (ended.exit_code, "does not answer" in ended.output) == (1, True)


def test_a_missing_worker_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "kubectl").write_text("#!/bin/sh\necho 'Error: pods \"flywheel-analytics-0\" not found' >&2; exit 1\n")
    (tmp_path / "kubectl").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(click.ClickException, match="not found"), forward.worker_address("spring", None):
        pass
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(click.ClickException, match="kubectl is not installed"), forward.worker_address("spring", None):
        pass


def test_the_forwarding_ends_with_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = '#!/bin/sh\necho "$@" > "$0.arguments"\necho "Forwarding from 127.0.0.1:4711 -> 9103"\nexec sleep 60\n'
    (tmp_path / "kubectl").write_text(script)
    (tmp_path / "kubectl").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with forward._forwarding("spring") as process:
        assert forward._port(process, "spring") == 4711
    assert process.poll() is not None
    said = (tmp_path / "kubectl.arguments").read_text().split()
    assert said == ["port-forward", "--address=127.0.0.1", "--namespace=spring", "pod/flywheel-analytics-0", ":9103"]


def test_the_prompt_takes_several_lines_and_words_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    typed = iter(
        ["help", "tables;", "describe events", "SELECT 1,", "  2;", "", "format csv", "SELECT 3;", "bad;", "quit"]
    )
    asked = []

    def ask(statement: str, form: str) -> str:
        asked.append((statement, form))
        if statement == "bad;":
            raise click.ClickException("That is wrong.")
        return "the answer\n"

    Prompt(ask, TABLES, "table").run(lambda _prompt: next(typed))
    shown = capsys.readouterr()
    assert asked == [("SELECT 1,\n  2;", "table"), ("SELECT 3;", "csv"), ("bad;", "csv")]
    assert shown.out.count("the answer") == 2
    assert "when" in shown.out
    assert "That is wrong." in shown.err
    assert query_prompt.history_file() == tmp_path / "flywheel" / "query_history"
