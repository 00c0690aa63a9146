"""Starting Debian's Chromium for one visit, and the window in which it takes place."""

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from playwright.async_api import Browser, BrowserContext, Error, Route, async_playwright

from flywheel.release.gate.browser.steps import Plan

EXECUTABLE = "/usr/bin/chromium"
START_SECONDS = 30.0
FLAGS = (
    # Chromium's own sandbox wants a user namespace or a setuid helper. A pod of the restricted level has neither, and
    # is itself the sandbox: no privileges, no capabilities, seccomp, a root file system that cannot be written, and a
    # token for one ConfigMap.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--no-first-run",
    # Whatever does not go through the proxy has no names and no other way out.
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
)


class BrowserDidNotStartError(Exception):
    """There is no browser to look with."""


@asynccontextmanager
async def running_chromium(plan: Plan, proxy_port: int, executable: str) -> AsyncIterator[Browser]:
    """Start Chromium with the proxy as its only way out.

    Raises:
        BrowserDidNotStartError: It did not start in time.
    """
    # Behind a Gateway visitors come by HTTPS. Plain HTTP has to count as secure here, or pages miss half of the Web's
    # API.
    secure = [f"--unsafely-treat-insecure-origin-as-secure={plan.origin}"] if plan.origin.startswith("http:") else []
    async with async_playwright() as playwright:
        try:
            browser = await playwright.chromium.launch(
                executable_path=executable,
                args=[*FLAGS, *secure],
                proxy={"server": f"http://127.0.0.1:{proxy_port}", "bypass": "<-loopback>"},
                env=_environment(os.environ),
                timeout=START_SECONDS * 1000,
                handle_sigint=False,
                handle_sigterm=False,
                handle_sighup=False,
            )
        except Error as error:
            raise BrowserDidNotStartError(f"{executable} did not start: {error.message}") from error
        try:
            yield browser
        finally:
            await browser.close()


async def new_window(browser: Browser, plan: Plan) -> BrowserContext:
    """Open a window without a past, as the plan describes the visitor."""
    options: dict[str, Any] = {}
    if plan.phone:
        options = {"is_mobile": True, "has_touch": True, "user_agent": _phone(browser.version)}
    context = await browser.new_context(
        viewport={"width": plan.width, "height": plan.height},
        locale=plan.locale,
        accept_downloads=False,
        service_workers="block",
        ignore_https_errors=plan.trust_any_certificate,
        **options,
    )
    if plan.headers and plan.origin.startswith("https:"):
        # The proxy cannot look into TLS.
        await context.route(lambda url: url.startswith(f"{plan.origin}/"), _with(plan.headers))
    return context


def _with(headers: Mapping[str, str]) -> Any:
    given = {name.lower(): value for name, value in headers.items()}

    async def add(route: Route) -> None:
        await route.continue_(headers={**await route.request.all_headers(), **given})

    return add


def _phone(version: str) -> str:
    """The user agent of a phone. It says that it is headless, so that a campaign's figures do not count the visit."""
    major = version.partition(".")[0]
    return (
        f"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) "
        f"HeadlessChrome/{major}.0.0.0 Mobile Safari/537.36"
    )


def _environment(ours: Mapping[str, str]) -> dict[str, str | float | bool]:
    """What the browser needs of our environment, and nothing that is for us alone."""
    kept = ("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "FONTCONFIG_PATH", "XDG_RUNTIME_DIR")
    return {name: ours[name] for name in kept if name in ours}
