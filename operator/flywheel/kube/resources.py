"""Where each kind lives in the API: a static table, as discovery costs calls and fails with the illest of all APIs."""

from dataclasses import dataclass

from flywheel.plan import GROUP, ObjectKey


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind of object in the version that we speak."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """As it stands in a manifest: `apps/v1`, or `v1` for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def name(self) -> str:
        """As kubectl names it: `deployments.apps`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def root(self) -> str:
        """The path of this API group and version."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """Give the path of a collection, an object or a subresource; without a namespace, of the whole cluster."""
        parts = [self.root]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        parts += [part for part in (name, subresource) if part]
        return "/".join(parts)


CAMPAIGN = Resource(GROUP, "v1alpha1", "Campaign", "campaigns")
ABTEST = Resource(GROUP, "v1alpha1", "ABTest", "abtests")
FRAUD_RULE = Resource(GROUP, "v1alpha1", "FraudRule", "fraudrules")
DEPLOYMENT = Resource("apps", "v1", "Deployment", "deployments")
SERVICE = Resource("", "v1", "Service", "services")
AUTOSCALER = Resource("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers")
DISRUPTION_BUDGET = Resource("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets")
SERVICE_ACCOUNT = Resource("", "v1", "ServiceAccount", "serviceaccounts")
CONFIG_MAP = Resource("", "v1", "ConfigMap", "configmaps")
HTTP_ROUTE = Resource("gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes")
EVENT = Resource("events.k8s.io", "v1", "Event", "events")
LEASE = Resource("coordination.k8s.io", "v1", "Lease", "leases")

STATEFUL_SET = Resource("apps", "v1", "StatefulSet", "statefulsets")
ROLE = Resource("rbac.authorization.k8s.io", "v1", "Role", "roles")
ROLE_BINDING = Resource("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings")
NETWORK_POLICY = Resource("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies")
POD_MONITOR = Resource("monitoring.coreos.com", "v1", "PodMonitor", "podmonitors")
PROMETHEUS_RULE = Resource("monitoring.coreos.com", "v1", "PrometheusRule", "prometheusrules")
SCALED_OBJECT = Resource("keda.sh", "v1alpha1", "ScaledObject", "scaledobjects")
ENDPOINT_SLICE = Resource("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices")
PERSISTENT_VOLUME_CLAIM = Resource("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims")
POD = Resource("", "v1", "Pod", "pods")
JOB = Resource("batch", "v1", "Job", "jobs")

FLINK_DEPLOYMENT = Resource("flink.apache.org", "v1beta1", "FlinkDeployment", "flinkdeployments")

OPTIONAL = frozenset({HTTP_ROUTE, POD_MONITOR, PROMETHEUS_RULE, SCALED_OBJECT, FLINK_DEPLOYMENT})
"""The kinds that a cluster need not know."""
CHILDREN = (
    DEPLOYMENT,
    STATEFUL_SET,
    SERVICE,
    AUTOSCALER,
    DISRUPTION_BUDGET,
    SERVICE_ACCOUNT,
    ROLE,
    ROLE_BINDING,
    CONFIG_MAP,
    NETWORK_POLICY,
    JOB,
    HTTP_ROUTE,
    POD_MONITOR,
    PROMETHEUS_RULE,
    SCALED_OBJECT,
    FLINK_DEPLOYMENT,
)
"""The kinds that are watched: what is made for a Campaign, and what the Campaigns of a namespace share."""

_TABLE = {
    (resource.group, resource.kind): resource
    for resource in (
        CAMPAIGN,
        ABTEST,
        FRAUD_RULE,
        *CHILDREN,
        ENDPOINT_SLICE,
        EVENT,
        LEASE,
        PERSISTENT_VOLUME_CLAIM,
        POD,
        Resource("", "v1", "Event", "events"),
        Resource("", "v1", "Namespace", "namespaces", namespaced=False),
        Resource("", "v1", "Node", "nodes", namespaced=False),
        Resource("", "v1", "Secret", "secrets"),
        Resource(
            "apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False
        ),
        Resource("apiregistration.k8s.io", "v1", "APIService", "apiservices", namespaced=False),
        Resource("apps", "v1", "ReplicaSet", "replicasets"),
        Resource("gateway.networking.k8s.io", "v1", "Gateway", "gateways"),
    )
}


def resource_of(key: ObjectKey) -> Resource:
    """Find the resource of an object.

    Raises:
        KeyError: For a kind that is not in the table: a mistake in our own code.
    """
    return resource_for(key.group, key.kind)


def resource_for(group: str, kind: str) -> Resource:
    """Find the resource of a kind; like `resource_of`."""
    try:
        return _TABLE[group, kind]
    except KeyError:
        raise KeyError(
            f"The kind {kind!r} of the group {group!r} is not in the table of flywheel.kube.resources."
        ) from None
