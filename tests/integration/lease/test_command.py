"""`imagejob lease` and `NodeLimit` as a pod's environment makes them: they take part in the limits of the node."""

import json
import subprocess
import sys

import pytest

from tests.integration.lease.conftest import Limit

pytestmark = pytest.mark.integration

BLOCK = "from nodelease import NodeLimit\nwith NodeLimit('gpu', timeout=20) as holding: print(holding.fence)"


def run(limit: Limit, *command: str) -> "subprocess.CompletedProcess[str]":
    told = {
        "IMAGEJOB_LEASE_NAMESPACE": limit.namespace,
        "IMAGEJOB_NODE_NAME": limit.node,
        "IMAGEJOB_POD_NAMESPACE": "team-a",
        "IMAGEJOB_POD_NAME": "notebook-0",
    }
    return subprocess.run([sys.executable, *command], env=limit.plane.env | told, capture_output=True, text=True, check=False, timeout=100)


def lease(limit: Limit, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return run(limit, "-m", "imagejob_cli", "lease", *arguments)


def test_exec_holds_a_slot_of_the_node(limit: Limit) -> None:
    limit.make(slots=1)
    asks = f"{sys.executable} -m imagejob_cli lease status --json; echo $IMAGEJOB_FENCE"
    done = lease(limit, "exec", "gpu", "--", "sh", "-c", asks)
    assert done.returncode == 0, done.stderr
    status, fence = done.stdout.splitlines()
    (gpu,) = json.loads(status)["limits"]
    assert (gpu["name"], [holder["pod"] for holder in gpu["holders"]]) == ("gpu", ["team-a/notebook-0"])
    assert fence == "1"
    assert limit.state().ids == set()


def test_a_missing_limit_is_waited_for_and_named(limit: Limit) -> None:
    done = lease(limit, "exec", "gpu", "--timeout", "4s", "--", "true")
    assert done.returncode == 124
    assert f"namespace '{limit.namespace}' has no Lease '{limit.node}'" in done.stderr
    assert "lease define" not in done.stderr


def test_limits_are_not_made_from_a_pod(limit: Limit) -> None:
    limit.make(slots=1)
    done = lease(limit, "define", "gpu", "--slots", "9")
    assert done.returncode == 2
    assert "in a cluster a NodeLimit object makes and changes it" in done.stderr
    assert limit.state().slots == 1


def test_a_block_in_a_pod(limit: Limit) -> None:
    limit.make(slots=1)
    done = run(limit, "-c", BLOCK)
    assert done.stdout == "1\n", done.stderr
    assert limit.state().ids == set(), "given back before the process ended"
