"""Crashes are told when they happen, with the next attempt; what no attempt can help ends a job at once. Each within 15 s, with the fix."""

import json

import pytest

from imagejob_api.pod import LABEL_JOB
from imagejob_api.reasons import ConditionType
from tests.e2e.promptness import Measured, told
from tests.e2e.team import Team, call

MODEL = {
    "architecture": "efficientnet_lite_pytorch:EfficientNet.from_name",
    "arguments": {"model_name": "efficientnet-lite0"},
}
NO_TORCH = "raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')\n"


def events(team: Team, job: str) -> list[str]:
    """Reasons of the Events about an ImageJob."""
    selector = f"--field-selector=involvedObject.kind=ImageJob,involvedObject.name={job}"
    return [event["reason"] for event in json.loads(team.kubectl("get", "events", selector, "--output=json"))["items"]]


@pytest.mark.parametrize(
    ("function", "reason", "words"),
    [("segfault", "Crashed", "SIGSEGV"), ("use_up_memory", "OutOfMemory", "Give template.resources.limits.memory more")],
)
def test_the_first_crash_is_told(team: Team, measured: Measured, function: str, reason: str, words: str) -> None:
    job = team.image_job("crashes", [call(function, step="crash")], images=1, template={"resources": {"limits": {"memory": "512Mi"}}})
    condition = told(team, job, ConditionType.RETRYING, reason, measured)
    (pod, *_) = team.pods("crashes")
    assert words in condition["message"]
    assert pod["metadata"]["name"] in condition["message"]
    assert "It was attempt 1 of 4; the next begins at " in condition["message"]
    assert team.condition("crashes", ConditionType.STALLED)["reason"] == reason
    assert team.status("crashes")["reason"] == reason
    assert reason in events(team, "crashes")
    assert team.phase("crashes") == "Running"


def test_an_image_without_torch(team: Team, measured: Measured) -> None:
    team.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "hidden"}, "data": {"torch.py": NO_TORCH}})
    steps = [{"name": "download", "download": {}}, {"name": "classify", "infer": {"model": MODEL, "outputs": {"topK": {}}}}]
    job = team.image_job("torchless", steps, images=1)
    template = job["spec"]["template"]
    template["env"] = [variable | ({"value": "/opt/hidden"} if variable["name"] == "PYTHONPATH" else {}) for variable in template["env"]]
    template["volumes"].append({"name": "hidden", "configMap": {"name": "hidden"}})
    template["volumeMounts"].append({"name": "hidden", "mountPath": "/opt/hidden"})
    condition = told(team, job, ConditionType.FAILED, "InvalidJob", measured)
    assert "torch" in condition["message"]
    assert "template.image" in condition["message"]
    assert len(team.pods("torchless")) == 1


def test_an_image_without_the_runner(team: Team, operator_image: str, measured: Measured) -> None:
    job = team.image_job("empty", [call("work", seconds=0)], images=4, parallelism=2, chunkSize=1, template={"image": operator_image})
    condition = told(team, job, ConditionType.FAILED, "ContainerStartFailed", measured)
    assert f"The image {operator_image} has no imagejob-runner" in condition["message"]
    assert "template.image" in condition["message"]
    assert team.running("empty") == []
    assert LABEL_JOB in team.pods("empty")[0]["metadata"]["labels"]
