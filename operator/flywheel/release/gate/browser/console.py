"""What a page complains about in its console."""

from urllib.parse import urlsplit

from playwright.async_api import BrowserContext, ConsoleMessage, Request, WebError

from flywheel.release.gate.browser.proxy import Proxy
from flywheel.release.gate.browser.verdict import one_line

MOST_COMPLAINTS = 20
LONGEST_COMPLAINT = 300
MOST_HOSTS = 500


class Console:
    """The errors of one visit, from its beginning."""

    def __init__(self, context: BrowserContext, proxy: Proxy) -> None:
        self._proxy = proxy
        self.complaints: list[str] = []
        """The first of them, each on one line."""
        self.count = 0
        self._asked: set[str] = set()
        context.on("request", self._requested)
        context.on("console", self._heard)
        context.on("weberror", self._failed)

    @property
    def refused(self) -> dict[str, int]:
        """The hosts that pages asked for and that must not be reached; the browser's own calls home are not told."""
        return {host: count for host, count in self._proxy.refused.items() if host in self._asked}

    def _requested(self, request: Request) -> None:
        if len(self._asked) < MOST_HOSTS:
            self._asked.add(urlsplit(request.url).hostname or "")

    def _heard(self, message: ConsoleMessage) -> None:
        where = str(message.location.get("url", ""))
        if message.type == "error" and not self._of_no_page(message, where):
            self._keep(f"{message.text} ({where})" if where and where not in message.text else message.text)

    def _failed(self, error: WebError) -> None:
        self._keep(f"uncaught {error.error}")

    def _of_no_page(self, message: ConsoleMessage, where: str) -> bool:
        """Whether the browser itself complains about what no page is to blame for.

        That is a host that the gate does not let it reach, and the icon that it asks for unbidden.
        """
        if message.args:
            return False  # Only scripts say something with arguments.
        told = f"{where} {message.text}"
        return urlsplit(where).path == "/favicon.ico" or any(f"//{host}" in told for host in self._proxy.refused)

    def _keep(self, text: str) -> None:
        self.count += 1
        if len(self.complaints) < MOST_COMPLAINTS:
            self.complaints.append(one_line(text, LONGEST_COMPLAINT))
