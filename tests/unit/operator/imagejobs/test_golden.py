"""The objects that are made for representative ImageJobs, as files to read: golden/NAME.yaml.

After a change that is meant: UPDATE_GOLDEN=1 python -m pytest tests/unit/operator/imagejobs/test_golden.py, then look at the difference.
"""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from imagejob_api.imagejob import ImageJobSpec
from imagejob_api.pod import Part
from imagejob_operator.constants import LABEL_KUEUE_QUEUE
from imagejob_operator.imagejobs.actions import CreateJob, EnsureAccess, EnsureFile
from imagejob_operator.imagejobs.planner import plan
from imagejob_operator.limits.view import LimitFacts
from imagejob_operator.objects.access import access_objects
from imagejob_operator.objects.job_file import config_map
from imagejob_operator.objects.pod_template import pod_template
from imagejob_operator.settings import Settings
from tests.unit.operator.imagejobs.builders import SETTINGS, image_job, image_pipeline, limits, seen

Json = dict[str, Any]
TMP = "/tmp"  # noqa: S108  a folder in a pod
GOLDEN = Path(__file__).with_name("golden")

EVERYTHING = {
    "gpu": {"resourceName": "nvidia.com/mig-1g.5gb", "count": 2, "runtimeClassName": "nvidia"},
    "priority": 5,
    "shards": 3,
    "failurePolicy": {"backoffLimitPerShard": 1},
    "template": {
        "image": "registry.example.com/team/runner:7",
        "resources": {"requests": {"cpu": 2, "memory": "4Gi"}, "limits": {"memory": "8Gi"}},
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [
            {"key": "gpu", "operator": "Exists", "effect": "NoSchedule"},
            {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 600},
        ],
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}},
        "env": [
            {"name": "AWS_REGION", "value": "eu-central-1"},
            {"name": "AWS_SECRET_ACCESS_KEY", "valueFrom": {"secretKeyRef": {"name": "s3", "key": "secret"}}},
            {"name": "IMAGEJOB_NODE_NAME", "value": "another"},
        ],
        "volumes": [{"name": "scratch", "emptyDir": {}}, {"name": "labels", "configMap": {"name": "labels"}}],
        "volumeMounts": [{"name": "scratch", "mountPath": TMP}, {"name": "labels", "mountPath": "/labels", "readOnly": True}],
        "serviceAccountName": "team",
        "imagePullSecrets": [{"name": "registry"}],
        "priorityClassName": "batch",
    },
}

CASES = {
    "urls": seen(image_job()),
    "prefix": seen(image_job(source={"prefix": {"url": "s3://photos/"}})),
    "everything": seen(
        image_job(labels={"team": "a", "imagejob.dev/job": "another", "app.kubernetes.io/managed-by": "me"}, **EVERYTHING),
        limits=limits(gpu=LimitFacts(active=True, node_selector={"pool": "gpus"}, on_nodes=True)),
    ),
    "claim": seen(image_job(gpu={"sharing": "claim", "claimName": "shared-gpu"})),
    "no-gpu-in-a-queue": seen(image_job(labels={LABEL_KUEUE_QUEUE: "team-a"}, gpu={"sharing": "none"})),
    "pipeline-by-name": seen(image_job(pipeline=None, pipelineRef={"name": "classify"}), pipeline=image_pipeline()),
}


@pytest.mark.parametrize("name", CASES)
def test_the_objects_of_a_job(name: str) -> None:
    check(name, objects(name))


def test_the_access_of_a_namespace() -> None:
    check("access", [thing for _, thing in access_objects("team-a", SETTINGS)])


def objects(name: str) -> list[Json]:
    state = CASES[name]
    found: list[Json] = []
    for action in plan(state).actions:
        if isinstance(action, EnsureFile):
            file = config_map(state.job, action.file)
            file["data"] = {key: json.loads(value) for key, value in file["data"].items()}  # to be read
            found.append(file)
        elif isinstance(action, CreateJob):
            found.append(action.body)
        else:
            assert isinstance(action, EnsureAccess)
    return found


def check(name: str, made: list[Json]) -> None:
    text = "---\n".join(yaml.safe_dump(thing, sort_keys=False, width=140) for thing in json.loads(json.dumps(made)))
    path = GOLDEN / f"{name}.yaml"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text()


def pods() -> list[Json]:
    return [thing["spec"]["template"]["spec"] for name in CASES for thing in objects(name) if thing["kind"] == "Job"]


def test_every_pod_is_restricted() -> None:
    for pod in pods():
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


def test_no_pod_has_the_default_credentials() -> None:
    for pod in pods():
        assert pod["automountServiceAccountToken"] is False
        tokens = [source for volume in pod["volumes"] for source in volume.get("projected", {}).get("sources", ())]
        assert {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}} in tokens


def test_what_the_operator_says_to_a_pod_cannot_be_changed_by_the_author() -> None:
    for pod in pods():
        names = [variable["name"] for variable in pod["containers"][0]["env"]]
        assert len(names) == len(set(names))
        node = next(variable for variable in pod["containers"][0]["env"] if variable["name"] == "IMAGEJOB_NODE_NAME")
        assert node["valueFrom"] == {"fieldRef": {"fieldPath": "spec.nodeName"}}


def test_the_modules_that_are_allowed_are_told_whatever_the_author_writes() -> None:
    spec = ImageJobSpec.model_validate(image_job(template={"env": [{"name": "IMAGEJOB_ALLOWED_MODULES", "value": "mine"}]})["spec"])

    def told(settings: Settings) -> list[str]:
        pod = pod_template("a", spec, Part.WORK, completions=1, limit_nodes={}, settings=settings)
        return [one["value"] for one in pod["spec"]["containers"][0]["env"] if one["name"] == "IMAGEJOB_ALLOWED_MODULES"]

    assert told(replace(SETTINGS, allowed_modules=("torchvision", "team.models"))) == ["torchvision,team.models"]
    assert told(SETTINGS) == ["mine"]


def test_labels_of_our_own_are_not_the_authors_to_choose() -> None:
    for thing in objects("everything"):
        assert thing["metadata"]["labels"]["imagejob.dev/job"] == "flowers"
        assert thing["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "imagejob"


def test_everything_goes_with_the_image_job_and_does_not_hold_it_up() -> None:
    for name in CASES:
        for thing in objects(name):
            (owner,) = thing["metadata"]["ownerReferences"]
            assert (owner["uid"], owner["controller"], owner["blockOwnerDeletion"]) == ("uid-of-flowers", True, False)
