"""What the operator and the runner's pods agree on: the job file, what a pod reports, its exit codes, and the names of all that.

Neither imports the other. The operator mounts the job file and reads the reports; a pod reads the file and writes the reports.
"""

from collections.abc import Iterable
from enum import IntEnum
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from imagejob_api.imagejob import ImageJobSpec
from imagejob_api.pipeline import ImagePipelineSpec, Step

LABEL_JOB: Final = "imagejob.dev/job"
"""On everything made for an ImageJob: its name."""
LABEL_PART: Final = "imagejob.dev/part"
"""On Jobs and pods: which `Part` of the job they do."""
LABEL_MEMBER: Final = "imagejob.dev/member"
"""On every pod that takes slots, runners and other workloads alike ("true"): the operator watches these, and frees their slots at once
when they end."""
LABEL_MANAGED_BY: Final = "app.kubernetes.io/managed-by"
MANAGED_BY: Final = "imagejob"

ANNOTATION_PROGRESS: Final = "imagejob.dev/progress"
"""On a runner's pod, written by itself: a `PodProgress` as JSON."""

JOB_FILE: Final = "/etc/imagejob/job.json"
"""Where the job file, a `JobFile` as JSON, is mounted."""
JOB_FILE_KEY: Final = "job.json"
"""Its key in the ConfigMap."""
TERMINATION_FILE: Final = "/dev/termination-log"
"""Where a pod writes its `PodResult` as JSON before it ends; Kubernetes keeps at most 4,096 bytes."""
TERMINATION_BYTES: Final = 4096
RUNNER_CONTAINER: Final = "runner"
METRICS_PORT: Final = 9090

ENV_NAMESPACE: Final = "IMAGEJOB_POD_NAMESPACE"
ENV_POD: Final = "IMAGEJOB_POD_NAME"
ENV_NODE: Final = "IMAGEJOB_NODE_NAME"
"""The node that a pod runs on: the Leases that it may write are this node's."""
ENV_LEASE_NAMESPACE: Final = "IMAGEJOB_LEASE_NAMESPACE"
"""The operator's namespace, where the Leases are."""
ENV_INDEX: Final = "JOB_COMPLETION_INDEX"
"""Set by Kubernetes in the pods of an Indexed Job. Pod i of n works on the shards s of the plan with s mod n = i."""
ENV_PODS: Final = "IMAGEJOB_COMPLETIONS"
"""The n of `ENV_INDEX`."""
ENV_PROGRESS_SECONDS: Final = "IMAGEJOB_PROGRESS_SECONDS"
"""Least time between two reports of progress; the more pods, the longer."""

ENV_ALLOWED_MODULES: Final = "IMAGEJOB_ALLOWED_MODULES"
"""Modules, separated by commas, whose functions a pipeline may name; with it set no others are imported. Unset or empty: all."""

SHARES_PER_POD: Final = 4
"""Pods, over all the time of a job, for each that works at once: room for a larger `parallelism`, and for nodes of unequal speed."""
LEAST_SHARDS: Final = 64
"""Of a job with so many chunks: their number is fixed with the plan, and `parallelism` may grow until each pod has but one."""

CHUNKS_PER_PROCESS: Final = 32
"""Of a job that sets no chunk size, within the bounds below."""
LEAST_DEFAULT_CHUNK: Final = 64
LARGEST_DEFAULT_CHUNK: Final = 4096
"""With rows of a few kB."""
LARGEST_DEFAULT_CHUNK_OF_LISTS: Final = 256
"""With embeddings, 32 bytes a number in memory (41 kB a row of 1,280), and with what functions return, which nobody knows."""
LARGEST_DEFAULT_CHUNK_OF_TENSORS: Final = 128


class Part(IntEnum):
    """The parts of a job that have pods of their own, in order."""

    PLAN = 1
    """Lists the source and writes the plan; left out when the URLs stand in the job."""
    WORK = 2
    """Works on the shards. The pod that finds every row there writes the summary."""
    FINISH = 3
    """Writes the summary where no pod has reported that it did."""

    @property
    def label(self) -> str:
        """Value of `LABEL_PART`, and the runner's subcommand."""
        return self.name.lower()


