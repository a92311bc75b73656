"""What a running pod's own token is worth; tests/integration/rights tries everything, with tokens of pods that do not run."""

from http import HTTPStatus
from typing import Any, Final

from tests.e2e.team import SECRET, Team, call

_NEIGHBOUR: Final[dict[str, Any]] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "neighbour"},
    "spec": {
        "schedulingGates": [{"name": "imagejob.dev/stays-without-a-node"}],
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [
            {
                "name": "main",
                "image": "none",
                "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            }
        ],
    },
}


def test_a_runners_token_is_worth_the_lease_of_its_own_node(team: Team, workers: list[str]) -> None:
    own, other = workers
    there = {"nodeSelector": {"kubernetes.io/hostname": own}}
    step = call("use_token", step="ask", other=other, secret=SECRET, neighbour=_NEIGHBOUR["metadata"]["name"])
    team.apply(_NEIGHBOUR, team.image_job("curious", [step], images=1, template=there))
    team.wait_until_finished("curious")
    (row,) = team.check_output("curious")
    assert row["outputs"]["ask"] == {
        "update own Lease": HTTPStatus.OK,
        "update other Lease": HTTPStatus.UNPROCESSABLE_ENTITY,
        "change slots": HTTPStatus.UNPROCESSABLE_ENTITY,
        "delete own Lease": HTTPStatus.FORBIDDEN,
        "read Secret": HTTPStatus.FORBIDDEN,
        "list Pods": HTTPStatus.FORBIDDEN,
        "patch other Pod": HTTPStatus.UNPROCESSABLE_ENTITY,
    }
