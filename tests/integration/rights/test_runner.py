"""What a runner's real token is worth: the queue of its own node, the progress of its own pod, and nothing else."""

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

import pytest

from tests.e2e.waiting import eventually
from tests.integration.rights.conftest import JOBS, NODES, RUNNER, Installed, make_pod, prepare_namespace
from tests.integration.rights.requester import Answer, Json, Requester
from tests.tools.chart import NAMESPACE

pytestmark = pytest.mark.integration

OWN, OTHER = NODES
LEASES = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases"
PODS = f"/api/v1/namespaces/{JOBS}/pods"


@pytest.fixture
def runner(installed: Installed) -> Requester:
    """The pod on the first node."""
    return installed.runners[OWN]


def grant(lease: Json) -> None:
    """The next grant, of the first slot."""
    grants(1, 1)(lease)


def grants(holders: int, transitions: int, first: int = 1) -> Callable[[Json], object]:
    """So many new holders of a slot each, and the number of grants raised by so many; the first fence is so many after the newest."""

    def change(lease: Json) -> None:
        before = lease["spec"].get("leaseTransitions", 0)
        fence = int(lease["metadata"]["annotations"].get("imagejob.dev/epoch", "0")) + before + first
        new = [{"slot": n, "id": f"a{n}", "pod": "team-a/on-node-1", "fence": fence + n, "beat": 0} for n in range(holders)]
        lease["metadata"]["annotations"]["imagejob.dev/holders"] = json.dumps(new, separators=(",", ":"))
        lease["spec"].update(
            holderIdentity=",".join(["team-a/on-node-1"] * holders),
            leaseTransitions=before + transitions,
            renewTime="2026-05-04T10:00:00.000000Z",
        )

    return change


def write(installed: Installed, who: Requester, node: str, change: Callable[[Json], object], limit: str = "gpu") -> Answer:
    """Writes a changed Lease, with the version that was read."""
    path, lease = installed.lease(node, limit)
    changed = copy.deepcopy(lease)
    change(changed)
    return who.ask("PUT", path, changed)


def annotate(name: str, value: str) -> Callable[[Json], object]:
    return lambda lease: lease["metadata"]["annotations"].update({name: value})


# --- Leases ---


@pytest.mark.parametrize("limit", ["gpu", "disk"])
def test_the_lease_of_its_own_node(installed: Installed, runner: Requester, limit: str) -> None:
    _, before = installed.lease(OWN, limit)
    answer = write(installed, runner, OWN, grant, limit)
    assert answer.status == HTTPStatus.OK, answer.message
    assert answer.content["spec"]["leaseTransitions"] == before["spec"].get("leaseTransitions", 0) + 1
    assert '"id":"a0"' in answer.content["metadata"]["annotations"]["imagejob.dev/holders"]
    assert runner.ask("GET", f"{LEASES}/{OWN}").status == HTTPStatus.OK


@pytest.mark.parametrize("limit", ["gpu", "disk"])
def test_the_lease_of_another_node(installed: Installed, runner: Requester, limit: str) -> None:
    answer = write(installed, runner, OTHER, grant, limit)
    assert answer.status == HTTPStatus.UNPROCESSABLE_ENTITY
    assert answer.message.endswith(
        'a Lease may be changed only from pods on its own node: this one is of node "node-2", '
        'and the request comes from a pod on node "node-1"'
    )


ANNOTATION = (
    "only the imagejob operator may change a Lease's annotations other than imagejob.dev/holders and imagejob.dev/queue; the number of "
    "slots, and whether the limit is active, follow from the NodeLimit"
)
GRANTS = "spec.leaseTransitions counts grants: a write may raise it by the slots that it newly gives, and by no more than there are"
SIZE = "holders and queue of a Lease may have 65536 characters together"
METADATA = "only the imagejob operator may change a Lease's labels, owner references and finalizers"


@dataclass(frozen=True)
class Forbidden:
    """A change that only the operator may make."""

    name: str
    change: Callable[[Json], object]
    message: str


