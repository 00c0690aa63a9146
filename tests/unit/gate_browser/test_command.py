"""`flywheel browser-gate`, as a process."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import msgspec
from tests.patience import PATIENCE
from tests.unit.gate_browser.looking import plan
from tests.unit.gate_browser.site import Site

from flywheel.release.gate.browser.steps import encode
from flywheel.release.gate.browser.verdict import read_result
from flywheel.release.gate.measurement import Outcome

SUBCOMMAND = [sys.executable, "-c", "from flywheel.cli import main; main()", "browser-gate"]


async def start(*arguments: str, environment: dict[str, str] | None = None) -> asyncio.subprocess.Process:
    import flywheel

    source = str(Path(flywheel.__file__).parent.parent)
    return await asyncio.create_subprocess_exec(
        *SUBCOMMAND,
        *arguments,
        env={**os.environ, "PYTHONPATH": source, **(environment or {})},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


async def run(*arguments: str, environment: dict[str, str] | None = None) -> tuple[int, str]:
    process = await start(*arguments, environment=environment)
    said, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode()


async def test_a_person_tries_steps_on_a_site_and_gets_pictures(site: Site, tmp_path: Path) -> None:
    steps = tmp_path / "steps.yaml"
    steps.write_text("stepTimeout: 1m\nsteps:\n- open: /\n- screenshot: entry\n- title: 优购\n- status: 404\n")
    log = tmp_path / "termination-log"
    log.touch()
    code, said = await run(
        f"--steps={steps}",
        f"--address={site.address}",
        f"--pictures={tmp_path / 'out'}",
        f"--termination-log={log}",
        "--preview=landing-7f",
    )
    assert code == 1, said
    result = json.loads(said.splitlines()[-1])
    assert result["outcome"] == "Failure"
    assert "Failure: step 4 of 4, status 404: answered 200" in said
    assert {each.name for each in (tmp_path / "out").iterdir()} == {"02-entry.jpg", "04-failed.jpg", "report.json"}
    assert read_result(log.read_text(), code).outcome is Outcome.FAILURE
    assert site.requests[0].headers["X-FW-Preview"] == "landing-7f"


async def test_a_pod_takes_its_plan_from_the_environment(site: Site, tmp_path: Path) -> None:
    made = encode(plan(site.address, "[{open: /plain}]", stepTimeout="1m"))
    code, said = await run(
        "--evidence=gone",
        "--namespace=shop",
        environment={"FLYWHEEL_BROWSER_PLAN": made, "KUBECONFIG": str(tmp_path / "none")},
    )
    assert code == 0, said
    result = json.loads(said.splitlines()[-1])
    assert result["outcome"] == "Success"
    assert result["message"].startswith("the step holds (no pictures kept: ")


async def test_a_plan_can_be_a_file(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    file.write_text(encode(msgspec.structs.replace(plan(site.address), dial="http://127.0.0.1:1", step_seconds=60.0)))
    code, said = await run(f"--plan={file}")
    assert code == 2, said
    assert json.loads(said.splitlines()[-1])["outcome"] == "Error"


async def test_a_pod_that_is_told_to_go_says_how_far_it_came(site: Site, tmp_path: Path) -> None:
    log = tmp_path / "termination-log"
    log.touch()
    made = encode(plan(site.address, "[{open: /slow}]", stepTimeout="2m"))
    process = await start(f"--termination-log={log}", environment={"FLYWHEEL_BROWSER_PLAN": made})
    await site.wait_for("/slow")
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(PATIENCE):
        await process.communicate()
    assert process.returncode == 2
    assert "ended from outside" in read_result(log.read_text(), 2).message


async def test_mistakes_of_a_person_are_told_without_a_browser(tmp_path: Path) -> None:
    steps = tmp_path / "steps.yaml"
    steps.write_text("- opne: /\n")
    for arguments, says in (
        ([], "Say what to do"),
        ([f"--steps={steps}"], "Say where to look"),
        ([f"--steps={steps}", "--address=http://x"], "steps[0].opne: unknown field"),
    ):
        code, said = await run(*arguments)
        assert code == 2, said
        assert says in said
