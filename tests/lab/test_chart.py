"""The chart on a real cluster: what the API server takes, what the roles allow, install, upgrade and uninstall."""

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from deploy.generate import CHART
from tests.lab.cluster.api import wait_until
from tests.lab.cluster.client import Cluster, CommandFailedError
from tests.lab.steps import eventually
from tests.unit.chart.rendering import CASES, Manifest, of_kind

from flywheel.api.load import load_campaign
from flywheel.edge.compose import compose
from flywheel.edge.manifests import edge_manifests
from flywheel.events.manifests import access_manifests
from flywheel.workload.scaling import Size

RELEASE = "flywheel"
CRD = "customresourcedefinition.apiextensions.k8s.io/campaigns.flywheel.dev"
OF_THE_PROMETHEUS_OPERATOR = {"ServiceMonitor", "PrometheusRule"}
NO_FINALIZER = '{"metadata":{"finalizers":null}}'
# Another test may have left the definitions, and they stay after an uninstall.
TAKE_OVER = ("--take-ownership", "--force-conflicts")


def write_values(path: Path, values: Manifest) -> str:
    path.write_text(json.dumps(values))
    return str(path)


def install(cluster: Cluster, namespace: str, path: Path, values: Manifest, *arguments: str) -> str:
    """Install or upgrade the release without waiting for pods."""
    file = write_values(path / "values.json", values)
    return cluster.helm(
        "upgrade",
        "--install",
        "--reset-values",
        RELEASE,
        str(CHART),
        "-n",
        namespace,
        "-f",
        file,
        *TAKE_OVER,
        *arguments,
    )


def may(cluster: Cluster, who: str, verb: str, what: str, *where: str) -> bool:
    """Ask the real authorizer."""
    return cluster.kubectl("auth", "can-i", verb, what, f"--as={who}", *where, check=False).startswith("yes")


def unlisted(cluster: Cluster, who: str, *where: str, namespaced: bool) -> set[str]:
    """Return the kinds that can be deleted, so that something may be left of them, and that `who` may not list."""
    kinds = cluster.kubectl("api-resources", "--verbs=list,delete", f"--namespaced={namespaced}".lower(), "-o", "name")
    return {kind for kind in kinds.split() if not may(cluster, who, "list", kind, *where)}


@pytest.fixture
def released(cluster: Cluster, namespace: str) -> Iterator[str]:
    """A namespace from which the release is removed at the end, whatever became of it."""
    yield namespace
    for campaign in cluster.kubectl(
        "get", "campaigns.flywheel.dev", "-n", namespace, "-o", "name", check=False
    ).split():
        cluster.kubectl("patch", campaign, "-n", namespace, "--type=merge", "-p", NO_FINALIZER, check=False)
    cluster.helm("uninstall", RELEASE, "-n", namespace, "--no-hooks", "--ignore-not-found", check=False)


@pytest.fixture
def restricted(cluster: Cluster, namespace: str) -> str:
    """A namespace with the strictest Pod Security Standard."""
    levels = [f"pod-security.kubernetes.io/{mode}=restricted" for mode in ("enforce", "warn")]
    cluster.kubectl("label", "namespace", namespace, *levels)
    return namespace


def rendered(cluster: Cluster, case: str, namespace: str, path: Path) -> list[Manifest]:
    """Render a case for `namespace`, as helm does for this cluster."""
    values: dict[str, Any] = dict(CASES[case])
    if case == "namespaced":
        values["watch"] = {"namespaces": [namespace]}
    text = cluster.helm("template", RELEASE, str(CHART), "-n", namespace, "-f", write_values(path / "v.json", values))
    return [each for each in yaml.safe_load_all(text) if each]


@pytest.mark.parametrize("case", CASES)
def test_the_api_server_takes_every_object_strictly(cluster, restricted, case, tmp_path):
    objects = rendered(cluster, case, restricted, tmp_path)
    ours = [each for each in objects if each["kind"] not in OF_THE_PROMETHEUS_OPERATOR]
    # A pod is refused while its account is not really there.
    cluster.kubectl("apply", "--server-side", "-f", "-", input=yaml.safe_dump_all(of_kind(ours, "ServiceAccount")))
    said = cluster.kubectl(
        "apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict", "-f", "-",
        input=yaml.safe_dump_all(ours), check=False,
    )  # fmt: skip
    assert "Warning" not in said
    assert said.count("serverside-applied") == len(ours), said


