"""Whoever may create an ImageJob, and no pods, gets no more than an ordinary pod: the strictest profile of Pod Security takes every one."""

import json
from collections.abc import Iterator

import pytest

from imagejob_api.imagejob import ImageJobSpec
from imagejob_api.pod import Part
from imagejob_api.template import Gpu, Template
from imagejob_operator.objects.pod_template import pod_template
from imagejob_operator.settings import Settings
from tests.cluster.exceptions import CommandError
from tests.integration.rights.conftest import RUNNER, Installed, prepare_namespace
from tests.integration.rights.requester import Json
from tests.unit.api.objects import image_job

pytestmark = pytest.mark.integration

NAMESPACE = "restricted"
EDITOR = "--as=editor"
"""Somebody with the role for those who write ImageJobs, and no other."""

CLAIM: Json = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
VOLUMES: dict[str, Json] = {
    "persistentVolumeClaim": {"claimName": "data"},
    "configMap": {"name": "settings"},
    "secret": {"secretName": "credentials"},
    "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"},
    "ephemeral": {"volumeClaimTemplate": {"spec": CLAIM}},
    "csi": {"driver": "driver.example", "volumeAttributes": {"share": "any"}},
    "projected": {"sources": [{"serviceAccountToken": {"path": "token", "audience": "vault"}}, {"secret": {"name": "credentials"}}]},
    "downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]},
}

TEMPLATES: list[tuple[str, object]] = [
    ("image", "registry.example/anything:latest"),
    ("resources", {"requests": {"cpu": 4, "memory": "8Gi"}, "limits": {"memory": "8Gi", "ephemeral-storage": "1Gi"}}),
    ("nodeSelector", {"kubernetes.io/hostname": "node-1"}),
    ("tolerations", [{"operator": "Exists"}]),
    ("affinity", {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "zone", "namespaceSelector": {}}]}}),
    ("env", [{"name": "LD_PRELOAD", "value": "/data/x.so"}, {"name": "IMAGEJOB_NODE_NAME", "value": "node-2"}]),
    ("env", [{"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "credentials", "key": "key"}}}]),
    ("env", [{"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}}]),
    *(("volumes", [{"name": "data", kind: volume}]) for kind, volume in VOLUMES.items()),
    ("serviceAccountName", "default"),
    ("imagePullSecrets", [{"name": "registry"}]),
    ("priorityClassName", "system-node-critical"),
]
GPUS: list[Json] = [
    {"sharing": "none"},
    {"sharing": "device", "resourceName": "example.com/any", "count": 64},
    {"sharing": "claim", "claimName": "gpu"},
    {"runtimeClassName": "nvidia"},
]


@pytest.fixture(scope="module")
def restricted(installed: Installed) -> Iterator[Installed]:
    """A namespace where Pod Security refuses everything that its restricted profile does not know to be harmless."""
    plane = installed.plane
    plane.kubectl("create", "namespace", NAMESPACE)
    plane.kubectl("label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce=restricted")
    prepare_namespace(installed.operator, NAMESPACE)
    plane.kubectl("create", "rolebinding", "editor", f"--namespace={NAMESPACE}", "--clusterrole=imagejob-editor", "--user=editor")
    runtime = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "nvidia"}, "handler": "nvidia"}
    plane.kubectl("create", "-f", "-", stdin=json.dumps(runtime))
    plane.kubectl("wait", "--for=create", "serviceaccount/default", f"--namespace={NAMESPACE}", "--timeout=30s")
    yield installed
    plane.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def try_to_create(installed: Installed, thing: Json, *flags: str) -> Json:
    """What the API server would store."""
    answer = installed.plane.kubectl(
        "create", "--dry-run=server", "-o", "json", f"--namespace={NAMESPACE}", *flags, "-f", "-", stdin=json.dumps(thing)
    )
    stored: Json = json.loads(answer)
    return stored


def pod_of(job: Json, part: Part = Part.WORK) -> Json:
    """A pod as the Job's controller would make it."""
    spec = ImageJobSpec.model_validate(job["spec"])
    template = pod_template("flowers", spec, part, completions=4, limit_nodes={"gpu": "yes"}, settings=Settings())
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "flowers-0", **template["metadata"]}, "spec": template["spec"]}


def with_template(field: str, value: object) -> Json:
    template: Json = {field: value}
    if field == "volumes":
        template["volumeMounts"] = [{"name": "data", "mountPath": "/data", "subPath": "photos", "readOnly": True}]
    return image_job(template=template)


def test_every_field_is_tried() -> None:
    def names(model: type[Template | Gpu]) -> set[str]:
        return {field.alias or name for name, field in model.model_fields.items()}

    assert {field for field, _ in TEMPLATES} | {"volumeMounts"} == names(Template)
    assert {field for gpu in GPUS for field in gpu} == names(Gpu)


def test_who_may_create_an_image_job_may_create_nothing_else(restricted: Installed) -> None:
    try_to_create(restricted, image_job(), EDITOR)
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "any"}}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "flowers"}, "spec": {"template": pod_of(image_job())}}
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "any"}}
    for thing, kind in ((pod_of(image_job()), "pods"), (job, "jobs"), (secret, "secrets"), (account, "serviceaccounts")):
        with pytest.raises(CommandError, match=f'User "editor" cannot create resource "{kind}"'):
            try_to_create(restricted, thing, EDITOR)


