"""Every mistake that the API server refuses, with the words that `kubectl apply` shows."""

import json
import re

import pytest

from tests.cluster.control_plane import ControlPlane
from tests.cluster.exceptions import CommandError
from tests.unit.api.objects import BROKEN, CHANGES, Broken, Change, Json, image_job, node_limit
from tests.unit.api.test_structural import INVALID

pytestmark = pytest.mark.integration

STARTED = {"status": {"observedGeneration": 1, "startTime": "2026-05-04T10:00:00Z"}}


def refusal(cluster: ControlPlane, value: Json, *flags: str) -> str:
    """What kubectl says about an object that cannot be applied."""
    with pytest.raises(CommandError) as raised:
        cluster.kubectl("apply", *flags, "-f", "-", stdin=json.dumps(value))
    return str(raised.value)


def problems(said: str) -> list[tuple[str, str]]:
    """Field and message of each problem in kubectl's words, without the value that it repeats."""
    one = re.fullmatch(r'The \w+ "[^"]*" is invalid: ([^\n]*)', said)
    lines = [one[1]] if one else re.findall(r"^\* (.*)$", said, re.MULTILINE)
    return [(line.partition(": ")[0], line) for line in lines]


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.name)
def test_a_broken_rule(cluster: ControlPlane, broken: Broken) -> None:
    said = refusal(cluster, broken.object, "--dry-run=server")
    ((field, message),) = problems(said)
    assert field == broken.path
    assert message.endswith(f": {broken.message}")


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.name)
def test_a_change(cluster: ControlPlane, namespace: str, change: Change) -> None:
    cluster.kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(change.before))
    if change.started:
        name = change.before["metadata"]["name"]
        cluster.kubectl("patch", "-n", namespace, f"imagejob/{name}", "--subresource=status", "--type=merge", "-p", json.dumps(STARTED))
    if change.message is None:
        cluster.kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(change.after))
        return
    said = refusal(cluster, change.after, "-n", namespace)
    ((_, message),) = problems(said)
    assert message.endswith(f": {change.message}")


@pytest.mark.parametrize("name", INVALID)
def test_what_the_schema_refuses(cluster: ControlPlane, name: str) -> None:
    """kubectl asks for strict validation, so unknown fields are refused, too."""
    assert refusal(cluster, INVALID[name], "--dry-run=server")


POD = "metadata.name must be lower-case letters, digits and dashes, at most 52, because pods are named after it"
LABEL = "metadata.name must be lower-case letters, digits and dashes, at most 63, because it becomes a label of Leases"


@pytest.mark.parametrize(("value", "message"), [(image_job("a" * 53), POD), (image_job("a.b"), POD), (node_limit("a.b"), LABEL)])
def test_a_name_that_would_fail_later(cluster: ControlPlane, value: Json, message: str) -> None:
    ((field, said),) = problems(refusal(cluster, value, "--dry-run=server"))
    assert field == "metadata.name"
    assert said.endswith(f": {message}")