def test_the_strict_check_would_find_a_mistake(cluster, restricted, tmp_path):
    objects = rendered(cluster, "default", restricted, tmp_path)
    cluster.kubectl("apply", "--server-side", "-f", "-", input=yaml.safe_dump_all(of_kind(objects, "ServiceAccount")))
    [pod] = of_kind(objects, "Pod")
    pod["spec"]["containers"][0]["securityContext"]["privileged"] = True
    pod["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
    with pytest.raises(CommandFailedError, match="violates PodSecurity"):
        cluster.kubectl("apply", "--dry-run=server", "-f", "-", input=yaml.safe_dump(pod))
    pod["spec"]["container"] = []
    with pytest.raises(CommandFailedError, match=r"unknown field \"spec.container\""):
        cluster.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-", input=yaml.safe_dump(pod))


def test_install_upgrade_uninstall(cluster, released, tmp_path):
    said = install(cluster, released, tmp_path, {})
    assert "kubectl apply -f - <<EOF" in said
    # The API server publishes the documentation of a new definition a little after the definition itself.
    explain = ("explain", "campaign.spec.schedule", "--api-version=flywheel.dev/v1alpha1")
    eventually(lambda: "timeZone" in cluster.kubectl(*explain, check=False))

    operator_only = {"externalMetrics": {"enabled": False}}
    install(cluster, released, tmp_path, {"replicas": 2, "networkPolicy": {"enabled": True}, **operator_only})
    kinds = cluster.kubectl("get", "pdb,networkpolicy,deployment", "-n", released, "-o", "name").split()
    assert len(kinds) == 3
    replicas = cluster.kubectl("get", f"deployment/{RELEASE}", "-n", released, "-o", "jsonpath={.spec.replicas}")
    assert replicas == "2"

    install(cluster, released, tmp_path, operator_only)
    assert cluster.kubectl("get", "pdb,networkpolicy", "-n", released, "-o", "name") == ""

    cluster.helm("uninstall", RELEASE, "-n", released, "--no-hooks")
    assert cluster.kubectl("get", CRD, "-o", "name").strip() == CRD.replace(
        "crd/", "customresourcedefinition.apiextensions.k8s.io/"
    )
    left = cluster.kubectl(
        "get", "all,role,rolebinding,clusterrole,clusterrolebinding", "-n", released, "-o", "name",
        "-l", "app.kubernetes.io/part-of=flywheel",
    )  # fmt: skip
    assert [each for each in left.split() if not each.startswith(("pod/", "replicaset"))] == []


def test_definitions_are_left_alone_when_told_so(cluster, released, tmp_path):
    install(cluster, released, tmp_path, {})
    before = cluster.kubectl("get", CRD, "-o", "jsonpath={.metadata.uid}")
    install(cluster, released, tmp_path, {"crds": {"install": False}})
    assert cluster.kubectl("get", CRD, "-o", "jsonpath={.metadata.uid}") == before


def test_a_cluster_wide_operator_may_do_its_work_and_no_more(cluster, released, tmp_path):
    install(cluster, released, tmp_path, {"replicas": 0})
    operator = f"system:serviceaccount:{released}:{RELEASE}"
    assert may(cluster, operator, "create", "deployments.apps", "-A")
    assert may(cluster, operator, "patch", "campaigns.flywheel.dev", "--subresource=status", "-A")
    assert may(cluster, operator, "update", "leases.coordination.k8s.io", "-n", released)
    assert not may(cluster, operator, "update", "leases.coordination.k8s.io", "-n", "kube-system")
    assert not may(cluster, operator, "delete", "campaigns.flywheel.dev", "-A")
    # Secrets are read by name, since revisions keep copies of theirs; nobody can go through them.
    assert may(cluster, operator, "get", "secrets", "-A")
    assert not may(cluster, operator, "list", "secrets", "-A")
    assert not may(cluster, operator, "watch", "secrets", "-A")
    assert not may(cluster, operator, "create", "pods", "-A")
    assert unlisted(cluster, operator, "-A", namespaced=True) == {"secrets"}
    builtin = {
        name for name in unlisted(cluster, operator, namespaced=False) if "." not in name or name.endswith(".k8s.io")
    }
    assert builtin == set()


def test_secrets_can_be_kept_from_the_operator(cluster, released, tmp_path):
    install(cluster, released, tmp_path, {"replicas": 0, "rbac": {"secrets": False}})
    operator = f"system:serviceaccount:{released}:{RELEASE}"
    assert not any(may(cluster, operator, verb, "secrets", "-A") for verb in ("get", "list", "create", "delete"))


@pytest.mark.parametrize("namespaced", [False, True])
def test_the_operator_may_grant_what_edge_and_event_store_need(cluster, released, tmp_path, namespaced):
    """Nobody can grant what he does not hold: the API server itself compares."""
    install(cluster, released, tmp_path, {"replicas": 0, "watch": {"namespaces": [released] if namespaced else []}})
    operator = f"system:serviceaccount:{released}:{RELEASE}"
    apply = ("apply", "--server-side", "--field-manager=flywheel", f"--as={operator}", "-n", released, "-f", "-")
    children = [*access_manifests(released), *edge_access(released)]
    cluster.kubectl(*apply, input=json.dumps({"apiVersion": "v1", "kind": "List", "items": children}))
    [role] = [each for each in access_manifests(released) if each["kind"] == "Role"]
    too_much = {**role, "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["list"]}]}
    with pytest.raises(CommandFailedError, match="attempting to grant RBAC permissions not currently held"):
        cluster.kubectl(*apply, input=json.dumps(too_much))


def edge_access(namespace: str) -> list[Manifest]:
    metadata = {"name": "spring", "namespace": namespace}
    spec = {"services": [{"name": "web", "image": "web:1", "port": 80}], "edge": {}}
    campaign = load_campaign(
        {"apiVersion": "flywheel.dev/v1alpha1", "kind": "Campaign", "metadata": metadata, "spec": spec}
    )
    made = edge_manifests(campaign, campaign.spec.edge, compose(campaign, campaign.spec.edge), Size(replicas=1), "e:1")
    return [each for each in made if each["kind"] in ("ServiceAccount", "Role", "RoleBinding")]


def test_a_namespaced_operator_may_do_nothing_elsewhere(cluster, released, tmp_path):
    install(cluster, released, tmp_path, {"replicas": 0, "watch": {"namespaces": [released]}})
    operator = f"system:serviceaccount:{released}:{RELEASE}"
    assert may(cluster, operator, "create", "deployments.apps", "-n", released)
    assert unlisted(cluster, operator, "-n", released, namespaced=True) == {"secrets"}
    assert may(cluster, operator, "list", "customresourcedefinitions.apiextensions.k8s.io")
    for verb, what in (("list", "campaigns.flywheel.dev"), ("get", "deployments.apps"), ("list", "pods")):
        assert not may(cluster, operator, verb, what, "-n", "default")
    allowed = unlisted(cluster, operator, namespaced=False)
    everything = cluster.kubectl("api-resources", "--verbs=list,delete", "--namespaced=false", "-o", "name").split()
    assert set(everything) - allowed == {"customresourcedefinitions.apiextensions.k8s.io"}


def test_people_with_the_built_in_roles_may_work_with_campaigns(cluster, released, tmp_path):
    install(cluster, released, tmp_path, {"replicas": 0})
    for role in ("view", "edit"):
        cluster.kubectl("create", "rolebinding", role, f"--clusterrole={role}", f"--user={role}er", "-n", released)
    # The built-in roles are put together by a controller, some time after the install.
    wait_until(lambda: may(cluster, "editer", "create", "campaigns.flywheel.dev", "-n", released), "aggregation", 30)
    wait_until(lambda: may(cluster, "viewer", "list", "campaigns.flywheel.dev", "-n", released), "aggregation", 30)
    assert may(cluster, "editer", "create", "abtests.flywheel.dev", "-n", released)
    assert may(cluster, "viewer", "list", "abtests.flywheel.dev", "-n", released)
    assert may(cluster, "editer", "create", "fraudrules.flywheel.dev", "-n", released)
    assert may(cluster, "viewer", "list", "fraudrules.flywheel.dev", "-n", released)
    assert not may(cluster, "viewer", "create", "campaigns.flywheel.dev", "-n", released)
    assert not may(cluster, "editer", "patch", "campaigns.flywheel.dev", "--subresource=status", "-n", released)


@pytest.fixture
def running(cluster, released, tmp_path) -> str:
    """A namespace in which the operator of this tree runs, and whose Campaigns it serves."""
    repository, _, tag = cluster.images["operator"].rpartition(":")
    levels = [f"pod-security.kubernetes.io/{mode}=restricted" for mode in ("enforce", "warn")]
    cluster.kubectl("label", "namespace", released, *levels)
    values = {"image": {"repository": repository, "tag": tag}, "watch": {"namespaces": [released]}}
    install(cluster, released, tmp_path, values, "--wait", "--timeout", "120s")
    return released


def test_the_installed_operator_is_ready_and_the_helm_test_passes(cluster, running):
    said = cluster.helm("test", RELEASE, "-n", running, "--timeout", "120s")
    assert said.count("Phase:          Succeeded") == said.count("TEST SUITE:") > 0
    assert cluster.kubectl("get", "pod,role,serviceaccount", "-n", running, "-o", "name").count(f"{RELEASE}-test") == 0


def test_the_helm_test_fails_without_an_operator(cluster, running):
    cluster.kubectl("scale", f"deployment/{RELEASE}", "--replicas=0", "-n", running)
    cluster.kubectl("wait", "pod", "-l", "app.kubernetes.io/component=operator", "--for=delete", "-n", running)
    with pytest.raises(CommandFailedError, match="readyz"):
        cluster.helm("test", RELEASE, "-n", running, "--timeout", "150s")


def test_uninstalling_is_refused_while_there_are_campaigns(cluster, running):
    campaign = {
        "apiVersion": "flywheel.dev/v1alpha1",
        "kind": "Campaign",
        "metadata": {"name": "spring", "namespace": running},
        "spec": {"services": [{"name": "web", "image": "localhost/none", "replicas": 0}]},
    }
    cluster.kubectl("apply", "-f", "-", input=yaml.safe_dump(campaign))
    wait_until(
        lambda: cluster.kubectl("get", "campaign/spring", "-n", running, "-o", "jsonpath={.metadata.finalizers}"),
        "the operator's finalizer",
        30,
    )
    with pytest.raises(CommandFailedError, match=f"kubectl delete campaign -n {running} spring"):
        cluster.helm("uninstall", RELEASE, "-n", running)
    assert (
        cluster.kubectl("get", f"deployment/{RELEASE}", "-n", running, "-o", "jsonpath={.status.readyReplicas}") == "1"
    )

    # Helm marks the release although nothing was removed: this is the way back that the notes name.
    assert "STATUS: uninstalling" in cluster.helm("status", RELEASE, "-n", running)
    cluster.helm("rollback", RELEASE, "1", "-n", running, "--force-conflicts")
    assert "STATUS: deployed" in cluster.helm("status", RELEASE, "-n", running)

    cluster.kubectl("delete", "campaign/spring", "-n", running, "--timeout=60s")
    cluster.helm("uninstall", RELEASE, "-n", running)
    assert cluster.kubectl("get", "job", "-n", running, "-o", "name") == ""


def test_the_plain_manifests_apply_and_go(cluster, tmp_path):
    text = (CHART.parent.parent / "deploy" / "flywheel.yaml").read_text()
    name = f"flywheel-{uuid.uuid4().hex[:8]}"
    plain = text.replace("flywheel-system", name)
    objects = [each for each in yaml.safe_load_all(plain) if each["kind"] != "CustomResourceDefinition"]
    try:
        cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", input=plain)
        operator = f"system:serviceaccount:{name}:{RELEASE}"
        assert may(cluster, operator, "list", "campaigns.flywheel.dev", "-A")
    finally:
        cluster.kubectl("delete", "--ignore-not-found", "--wait=false", "-f", "-", input=yaml.safe_dump_all(objects))
