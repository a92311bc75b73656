"""What each value does to the manifests."""

import json
import tarfile
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from imagejob_operator.settings import Settings, parse_settings
from tests.cluster.exceptions import CommandError
from tests.tools.chart import CHART, NAMESPACE, Json, helm, objects
from tests.tools.chart_lint import VALUES, check_manifests

KINDS = ["ImageJob", "ImagePipeline", "NodeLimit"]


def of(kind: str, values: Json | None = None, **flags: str) -> list[Json]:
    return [each for each in objects(values, **flags) if each["kind"] == kind]


def names(found: list[Json]) -> set[str]:
    return {each["metadata"]["name"] for each in found}


def deployment(values: Json | None = None, **flags: str) -> Json:
    (found,) = of("Deployment", values, **flags)
    return found


def pod(values: Json | None = None) -> Json:
    spec: Json = deployment(values)["spec"]["template"]["spec"]
    return spec


def container(values: Json | None = None) -> Json:
    (found,) = pod(values)["containers"]
    given: Json = found
    return given


def settings(values: Json | None = None, **flags: str) -> Settings:
    """What the operator makes of its environment."""
    (found,) = deployment(values, **flags)["spec"]["template"]["spec"]["containers"]
    return parse_settings([], {variable["name"]: variable["value"] for variable in found["env"]})


# --- names ---


@pytest.mark.parametrize(
    ("release", "values", "name"),
    [
        ("imagejob", {}, "imagejob-operator"),
        ("my-imagejob", {}, "my-imagejob-operator"),
        ("vision", {}, "vision-imagejob-operator"),
        ("vision", {"nameOverride": "ij"}, "vision-ij-operator"),
        ("vision", {"fullnameOverride": "ij"}, "ij-operator"),
        ("v" * 53, {}, "v" * 40 + "-operator"),
    ],
)
def test_names_begin_with_the_release(release: str, values: Json, name: str) -> None:
    assert deployment(values, release=release)["metadata"]["name"] == name


def test_two_releases_share_no_object_of_the_cluster_but_the_kinds() -> None:
    def of_cluster(release: str) -> set[tuple[str, str]]:
        everything = objects(release=release)
        return {(each["kind"], each["metadata"]["name"]) for each in everything if "namespace" not in each["metadata"]}

    shared = of_cluster("one") & of_cluster("two")
    assert {kind for kind, _ in shared} == {"CustomResourceDefinition"}


def test_the_operator_is_told_the_names_of_this_release() -> None:
    told = settings(release="vision", namespace="vision-system")
    everything = names(objects(release="vision", namespace="vision-system"))
    assert told.namespace == "vision-system"
    assert (told.runner_service_account, told.runner_role, told.lease_role) == (
        "vision-imagejob-runner",
        "vision-imagejob-runner",
        "vision-imagejob-lease-user",
    )
    assert {told.runner_role, told.lease_role} <= everything


def test_the_names_of_a_release_called_imagejob_are_the_operators_defaults() -> None:
    told, default = settings(), Settings()
    for name in ("namespace", "runner_service_account", "runner_role", "lease_role", "port"):
        assert getattr(told, name) == getattr(default, name)


# --- what is installed ---


def test_the_kinds_stay_when_the_release_goes() -> None:
    kept = of("CustomResourceDefinition")
    assert [each["spec"]["names"]["kind"] for each in kept] == KINDS
    assert all(each["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"} for each in kept)
    assert not any("annotations" in each["metadata"] for each in of("CustomResourceDefinition", {"crds": {"keep": False}}))
    assert of("CustomResourceDefinition", {"crds": {"enabled": False}}) == []


def test_the_kinds_are_those_of_the_models() -> None:
    for installed in of("CustomResourceDefinition"):
        plural = installed["spec"]["names"]["plural"]
        assert installed["spec"] == yaml.safe_load((CHART.parents[1] / "crds" / f"{plural}.yaml").read_text())["spec"]


