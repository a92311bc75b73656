"""What every policy makes of every kind of token that a service account can have: only a pod's own is worth anything.

Whoever has Kubernetes' `edit` in a namespace may make any of these tokens, without any pod.
"""

import json
from http import HTTPStatus
from typing import Final

import pytest

from tests.integration.rights.conftest import JOBS, NODES, RUNNER, Installed
from tests.integration.rights.requester import Json, Requester
from tests.integration.rights.test_runner import LEASES, PODS, grant
from tests.tools.chart import NAMESPACE

pytestmark = pytest.mark.integration

OWN, OTHER = NODES
LEADER: Final = "leader-of-another-controller"
ALLOWED: Final = ""
NO_POD: Final = f'this one is of node "{OWN}", and the request comes from no pod'
NOT_ITS_POD: Final = f"a runner may change its own pod only: this one is {JOBS}/on-{OWN}, and the request comes from "
NO_LIMIT: Final = "of the Leases in this namespace pods may change those of node limits only, which carry the label imagejob.dev/limit"

TABLE: Final = {
    "nothing": ((), (NO_POD, NO_LIMIT, f"{NOT_ITS_POD}no pod")),
    "its pod": ((f"Pod/on-{OWN}",), (ALLOWED, NO_LIMIT, ALLOWED)),
    "a pod on another node": (
        (f"Pod/on-{OTHER}",),
        (f'and the request comes from a pod on node "{OTHER}"', NO_LIMIT, f'{NOT_ITS_POD}the pod "on-{OTHER}"'),
    ),
    "the node": ((f"Node/{OWN}",), (NO_POD, NO_LIMIT, f"{NOT_ITS_POD}no pod")),
    "a secret": (("Secret/any",), (NO_POD, NO_LIMIT, f"{NOT_ITS_POD}no pod")),
}
"""By what a token is bound to: what the policies for Leases, for other Leases and for pods say."""


@pytest.fixture(scope="module", autouse=True)
def _things(installed: Installed) -> None:
    """A Secret, and a Lease by which a controller elects a leader."""
    installed.plane.kubectl("create", "secret", "generic", "any", f"--namespace={JOBS}")
    leader = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": LEADER, "namespace": NAMESPACE}}
    installed.plane.kubectl("create", "-f", "-", stdin=json.dumps(leader))


@pytest.mark.parametrize("kind", TABLE)
def test_every_policy_and_every_token(installed: Installed, kind: str) -> None:
    plane = installed.plane
    bound, expected = TABLE[kind]
    flags = [flag for thing in bound for flag in _binding(thing)]
    who = Requester(plane, plane.kubectl("create", "token", RUNNER, f"--namespace={JOBS}", *flags).strip())

    path, lease = installed.lease(OWN)
    grant(lease)
    leader = installed.operator.get(f"{LEASES}/{LEADER}")
    leader["spec"]["holderIdentity"] = "thief"
    progress: Json = {"metadata": {"annotations": {"imagejob.dev/progress": "{}"}}}
    requests = (("PUT", path, lease), ("PUT", f"{LEASES}/{LEADER}", leader), ("PATCH", f"{PODS}/on-{OWN}", progress))
    for (method, address, body), refusal in zip(requests, expected, strict=True):
        answer = who.ask(method, address, body)
        assert answer.status == (HTTPStatus.UNPROCESSABLE_ENTITY if refusal else HTTPStatus.OK), answer.message
        assert refusal in answer.message


def _binding(thing: str) -> tuple[str, str]:
    kind, name = thing.split("/")
    return f"--bound-object-kind={kind}", f"--bound-object-name={name}"
