"""Names and objects of a cluster's Leases, and what a pod is told of itself."""

import copy
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagejob_api import pod as agreement
from nodelease import InvalidRequestError, LeaseClient, MalformedLeaseError, identity, transitions
from nodelease.codec import encode
from nodelease.kubernetes import environment, names
from nodelease.kubernetes.names import lease_labels, lease_name
from nodelease.kubernetes.objects import merged, new_lease, read_lease
from nodelease.local.processes import is_alive
from nodelease.state import LeaseState, Waiter

ENVIRONMENT = {
    "IMAGEJOB_LEASE_NAMESPACE": "imagejob-system",
    "IMAGEJOB_NODE_NAME": "worker",
    "IMAGEJOB_POD_NAMESPACE": "team-a",
    "IMAGEJOB_POD_NAME": "classify-0-x7k2p",
}
BUSY = transitions.request(transitions.request(LeaseState(slots=1), Waiter("a-1", "ns/a")), Waiter("b-1", "ns/b"))


def stored(state: LeaseState = BUSY, **metadata: Any) -> dict[str, Any]:  # noqa: ANN401  JSON
    lease = new_lease("gpu", "worker", node_uid="node-uid", namespace="imagejob-system", state=state)
    lease["metadata"] |= {"resourceVersion": "7", "uid": "u", "managedFields": [{"manager": "m"}], **metadata}
    return lease


@pytest.mark.parametrize(("limit", "name"), [("gpu", "worker"), ("licence", "licence.worker"), ("a.b", "a.b.worker")])
def test_names(limit: str, name: str) -> None:
    assert lease_name(limit, "worker") == name


@pytest.mark.parametrize(("limit", "node"), [("GPU", "worker"), ("", "worker"), ("../x", "worker"), ("gpu", ""), ("gpu", "n" * 64)])
def test_what_cannot_be_a_name(limit: str, node: str) -> None:
    with pytest.raises(InvalidRequestError):
        lease_name(limit, node)


def test_a_new_lease_is_its_nodes() -> None:
    lease = new_lease("licence", "worker", node_uid="node-uid", namespace="imagejob-system", state=LeaseState(slots=2))
    assert lease == {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": "licence.worker",
            "namespace": "imagejob-system",
            "labels": {
                "imagejob.dev/limit": "licence",
                "imagejob.dev/node": "worker",
                "app.kubernetes.io/managed-by": "imagejob",
            },
            "ownerReferences": [
                {
                    "apiVersion": "v1",
                    "kind": "Node",
                    "name": "worker",
                    "uid": "node-uid",
                    "controller": False,
                    "blockOwnerDeletion": False,
                }
            ],
            "annotations": {"imagejob.dev/slots": "2", "imagejob.dev/holders": "[]", "imagejob.dev/queue": "[]"},
        },
        "spec": {"leaseDurationSeconds": 30, "leaseTransitions": 0},
    }


def test_it_is_read_with_its_version() -> None:
    snapshot = read_lease(stored(), "gpu", "worker")
    assert (snapshot.version, snapshot.state) == ("7", BUSY)


@pytest.mark.parametrize(
    "labels", [None, {}, lease_labels("gpu", "other"), lease_labels("licence", "worker"), {"imagejob.dev/node": "worker"}]
)
def test_what_the_labels_do_not_say_is_not_taken(labels: dict[str, str] | None) -> None:
    with pytest.raises(MalformedLeaseError, match=r"label imagejob\.dev/"):
        read_lease(stored(labels=labels), "gpu", "worker")


def test_what_is_not_the_contracts_stays() -> None:
    lease = stored()
    lease["metadata"]["annotations"]["example.com/note"] = "keep"
    lease["metadata"]["finalizers"] = ["example.com/f"]
    lease["spec"]["strategy"] = "OldestEmulationVersion"
    before = copy.deepcopy(lease)
    written = merged(lease, LeaseState(slots=1, transitions=1))
    assert lease == before, "the object that was read is left alone"
    assert "managedFields" not in written["metadata"]
    assert written["metadata"]["annotations"]["example.com/note"] == "keep"
    assert written["metadata"] | {"annotations": None} == {
        key: value for key, value in lease["metadata"].items() if key != "managedFields"
    } | {"annotations": None}
    assert written["spec"] == {"strategy": "OldestEmulationVersion", "leaseDurationSeconds": 30, "leaseTransitions": 1}