@pytest.mark.parametrize("part", Part)
def test_a_pod_of_each_part(restricted: Installed, part: Part) -> None:
    stored = try_to_create(restricted, pod_of(image_job(), part))
    assert stored["spec"]["serviceAccountName"] == RUNNER


@pytest.mark.parametrize(("field", "value"), TEMPLATES, ids=lambda value: value if isinstance(value, str) else None)
def test_each_field_of_the_template(restricted: Installed, field: str, value: object) -> None:
    job = with_template(field, value)
    try_to_create(restricted, job, EDITOR)
    stored = try_to_create(restricted, pod_of(job))
    assert_ordinary(stored)


@pytest.mark.parametrize("gpu", GPUS, ids=str)
def test_each_field_of_gpu(restricted: Installed, gpu: Json) -> None:
    job = image_job(gpu=gpu)
    try_to_create(restricted, job, EDITOR)
    assert_ordinary(try_to_create(restricted, pod_of(job)))


def assert_ordinary(pod: Json) -> None:
    """What Pod Security asks for, and what it does not ask for but we promise."""
    (container,) = pod["spec"]["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert pod["spec"]["automountServiceAccountToken"] is False
    nodes = [variable for variable in container["env"] if variable["name"] == "IMAGEJOB_NODE_NAME"]
    assert [set(node) for node in nodes] == [{"name", "valueFrom"}], "nobody says which node a pod is on but Kubernetes"


def test_a_pod_that_is_none_of_ours_is_refused(restricted: Installed) -> None:
    """The profile is enforced at all."""
    pod = pod_of(image_job())
    pod["spec"]["hostNetwork"] = True
    with pytest.raises(CommandError, match="violates PodSecurity"):
        try_to_create(restricted, pod)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("hostNetwork", True),
        ("hostPID", True),
        ("hostIPC", True),
        ("securityContext", {"privileged": True}),
        ("initContainers", [{"name": "x", "image": "x"}]),
        ("containers", [{"name": "x", "image": "x"}]),
        ("nodeName", "node-1"),
        ("command", ["sh"]),
        ("volumeDevices", [{"name": "disk", "devicePath": "/dev/sda"}]),
    ],
)
def test_what_the_template_does_not_know_never_reaches_a_pod(restricted: Installed, field: str, value: object) -> None:
    job = image_job(template={field: value})
    with pytest.raises(CommandError, match=f'unknown field "spec.template.{field}"'):
        try_to_create(restricted, job, "--validate=strict")
    stored = try_to_create(restricted, job, "--validate=ignore")
    assert field not in stored["spec"]["template"]


@pytest.mark.parametrize(
    "volume",
    [
        {"hostPath": {"path": "/"}},
        {"emptyDir": {}, "hostPath": {"path": "/"}},
    ],
    ids=["alone", "beside another kind"],
)
def test_no_file_of_the_node(restricted: Installed, volume: Json) -> None:
    job = with_template("volumes", [{"name": "data", **volume}])
    with pytest.raises(CommandError, match="hostPath is not allowed"):
        try_to_create(restricted, job)


@pytest.mark.parametrize("kind", ["nfs", "iscsi", "flexVolume", "gitRepo", "portworxVolume", "image"])
def test_no_other_kind_of_volume(restricted: Installed, kind: str) -> None:
    job = with_template("volumes", [{"name": "data", kind: {}}])
    with pytest.raises(CommandError, match=f'unknown field "spec.template.volumes\\[0\\].{kind}"'):
        try_to_create(restricted, job)
    with pytest.raises(CommandError, match="exactly one of"):
        try_to_create(restricted, job, "--validate=ignore")
