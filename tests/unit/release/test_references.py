"""ConfigMaps and Secrets of a pod template: all found, and all pointed to the copies."""

import copy

from flywheel.release.references import Reference, pointed, references

TEMPLATE = {
    "metadata": {"labels": {}},
    "spec": {
        "initContainers": [{"name": "prepare", "envFrom": [{"configMapRef": {"name": "init"}}]}],
        "containers": [
            {
                "name": "web",
                "env": [
                    {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "a"}}},
                    {"name": "B", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "b", "optional": True}}},
                    {"name": "C", "value": "settings"},
                    {"name": "D", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                ],
                "envFrom": [{"secretRef": {"name": "more-keys"}}],
            }
        ],
        "volumes": [
            {"name": "one", "configMap": {"name": "files", "optional": True}},
            {"name": "two", "secret": {"secretName": "certificate"}},
            {
                "name": "three",
                "projected": {
                    "sources": [
                        {"configMap": {"name": "settings"}},
                        {"secret": {"name": "keys"}},
                        {"serviceAccountToken": {"path": "token"}},
                    ]
                },
            },
            {"name": "four", "emptyDir": {}},
        ],
    },
}


def test_every_place_is_found_and_required_wins() -> None:
    assert references(TEMPLATE) == (
        Reference("ConfigMap", "files", optional=True),
        Reference("ConfigMap", "init"),
        Reference("ConfigMap", "settings"),
        Reference("Secret", "certificate"),
        Reference("Secret", "keys"),
        Reference("Secret", "more-keys"),
    )


def test_every_place_is_pointed_to_the_copy_and_nothing_else_changes() -> None:
    before = copy.deepcopy(TEMPLATE)
    copies = {(each.kind, each.name): f"{each.name}-copy" for each in references(TEMPLATE)}
    made = pointed(TEMPLATE, copies)
    assert before == TEMPLATE
    assert {each.name for each in references(made)} == {f"{each.name}-copy" for each in references(TEMPLATE)}
    assert made["spec"]["containers"][0]["env"][2] == {"name": "C", "value": "settings"}
    assert pointed(TEMPLATE, {}) == TEMPLATE