class RunnerExit(IntEnum):
    """Exit codes of `imagejob-runner`, which the Job's podFailurePolicy reads."""

    DONE = 0
    """The part is done; failed images are rows, not a reason to fail."""
    CRASHED = 1
    """A defect. Another attempt, up to `failurePolicy.backoffLimitPerShard`."""
    INVALID_JOB = 10
    """The job file, a step or its function is wrong; no attempt can help, the whole Job fails."""
    INVALID_SOURCE = 11
    """The source holds duplicates, nothing, or a list that cannot be understood; the whole Job fails."""
    MODEL_REFUSED = 12
    """The model has another digest, is unsafe, or does not fit; the whole Job fails."""
    OUTPUT_REFUSED = 13
    """The output belongs to another job, or must be empty and is not; the whole Job fails."""
    STORAGE_REFUSED = 14
    """The output's bucket is not there, or the credentials are wrong or may not write; the whole Job fails, before it is planned."""
    STORAGE = 20
    """The source or the output cannot be reached, or the output refuses a job that is planned. Another attempt."""
    DEVICE = 21
    """The GPU failed under this process. Another attempt."""
    STOPPED = 30
    """Asked to end by SIGTERM; what was whole is committed. Another pod goes on, and nothing is counted."""

    @property
    def permanent(self) -> bool:
        """Whether no other attempt can end differently."""
        return RunnerExit.INVALID_JOB <= self <= RunnerExit.STORAGE_REFUSED


class _Report(BaseModel):
    """Base of what travels between pods and the operator: additions by a newer version are ignored."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="ignore",
        frozen=True,
        use_attribute_docstrings=True,
        defer_build=True,  # as `ApiModel` does
    )

    def encoded(self) -> str:
        """Compact JSON."""
        return self.model_dump_json(by_alias=True, exclude_none=True)


class JobFile(_Report):
    """What a pod is told: the job as its pods are to run it."""

    name: str
    """Name of the ImageJob."""
    namespace: str
    """Its namespace."""
    uid: str
    """Its uid."""
    spec: ImageJobSpec
    """Its spec, as when its pods were made."""
    pipeline: ImagePipelineSpec
    """The steps, from the spec or from the ImagePipeline that it names."""

    def encoded(self) -> str:
        """Compact JSON without what equals a default, so that a job without a newer field can be read by an older runner."""
        return self.model_dump_json(by_alias=True, exclude_none=True, exclude_defaults=True)


_Count = Annotated[int, Field(ge=0)]
_Percent = Annotated[int, Field(ge=0, le=100)]


LONGEST_EXAMPLE: Final = 256
"""Characters of an image's id and message in a report."""


class FailedImages(_Report):
    """The error that most of some failed images have."""

    code: Annotated[str, Field(max_length=64)]
    """Their `error.code`."""
    count: _Count
    """How many have it."""
    example: Annotated[str, Field(max_length=LONGEST_EXAMPLE)] = ""
    """Id and message of one of them."""


class PodImages(_Report):
    """Images of one pod's shards that have a row in the output, whoever wrote it."""

    succeeded: _Count = 0
    failed: _Count = 0
    skipped: _Count = 0
    most_failed: FailedImages | None = None
    """Of the images that failed under this pod those with the commonest error."""

    @property
    def done(self) -> int:
        """All that have a row."""
        return self.succeeded + self.failed + self.skipped


class StageReport(_Report):
    """How busy the workers of one stage are, in percent of their time."""

    name: Annotated[str, Field(max_length=128)]
    """The stage: its step, and after a dot what is done for the step before it."""
    busy: _Percent
    """Worked."""
    waiting: _Percent = 0
    """Waited for slots of limits."""


class UtilisationReport(_Report):
    """How busy a pod has been of late."""

    stages: Annotated[list[StageReport], Field(max_length=64)] = []
    """In the order of the pipeline."""
    device: _Percent | None = None
    """Part of the time in which the model's device computed."""
    cpus: _Percent | None = None
    """Part of the pod's CPUs that was used."""
    bottleneck: Annotated[str, Field(max_length=256)] = ""
    """What limits the pod and what would help, in words; empty where nothing does all the time."""


class PodProgress(_Report):
    """How far a pod is. A malformed one is ignored: it is written by a pod, which may be anybody's code."""

    images: PodImages = PodImages()
    """Rows of its shards."""
    rate: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """Images a second of late."""
    holding: _Count = 0
    """Slots held now."""
    waiting: _Count = 0
    """Requests for slots that wait now."""
    reason: Annotated[str, Field(max_length=512)] = ""
    """What it waits for, in words, where that is more than a turn: a limit that is missing or inactive."""
    utilisation: UtilisationReport | None = None
    """How busy it is, once there is something to tell."""
    storage: Annotated[str, Field(max_length=512)] | None = None
    """Why it cannot write to the output at this moment, in words; it goes on when it can."""


