"""What the chart renders, whole."""

from pathlib import Path

import pytest
from deploy.generate import CHART
from tests.unit.chart.rendering import CASES, helm, objects, of_kind, of_operator, one, render
from tests.unit.chart.shapes import findings

GOLDEN = Path(__file__).parent / "golden"
OF_THE_PROMETHEUS_OPERATOR = {"ServiceMonitor", "PrometheusRule"}


@pytest.mark.parametrize("case", CASES)
def test_renders_as_the_golden_file_says(case, update_golden):
    rendered = render(CASES[case])
    golden = GOLDEN / f"{case}.yaml"
    if update_golden:
        golden.write_text(rendered)
    assert rendered == golden.read_text(), "render again with UPDATE_GOLDEN=1 and read the difference before committing"


def test_every_golden_file_has_a_case():
    assert {path.stem for path in GOLDEN.glob("*.yaml")} == set(CASES)


@pytest.mark.parametrize("case", CASES)
def test_lint_finds_nothing(case):
    said = helm("lint", "--strict", str(CHART), values=CASES[case])
    assert isinstance(said, str), said


@pytest.mark.parametrize("case", CASES)
def test_every_object_has_the_shape_that_kubernetes_knows(case):
    ours = [each for each in objects(CASES[case]) if each["kind"] not in OF_THE_PROMETHEUS_OPERATOR]
    assert ours
    assert [found for each in ours for found in findings(each)] == []


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        ({"replica": 1}, "Deployment.spec.replica: Extra inputs are not permitted"),
        ({"replicas": "1"}, "Deployment.spec.replicas: Input should be a valid integer"),
        (
            {"selector": None},
            "Deployment.spec.selector: Input should be a valid dictionary",
        ),
        ({"template": {"spec": {}}}, "Deployment.spec.template.spec.containers: Field required"),
    ],
)
def test_the_shape_check_finds_mistakes(change, finding):
    deployment = one(objects(), "Deployment")
    deployment["spec"] |= change
    [found] = findings(deployment)
    assert found.startswith(finding)


@pytest.mark.parametrize("case", CASES)
def test_no_two_objects_share_a_name(case):
    keys = [
        (each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"]) for each in objects(CASES[case])
    ]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize("case", CASES)
def test_every_object_names_its_namespace_or_has_none(case):
    cluster_wide = {"ClusterRole", "ClusterRoleBinding", "APIService"}
    for each in objects(CASES[case]):
        assert ("namespace" in each["metadata"]) == (each["kind"] not in cluster_wide), each["metadata"]["name"]


def test_two_releases_of_one_name_in_two_namespaces_do_not_share_the_operators_role():
    blue, green = (
        {each["metadata"]["name"] for each in of_kind(objects(values, "--namespace", namespace), "ClusterRole")}
        for values in ({"rbac": {"userRoles": False}},)
        for namespace in ("blue", "green")
    )
    assert blue
    assert not blue & green


def test_the_longest_release_name_leaves_names_valid():
    names = [each["metadata"]["name"] for each in objects(release="r" * 53)]
    assert max(len(name) for name in names if name.endswith(("-test", "-uninstall", "-leader"))) <= 63
    assert len(one(objects(release="r" * 53), "Service")["metadata"]["name"]) <= 63


def test_a_disruption_budget_comes_with_the_second_replica():
    assert of_kind(of_operator(objects()), "PodDisruptionBudget") == []
    assert len(of_kind(of_operator(objects({"replicas": 2})), "PodDisruptionBudget")) == 1


def test_the_operator_is_told_what_to_watch():
    def arguments(values):
        return one(objects(values), "Deployment")["spec"]["template"]["spec"]["containers"][0]["args"]

    assert "--all-namespaces" in arguments({})
    namespaced = arguments(CASES["namespaced"])
    assert [each for each in namespaced if "namespace" in each] == [
        "--namespace=shop",
        "--namespace=mall",
        "--lease-namespace=flywheel-system",
    ]


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ({}, "localhost/flywheel:0.1.0"),
        ({"repository": "r.example/f", "tag": "1.2.3"}, "r.example/f:1.2.3"),
        (
            {"repository": "r.example:5000/f", "tag": "x", "digest": "sha256:" + "0" * 64},
            "r.example:5000/f@sha256:" + "0" * 64,
        ),
    ],
)
def test_the_image_is_named_by_tag_or_digest(image, expected):
    rendered = objects({"image": image})
    images = {
        one(rendered, "Deployment")["spec"]["template"]["spec"]["containers"][0]["image"],
        one(rendered, "Job")["spec"]["template"]["spec"]["containers"][0]["image"],
        one(rendered, "Pod")["spec"]["containers"][0]["image"],
    }
    assert images == {expected}


def test_the_operator_is_told_the_images_that_it_starts():
    pinned = {"repository": "r.example/store", "digest": "sha256:" + "0" * 64}
    chosen = {name: {"repository": f"r.example/{name}", "tag": "7"} for name in ("edge", "browser", "content")}
    for given, edge, analytics, browser, content in (
        (
            {},
            "localhost/flywheel-edge:0.1.0",
            "localhost/flywheel-analytics:0.1.0",
            "localhost/flywheel-browser:0.1.0",
            "localhost/flywheel-content:0.1.0",
        ),
        (
            {"images": {**chosen, "analytics": pinned}},
            "r.example/edge:7",
            "r.example/store@sha256:" + "0" * 64,
            "r.example/browser:7",
            "r.example/content:7",
        ),
    ):
        arguments = one(objects(given), "Deployment")["spec"]["template"]["spec"]["containers"][0]["args"]
        assert f"--edge-image={edge}" in arguments
        assert f"--analytics-image={analytics}" in arguments
        assert f"--browser-image={browser}" in arguments
        assert f"--content-image={content}" in arguments


@pytest.mark.parametrize(("uninstall", "jobs"), [({}, 1), ({"check": False}, 0), ({"force": True}, 0)])
def test_uninstalling_asks_first_unless_told_otherwise(uninstall, jobs):
    hooks = of_kind(objects({"uninstall": uninstall}), "Job")
    assert len(hooks) == jobs
    assert all(each["metadata"]["annotations"]["helm.sh/hook"] == "pre-delete" for each in hooks)


def test_the_network_policy_covers_every_pod_of_the_chart():
    rendered = objects(CASES["everything"])
    wanted = one(rendered, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"].items()
    pods = [one(rendered, "Pod")["metadata"]]
    pods += [one(rendered, kind)["spec"]["template"]["metadata"] for kind in ("Deployment", "Job")]
    assert all(wanted <= pod["labels"].items() for pod in pods)


def test_selectors_find_the_operator_and_nothing_else():
    rendered = objects(CASES["everything"])
    operator = one(rendered, "Deployment")
    labels = operator["spec"]["template"]["metadata"]["labels"]
    others = [
        one(rendered, "Pod")["metadata"]["labels"],
        one(rendered, "Job")["spec"]["template"]["metadata"]["labels"],
    ]
    selectors = [
        operator["spec"]["selector"]["matchLabels"],
        one(rendered, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        one(rendered, "Service")["spec"]["selector"],
    ]
    for selector in selectors:
        assert selector.items() <= labels.items()
        assert not any(selector.items() <= other.items() for other in others)
    assert one(rendered, "ServiceMonitor")["spec"]["selector"]["matchLabels"].items() <= (
        one(rendered, "Service")["metadata"]["labels"].items()
    )
