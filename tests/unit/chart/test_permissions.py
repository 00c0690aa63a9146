"""What the operator and people may do: no more than what is done."""

import pytest
from tests.unit.chart.rendering import CASES, NAMESPACE, objects, of_kind, of_operator, one

from flywheel.kube.resources import CAMPAIGN, CHILDREN, ENDPOINT_SLICE, EVENT, LEASE, PERSISTENT_VOLUME_CLAIM

MANAGE = {"get", "list", "watch", "create", "patch", "delete"}
SECRETS = {"get", "create", "patch", "delete"}
ROLES = ("Role", "ClusterRole")


def roles(case):
    return [each for kind in ROLES for each in of_kind(of_operator(objects(CASES[case])), kind)]


def grants(rules):
    """Write rules as a map from (group, resource) to the verbs."""
    found = {}
    for rule in rules:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                found.setdefault((group, resource), set()).update(rule["verbs"])
    return found


def operator_grants(case, namespace=None):
    """Return what the operator's ServiceAccount may do in `namespace`, or in the whole cluster."""
    rendered = of_operator(objects(CASES[case]))
    account = one(rendered, "Deployment")["spec"]["template"]["spec"]["serviceAccountName"]
    bindings = of_kind(rendered, "RoleBinding" if namespace else "ClusterRoleBinding")
    rules = []
    for binding in bindings:
        subjects = [(each["name"], each["namespace"]) for each in binding["subjects"]]
        if (account, NAMESPACE) in subjects and binding["metadata"].get("namespace") == namespace:
            kind = binding["roleRef"]["kind"]
            [role] = [
                each
                for each in of_kind(rendered, kind)
                if each["metadata"]["name"] == binding["roleRef"]["name"]
                and each["metadata"].get("namespace") == namespace
            ]
            rules += role["rules"]
    return grants(rules)


