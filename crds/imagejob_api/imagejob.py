"""ImageJob: one run of a pipeline over a set of images."""

from enum import StrEnum
from typing import Annotated, ClassVar, Final, Literal

from pydantic import AfterValidator, Field

from imagejob_api.base import NAME_PATTERN, ApiModel, OutputUrl, SourceUrl, SubdomainName
from imagejob_api.constants import MAX_CHUNK_SIZE, MAX_INLINE_CHARACTERS, MAX_INLINE_URLS, MAX_JOB_NAME, MAX_PRIORITY
from imagejob_api.exceptions import RuleBrokenError
from imagejob_api.meta import Condition, Metadata, Resource, Timestamp
from imagejob_api.pipeline import ImagePipelineSpec
from imagejob_api.rules import ListMap, Rule, exactly_one
from imagejob_api.template import Gpu, Template

_INT32: Final = 2**31 - 1


class ImageUrl(ApiModel):
    """One input."""

    id: Annotated[str, Field(min_length=1, max_length=1024)] | None = None
    """Name of the input in the output; unless set its URL, without user, password and signature."""
    url: SourceUrl
    """Where the image is."""


class Manifest(ApiModel):
    """A file that lists the inputs."""

    url: SourceUrl
    """Where the list is."""
    format: Literal["txt", "csv", "jsonl", "parquet"] | None = None
    """Format of the list; taken from the URL's ending unless set. txt: one URL a line."""
    id_field: Annotated[str, Field(min_length=1, max_length=256)] = "id"
    """Column or key of the id; without such a column it is the URL, without user, password and signature."""
    url_field: Annotated[str, Field(min_length=1, max_length=256)] = "url"
    """Column or key of the URL."""
    allowed_sources: Annotated[list[SourceUrl], Field(max_length=64)] = Field(default_factory=list)
    """Beginnings of URLs, such as ``s3://other-bucket/photos``, that a list in a bucket or on a web server may name besides what is in the
    same bucket or also on a web server. A list among the files of the machine or pod may name anything."""


class Prefix(ApiModel):
    """All objects below a URL."""

    url: SourceUrl
    """A folder or a bucket with a prefix."""
    glob: Annotated[str, Field(min_length=1, max_length=1024)] = "**/*"
    """Which of the objects, by their path below the prefix; ** crosses folders."""


def _all_different(urls: list[ImageUrl]) -> list[ImageUrl]:
    """Inline inputs whose ids differ. Longer lists are looked through when they are planned."""
    places: dict[str, int] = {}
    for place, each in enumerate(urls):
        first = places.setdefault(each.id if each.id is not None else each.url, place)
        if first != place:
            # The id need not be shown: both places are, and a URL may hold what is not for every eye.
            raise RuleBrokenError(
                f"has the same id as urls[{first}] (the URL, unless id is set); give one another id, or remove it", f".{place}"
            )
    return urls


class Source(ApiModel):
    """Where the images are: exactly one of urls, manifest, prefix."""

    RULES: ClassVar = (
        exactly_one("urls", "manifest", "prefix"),
        Rule(
            message=f"urls may have {MAX_INLINE_CHARACTERS:,} characters together, ids included; put them into a manifest",
            cel="!has(self.urls) || self.urls.map(each, each.url.size() + (has(each.id) ? each.id.size() : 0)).sum() "
            f"<= {MAX_INLINE_CHARACTERS}",
            holds=lambda source: sum(len(each.url) + len(each.id or "") for each in source.urls or ()) <= MAX_INLINE_CHARACTERS,
            field_path=".urls",
        ),
    )

    urls: Annotated[list[ImageUrl], Field(min_length=1, max_length=MAX_INLINE_URLS), AfterValidator(_all_different)] | None = None
    """The inputs themselves, up to 1,000, each with an id of its own, with 163,840 characters together."""
    manifest: Manifest | None = None
    """A file that lists the inputs."""
    prefix: Prefix | None = None
    """A folder or bucket to list."""


class PipelineRef(ApiModel):
    """An ImagePipeline in the same namespace."""

    name: SubdomainName
    """Name of the ImagePipeline."""


class Output(ApiModel):
    """Where the rows go."""

    url: OutputUrl
    """A folder or a bucket with a prefix."""
    format: Literal["jsonl", "parquet"] = "jsonl"
    """Format of the rows."""
    if_exists: Literal["resume", "fail"] = "resume"
    """resume does what is missing of the same job; fail refuses an output that holds anything."""


