"""The strategic merge of podTemplate does what the real kubectl does, on generated templates and patches.

Lists are generated in the forms that merge (items with their keys) and with kubectl's directives. The order of a
merged list is documented for none of them, so items are compared by their keys. A directive or a null acts on something
that is there: where it is not, kubectl leaves the directive in the result, or drops what stands beside it. That is no
model for anybody, so it is not asked about.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.lab.cluster.client import Cluster

from flywheel.workload.merge import MERGE_KEYS, strategic_merge

EXAMPLES = int(os.environ.get("FLYWHEEL_MERGES", "40"))

Json = dict[str, Any]

names = st.sampled_from(["web", "proxy", "log"])
words = st.sampled_from(["a", "b", "c"])
numbers = st.integers(1, 4)


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Json]:
    """Any of the fields, each perhaps absent."""
    return st.fixed_dictionaries({}, optional=fields)


def keyed(key: str, values: st.SearchStrategy[Any], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Json]]:
    """A list whose items are told apart by `key`."""
    item = st.fixed_dictionaries({key: values}, optional=fields)
    return st.lists(item, max_size=3, unique_by=lambda each: each[key])


def patched(items: st.SearchStrategy[list[Json]], key: str) -> st.SearchStrategy[list[Json]]:
    """The same as a patch: some items are to be deleted, or the whole list to be replaced."""

    def with_directives(found: list[Json]) -> st.SearchStrategy[list[Json]]:
        deleted = st.lists(st.booleans(), min_size=len(found), max_size=len(found)).map(
            lambda flags: [
                {key: item[key], "$patch": "delete"} if flag else item for item, flag in zip(found, flags, strict=True)
            ]
        )
        replaced = st.just([{"$patch": "replace"}, *found])
        return st.one_of(st.just(found), st.just(found), deleted, replaced)

    return items.flatmap(with_directives)


def patched_map(fields: st.SearchStrategy[Json]) -> st.SearchStrategy[Json]:
    """A map as a patch: some fields are to be removed, or the whole map to be replaced."""
    removed = fields.map(lambda found: dict.fromkeys(found))
    return st.one_of(fields, fields, removed, fields.map(lambda found: {**found, "$patch": "replace"}))


resources = some(requests=some(cpu=words, memory=words), limits=some(cpu=words))
security = some(runAsUser=numbers, capabilities=some(add=st.lists(words, max_size=2), drop=st.lists(words, max_size=2)))
env = keyed("name", names, value=words)
ports = keyed("containerPort", numbers, name=words, hostPort=numbers)
mounts = keyed("mountPath", words, name=words, readOnly=st.booleans())
volumes = keyed("name", names, emptyDir=some(medium=words))
constraints = keyed("topologyKey", words, maxSkew=numbers, whenUnsatisfiable=st.just("DoNotSchedule"))
aliases = keyed("ip", words, hostnames=st.lists(words, max_size=2))
secrets = keyed("name", names)
tolerations = st.lists(some(key=words, operator=words), max_size=2)
selector = some(disk=words, zone=words)
labels = some(team=words, tier=words)

container = some(
    image=words,
    command=st.lists(words, max_size=2),
    env=env,
    ports=ports,
    volumeMounts=mounts,
    resources=resources,
    securityContext=security,
)
container_patch = some(
    image=st.none() | words,
    command=st.none() | st.lists(words, max_size=2),
    env=patched(env, "name"),
    ports=patched(ports, "containerPort"),
    volumeMounts=patched(mounts, "mountPath"),
    resources=patched_map(resources),
    securityContext=patched_map(security),
)


def containers(of: st.SearchStrategy[Json]) -> st.SearchStrategy[list[Json]]:
    named = st.tuples(names, of).map(lambda pair: {"name": pair[0], **pair[1]})
    return st.lists(named, max_size=3, unique_by=lambda each: each["name"])


templates = st.fixed_dictionaries(
    {},
    optional={
        "metadata": some(labels=labels, annotations=labels),
        "spec": some(
            containers=containers(container),
            initContainers=containers(container),
            volumes=volumes,
            topologySpreadConstraints=constraints,
            hostAliases=aliases,
            imagePullSecrets=secrets,
            tolerations=tolerations,
            nodeSelector=selector,
            terminationGracePeriodSeconds=numbers,
        ),
    },
)
patches = st.fixed_dictionaries(
    {},
    optional={
        "metadata": some(labels=patched_map(labels), annotations=patched_map(labels)),
        "spec": some(
            containers=patched(containers(container_patch), "name"),
            initContainers=patched(containers(container_patch), "name"),
            volumes=patched(volumes, "name"),
            topologySpreadConstraints=patched(constraints, "topologyKey"),
            hostAliases=patched(aliases, "ip"),
            imagePullSecrets=patched(secrets, "name"),
            tolerations=tolerations,
            nodeSelector=patched_map(selector),
            terminationGracePeriodSeconds=st.none() | numbers,
        ),
    },
)


class Kubectl:
    """The program itself, without a cluster: a local patch needs none."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self._program = shutil.which("kubectl", path=cluster.environment["PATH"]) or "kubectl"
        self._environment = {"PATH": cluster.environment["PATH"], "HOME": str(folder), "KUBECONFIG": os.devnull}
        self._before, self._change = folder / "before.json", folder / "patch.json"

    def __repr__(self) -> str:
        return "kubectl"

    def __call__(self, template: Json, patch: Json) -> Json:
        """Merge `patch` over `template`."""
        metadata = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "x"}}
        self._before.write_text(json.dumps({**metadata, "template": template}))
        self._change.write_text(json.dumps({"template": patch}))
        command = [self._program, "patch", "--local", "--type=strategic", "--output=json"]
        done = subprocess.run(
            [*command, f"--filename={self._before}", f"--patch-file={self._change}"],
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        found: Json = json.loads(done.stdout)["template"]
        return found


@pytest.fixture(scope="module")
def kubectl(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Kubectl:
    return Kubectl(cluster, tmp_path_factory.mktemp("merge"))


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(template=templates, patch=patches)
def test_templates_merge_as_with_kubectl(kubectl: Kubectl, template: Json, patch: Json) -> None:
    patch = acting_on(template, patch)
    ours = strategic_merge(template, patch)
    assert without_empty(by_key(ours)) == without_empty(by_key(kubectl(template, patch)))


def acting_on(base: Any, patch: Any, name: str = "") -> Any:
    """Leave out the directives and nulls of `patch` that find nothing in `base`."""
    if isinstance(patch, dict):
        there = base if isinstance(base, dict) else {}
        kept = {key: acting_on(there.get(key), each, key) for key, each in patch.items() if key != "$patch"}
        kept = {key: each for key, each in kept.items() if each is not None or key in there}
        return {**kept, "$patch": patch["$patch"]} if "$patch" in patch and base is not None else kept
    if not isinstance(patch, list) or name not in MERGE_KEYS:
        return patch
    key = MERGE_KEYS[name]
    there = {item[key]: item for item in base or []}
    if {"$patch": "replace"} in patch:
        items = [acting_on(None, item) for item in patch if key in item]
        return [{"$patch": "replace"}, *items] if base is not None else items
    known = [item for item in patch if item[key] in there or "$patch" not in item]
    return [acting_on(there.get(item[key]), item) for item in known]


def by_key(value: Any, name: str = "") -> Any:
    """Bring the lists that merge into one order."""
    if isinstance(value, dict):
        return {key: by_key(each, key) for key, each in value.items()}
    if isinstance(value, list) and name in MERGE_KEYS:
        items = [by_key(each) for each in value]
        return sorted(items, key=lambda item: str(item.get(MERGE_KEYS[name])) if isinstance(item, dict) else str(item))
    return [by_key(each) for each in value] if isinstance(value, list) else value


def without_empty(value: Any) -> Any:
    """Leave out what says nothing: kubectl prints typed objects, and an empty map or list is nothing to Kubernetes."""
    if isinstance(value, dict):
        kept = {key: without_empty(each) for key, each in value.items()}
        return {key: each for key, each in kept.items() if each not in (None, {}, [])}
    return [without_empty(each) for each in value] if isinstance(value, list) else value
