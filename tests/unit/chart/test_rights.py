"""What the chart lets the operator do. Whoever changes the golden file changes what a stolen token of the operator is worth."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.tools.chart import Json, objects
from tests.unit.chart.rules import operator_rules

GOLDEN = Path(__file__).with_name("golden") / "operator-rules.yaml"

NAMESPACED: Json = {"watchNamespaces": ["team-a", "team-b"]}
TENANT: Json = {"watchNamespaces": ["team-a"], "limits": {"manage": False, "namespace": "shared"}}


def rules(values: Json | None = None) -> Iterator[Json]:
    for role in operator_rules(values).values():
        yield from role


def test_the_operators_rights() -> None:
    expected = yaml.safe_load(GOLDEN.read_text())
    assert operator_rules() == expected, "if this is meant: python -m tests.unit.chart.rules > tests/unit/chart/golden/operator-rules.yaml"


@pytest.mark.parametrize("values", [{}, NAMESPACED, TENANT], ids=["everywhere", "namespaced", "tenant"])
def test_no_right_is_worth_the_cluster(values: Json) -> None:
    for rule in rules(values):
        assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
        assert not {"secrets", "nodes/proxy", "pods/exec", "serviceaccounts/token"} & set(rule["resources"])
        assert not {"escalate", "impersonate"} & set(rule["verbs"])
        if "bind" in rule["verbs"]:
            assert (rule["resources"], rule["resourceNames"], rule["verbs"]) == (["clusterroles"], ["imagejob-runner"], ["bind"])
        if "pods" in rule["resources"]:
            assert not {"create", "update", "patch"} & set(rule["verbs"])


def test_in_namespaces_the_same_rights_in_these_only() -> None:
    everywhere, namespaced = operator_rules(), operator_rules(NAMESPACED)
    jobs = namespaced["Role team-a imagejob-operator"]
    limits = namespaced["ClusterRole imagejob-operator"]
    namespaces = {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get"]}
    assert everywhere["ClusterRole imagejob-operator"] == [*jobs, namespaces, *limits]
    assert namespaced["Role team-b imagejob-operator"] == jobs
    assert {resource for rule in limits for resource in rule["resources"]} == {"nodes", "nodelimits", "nodelimits/status"}
    assert set(namespaced) == {
        "ClusterRole imagejob-operator",
        "Role team-a imagejob-operator",
        "Role team-b imagejob-operator",
        "Role imagejob-system imagejob-operator-leases",
        "Role default imagejob-operator-events",
    }


def test_where_another_operator_manages_the_limits_there_are_no_rights_outside_of_namespaces() -> None:
    assert set(operator_rules(TENANT)) == {"Role team-a imagejob-operator", "Role shared imagejob-operator-leases"}


def test_the_operator_makes_no_default_limit_that_it_was_not_asked_for() -> None:
    assert not [
        rule for rule in rules({"nodeLimit": {"enabled": False}}) if "nodelimits" in rule["resources"] and "create" in rule["verbs"]
    ]


def role(kind: str, name: str, values: Json | None = None) -> list[Json]:
    (found,) = [each for each in objects(values) if each["kind"] == kind and each["metadata"]["name"] == name]
    given: list[Json] = found["rules"]
    return given


def test_what_runners_are_bound_to() -> None:
    assert role("ClusterRole", "imagejob-runner") == [{"apiGroups": [""], "resources": ["pods"], "verbs": ["patch"]}]
    unprotected = role("ClusterRole", "imagejob-runner", {"policies": {"enabled": False}})
    assert unprotected == [], "no policy would narrow it to the runner's own pod"
    leases = {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "watch", "update"]}
    assert role("Role", "imagejob-lease-user") == [leases]


def test_the_operator_holds_what_it_binds_pods_to_for_leases() -> None:
    """Else Kubernetes would refuse the RoleBinding, and it would need a further right to bind."""
    for values in ({}, TENANT):
        (held,) = [set(rule["verbs"]) for rule in rules(values) if "leases" in rule["resources"]]
        assert held >= {"get", "watch", "update"}


def test_people_get_their_rights_with_those_to_the_namespace() -> None:
    roles = {each["metadata"]["name"]: each for each in objects() if each["kind"] == "ClusterRole"}
    assert roles["imagejob-viewer"]["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-view"] == "true"
    assert roles["imagejob-editor"]["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-edit"] == "true"
    reading = {"get", "list", "watch"}
    assert all(set(rule["verbs"]) == reading for rule in roles["imagejob-viewer"]["rules"])
    written = {each for rule in roles["imagejob-editor"]["rules"] if set(rule["verbs"]) - reading for each in rule["resources"]}
    assert written == {"imagejobs", "imagepipelines"}, "limits are the administrator's, and status the operator's"