class FailurePolicy(ApiModel):
    """How much may fail before the job counts as failed."""

    max_failure_rate: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Largest part of the images that may fail. Looked at from the hundredth image on, and at the end."""
    max_failures: Annotated[int, Field(ge=0, le=_INT32)] | None = None
    """Largest number of images that may fail."""
    backoff_limit_per_shard: Annotated[int, Field(ge=0, le=100)] = 3
    """How often a crash is followed by another attempt, for each shard's process or, in a cluster, each index of the Job."""
    retry_failed: bool = False
    """When resuming, do images with a failed row once more."""


class ImageJobSpec(ApiModel):
    """What to run on which images, and where the rows go."""

    RULES: ClassVar = (
        exactly_one("pipelineRef", "pipeline"),
        Rule(
            message="cancel cannot be taken back; another ImageJob with the same output goes on where this one stopped",
            cel="!(has(oldSelf.cancel) && oldSelf.cancel) || (has(self.cancel) && self.cancel)",
            field_path=".cancel",
        ),
    )

    source: Source
    """Where the images are."""
    pipeline_ref: PipelineRef | None = None
    """The ImagePipeline to run; or write `pipeline`."""
    pipeline: ImagePipelineSpec | None = None
    """The pipeline itself, instead of `pipelineRef`."""
    output: Output
    """Where the rows go."""
    parallelism: Annotated[int, Field(ge=1, le=10_000)] = 1
    """Pods (on one machine: processes) at once; may be changed while the job runs."""
    chunk_size: Annotated[int, Field(ge=1, le=MAX_CHUNK_SIZE)] | None = None
    """Images that are committed together: the unit of resume. A process that is killed does two of them again at most. Chosen from the
    number of images and `parallelism` unless set, at most 4,096; 256 with embeddings or a `call`, 128 with tensors."""
    shards: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """Parts that the job is split into, each for one pod at a time, so that no more pods work at once. Unless set 64, or four for each pod
    if that is more; never more than there are chunks."""
    priority: Annotated[int, Field(ge=-MAX_PRIORITY, le=MAX_PRIORITY)] = 0
    """Place in the queues of limits: higher goes first, and equals in the order in which they came. The NodeLimit's `maxPriority` bounds
    it."""
    failure_policy: FailurePolicy = FailurePolicy()
    """How much may fail before the job does."""
    suspend: bool = False
    """True ends the job's pods when they have committed what is whole; False goes on where they stopped."""
    cancel: bool = False
    """True ends the job for good when its pods have committed what is whole; outputs stay."""
    active_deadline_seconds: Annotated[int, Field(ge=1, le=_INT32)] | None = None
    """Seconds that the job may run, from its start or last resumption; then it fails, and what is done stays."""
    start_deadline_seconds: Annotated[int, Field(ge=1, le=_INT32)] | None = None
    """Seconds within which a first pod must run, from the job's creation or last resumption; else the job fails."""
    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=_INT32)] | None = None
    """Seconds after its end when the ImageJob is deleted, with its pods and their logs; kept unless set. Outputs stay."""
    gpu: Gpu = Gpu()
    """The accelerator that each pod asks for."""
    template: Template = Template()
    """What may be chosen about the pods."""


class Phase(StrEnum):
    """Where a job stands, for people; programs read conditions."""

    PENDING = "Pending"
    PLANNING = "Planning"
    RUNNING = "Running"
    SUSPENDED = "Suspended"
    CANCELLING = "Cancelling"
    CANCELLED = "Cancelled"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


class ImageCounts(ApiModel):
    """Images by what became of them."""

    total: int = 0
    """All inputs."""
    succeeded: int = 0
    """Inputs with an ok row."""
    failed: int = 0
    """Inputs with a failed row."""
    skipped: int = 0
    """Inputs that a step chose to leave out."""


class ShardCounts(ApiModel):
    """Shards by what became of them."""

    total: int = 0
    """All shards."""
    succeeded: int = 0
    """Shards that are done."""
    failed: int = 0
    """Shards that were given up."""


class PodCounts(ApiModel):
    """Pods of the job."""

    active: int = 0
    """Pods that exist and have not ended."""
    ready: int = 0
    """Pods that work."""


class StageUtilisation(ApiModel):
    """How busy the workers of one stage are."""

    name: str
    """The step; with `.decode` after it, the decoding for an `infer` step."""
    busy: int = 0
    """Percent of their time in which they worked."""
    waiting: int = 0
    """Percent of their time in which they waited for slots of limits."""


