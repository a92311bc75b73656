"""The plan of an output: a small file, written last, that makes everything planned before it count."""

import hashlib
import json
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imagejob_api.pipeline import ImagePipelineSpec
from imagejob_api.redaction import kept_url
from imagejob_runner.constants import PLAN_FILE
from imagejob_runner.exceptions import StorageError
from imagejob_runner.sealed import FILE, sealed_file, strict_json
from imagejob_runner.storage import OutputStore

PLAN_VERSION: Final = 2


class Plan(BaseModel):
    """What is to be done in one output, and what the output belongs to. Never changes once written."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    version: int = PLAN_VERSION
    """Version of this file's form."""
    name: str
    """Name of the job that was planned."""
    owner: str = ""
    """Uid of the ImageJob whose pod planned it; empty if that was done on one machine."""
    total: int = Field(ge=1)
    """Inputs."""
    chunk_size: int = Field(ge=1)
    """Inputs in a chunk; the last one may have fewer."""
    shards: int = Field(ge=1)
    """Shards. Chunk c belongs to shard c modulo `shards`."""
    format: Literal["jsonl", "parquet"]
    """Format of the parts: jsonl or parquet."""
    typed: bool = False
    """Whether parquet parts have typed columns. Plans of older versions do not say; they have JSON text, and keep it."""
    manifest: str
    """Folder of the manifest, below the output; its name holds the digest of the manifest (`ManifestDigest`)."""
    fingerprint: str
    """Digest of `components`: two jobs with the same one write the same rows."""
    components: dict[str, Any]
    """What the fingerprint is made of, in the words of the job's file."""
    pipeline: ImagePipelineSpec
    """From `plan_job` the pipeline as given; from `read_plan` as first planned, without headers, which may hold passwords, and
    without secrets in URLs. A worker runs the pipeline it is given: what is not in `components`, such as concurrency, may change from run
    to run."""

    @property
    def chunks(self) -> int:
        """Number of chunks."""
        return -(-self.total // self.chunk_size)

    def chunk_total(self, chunk: int) -> int:
        """Number of inputs in a chunk."""
        return min(self.chunk_size, self.total - chunk * self.chunk_size)


def fingerprint_of(components: dict[str, Any]) -> str:
    """Digest of a plan's components."""
    return hashlib.sha256(json.dumps(components, sort_keys=True, ensure_ascii=True, separators=(",", ":")).encode()).hexdigest()


async def find_plan(output: OutputStore) -> Plan | None:
    """The plan in an output; None when nothing has been planned there.

    Raises:
        StorageError: It cannot be read, or is none that this version understands.
    """
    data = await output.read(PLAN_FILE)
    if data is None:
        return None
    where = f"{output.url.rstrip('/')}/{PLAN_FILE}"
    try:
        version = strict_json(data)["version"]
        if version != PLAN_VERSION:
            raise StorageError(f"{where} has version {version}; this imagejob understands {PLAN_VERSION}: use the one that wrote it")
        FILE.check(data)
        return Plan.model_validate_json(data)
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise StorageError(f"{where} is damaged ({error}); restore it, or use another output") from error


async def read_plan(output: OutputStore) -> Plan:
    """The plan in an output.

    Raises:
        StorageError: There is none, or it cannot be read.
    """
    plan = await find_plan(output)
    if plan is None:
        raise StorageError(f"{output.url} holds no plan ({PLAN_FILE}); check the URL: imagejob run makes the plan")
    return plan


def encode_plan(plan: Plan) -> bytes:
    """The bytes of the plan's file: no secrets, stable order, a digest at its end."""
    data = plan.model_dump(mode="json", exclude={"pipeline"})
    pipeline = plan.pipeline.model_dump(mode="json", by_alias=True, exclude_none=True)
    for step in pipeline["steps"]:
        step.get("download", {}).pop("headers", None)
        infer = step.get("infer", {})
        for holder, field in ((infer.get("model", {}), "weights"), (infer.get("model", {}), "program"), (infer, "labels")):
            if field in holder:
                holder[field] = kept_url(holder[field])
    return sealed_file({**data, "pipeline": pipeline})