@pytest.mark.parametrize("case", [case for case in CASES if case != "bare"])
def test_no_rule_has_a_wildcard_or_lists_secrets(case):
    assert roles(case)
    for role in roles(case):
        for rule in role["rules"]:
            words = [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
            assert not any("*" in word for word in words), (role["metadata"]["name"], rule)
            if "secrets" in rule["resources"]:
                assert (rule["resources"], set(rule["verbs"])) == (["secrets"], SECRETS), "never listed or watched"
            assert not {"escalate", "bind", "impersonate", "deletecollection"} & set(rule["verbs"]) or (
                role["metadata"]["name"].endswith("-edit") and rule["apiGroups"] == ["flywheel.dev"]
            )


def test_without_rbac_nothing_is_granted():
    rendered = objects(CASES["bare"])
    hooks = {"flywheel-test", "campaigns-test"}
    kinds = ("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding")
    assert {each["metadata"]["name"] for kind in kinds for each in of_kind(rendered, kind)} <= hooks


@pytest.mark.parametrize(("case", "namespace"), [("default", None), ("namespaced", "shop"), ("namespaced", "mall")])
def test_every_child_can_be_managed_where_campaigns_are_watched(case, namespace):
    granted = operator_grants(case, namespace)
    for resource in CHILDREN:
        assert granted[resource.group, resource.plural] == MANAGE, resource.name
    assert granted[EVENT.group, EVENT.plural] == {"create", "list"}


@pytest.mark.parametrize(("case", "namespace"), [("default", None), ("namespaced", "shop")])
def test_the_operator_never_creates_writes_or_deletes_a_campaign(case, namespace):
    granted = operator_grants(case, namespace)
    assert granted[CAMPAIGN.group, "campaigns"] == {"get", "list", "watch", "patch"}
    assert granted[CAMPAIGN.group, "campaigns/status"] == {"patch"}
    assert granted[CAMPAIGN.group, "campaigns/finalizers"] == {"update"}
    assert granted[CAMPAIGN.group, "abtests"] == {"get", "list", "watch"}
    assert granted[CAMPAIGN.group, "abtests/status"] == {"patch"}
    assert granted[CAMPAIGN.group, "fraudrules"] == {"get", "list", "watch"}
    assert granted[CAMPAIGN.group, "fraudrules/status"] == {"patch"}


@pytest.mark.parametrize(("case", "namespace"), [("default", None), ("namespaced", "shop")])
def test_the_rest_is_only_listed(case, namespace):
    managed = {(each.group, each.plural) for each in CHILDREN}
    kinds = ("campaigns", "campaigns/status", "campaigns/finalizers", "abtests", "abtests/status")
    ours = {(CAMPAIGN.group, name) for name in (*kinds, "fraudrules", "fraudrules/status")}
    events = {("", "events"), ("events.k8s.io", "events")}
    definitions = {("apiextensions.k8s.io", "customresourcedefinitions")}
    rest = dict(operator_grants(case, namespace))
    # Handed on to the edge, which follows where the pods are.
    assert rest.pop((ENDPOINT_SLICE.group, ENDPOINT_SLICE.plural)) == {"get", "list", "watch"}
    # The volume of the analytics worker grows, and is never made or deleted by us.
    assert rest.pop((PERSISTENT_VOLUME_CLAIM.group, PERSISTENT_VOLUME_CLAIM.plural)) == {"get", "list", "patch"}
    # Copied with the revision that names them; read as credentials.
    assert rest.pop(("", "secrets")) == SECRETS
    assert {tuple(verbs) for key, verbs in rest.items() if key not in managed | ours | events | definitions} == {
        ("list",)
    }


def test_secrets_can_be_kept_from_the_operator():
    rendered = of_operator(objects({"rbac": {"secrets": False}}))
    rules = [rule for kind in ROLES for each in of_kind(rendered, kind) for rule in each["rules"]]
    assert not any("secrets" in rule["resources"] for rule in rules)


def test_the_lease_is_held_in_the_namespace_of_the_release_only():
    assert operator_grants("default", NAMESPACE)[LEASE.group, LEASE.plural] == {"get", "create", "update"}
    assert operator_grants("default")[LEASE.group, LEASE.plural] == {"list"}


@pytest.mark.parametrize("case", ["default", "namespaced", "everything"])
def test_tokens_are_asked_for_the_operator_itself_only(case):
    rendered = of_operator(objects(CASES[case]))
    account = one(rendered, "Deployment")["spec"]["template"]["spec"]["serviceAccountName"]
    rules = [rule for role in roles(case) for rule in role["rules"] if "serviceaccounts/token" in rule["resources"]]
    assert [(rule["resourceNames"], rule["verbs"]) for rule in rules] == [([account], ["create"])]
    assert set(operator_grants(case, NAMESPACE)) == {(LEASE.group, LEASE.plural), ("", "serviceaccounts/token")}


def test_namespaced_mode_reads_definitions_and_nothing_else_in_the_cluster():
    rendered = of_operator(objects(CASES["namespaced"]))
    assert len(of_kind(rendered, "ClusterRole")) == len(of_kind(rendered, "ClusterRoleBinding")) == 1
    assert operator_grants("namespaced") == {
        ("apiextensions.k8s.io", "customresourcedefinitions"): {"get", "list", "watch"}
    }


@pytest.mark.parametrize("kind", ["campaigns", "abtests", "fraudrules"])
def test_people_get_our_kinds_with_the_built_in_roles(kind):
    view, edit = (one(objects(), "ClusterRole", suffix) for suffix in ("flywheel-view", "flywheel-edit"))
    aggregated = "rbac.authorization.k8s.io/aggregate-to-"
    assert {key for key in view["metadata"]["labels"] if key.startswith(aggregated)} == {f"{aggregated}view"}
    assert {key for key in edit["metadata"]["labels"] if key.startswith(aggregated)} == {
        f"{aggregated}edit",
        f"{aggregated}admin",
    }
    assert grants(view["rules"])["flywheel.dev", kind] == {"get", "list", "watch"}
    assert {"create", "update", "patch", "delete"} <= grants(edit["rules"])["flywheel.dev", kind]
    assert grants(edit["rules"])["flywheel.dev", f"{kind}/status"] == {"get"}


def test_kinds_of_ones_own_are_searched_for_leftovers():
    assert operator_grants("everything")["example.com", "widgets"] == {"list"}
    assert ("example.com", "widgets") not in operator_grants("default")


@pytest.mark.parametrize(
    ("switch", "group"),
    [("routes", "gateway.networking.k8s.io"), ("monitoring", "monitoring.coreos.com"), ("keda", "keda.sh")],
)
def test_what_not_every_cluster_has_can_be_left_out(switch, group):
    rendered = of_operator(objects({"rbac": {switch: False}}))
    rules = [rule for role in of_kind(rendered, "ClusterRole") for rule in role["rules"]]
    assert not any(found == group for found, _ in grants(rules))
    assert any(found == group for found, _ in operator_grants("default"))


def test_the_helm_test_may_only_try_to_create():
    rendered = objects()
    role = one(rendered, "Role", "-test")
    assert grants(role["rules"]) == {("flywheel.dev", "campaigns"): {"create"}}
    assert (
        one(rendered, "Pod")["spec"]["serviceAccountName"]
        == one(rendered, "ServiceAccount", "-test")["metadata"]["name"]
    )
