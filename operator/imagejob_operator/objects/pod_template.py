"""The pods of an ImageJob: Pod Security *restricted*, with what the author may choose put in."""

from collections.abc import Mapping
from typing import Any, Final

from imagejob_api.imagejob import ImageJobSpec
from imagejob_api.pod import (
    ENV_ALLOWED_MODULES,
    ENV_LEASE_NAMESPACE,
    ENV_NAMESPACE,
    ENV_NODE,
    ENV_POD,
    ENV_PODS,
    ENV_PROGRESS_SECONDS,
    JOB_FILE,
    LABEL_MEMBER,
    LABEL_PART,
    METRICS_PORT,
    RUNNER_CONTAINER,
    TERMINATION_FILE,
    Part,
)
from imagejob_api.template import Gpu, GpuSharing, Template, Toleration
from imagejob_operator.constants import GONE_NODE_SECONDS, GRACE_SECONDS
from imagejob_operator.manifest import Json
from imagejob_operator.objects.naming import own_labels
from imagejob_operator.settings import Settings

_CREDENTIALS_FOLDER: Final = "/var/run/secrets/kubernetes.io/serviceaccount"
_CREDENTIALS_SECONDS: Final = 3600
_FILE_VOLUME: Final = "imagejob-file"
_CREDENTIALS_VOLUME: Final = "imagejob-credentials"
_TMP_VOLUME: Final = "imagejob-tmp"
_CLAIM: Final = "gpu"
_TMP: Final = "/tmp"  # noqa: S108  an emptyDir of the pod's own
_RUNNER_ID: Final = 65532
"""Group of the files in volumes: the user's in the runner's image."""
_GONE_NODE_TAINTS: Final = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")

_LEAST_PROGRESS_SECONDS: Final = 5.0
_MOST_PROGRESS_SECONDS: Final = 120.0
_REPORTS_PER_SECOND: Final = 5.0


def progress_seconds(pods: int) -> float:
    """Least time between two reports of one of so many pods: five reports a second for the job, each pod's no rarer than each 120 s."""
    return min(_MOST_PROGRESS_SECONDS, max(_LEAST_PROGRESS_SECONDS, pods / _REPORTS_PER_SECOND))


def pod_template(
    name: str, spec: ImageJobSpec, part: Part, *, completions: int, limit_nodes: Mapping[str, str], settings: Settings
) -> Json:
    """The pod template of one part of a job.

    Args:
        name: Name of the ImageJob.
        spec: Its spec.
        part: What the pods do.
        completions: Pods that share the work.
        limit_nodes: Labels of the nodes that have all limits that the steps take.
        settings: The operator's settings.
    """
    template = spec.template
    pods = min(spec.parallelism, completions)
    return {
        "metadata": {"labels": {**own_labels(name), LABEL_PART: part.label, LABEL_MEMBER: "true"}},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": GRACE_SECONDS,
            "serviceAccountName": template.service_account_name or settings.runner_service_account,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {
                "runAsNonRoot": True,
                "fsGroup": _RUNNER_ID,
                "fsGroupChangePolicy": "OnRootMismatch",
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            **_placement(spec, limit_nodes),
            **_given("imagePullSecrets", [{"name": secret.name} for secret in template.image_pull_secrets]),
            **_given("priorityClassName", template.priority_class_name),
            **(_accelerator(spec.gpu) if part is Part.WORK else {}),
            "containers": [_container(spec, part, completions=completions, pods=pods, settings=settings)],
            "volumes": [*_own_volumes(name, template), *(_dumped(volume) for volume in template.volumes)],
        },
    }


def _container(spec: ImageJobSpec, part: Part, *, completions: int, pods: int, settings: Settings) -> Json:
    template = spec.template
    policy = settings.runner_image_pull_policy if template.image is None else None
    return {
        "name": RUNNER_CONTAINER,
        "image": template.image or settings.runner_image,
        **_given("imagePullPolicy", policy),
        "command": ["imagejob-runner", part.label],
        "env": _environment(template, completions=completions, pods=pods, settings=settings),
        "ports": [{"name": "metrics", "containerPort": METRICS_PORT}],
        **_given("resources", _resources(spec, part)),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "terminationMessagePath": TERMINATION_FILE,
        "terminationMessagePolicy": "File",
        "volumeMounts": [*_own_mounts(template), *(_dumped(mount) for mount in template.volume_mounts)],
    }