class PlanReport(_Report):
    """What the plan says."""

    total: _Count
    """Inputs."""
    shards: Annotated[int, Field(ge=1)]
    """Shards."""
    chunk_size: Annotated[int, Field(ge=1)]
    """Images in a chunk."""


class SummaryReport(_Report):
    """What ``summary.json`` says of the whole job.

    Where rows are missing although all shards are done there is no such file, and the finishing pod tells what it has counted: `total` is
    larger than the sum of the others.
    """

    total: _Count
    succeeded: _Count
    failed: _Count
    skipped: _Count
    within_policy: bool
    """Whether no more failed than `failurePolicy` allows."""
    most_failed: FailedImages | None = None
    """Of the failed images those with the commonest error."""


class ErrorReport(_Report):
    """Why a pod ended with another code than 0."""

    message: Annotated[str, Field(max_length=2048)]
    """What, where, and what to do."""


class PodResult(_Report):
    """What a pod leaves behind as its termination message."""

    images: PodImages = PodImages()
    """Rows of its shards."""
    plan: PlanReport | None = None
    """From the plan's pod."""
    summary: SummaryReport | None = None
    """From the pod that found every row in the output and completed it."""
    error: ErrorReport | None = None
    """Why it failed."""


def pod_count(shards: int, parallelism: int) -> int:
    """Pods that share the shards of a job, over all its time: a single one where never two are to work at once, else a few for each.

    Each pod loads the model once, so one after the other would only cost their starts. Many small ones share the work out evenly.
    """
    return 1 if parallelism == 1 else min(shards, SHARES_PER_POD * parallelism)


def default_shards(parallelism: int) -> int:
    """Number of shards of a job that sets none and has chunks enough."""
    return max(LEAST_SHARDS, SHARES_PER_POD * parallelism)


def default_chunk_size(total: int, parallelism: int, steps: Iterable[Step]) -> int:
    """Inputs in a chunk of a new plan whose job says nothing about it.

    A chunk costs about 10 ms to write to a disk and 100 ms to a bucket, while the next one is computed. A killed process does at most two
    of its chunks again. With `CHUNKS_PER_PROCESS` chunks for each process neither matters: writing takes a process a third of a second, or
    three, over the whole job, and a kill costs a sixteenth of its work at most. A chunk of `LARGEST_DEFAULT_CHUNK` inputs takes the
    fastest GPU known a third of a second, which hides both kinds of writing, and a CPU half a minute; larger ones would only lose more.
    Below `LEAST_DEFAULT_CHUNK` batches would not fill; but each process gets a chunk. The rows of two chunks are in memory, so chunks are
    smaller where rows are large.

    Args:
        total: Inputs.
        parallelism: Processes or pods at once.
        steps: What is done with each.

    Returns:
        At least 1.
    """
    wanted = total // max(CHUNKS_PER_PROCESS * parallelism, LEAST_SHARDS)
    largest = min(map(_largest_default_chunk, steps), default=LARGEST_DEFAULT_CHUNK)
    size = min(max(wanted, LEAST_DEFAULT_CHUNK), largest)
    return max(1, min(size, -(-total // parallelism)))


def _largest_default_chunk(step: Step) -> int:
    if step.infer is not None and step.infer.outputs.tensor:
        return LARGEST_DEFAULT_CHUNK_OF_TENSORS
    if step.call is not None or (step.infer is not None and step.infer.outputs.embedding is not None):
        return LARGEST_DEFAULT_CHUNK_OF_LISTS
    return LARGEST_DEFAULT_CHUNK


def shard_count(total: int, chunk_size: int | None, shards: int | None, parallelism: int, steps: Iterable[Step]) -> int:
    """Number of shards of a new plan.

    Args:
        total: Inputs.
        chunk_size: Inputs in a chunk, as the job says; None for `default_chunk_size`.
        shards: What the job says.
        parallelism: Pods at once.
        steps: What is done with each input.

    Returns:
        What the job says, else `default_shards`; never more than there are chunks, and at least 1.
    """
    chunks = -(-total // (chunk_size or default_chunk_size(total, parallelism, steps)))
    return max(1, min(chunks, shards or default_shards(parallelism)))
