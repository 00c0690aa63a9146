"""Visitors of an A/B test: people with browsers of their own, who like one variant better than another."""

import json
import random
import uuid
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime

import httpx
from tests.asking import PLAIN
from tests.e2e.entry import BROWSER

SEED = 618


@dataclass
class Crowd:
    """Visitors who look twice, and then claim the coupon with a chance that depends on what they saw."""

    url: str
    write_key: str
    chance: dict[str, float]
    """By the version that the answer names."""
    event: str = "Coupon Claimed"
    seed: int = SEED
    dice: random.Random = field(init=False)
    saw: Counter[str] = field(default_factory=Counter)
    claimed: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    moved: int = 0
    """Visitors who saw two versions."""

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)

    def visit(self, count: int) -> None:
        """Let so many new visitors come."""
        for _ in range(count):
            with httpx.Client(base_url=self.url, headers={"user-agent": BROWSER}, timeout=10, verify=PLAIN) as browser:
                first = self._look(browser)
                if self._look(browser) != first:
                    self.moved += 1
                self.saw[first] += 1
                if self.dice.random() < self.chance.get(first, 0.0):
                    self._claim(browser)
                    self.claimed[first] += 1

    def _look(self, browser: httpx.Client) -> str:
        answer = browser.get("/")
        if answer.status_code != 200:
            self.failures.append(f"GET: {answer.status_code} {answer.text[:80]}")
        return answer.headers.get("X-Version", "")

    def _claim(self, browser: httpx.Client) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        event = {"event": self.event, "messageId": str(uuid.UUID(int=self.dice.getrandbits(128))), "timestamp": now}
        answer = browser.post("/v1/track", content=json.dumps(event), auth=httpx.BasicAuth(self.write_key, ""))
        if answer.status_code != 200:
            self.failures.append(f"POST: {answer.status_code} {answer.text[:80]}")
