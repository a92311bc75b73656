"""Whether rows would be written into the pods themselves: nobody but the same pod sees them, and they are gone when it is.

The operator and the command line ask the same question, so that a mistake reads the same before and after it is sent.
"""

import posixpath
from typing import Final
from urllib.parse import unquote

from imagejob_api.imagejob import ImageJobSpec
from imagejob_api.pod import pod_count, shard_count

FIX: Final = "write to a bucket (s3://bucket/folder), or mount a persistentVolumeClaim there (template.volumes, template.volumeMounts)"

_WHAT_STAYS: Final = ("persistent_volume_claim", "csi")
"""Kinds of volumes that several pods see and that outlive them."""


def place_in_pods(spec: ImageJobSpec) -> str | None:
    """Where in the pods the rows of a job would go, in words; None if they go to a bucket or to a volume that stays."""
    path = _path(spec.output.url)
    if path is None:
        return None
    mounts = [mount for mount in spec.template.volume_mounts if _below(path, mount.mount_path)]
    if not mounts:
        return f"the output {spec.output.url} is a folder inside each pod"
    mount = max(mounts, key=lambda found: len(posixpath.normpath(found.mount_path)))
    volume = next((found for found in spec.template.volumes if found.name == mount.name), None)
    if volume is None:  # the API server says so
        return None
    if all(getattr(volume, kind) is None for kind in _WHAT_STAYS):
        return f"the output {spec.output.url} is on the volume {mount.name}, which each pod has for itself"
    return None


def why_not(spec: ImageJobSpec) -> str | None:
    """Why a job cannot run since its rows would go into its pods, without `FIX`; None if it can.

    A job that one pod does by itself can, although its rows are gone with the pod.
    """
    place = place_in_pods(spec)
    others = _other_pods(spec)
    return f"{place}, and {others}" if place is not None and others is not None else None


def _other_pods(spec: ImageJobSpec) -> str | None:
    """Why more than one pod must see the output; None if one does everything."""
    if spec.source.urls is None:
        return "the pod that lists the source is another than those that work"
    # Whether there is more than one shard is the same with every pipeline, so one that is only named may stay unknown.
    steps = spec.pipeline.steps if spec.pipeline is not None else ()
    shards = shard_count(len(spec.source.urls), spec.chunk_size, spec.shards, spec.parallelism, steps)
    if shards > 1:
        pods = pod_count(shards, spec.parallelism)
        return f"{pods} pods work, one for each shard" if pods > 1 else f"its {shards} shards may be several pods' work"
    if spec.failure_policy.retry_failed:
        return "with failurePolicy.retryFailed the pod that ends the job is another than the one that works"
    return None


def _path(url: str) -> str | None:
    """The folder that an output URL names in a container; None for a bucket."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return posixpath.normpath(url)
    if scheme.lower() != "file":
        return None
    return posixpath.normpath("/" + unquote(rest.partition("/")[2]))


def _below(path: str, folder: str) -> bool:
    return f"{path}/".startswith(posixpath.normpath(folder).rstrip("/") + "/")
