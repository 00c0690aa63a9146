"""A second opinion on the end of a campaign: the demo's own search, which asks the operator nothing."""

from tests.lab.cluster.client import Cluster


def leftovers(cluster: Cluster, campaign: str) -> tuple[list[str], int]:
    """List every object of the cluster with the campaign's label, and how many kinds of objects were searched."""
    kinds = cluster.kubectl("api-resources", "--verbs=list", "--output=name").split()
    # Measurements of pods that are gone linger for some seconds; they are no objects that anybody could delete.
    kinds = [kind for kind in kinds if not kind.endswith(".metrics.k8s.io")]
    found = cluster.kubectl(
        "get",
        ",".join(kinds),
        "--all-namespaces",
        f"--selector=flywheel.dev/campaign={campaign}",
        "--ignore-not-found",
        "--output=jsonpath={range .items[*]}{.kind} {.metadata.namespace}/{.metadata.name}{'\\n'}{end}",
    )
    return [line for line in found.splitlines() if line.strip()], len(kinds)
