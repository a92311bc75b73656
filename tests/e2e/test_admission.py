"""The API server knows from a pod's token which node it runs on, and an admission policy can act on it: what Lease security stands on."""

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from tests.cluster.cluster import Cluster
from tests.e2e.pods import Pods
from tests.e2e.waiting import eventually

_OK = 200
_INVALID = 422
"""What a policy answers with when its rule gives no other reason."""

_REQUESTER = "request.userInfo.extra[?'authentication.kubernetes.io/node-name'].orValue([''])[0]"
_MESSAGE = "a pod may change the Lease of its own node only"


@pytest.fixture
def leases(cluster: Cluster, pods: Pods, workers: list[str]) -> Iterator[str]:
    """A Lease for each worker, which pods may patch as far as the policy lets them; gives their path in the API."""
    about = {"name": pods.namespace}
    namespace = {"name": pods.namespace, "namespace": pods.namespace}
    policy: dict[str, Any] = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": about,
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": pods.namespace}},
                "resourceRules": [
                    {"apiGroups": ["coordination.k8s.io"], "apiVersions": ["v1"], "resources": ["leases"], "operations": ["UPDATE"]}
                ],
            },
            "validations": [{"expression": f"object.metadata.name == {_REQUESTER}", "message": _MESSAGE}],
        },
    }
    rbac = "rbac.authorization.k8s.io"
    pods.apply(
        *(
            {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": worker}, "spec": {"holderIdentity": "nobody"}}
            for worker in workers
        ),
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "Role",
            "metadata": namespace,
            "rules": [{"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "patch"]}],
        },
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "RoleBinding",
            "metadata": namespace,
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": pods.namespace},
            "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": pods.namespace}],
        },
        policy,
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": about,
            "spec": {"policyName": pods.namespace, "validationActions": ["Deny"]},
        },
    )
    yield f"/apis/coordination.k8s.io/v1/namespaces/{pods.namespace}/leases"
    cluster.kubectl("delete", f"validatingadmissionpolicy/{pods.namespace}", f"validatingadmissionpolicybinding/{pods.namespace}")


def test_a_pod_changes_the_lease_of_its_own_node_and_no_other(pods: Pods, leases: str, workers: list[str]) -> None:
    def patch(pod: str, lease: str) -> int:
        status, answer = pods.ask_api_server(pod, "PATCH", f"{leases}/{lease}", json.dumps({"spec": {"holderIdentity": pod}}))
        assert (status == _OK) != (_MESSAGE in answer.get("message", ""))
        return status

    for number, worker in enumerate(workers):
        pods.serve(f"pod-{number}", worker)
    for number, own in enumerate(workers):
        other = workers[1 - number]
        eventually(partial(patch, f"pod-{number}", other), _INVALID)  # the API server takes a moment to notice a new policy
        assert patch(f"pod-{number}", own) == _OK
        assert patch(f"pod-{number}", other) == _INVALID
