"""A visit through an edge that does not know the preview is no visit to it."""

from dataclasses import replace

from aiohttp import web
from tests.unit.gate.measuring import serving, target
from tests.unit.gate_browser.looking import gate

from flywheel.release.gate.browser.runner import visit
from flywheel.release.gate.browser.steps import plan_for


async def answer(request: web.Request) -> web.Response:
    # As edges do: the header that came in is not the one that goes out.
    seen = "7f3a9c" if request.headers.get("X-FW-Preview") == "7f3a9c" and request.path == "/known" else "unknown"
    return web.Response(
        text="<link rel=icon href='data:,'>page", content_type="text/html", headers={"X-FW-Preview": seen}
    )


async def test_the_active_slot_in_place_of_the_preview_is_an_error_and_no_success() -> None:
    async with serving(answer) as edge:
        asked = gate("[{open: /known}, {open: /}]", through="Edge", stepTimeout="1m")
        visited = await visit(plan_for(asked, target(edge, edge)))
        assert (visited.result.outcome, visited.result.step) == ("Error", 2)
        assert "does not know 7f3a9c yet" in visited.result.message
        visited = await visit(plan_for(asked, replace(target(edge, edge), promoted=True)))
        assert visited.result.outcome == "Success"