@pytest.mark.parametrize(
    "forbidden",
    [
        Forbidden("more slots", annotate("imagejob.dev/slots", "9"), ANNOTATION),
        Forbidden("no slots", lambda lease: lease["metadata"]["annotations"].pop("imagejob.dev/slots"), ANNOTATION),
        Forbidden("inactive", annotate("imagejob.dev/active", "false"), ANNOTATION),
        Forbidden("a longer hold", annotate("imagejob.dev/max-hold", "99999"), ANNOTATION),
        Forbidden("a higher priority", annotate("imagejob.dev/max-priority", "99"), ANNOTATION),
        Forbidden("any annotation", annotate("example.com/note", "x"), ANNOTATION),
        Forbidden("another node", lambda lease: lease["metadata"]["labels"].update({"imagejob.dev/node": OTHER}), METADATA),
        Forbidden("out of reach", lambda lease: lease["metadata"]["labels"].pop("imagejob.dev/limit"), METADATA),
        Forbidden("no labels", lambda lease: lease["metadata"].pop("labels"), METADATA),
        Forbidden("no owner", lambda lease: lease["metadata"].pop("ownerReferences"), METADATA),
        Forbidden("stays for ever", lambda lease: lease["metadata"].update(finalizers=["example.com/stay"]), METADATA),
        Forbidden(
            "duration",
            lambda lease: lease["spec"].update(leaseDurationSeconds=3600),
            "only the imagejob operator may change spec.leaseDurationSeconds, which follows from the NodeLimit",
        ),
        Forbidden(
            "fence",
            lambda lease: lease["spec"].update(leaseTransitions=1),
            "spec.leaseTransitions is the fence of the newest grant and never goes back",
        ),
        Forbidden("all fences", lambda lease: lease["spec"].update(leaseTransitions=2**31 - 1), GRANTS),
        Forbidden("a fence for nobody", lambda lease: lease["spec"].update(leaseTransitions=lease["spec"]["leaseTransitions"] + 1), GRANTS),
        Forbidden("a fence too many", grants(holders=1, transitions=2), GRANTS),
        Forbidden("more holders than slots", grants(holders=3, transitions=3), GRANTS),
        Forbidden("size", annotate("imagejob.dev/queue", "x" * 65_537), SIZE),
    ],
    ids=lambda forbidden: forbidden.name,
)
def test_what_only_the_operator_may_change(installed: Installed, runner: Requester, forbidden: Forbidden) -> None:
    raised = write(installed, installed.operator, OWN, lambda lease: lease["spec"].update(leaseTransitions=1000))
    assert raised.status == HTTPStatus.OK, raised.message
    answer = write(installed, runner, OWN, forbidden.change)
    assert answer.status == HTTPStatus.UNPROCESSABLE_ENTITY
    assert answer.message.endswith(f"denied request: {forbidden.message}")


@pytest.mark.parametrize("epoch", [0, 1_764_321_352_000_000])
def test_as_many_grants_as_there_are_slots(installed: Installed, runner: Requester, epoch: int) -> None:
    begun = write(installed, installed.operator, OWN, annotate("imagejob.dev/epoch", str(epoch)))
    assert begun.status == HTTPStatus.OK, begun.message
    old = write(installed, runner, OWN, grants(holders=1, transitions=1, first=0))
    assert old.message.endswith(GRANTS), "a fence that is none of the new ones"
    answer = write(installed, runner, OWN, grants(holders=2, transitions=2))
    assert answer.status == HTTPStatus.OK, answer.message


HIGHER = "no holder may have a fence above the epoch and spec.leaseTransitions, which is that of the newest grant"


@pytest.mark.parametrize(
    "fence",
    [f'"fence":{10**15 + 2**31 - 1}', f'"fence" \n : \t {10**15 + 8}', f'"f\\u0065nce":{10**15 + 8}', f'"fence":7,"fence":{10**19}'],
)
def test_a_fence_above_that_of_the_newest_grant(installed: Installed, runner: Requester, fence: str) -> None:
    """Whoever mends such a Lease goes on from its highest fence: it would use up all that there are."""
    begun = write(installed, installed.operator, OWN, lambda lease: begin(lease, 10**15, 7))
    assert begun.status == HTTPStatus.OK, begun.message
    answer = write(installed, runner, OWN, annotate("imagejob.dev/holders", f'[{{"slot":0,"id":"a","pod":"team-a/p",{fence},"beat":0}}]'))
    assert answer.status == HTTPStatus.UNPROCESSABLE_ENTITY
    assert answer.message.endswith(HIGHER)


