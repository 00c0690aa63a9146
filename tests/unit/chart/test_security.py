"""The restricted Pod Security Standard, for every pod that the chart starts."""

import pytest
from tests.unit.chart.rendering import CASES, objects, pod_specs

PODS = [(case, name) for case in CASES for name in pod_specs(objects(CASES[case]))]


@pytest.fixture
def spec(case, name):
    return pod_specs(objects(CASES[case]))[name]


pytestmark = pytest.mark.parametrize(("case", "name"), PODS)


def test_a_numeric_user_without_privileges(spec):
    pod = spec["securityContext"]
    assert pod["runAsNonRoot"] is True
    assert pod["runAsUser"] > 0
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in spec["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_nothing_of_the_host(spec):
    assert not {"hostNetwork", "hostPID", "hostIPC", "hostUsers"} & spec.keys()
    # A Secret is mounted where a person names one: what Git servers sign their calls with.
    kinds = [volume.keys() - {"name"} for volume in spec["volumes"] if volume["name"] != "webhook"]
    assert all(kind == {"emptyDir"} for kind in kinds)
    assert not any("hostPort" in port for container in spec["containers"] for port in container.get("ports", []))


def test_somewhere_to_write_and_bounds(spec):
    for container in spec["containers"]:
        mounts = [each for each in container["volumeMounts"] if each["name"] != "webhook"]
        assert mounts == [{"name": "tmp", "mountPath": "/tmp"}]
        assert all(each["readOnly"] for each in container["volumeMounts"] if each["name"] == "webhook")
        assert container["resources"] == {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}}
        assert container["terminationMessagePolicy"] == "FallbackToLogsOnError"