def _environment(template: Template, *, completions: int, pods: int, settings: Settings) -> list[Json]:
    own: list[Json] = [
        {"name": ENV_NAMESPACE, "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
        {"name": ENV_POD, "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": ENV_NODE, "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        {"name": ENV_LEASE_NAMESPACE, "value": settings.namespace},
        {"name": ENV_PODS, "value": str(completions)},
        {"name": ENV_PROGRESS_SECONDS, "value": f"{progress_seconds(pods):g}"},
        *([{"name": ENV_ALLOWED_MODULES, "value": ",".join(settings.allowed_modules)}] if settings.allowed_modules else []),
    ]
    reserved = {variable["name"] for variable in own}
    return [*(_dumped(variable) for variable in template.env if variable.name not in reserved), *own]


def _resources(spec: ImageJobSpec, part: Part) -> Json:
    """What the container asks for; a GPU only where something is computed."""
    resources = spec.template.resources
    limits: Json = dict(resources.limits)
    claims = []
    if part is Part.WORK and spec.gpu.sharing is GpuSharing.DEVICE:
        limits[spec.gpu.resource_name] = spec.gpu.count
    if part is Part.WORK and spec.gpu.sharing is GpuSharing.CLAIM:
        claims.append({"name": _CLAIM})
    return {**_given("requests", dict(resources.requests)), **_given("limits", limits), **_given("claims", claims)}


def _accelerator(gpu: Gpu) -> Json:
    """What the pod as a whole needs to come to its GPU."""
    claims = [{"name": _CLAIM, "resourceClaimName": gpu.claim_name}] if gpu.sharing is GpuSharing.CLAIM else []
    return {**_given("runtimeClassName", gpu.runtime_class_name), **_given("resourceClaims", claims)}


def _placement(spec: ImageJobSpec, limit_nodes: Mapping[str, str]) -> Json:
    template = spec.template
    tolerations = [_dumped(toleration) for toleration in template.tolerations]
    tolerations += [
        {"key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": GONE_NODE_SECONDS}
        for taint in _GONE_NODE_TAINTS
        if not any(_tolerates(toleration, taint) for toleration in template.tolerations)
    ]
    return {
        **_given("nodeSelector", {**template.node_selector, **limit_nodes}),
        "tolerations": tolerations,
        **_given("affinity", template.affinity),
    }


def _tolerates(toleration: Toleration, taint: str) -> bool:
    """Whether a toleration says something about a node that does not answer."""
    return toleration.key in (None, taint) and toleration.effect in (None, "NoExecute")


def _own_volumes(name: str, template: Template) -> list[Json]:
    volumes: list[Json] = [
        {"name": _FILE_VOLUME, "configMap": {"name": name}},
        {
            "name": _CREDENTIALS_VOLUME,
            "projected": {
                "sources": [
                    {"serviceAccountToken": {"path": "token", "expirationSeconds": _CREDENTIALS_SECONDS}},
                    {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                    {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
                ]
            },
        },
    ]
    return volumes if _mounts_tmp(template) else [*volumes, {"name": _TMP_VOLUME, "emptyDir": {}}]


def _own_mounts(template: Template) -> list[Json]:
    mounts: list[Json] = [
        {"name": _FILE_VOLUME, "mountPath": JOB_FILE.rpartition("/")[0], "readOnly": True},
        {"name": _CREDENTIALS_VOLUME, "mountPath": _CREDENTIALS_FOLDER, "readOnly": True},
    ]
    return mounts if _mounts_tmp(template) else [*mounts, {"name": _TMP_VOLUME, "mountPath": _TMP}]


def _mounts_tmp(template: Template) -> bool:
    return any(mount.mount_path.rstrip("/") == _TMP for mount in template.volume_mounts)


def _dumped(model: Any) -> Json:  # noqa: ANN401  any model of the API
    dumped: Json = model.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True)
    return dumped


def _given(key: str, value: object) -> Json:
    """A field, left out if it is empty."""
    return {key: value} if value else {}
