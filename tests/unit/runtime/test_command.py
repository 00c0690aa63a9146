"""The command line: its options, its mistakes, and what it does not load."""

import subprocess
import sys

from click.testing import CliRunner

from flywheel.cli import main


def test_the_version() -> None:
    result = CliRunner().invoke(main, ["version"])
    assert result.exit_code == 0
    assert result.output.strip()[0].isdigit()


def test_what_to_serve_must_be_said_once() -> None:
    for arguments in ([], ["-A", "-n", "shop"]):
        result = CliRunner().invoke(main, ["operator", *arguments])
        assert result.exit_code == 2
        assert "either --all-namespaces, or --namespace" in result.output


def test_a_bad_duration_is_refused_with_its_option() -> None:
    result = CliRunner().invoke(main, ["operator", "-A", "--resync", "ten minutes"])
    assert result.exit_code == 2
    assert "--resync" in result.output


def test_a_lease_too_short_to_hold_is_refused() -> None:
    result = CliRunner().invoke(main, ["operator", "-A", "--lease-duration", "2s"])
    assert result.exit_code == 2
    assert "--lease-duration" in result.output


def test_how_many_workers_judge_fraud_is_refused_with_its_option() -> None:
    wrong = {
        ("--fraud-workers", "0"): "0 is not in the range 1<=x<=16",
        ("--fraud-workers", "17"): "17 is not in the range 1<=x<=16",
        ("--fraud-workers-in", "shop"): "'shop' names no namespace",
        ("--fraud-workers-in", "shop=99"): "1 to 16 workers",
        ("--fraud-workers-in", "mall=2"): "mall is not served",
    }
    for arguments, words in wrong.items():
        result = CliRunner().invoke(main, ["operator", "-n", "shop", *arguments])
        assert result.exit_code == 2
        assert arguments[0] in result.output
        assert words in " ".join(result.output.split())
    result = CliRunner().invoke(main, ["operator", "-n", "shop"], env={"FLYWHEEL_FRAUD_WORKERS_IN": "shop=2 shop=3"})
    assert "both 2 and 3 workers" in " ".join(result.output.split())


def test_the_environment_gives_options() -> None:
    result = CliRunner().invoke(main, ["operator", "-A"], env={"FLYWHEEL_WORKERS": "0"})
    assert result.exit_code == 2
    assert "--workers" in result.output


def test_the_command_alone_loads_neither_kopf_nor_the_client() -> None:
    code = (
        "import sys, flywheel.cli; print([name for name in ('kopf', 'kubernetes', 'pydantic') if name in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