@pytest.mark.parametrize(
    ("values", "kinds"),
    [
        ({"policies": {"enabled": False}}, {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}),
        ({"rbac": {"create": False}}, {"ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"}),
        ({"serviceAccount": {"create": False, "name": "mine"}}, {"ServiceAccount"}),
        ({"metrics": {"service": {"enabled": False}}}, {"Service"}),
        ({"crds": {"enabled": False}}, {"CustomResourceDefinition"}),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else None,
)
def test_what_can_be_left_out(values: Json, kinds: set[str]) -> None:
    everything, rest = ({each["kind"] for each in objects(given)} for given in ({}, values))
    assert everything - rest == kinds


@pytest.mark.parametrize(
    ("values", "kind", "found"),
    [
        ({"metrics": {"podMonitor": {"enabled": True}}}, "PodMonitor", {"imagejob-operator", "imagejob-runner"}),
        ({"networkPolicy": {"enabled": True}}, "NetworkPolicy", {"imagejob-operator"}),
    ],
    ids=["PodMonitor", "NetworkPolicy"],
)
def test_what_is_off_unless_asked_for(values: Json, kind: str, found: set[str]) -> None:
    assert of(kind) == []
    assert names(of(kind, values)) == found


def test_people_get_no_roles_by_chance() -> None:
    roles = {"imagejob-viewer", "imagejob-editor", "imagejob-lease-viewer"}
    assert names(of("ClusterRole")) - names(of("ClusterRole", {"rbac": {"people": False}})) == roles
    labels = [each["metadata"]["labels"] for each in of("ClusterRole", {"rbac": {"aggregate": False}})]
    assert not [label for each in labels for label in each if "aggregate" in label]


# --- settings ---


def test_every_setting_of_the_values_reaches_the_operator() -> None:
    told = settings(
        {
            "watchNamespaces": ["team-a", "team-b"],
            "runner": {
                "image": {"registry": "r.example", "tag": "cuda", "pullPolicy": "Never"},
                "allowedModules": ["torchvision", "team.models"],
            },
            "operator": {
                "workers": 3,
                "statusSeconds": 1.5,
                "finishedPodsSeconds": 7200,
                "heartbeatSeconds": 2,
                "unhealthySeconds": 20,
                "logLevel": "DEBUG",
                "logFormat": "text",
            },
        }
    )
    assert told.watch_namespaces == ("team-a", "team-b")
    assert told.runner_image == "r.example/imagejob-runner:cuda"
    assert told.runner_image_pull_policy == "Never"
    assert told.allowed_modules == ("torchvision", "team.models")
    assert (told.workers, told.status_seconds, told.heartbeat_seconds, told.unhealthy_seconds) == (3, 1.5, 2, 20)
    assert told.finished_pods_seconds == 7200
    assert (told.log_level, told.log_format) == ("DEBUG", "text")


def limit(values: Json) -> Mapping[str, Any]:
    found = settings({"nodeLimit": values}).default_limit
    assert found is not None
    return {"name": found.metadata.name, **found.spec.model_dump(by_alias=True, exclude_none=True)}


def test_the_default_limit() -> None:
    bounds: Json = {"maxHold": "1m", "maxPriority": 1_000_000}
    default = {"name": "gpu", "slotsPerDevice": 1, "nodeSelector": {}, "overrides": [], "leaseDurationSeconds": 30, "active": True}
    assert limit({}) == {**default, **bounds}
    found = settings({}).default_limit
    assert found is not None
    assert not {"max_hold", "max_priority"} & found.spec.model_fields_set, "or an upgrade to this chart would set an administrator's back"
    given: Json = {"nodeSelector": {"gpu": "yes"}, "overrides": [{"node": "a", "slots": 8}], "leaseDurationSeconds": 10, "active": False}
    given |= {"maxHold": "90s", "maxPriority": 1_000_000}
    chosen = {"name": "gpu", "slots": 0, **given}
    assert limit({"slots": 0, **given}) == chosen, "slots go before slotsPerDevice, 0 of them, too"
    assert settings({"nodeLimit": {"enabled": False}}).default_limit is None


def test_an_operator_that_manages_no_limits() -> None:
    told = settings({"limits": {"manage": False, "namespace": "shared"}})
    assert (told.manage_limits, told.namespace, told.default_limit) == (False, "shared", None)
    policies = of("ValidatingAdmissionPolicy", {"limits": {"manage": False, "namespace": "shared"}})
    assert names(policies) == {"imagejob-pods", "imagejob-sizes"}, "those for Leases come with whoever manages them"


# --- the pod ---


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ({}, "imagejob-operator:0.1.0"),
        ({"registry": "r.example:5000"}, "r.example:5000/imagejob-operator:0.1.0"),
        ({"repository": "mine/op", "tag": "2"}, "mine/op:2"),
        ({"tag": "2", "digest": "sha256:" + "0" * 64}, "imagejob-operator@sha256:" + "0" * 64),
    ],
)
def test_the_image(image: Json, name: str) -> None:
    assert container({"image": image})["image"] == name
    assert settings({"runner": {"image": image}}).runner_image == name.replace("imagejob-operator", "imagejob-runner")


