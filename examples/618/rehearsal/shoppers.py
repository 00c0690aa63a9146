"""The shoppers of `shoppers.yaml`, sent from a Job in the cluster, and what they tell of themselves."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.lab.cluster.client import Cluster

from flywheel.simulation.read import read_behaviour
from rehearsal.crowd import NAME, Sighting, crowd, read_progress, read_report, read_sightings, unstamped
from rehearsal.observer import Observer

FILE = Path(__file__).resolve().parents[1] / "shoppers.yaml"
RATE = 0.7
"""Shoppers a second in an average hour: what two cores carry when the flood multiplies it."""
LINES = 400


class Shoppers:
    """They come some time before the sale opens, as their file has the flood that begins at the opening."""

    def __init__(self, cluster: Cluster, namespace: str, url: str) -> None:
        self._cluster, self._namespace, self._url = cluster, namespace, url
        self._text = FILE.read_text("utf-8")
        behaviour = read_behaviour(self._text)
        self.seed = behaviour.seed
        self.lead = round(behaviour.floods[0].at.total_seconds())
        """Seconds that they come before the flood."""
        self.sent = False
        self.progress = ""
        """How they fare, in their own words."""
        self.report: dict[str, Any] | None = None
        self.sightings: Sequence[Sighting] = ()
        """What they had seen when."""

    def send(self, seconds: int) -> None:
        """Let them come for `seconds`."""
        job = crowd(self._namespace, self._cluster.images["operator"], self._text, self._url, RATE, seconds)
        self._cluster.kubectl("apply", "-n", self._namespace, "-f", "-", input=json.dumps(job))
        self.sent = True

    async def listen(self, observer: Observer) -> None:
        """Read what the Job has printed since.

        Raises:
            httpx.HTTPError: the API server cannot be reached or refuses.
        """
        if not self.sent or self.report:
            return
        log = await observer.said_by(NAME, lines=LINES, stamped=True)
        said = unstamped(log)
        self.report = read_report(said)
        self.progress = read_progress(said) or self.progress
        self.sightings = read_sightings(log) or self.sightings
