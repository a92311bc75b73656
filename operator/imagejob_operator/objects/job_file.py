"""The job file: what the pods of an ImageJob are told, and the ConfigMap that carries it."""

import hashlib
import json
from typing import Final, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from imagejob_api.imagejob import ImageJobSpec
from imagejob_api.pipeline import ImagePipelineSpec
from imagejob_api.pod import JOB_FILE_KEY, JobFile
from imagejob_operator.manifest import Json
from imagejob_operator.objects.naming import child_metadata, config_map_name

MAX_BYTES: Final = 900 * 1024
"""A ConfigMap may hold 1 MiB."""

_NOT_FOR_PODS: Final = {
    "suspend": False,
    "cancel": False,
    "active_deadline_seconds": None,
    "start_deadline_seconds": None,
    "ttl_seconds_after_finished": None,
}
"""What only the operator acts on; left out, so that a change of it changes no file."""

_FORMER_CHUNK_SIZE: Final = 128
_FORMER_BATCH_SIZE: Final = 32
"""What was the default once. The API server wrote it into every object that was stored then, where it looks as if the user had said it."""


class StoredFile(BaseModel):
    """What is kept in mind of a job file that is in the cluster."""

    model_config = ConfigDict(frozen=True)

    digest: str
    """Of all that it says."""
    parallelism: int
    """Of its spec."""
    pipeline: ImagePipelineSpec
    """Its steps."""

    @classmethod
    def of(cls, file: JobFile) -> Self:
        """What is kept of a file."""
        return cls(digest=_digest(file.encoded()), parallelism=file.spec.parallelism, pipeline=file.pipeline)

    def says(self, file: JobFile) -> bool:
        """Whether it says the same as this one."""
        return self.digest == _digest(file.encoded())


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def job_file(owner: Json, spec: ImageJobSpec, pipeline: ImagePipelineSpec, stored: StoredFile | None) -> JobFile:
    """The file for the pods of an ImageJob.

    Args:
        owner: The ImageJob.
        spec: Its spec.
        pipeline: Its steps.
        stored: The file that pods were made with already. What decides about the rows stays as it is there, also when the ImagePipeline
            is changed or deleted meanwhile, and the number of shards does not follow `parallelism`.
    """
    metadata = owner["metadata"]
    kept = _NOT_FOR_PODS if stored is None else {**_NOT_FOR_PODS, "parallelism": stored.parallelism}
    return JobFile(
        name=metadata["name"],
        namespace=metadata["namespace"],
        uid=metadata["uid"],
        spec=spec.model_copy(update=kept),
        pipeline=pipeline if stored is None else stored.pipeline,
    )


def config_map(owner: Json, file: JobFile) -> Json:
    """The ConfigMap with the file."""
    name = owner["metadata"]["name"]
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": child_metadata(owner, config_map_name(name), {}),
        "data": {JOB_FILE_KEY: file.encoded()},
    }


def read_job_file(found: Json) -> JobFile | None:
    """The file in a ConfigMap; None if it holds none that can be read."""
    try:
        return JobFile.model_validate_json((found.get("data") or {}).get(JOB_FILE_KEY, ""))
    except ValidationError:
        return None


def pods_digest(file: JobFile) -> str:
    """Digest of what of an ImageJob its pods are made from.

    Neither settings of the operator, nor limits, nor defaults are in it: an upgrade, or a change of a limit, restarts no job.
    """
    fields = {"source", "output", "chunk_size", "shards", "gpu", "template"}
    content = file.spec.model_dump(mode="json", include=fields, exclude_defaults=True)
    # Pods that an operator with these defaults made have digests without them, and would be replaced at its upgrade.
    if file.spec.chunk_size == _FORMER_CHUNK_SIZE:
        del content["chunk_size"]
    content["backoff"] = file.spec.failure_policy.backoff_limit_per_shard
    content["pipeline"] = file.pipeline.model_dump(mode="json", exclude_defaults=True)
    for step in content["pipeline"]["steps"]:
        if step.get("infer", {}).get("batch_size") == _FORMER_BATCH_SIZE:
            del step["infer"]["batch_size"]
    return _digest(json.dumps(content, sort_keys=True))