def begin(lease: Json, epoch: int, transitions: int) -> None:
    lease["metadata"]["annotations"].update({"imagejob.dev/epoch": str(epoch), "imagejob.dev/holders": "[]"})
    lease["spec"].update(leaseTransitions=transitions)


def test_whoever_holds_a_slot_of_a_lease_that_is_too_long_can_leave(installed: Installed, runner: Requester) -> None:
    made = write(installed, installed.operator, OWN, grants(holders=1000, transitions=1000), "disk")
    assert made.status == HTTPStatus.OK, made.message
    assert len(made.content["metadata"]["annotations"]["imagejob.dev/holders"]) > 65_536

    def leave(lease: Json) -> None:
        holders = json.loads(lease["metadata"]["annotations"]["imagejob.dev/holders"])
        lease["metadata"]["annotations"]["imagejob.dev/holders"] = json.dumps(holders[1:], separators=(",", ":"))

    longer = write(installed, runner, OWN, annotate("imagejob.dev/queue", '[{"id":"q","pod":"team-a/q","priority":0}]'), "disk")
    assert longer.message.endswith(f"denied request: {SIZE}")
    for change in (leave, annotate("imagejob.dev/holders", "[]")):
        answer = write(installed, runner, OWN, change, "disk")
        assert answer.status == HTTPStatus.OK, answer.message


@pytest.mark.parametrize(
    ("queue", "allowed"),
    [
        ('[{"id":"a","pod":"p","priority":10},{"id":"b","pod":"p","priority":-99999}]', True),
        ('[{"id":"a","pod":"p","priority":9},{"id":"b","pod":"p","priority":11}]', False),
        ('[{"id":"a","pod":"p","priority" \n : \t 1000000000000000}]', False),
        ('[{"id":"a","pod":"p","priority":1,"priority":11}]', False),
        ('[{"id":"a","pod":"p","prior\\u0069ty":11}]', False),
    ],
)
def test_the_highest_priority_in_the_queue(installed: Installed, runner: Requester, queue: str, allowed: bool) -> None:  # noqa: FBT001  a column
    bounded = write(installed, installed.operator, OWN, annotate("imagejob.dev/max-priority", "10"))
    assert bounded.status == HTTPStatus.OK, bounded.message
    answer = write(installed, runner, OWN, annotate("imagejob.dev/queue", queue))
    assert answer.status == (HTTPStatus.OK if allowed else HTTPStatus.UNPROCESSABLE_ENTITY), answer.message
    if not allowed:
        said = "nobody may wait in this queue with a priority above 10, which follows from the maxPriority of the NodeLimit"
        assert answer.message.endswith(said)


# --- pods ---

NOTHING_ELSE = "a runner may change nothing of its pod but the annotation imagejob.dev/progress"


def test_the_progress_of_its_own_pod(runner: Requester) -> None:
    for progress in ('{"images":{"succeeded":1}}', '{"images":{"succeeded":2}}', None):
        answer = runner.ask("PATCH", f"{PODS}/on-{OWN}", {"metadata": {"annotations": {"imagejob.dev/progress": progress}}})
        assert answer.status == HTTPStatus.OK, answer.message


@pytest.mark.parametrize(
    "patch",
    [
        {"metadata": {"annotations": {"example.com/note": "x"}}},
        {"metadata": {"annotations": {"imagejob.dev/progress": "{}", "example.com/note": "x"}}},
        {"metadata": {"labels": {"imagejob.dev/member": None}}},
        {"metadata": {"finalizers": ["example.com/stay"]}},
        {"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": OWN, "uid": "x"}]}},
        {"spec": {"activeDeadlineSeconds": 5}},
    ],
    ids=str,
)
def test_anything_else_of_its_own_pod(runner: Requester, patch: Json) -> None:
    answer = runner.ask("PATCH", f"{PODS}/on-{OWN}", patch)
    assert answer.status == HTTPStatus.UNPROCESSABLE_ENTITY
    assert answer.message.endswith(NOTHING_ELSE)


