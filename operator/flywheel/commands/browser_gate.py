"""`flywheel browser-gate`: the steps of a browser gate, in the pod of a gate and on a person's machine."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from flywheel.release.gate.browser.runner import Visit
    from flywheel.release.gate.browser.steps import Plan

PLAN_VARIABLE = "FLYWHEEL_BROWSER_PLAN"
TERMINATION_LOG = Path("/dev/termination-log")


class CannotLookError(click.ClickException):
    """A mistake that says nothing of the site."""

    exit_code = 2


@click.command()
@click.option(
    "--steps",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="YAML with the steps: a list of them, or what a gate has under `browser`.",
)
@click.option("--address", help="With --steps: where to look, such as http://localhost:8080.")
@click.option("--preview", default="", help="With --steps and the address of an edge: the revision to look at.")
@click.option(
    "--plan",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help=f"What the operator made of a gate, as JSON; by default {PLAN_VARIABLE} of the environment.",
)
@click.option(
    "--pictures", type=click.Path(file_okay=False, path_type=Path), help="Write pictures and report.json there."
)
@click.option("--evidence", default="", help="ConfigMap that keeps pictures and report; it has to exist.")
@click.option("--namespace", envvar="FLYWHEEL_NAMESPACE", default="", help="With --evidence: its namespace.")
@click.option("--chromium", default="/usr/bin/chromium", show_default=True, help="The browser.")
@click.option(
    "--termination-log",
    type=click.Path(dir_okay=False, path_type=Path),
    default=TERMINATION_LOG,
    show_default=True,
    help="Write the result there, too, if the file exists.",
)
def browser_gate(
    steps: Path | None,
    *,
    address: str | None,
    preview: str,
    plan: Path | None,
    pictures: Path | None,
    evidence: str,
    namespace: str,
    chromium: str,
    termination_log: Path,
) -> None:
    """Take the steps of a browser gate with a real browser, and tell whether they hold.

    The last line of the output is the result as JSON. The exit code is 0 where all steps hold, 1 where one does not,
    and 2 where it was not possible to look.
    """
    import asyncio

    made = _plan(steps, address, preview, plan)
    if evidence and not namespace:
        raise click.UsageError("Say where the ConfigMap is: --namespace.")
    visited = asyncio.run(_visit(made, chromium))
    if pictures:
        _write(pictures, visited)
    if evidence:
        # First the verdict: a pod that is on its way out may not have the time for more.
        _log(visited, termination_log)
        asyncio.run(_keep(visited, evidence, namespace))
    _log(visited, termination_log)
    _tell(visited)
    sys.exit(visited.result.exit_code)


def _plan(steps: Path | None, address: str | None, preview: str, plan: Path | None) -> "Plan":
    import msgspec

    from flywheel.release.gate.browser.steps import decode

    if steps:
        return _plan_of_steps(steps, address, preview)
    text = plan.read_text("utf-8") if plan else os.environ.get(PLAN_VARIABLE, "")
    if not text:
        raise click.UsageError("Say what to do: --steps with --address, or a plan.")
    try:
        return decode(text)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise CannotLookError(f"This is no plan of a visit: {error}") from error


def _plan_of_steps(steps: Path, address: str | None, preview: str) -> "Plan":
    from flywheel.release.gate.browser.reading import InvalidStepsError, read_steps
    from flywheel.release.gate.browser.steps import PREVIEW_HEADER, plan_at

    if not address:
        raise click.UsageError("Say where to look: --address, such as http://localhost:8080.")
    try:
        gate = read_steps(steps.read_text("utf-8"))
    except (InvalidStepsError, UnicodeError) as error:
        raise CannotLookError(f"{steps} holds no steps:\n{error}") from error
    try:
        headers = {PREVIEW_HEADER: preview} if preview else {}
        return plan_at(gate, address, headers, must_know=bool(preview))
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--address") from error


async def _visit(plan: "Plan", chromium: str) -> "Visit":
    import asyncio
    import signal

    try:
        from flywheel.release.gate.browser.runner import visit
    except ModuleNotFoundError as error:
        raise CannotLookError(f"{error.name} is not installed: pip install 'flywheel[browser]'") from error
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return await visit(plan, executable=chromium, stop=stop)


async def _keep(visited: "Visit", evidence: str, namespace: str) -> None:
    import msgspec

    from flywheel.release.gate.browser.evidence import keep

    problem = await keep(namespace, evidence, visited.pictures, visited.report)
    if problem:
        message = f"{visited.result.message} (no pictures kept: {problem})"
        visited.result = msgspec.structs.replace(visited.result, message=message)
    else:
        visited.result = msgspec.structs.replace(visited.result, evidence=f"configmap/{evidence}")


def _write(directory: Path, visited: "Visit") -> None:
    import json

    directory.mkdir(parents=True, exist_ok=True)
    for name, picture in visited.pictures.items():
        (directory / name).write_bytes(picture)
    (directory / "report.json").write_text(json.dumps(visited.report, indent=1, ensure_ascii=False) + "\n", "utf-8")


def _log(visited: "Visit", termination_log: Path) -> None:
    from flywheel.release.gate.browser.verdict import encode

    if termination_log.exists():
        try:
            termination_log.write_text(encode(visited.result), "utf-8")
        except OSError as error:
            click.echo(f"{termination_log} cannot be written: {error.strerror}", err=True)


def _tell(visited: "Visit") -> None:
    from flywheel.release.gate.browser.verdict import encode

    for step in visited.report["steps"]:
        mark = {"Success": "ok", "Failure": "FAILED"}.get(step["outcome"], "ERROR")
        click.echo(f"{mark:>6}  {step['step']:>2}  {step['what']}  ({step['seconds']:.2f} s)")
    click.echo(f"{visited.result.outcome}: {visited.result.sentence()}")
    click.echo(encode(visited.result))