def test_one_operator_at_a_time() -> None:
    spec = deployment()["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})


def test_the_pod_keeps_to_the_restricted_profile_and_writes_only_to_tmp() -> None:
    assert pod()["securityContext"]["runAsNonRoot"] is True
    assert pod()["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container()["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert [(mount["name"], mount["mountPath"]) for mount in container()["volumeMounts"]] == [("tmp", "/tmp")]  # noqa: S108  in the pod
    assert [set(volume) for volume in pod()["volumes"]] == [{"name", "emptyDir"}]


def test_the_probes_ask_the_port_that_the_operator_listens_on() -> None:
    (port,) = container()["ports"]
    assert port["containerPort"] == settings().port
    probes = {name: container()[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
    assert probes == {
        "startup": {"path": "/healthz", "port": port["name"]},
        "liveness": {"path": "/healthz", "port": port["name"]},
        "readiness": {"path": "/readyz", "port": port["name"]},
    }


@pytest.mark.parametrize(
    ("value", "given", "field"),
    [
        ("imagePullSecrets", [{"name": "r"}], "imagePullSecrets"),
        ("nodeSelector", {"a": "b"}, "nodeSelector"),
        ("tolerations", [{"operator": "Exists"}], "tolerations"),
        ("affinity", {"nodeAffinity": {}}, "affinity"),
        ("topologySpreadConstraints", [{"maxSkew": 1}], "topologySpreadConstraints"),
        ("priorityClassName", "high", "priorityClassName"),
    ],
)
def test_what_goes_to_the_pod_as_it_is(value: str, given: object, field: str) -> None:
    assert field not in pod()
    assert pod({value: given})[field] == given


def test_what_goes_to_the_container_as_it_is() -> None:
    found = container({"extraEnv": [{"name": "A", "value": "b"}], "extraArgs": ["--workers=1"], "resources": {"limits": {"memory": "1Gi"}}})
    assert found["env"][-1] == {"name": "A", "value": "b"}
    assert found["args"] == ["--workers=1"]
    assert found["resources"]["limits"]["memory"] == "1Gi"


def test_labels_and_annotations() -> None:
    values: Json = {
        "commonLabels": {"team": "vision"},
        "annotations": {"a": "1"},
        "podAnnotations": {"b": "2"},
        "podLabels": {"c": "3"},
        "serviceAccount": {"annotations": {"d": "4"}},
    }
    assert all(each["metadata"]["labels"]["team"] == "vision" for each in objects(values))
    found = deployment(values)
    template = found["spec"]["template"]["metadata"]
    assert (found["metadata"]["annotations"], template["annotations"], template["labels"]["c"]) == ({"a": "1"}, {"b": "2"}, "3")
    assert of("ServiceAccount", values)[0]["metadata"]["annotations"] == {"d": "4"}
    assert found["spec"]["selector"]["matchLabels"].items() <= template["labels"].items()


def test_the_services_selector_is_the_deployments() -> None:
    assert of("Service")[0]["spec"]["selector"] == deployment()["spec"]["selector"]["matchLabels"]


# --- monitors, network, policies ---


def test_the_runners_monitor_looks_where_runners_are() -> None:
    def where(values: Json) -> Json:
        monitors = of("PodMonitor", {"metrics": {"podMonitor": {"enabled": True}}, **values})
        (found,) = [each for each in monitors if each["metadata"]["name"] == "imagejob-runner"]
        spec: Json = found["spec"]
        return spec

    assert where({})["namespaceSelector"] == {"any": True}
    assert where({"watchNamespaces": ["team-a"]})["namespaceSelector"] == {"matchNames": ["team-a"]}
    assert where({})["podMetricsEndpoints"] == [{"port": "metrics", "path": "/metrics", "interval": "30s"}]


def test_the_network_policy() -> None:
    peer = {"podSelector": {"matchLabels": {"app": "prometheus"}}}
    values: Json = {
        "networkPolicy": {"enabled": True, "metricsFrom": [peer], "apiServer": {"ports": [6443], "cidrs": ["10.0.0.1/32"]}},
    }
    (found,) = of("NetworkPolicy", values)
    assert found["spec"]["podSelector"] == deployment()["spec"]["selector"]
    assert found["spec"]["ingress"] == [{"ports": [{"port": "http", "protocol": "TCP"}], "from": [peer]}]
    _, api_server = found["spec"]["egress"]
    assert api_server == {"ports": [{"port": 6443, "protocol": "TCP"}], "to": [{"ipBlock": {"cidr": "10.0.0.1/32"}}]}


def test_policies_fail_closed_and_deny() -> None:
    policies, bindings = of("ValidatingAdmissionPolicy"), of("ValidatingAdmissionPolicyBinding")
    assert {policy["spec"]["failurePolicy"] for policy in policies} == {"Fail"}
    assert {binding["spec"]["policyName"] for binding in bindings} == names(policies)
    assert [binding["spec"]["validationActions"] for binding in bindings] == [["Deny"]] * len(policies)
    explained = [{"message", "messageExpression"} & set(rule) for policy in policies for rule in policy["spec"]["validations"]]
    assert all(explained)


def test_users_can_be_exempt_from_the_policy_for_leases() -> None:
    user = "system:serviceaccount:backup:restore"
    (policy,) = [each for each in of("ValidatingAdmissionPolicy", {"policies": {"exemptUsers": [user]}}) if user in json.dumps(each)]
    assert policy["metadata"]["name"] == "imagejob-leases"


# --- notes, and the checks themselves ---


def test_the_chart_is_of_the_projects_version() -> None:
    project = tomllib.loads((CHART.parents[1] / "pyproject.toml").read_text())["project"]["version"]
    about = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (about["version"], about["appVersion"]) == (project, project)


def test_the_package_holds_no_values_of_tests(tmp_path: Path) -> None:
    helm("package", str(CHART), f"--destination={tmp_path}")
    (package,) = tmp_path.iterdir()
    with tarfile.open(package) as archive:
        found = set(archive.getnames())
    assert {"imagejob/values.schema.json", "imagejob/templates/crds/imagejobs.yaml", "imagejob/README.md"} <= found
    assert not [name for name in found if "/ci/" in name]


def notes(values: Json) -> str:
    flags = ("--dry-run=client", f"--namespace={NAMESPACE}", "--values=-")
    return helm("install", "imagejob", str(CHART), *flags, stdin=yaml.safe_dump(values)).partition("NOTES:")[2]


def test_notes() -> None:
    said = notes({})
    assert "in every namespace" in said
    assert "kubectl --namespace imagejob-system rollout status deployment/imagejob-operator" in said
    assert "WARNING" not in said
    for limits in ({}, {"nodeLimit": {"enabled": False}}):
        unprotected = notes({"policies": {"enabled": False}, **limits})
        assert "WARNING: policies.enabled is false" in unprotected
        assert "Runners are not allowed to report their progress" in unprotected
    assert "in team-a, team-b" in notes({"watchNamespaces": ["team-a", "team-b"]})
    assert "there is a NodeLimit `gpu`" in notes({"nodeLimit": {"enabled": False}})


def test_the_schemas_catch_a_mistake() -> None:
    wrong = deployment()
    wrong["spec"]["template"]["spec"]["restartpolicy"] = "Always"
    with pytest.raises(CommandError, match="restartpolicy"):
        check_manifests(yaml.safe_dump(wrong))


def test_the_linted_values_switch_everything_on() -> None:
    assert {path.name.removesuffix("-values.yaml") for path in VALUES} == {"default", "everything", "namespaced", "tenant"}
    everything = {each["kind"] for path in VALUES for each in objects(yaml.safe_load(path.read_text()))}
    assert {"PodMonitor", "NetworkPolicy"} <= everything
