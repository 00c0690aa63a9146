"""What the demo stands on: a cluster, the images, the operator, a namespace. What it put up, it takes down."""

import json
import os
from datetime import UTC, datetime

from tests.lab.cluster import lifecycle
from tests.lab.cluster.client import OPERATOR_NAMESPACE, Cluster, CommandFailedError
from tools.bootstrap.steps import CannotContinueError

from rehearsal.compress import Cut, Pace, compress, without_end
from rehearsal.landing import NAME as GIT
from rehearsal.landing import PORT as REPOSITORY_PORT
from rehearsal.landing import REPOSITORY
from rehearsal.play import ENTRY, ENTRY_PORT, Play
from rehearsal.screen import Screen

KEPT = "5m"
"""How long slots stay that have lost the traffic, or never had it: people take their time to look."""
GIT_PORT = 8619
OURS = {"app.kubernetes.io/managed-by": "flywheel-demo"}


class Stand:
    """Puts up what is missing, remembers what that was, and removes just that."""

    def __init__(self, cluster: Cluster, namespace: str, screen: Screen) -> None:
        self.cluster, self.namespace, self._screen = cluster, namespace, screen
        self._made_lab = self._made_release = self._made_namespace = False

    def describe(self) -> str:
        """Name the cluster for people."""
        if self.cluster.lab:
            return f"a real Kubernetes of one node on this machine (lab {self.cluster.lab.name})"
        return f"your own (KUBECONFIG={self.cluster.kubeconfig})"

    def build(self) -> None:
        """Put everything up.

        Raises:
            CannotContinueError: something is missing or in the way; the message says what to do.
            CommandFailedError: a step failed.
        """
        lab = self.cluster.lab
        if lab and not lifecycle.is_up(lab):
            self._made_lab = True
            lifecycle.up(lab)
        self._screen.say("images    of the operator, edge, event store and shop: building what changed")
        self._screen.say(f"images    {', '.join(self.cluster.images.values())}")
        self._install()
        self._make_namespace()

    def strike(self) -> None:
        """Remove what `build` put up, and say what stays."""
        if self._made_lab and self.cluster.lab:
            lifecycle.down(self.cluster.lab)
            return
        try:
            self._remove()
        except (CommandFailedError, CannotContinueError) as problem:
            self._screen.say(f"error: not everything could be removed: {problem}")
        stays = [] if self._made_release else [f"the operator in namespace {OPERATOR_NAMESPACE}"]
        if self._made_release:
            stays.append("the CustomResourceDefinitions (the chart keeps them)")
        if self.cluster.lab:
            stays.append(f"lab {self.cluster.lab.name} (`make lab-down` removes it)")
        self._screen.say(f"Still there, as before the demo: {', '.join(stays)}.")

    def stay(self, play: Play) -> None:
        """Bring the shop up again, without an end, and say how to look around."""
        image = self.cluster.images["shop"]
        self.cluster.kubectl("delete", "abtests", "--all", "-n", self.namespace, "--timeout=60s")
        self.cluster.kubectl("delete", "campaign", play.name, "-n", self.namespace, "--wait", "--timeout=60s")
        cut = Cut(kept=KEPT)
        made = without_end(compress(play.written, datetime.now(UTC), Pace(), cut, image, play.landing.url))
        self.cluster.kubectl("apply", "-n", self.namespace, "-f", "-", input=json.dumps(made))
        wait = ["wait", f"campaign/{play.name}", "-n", self.namespace, "--for=condition=Ready", "--timeout=120s"]
        self.cluster.kubectl(*wait)
        lab = self.cluster.lab
        make = f"LAB={lab.name} make" if lab and "LAB" in os.environ else "make"
        kubectl = f"{make} lab-shell CMD='kubectl {{}}'" if lab else "kubectl {}"
        flywheel = f"{make} lab-shell CMD='.venv/bin/flywheel {{}}'" if lab else ".venv/bin/flywheel {}"
        lines = [
            f"The campaign is Live again, without an end, in namespace {self.namespace}. To look around:",
            f"  {make} lab-forward TO=svc/{play.name}-{ENTRY}:{ENTRY_PORT} NS={self.namespace} PORT=8618",
            "  and http://127.0.0.1:8618 in a browser",
            f"  {kubectl.format(f'get cmp,deploy,hpa,pods -n {self.namespace}')}",
            f"  {kubectl.format(f'describe cmp {play.name} -n {self.namespace}')}",
            "Releases, and the page's repository:",
            f"  {flywheel.format(f'release status {play.name} -n {self.namespace}')}",
            f"  {make} lab-forward TO=svc/{GIT}:{REPOSITORY_PORT} NS={self.namespace} PORT={GIT_PORT}",
            f"  and git clone http://127.0.0.1:{GIT_PORT}/{REPOSITORY}; what you push goes live after its gates",
            "What was measured before is still in the store of the namespace:",
            *(f"  {flywheel.format(each)}" for each in self._commands(play.name)),
            "To end it:",
            f"  {kubectl.format(f'delete cmp {play.name} -n {self.namespace}')}",
            *([f"  {make} lab-down"] if lab else [f"  kubectl delete namespace {self.namespace}"]),
            *([] if lab else [f"  helm uninstall flywheel -n {OPERATOR_NAMESPACE}"]),
        ]
        for line in lines:
            self._screen.say(line)

    def _commands(self, campaign: str) -> list[str]:
        return [
            f"kpis {campaign} -n {self.namespace} --by channel",
            f'query "SELECT event, count() FROM events GROUP BY event" -n {self.namespace}',
        ]

    def _install(self) -> None:
        there = self.cluster.helm("list", "--short", "--filter", "^flywheel$", "-n", OPERATOR_NAMESPACE).split()
        if there and not self.cluster.lab:
            self._screen.say(f"operator  your release flywheel in {OPERATOR_NAMESPACE} is used as it is")
            return
        self._made_release = not there
        self._screen.say(f"operator  helm upgrade --install flywheel charts/flywheel -n {OPERATOR_NAMESPACE}")
        self.cluster.install()

    def _make_namespace(self) -> None:
        found = self.cluster.kubectl("get", "namespace", self.namespace, "--ignore-not-found", "-o", "json")
        if found.strip():
            if not OURS.items() <= json.loads(found)["metadata"].get("labels", {}).items():
                raise CannotContinueError(
                    f"namespace {self.namespace} exists and is not the demo's: remove it, or use another cluster"
                )
            self._screen.say(f"cleaning  namespace {self.namespace} of an earlier demo")
            self.cluster.kubectl("delete", "namespace", self.namespace, "--timeout=120s")
        labels = {**OURS, "pod-security.kubernetes.io/enforce": "restricted"}
        manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace, "labels": labels}}
        self._made_namespace = True
        self.cluster.kubectl("create", "-f", "-", input=json.dumps(manifest))

    def _remove(self) -> None:
        if self._made_namespace:
            self._screen.say(f"cleaning  namespace {self.namespace}")
            kinds = self.cluster.kubectl("api-resources", "--api-group=flywheel.dev", "-o", "name").split()
            if "campaigns.flywheel.dev" in kinds:
                self.cluster.kubectl("delete", "campaigns", "--all", "-n", self.namespace, "--timeout=90s")
            self.cluster.kubectl("delete", "namespace", self.namespace, "--ignore-not-found", "--timeout=120s")
        if self._made_release:
            self._screen.say("cleaning  helm uninstall flywheel")
            self.cluster.helm("uninstall", "flywheel", "-n", OPERATOR_NAMESPACE, "--ignore-not-found", "--wait")
            self.cluster.kubectl("delete", "namespace", OPERATOR_NAMESPACE, "--ignore-not-found", "--timeout=60s")