def test_the_image_of_its_own_pod(installed: Installed, runner: Requester) -> None:
    (container,) = installed.operator.get(f"{PODS}/on-{OWN}")["spec"]["containers"]
    answer = runner.ask("PATCH", f"{PODS}/on-{OWN}", {"spec": {"containers": [{**container, "image": "other:1"}]}})
    assert answer.status == HTTPStatus.UNPROCESSABLE_ENTITY
    assert answer.message.endswith(NOTHING_ELSE)


def test_progress_without_end(runner: Requester) -> None:
    answer = runner.ask("PATCH", f"{PODS}/on-{OWN}", {"metadata": {"annotations": {"imagejob.dev/progress": "x" * 4097}}})
    assert answer.status == HTTPStatus.UNPROCESSABLE_ENTITY
    assert answer.message.endswith("the annotation imagejob.dev/progress may have 4096 characters")


def test_the_progress_of_another_pod(runner: Requester) -> None:
    answer = runner.ask("PATCH", f"{PODS}/on-{OTHER}", {"metadata": {"annotations": {"imagejob.dev/progress": "{}"}}})
    assert answer.status == HTTPStatus.UNPROCESSABLE_ENTITY
    assert answer.message.endswith(
        "a runner may change its own pod only: this one is team-a/on-node-2, and the request comes from the pod "
        '"on-node-1" of system:serviceaccount:team-a:imagejob-runner'
    )


def test_a_pod_of_the_same_name_in_another_namespace(installed: Installed, runner: Requester) -> None:
    """RBAC refuses it; and where somebody bound this account there, too, the policy does."""
    installed.plane.kubectl("create", "namespace", "team-b")
    prepare_namespace(installed.operator, "team-b")
    make_pod(installed.plane, "team-b", f"on-{OWN}", OWN)
    path, patch = f"/api/v1/namespaces/team-b/pods/on-{OWN}", {"metadata": {"annotations": {"imagejob.dev/progress": "{}"}}}
    assert runner.ask("PATCH", path, patch).status == HTTPStatus.FORBIDDEN
    installed.plane.kubectl(
        "create", "rolebinding", "too-much", "--namespace=team-b", f"--clusterrole={RUNNER}", f"--serviceaccount={JOBS}:{RUNNER}"
    )
    eventually(lambda: runner.ask("PATCH", path, patch).status, HTTPStatus.UNPROCESSABLE_ENTITY)


# --- what RBAC does not allow ---


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", LEASES),
        ("GET", LEASES),
        ("DELETE", f"{LEASES}/{OWN}"),
        ("DELETE", LEASES),
        ("PATCH", f"{LEASES}/{OWN}"),
        ("GET", f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{OWN}"),
        ("GET", f"/api/v1/namespaces/{JOBS}/secrets"),
        ("GET", f"/api/v1/namespaces/{JOBS}/secrets/any"),
        ("GET", f"/api/v1/namespaces/{NAMESPACE}/secrets"),
        ("GET", PODS),
        ("GET", f"{PODS}/on-{OWN}"),
        ("POST", PODS),
        ("PUT", f"{PODS}/on-{OWN}"),
        ("DELETE", f"{PODS}/on-{OWN}"),
        ("PATCH", f"{PODS}/on-{OWN}/status"),
        ("POST", f"{PODS}/on-{OWN}/exec"),
        ("PATCH", f"/api/v1/nodes/{OWN}"),
        ("GET", f"/apis/imagejob.dev/v1alpha1/namespaces/{JOBS}/imagejobs"),
        ("PATCH", "/apis/imagejob.dev/v1alpha1/nodelimits/gpu"),
        ("POST", f"/apis/rbac.authorization.k8s.io/v1/namespaces/{JOBS}/rolebindings"),
        ("POST", f"/api/v1/namespaces/{JOBS}/serviceaccounts/{RUNNER}/token"),
    ],
)
def test_what_rbac_does_not_allow(runner: Requester, method: str, path: str) -> None:
    answer = runner.ask(method, path, None if method in ("GET", "DELETE") else {})
    assert answer.status == HTTPStatus.FORBIDDEN
    assert f'User "system:serviceaccount:{JOBS}:{RUNNER}" cannot' in answer.message
