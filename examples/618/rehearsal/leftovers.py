"""A second opinion on the end of a campaign: the demo's own search, which asks the operator nothing."""

from tests.lab.cluster.client import Cluster

LINES = "jsonpath={range .items[*]}{.metadata.namespace}{'\\t'}{.kind}{'\\t'}{.metadata.name}{'\\n'}{end}"


def leftovers(cluster: Cluster, namespace: str, campaign: str) -> tuple[list[str], int]:
    """List every object of the cluster with the campaign's label, and how many kinds of objects were searched.

    What belongs to a campaign of the same name in another namespace is not counted.
    """
    kinds = cluster.kubectl("api-resources", "--verbs=list", "--output=name").split()
    # Measurements of pods that are gone linger for some seconds; they are no objects that anybody could delete.
    kinds = [kind for kind in kinds if not kind.endswith(".metrics.k8s.io")]
    selector = f"--selector=flywheel.dev/campaign={campaign}"
    everywhere = ["--all-namespaces", "--ignore-not-found", f"--output={LINES}"]
    found = cluster.kubectl("get", ",".join(kinds), selector, *everywhere)
    campaigns = cluster.kubectl("get", "campaigns.flywheel.dev", *everywhere)
    namesakes = {line.split("\t")[0] for line in campaigns.splitlines() if line.split("\t")[-1] == campaign}
    objects = [line.split("\t") for line in found.splitlines() if line.strip()]
    return [f"{kind} {home}/{name}" for home, kind, name in objects if home not in namesakes - {namespace}], len(kinds)