def test_what_is_the_contracts_goes_when_it_ends() -> None:
    inactive = transitions.resize(LeaseState(slots=1), active=False)
    lease = merged(stored(), inactive)
    assert lease["metadata"]["annotations"]["imagejob.dev/active"] == "false"
    assert "holderIdentity" not in lease["spec"]
    assert "imagejob.dev/active" not in merged(lease, BUSY)["metadata"]["annotations"]


@given(st.lists(st.sampled_from(["a", "b", "c"])), st.integers(1, 3))
def test_what_is_written_is_read(pods: list[str], slots: int) -> None:
    state = LeaseState(slots=slots)
    for number, name in enumerate(pods):
        state = transitions.request(state, Waiter(f"{name}-{number}", f"ns/{name}"))
    assert read_lease(merged(stored(), state), "gpu", "worker").state == state


def test_the_operator_and_the_lease_use_the_same_names() -> None:
    assert (names.ENV_NODE, names.ENV_LEASE_NAMESPACE) == (agreement.ENV_NODE, agreement.ENV_LEASE_NAMESPACE)
    assert (names.ENV_POD_NAMESPACE, names.ENV_POD_NAME) == (agreement.ENV_NAMESPACE, agreement.ENV_POD)
    assert (names.LABEL_MANAGED_BY, names.MANAGED_BY) == (agreement.LABEL_MANAGED_BY, agreement.MANAGED_BY)


def test_a_pod_is_told_of_itself() -> None:
    assert environment.is_member(ENVIRONMENT)
    assert environment.pod(ENVIRONMENT) == "team-a/classify-0-x7k2p"


@pytest.mark.parametrize("name", ["IMAGEJOB_LEASE_NAMESPACE", "IMAGEJOB_NODE_NAME"])
def test_without_these_it_is_no_member(name: str) -> None:
    assert not environment.is_member(ENVIRONMENT | {name: ""})


@pytest.mark.parametrize("name", ["IMAGEJOB_POD_NAMESPACE", "IMAGEJOB_POD_NAME"])
def test_a_pod_that_does_not_know_itself_takes_nothing(name: str) -> None:
    with pytest.raises(InvalidRequestError, match=f"{name} is not set"):
        environment.pod({key: value for key, value in ENVIRONMENT.items() if key != name})


def test_ids_tell_where_a_request_comes_from() -> None:
    before = int(time.time())
    with LeaseClient(
        lambda _prefix: pytest.fail("no store is needed"), "ns/a", environment.container({"IMAGEJOB_CONTAINER": "my-main"})
    ) as client:
        request_id = client.new_stem() + "17"
        assert client.owns(request_id)
    found = identity.origin(request_id)
    assert found is not None
    assert before <= found.seconds <= time.time()
    assert found.container == "my-main"
    assert identity.origin(f"{identity.new_prefix()}-1.1") == found._replace(container="")
    assert is_alive(request_id.rpartition("-")[0])
    assert identity.origin("1.0123abcd-7") is None
    assert environment.container({}) == ""
    with pytest.raises(InvalidRequestError, match="IMAGEJOB_CONTAINER must be the name of the container"):
        environment.container({"IMAGEJOB_CONTAINER": "a.b"})


def test_a_lease_of_many_waiters_stays_small() -> None:
    state = LeaseState(slots=4)
    for number in range(250):  # more pods than a node has
        pod = f"{'n' * 30}/{'p' * 60}-{number}"
        state = transitions.request(state, Waiter(f"1.0123abcd-{number}", pod))
    assert sum(len(text) for text in encode(state)["metadata"]["annotations"].values()) < 64 * 1024