class UtilisationStatus(ApiModel):
    """How busy the running pods have been of late, on average."""

    stages: Annotated[list[StageUtilisation], Field(max_length=64), ListMap("name")] = Field(default_factory=list)
    """Each stage, in the order of the pipeline."""
    device: int | None = None
    """Percent of the time in which the model's device computed."""
    cpus: int | None = None
    """Percent of the pods' CPUs that was used."""


class ImageJobStatus(ApiModel):
    """What the operator sees of the job."""

    observed_generation: int = -1
    """Generation of the spec that this status belongs to."""
    phase: Phase | None = None
    """For people; programs read conditions."""
    conditions: Annotated[list[Condition], Field(max_length=16), ListMap("type")] = Field(default_factory=list)
    """Finished, Complete, Failed, Suspended, Reconciling, Stalled, Retrying and Clipped."""
    reason: str = ""
    """The reason that matters now, for printing: how the job has ended, or why it does not run."""
    images: ImageCounts = ImageCounts()
    """Progress by image."""
    progress: str = ""
    """Progress as done/total, for printing."""
    shards: ShardCounts = ShardCounts()
    """Progress by shard."""
    pods: PodCounts = PodCounts()
    """The job's pods."""
    waiting_for_limit: int = 0
    """Pods that wait for a slot and hold none."""
    images_per_second: str = ""
    """Rate of late, as a decimal."""
    bottleneck: str = ""
    """What limits the job and what would help, as most of the pods say; empty where nothing does all the time."""
    utilisation: UtilisationStatus | None = None
    """How busy stages, device and CPUs are, in steps of 5 percent."""
    eta: Timestamp | None = None
    """Expected end, RFC 3339."""
    start_time: Timestamp | None = None
    """When the job's first pods were created, RFC 3339. From then on what decides about the rows cannot be changed."""
    completion_time: Timestamp | None = None
    """End of the job, RFC 3339."""


class JobMetadata(Metadata):
    """Metadata of an ImageJob, whose name becomes a part of its pods' names."""

    name: Annotated[str, Field(pattern=NAME_PATTERN, min_length=1, max_length=MAX_JOB_NAME)]
    """Name of the job."""


def _fixed_once_started(field: str, *, required: bool, same: str = "self.spec.{field} == oldSelf.spec.{field}") -> Rule:
    """The rule that a field of the spec stays as it is from the moment when the job's pods exist.

    Until then a mistake can be put right by applying the file again, also in a job that is suspended, waits in a queue or is stalled.
    The operator sets `status.startTime` with the first write after it created the pods; a change that slips in between is refused by
    the output's fingerprint.
    """
    kept = same.format(field=field)
    if not required:
        kept = f"has(self.spec.{field}) == has(oldSelf.spec.{field}) && (!has(self.spec.{field}) || ({kept}))"
    return Rule(
        message=f"spec.{field} cannot be changed once the job has started; create another ImageJob",
        cel=f"!has(oldSelf.status) || !has(oldSelf.status.startTime) || ({kept})",
        field_path=f".spec.{field}",
    )


class ImageJob(Resource):
    """Deep-learning inference over a set of images."""

    RULES: ClassVar = (
        Rule(
            message=f"metadata.name must be lower-case letters, digits and dashes, at most {MAX_JOB_NAME}, because pods are named after it",
            cel=f'self.metadata.name.size() <= {MAX_JOB_NAME} && self.metadata.name.matches("{NAME_PATTERN}")',
            field_path=".metadata.name",
        ),
        _fixed_once_started("source", required=True),
        _fixed_once_started("pipelineRef", required=False),
        _fixed_once_started(
            "pipeline",
            required=False,
            # Lists that are maps compare equal in any order, and the order of steps matters.
            same="self.spec.{field} == oldSelf.spec.{field} && "
            "self.spec.{field}.steps.map(step, step.name) == oldSelf.spec.{field}.steps.map(step, step.name)",
        ),
        _fixed_once_started("output", required=True),
        _fixed_once_started("chunkSize", required=False),
        _fixed_once_started("shards", required=False),
    )

    kind: Literal["ImageJob"] = "ImageJob"
    """Always ImageJob."""
    metadata: JobMetadata
    """Name, namespace, labels and annotations."""
    spec: ImageJobSpec
    """What to run."""
    status: ImageJobStatus | None = None
    """Written by the operator."""


class ImagePipeline(Resource):
    """The steps that every image goes through; used by name from ImageJobs."""

    kind: Literal["ImagePipeline"] = "ImagePipeline"
    """Always ImagePipeline."""
    metadata: Metadata
    """Name, namespace, labels and annotations."""
    spec: ImagePipelineSpec
    """The steps."""
