"""ImageJob: one run of a pipeline over a set of images."""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from imagejob_api.base import ApiModel, Name
from imagejob_api.constants import DEFAULT_CHUNK_SIZE, DEFAULT_GPU_RESOURCE, MAX_INLINE_URLS
from imagejob_api.meta import Condition, JsonObject, Metadata, Resource
from imagejob_api.pipeline import ImagePipelineSpec


class ImageUrl(ApiModel):
    """One input."""

    id: Annotated[str, Field(min_length=1, max_length=1024)] | None = None
    """Name of the input in the output; its URL unless set."""
    url: Annotated[str, Field(min_length=1, max_length=4096)]
    """Where the image is."""


class Manifest(ApiModel):
    """A file that lists the inputs."""

    url: Annotated[str, Field(min_length=1, max_length=4096)]
    """Where the list is."""
    format: Literal["txt", "csv", "jsonl", "parquet"] | None = None
    """Format of the list; taken from the URL's ending unless set. txt: one URL a line."""
    id_field: str = "id"
    """Column or key of the id; without such a column the URL is the id."""
    url_field: str = "url"
    """Column or key of the URL."""


class Prefix(ApiModel):
    """All objects below a URL."""

    url: Annotated[str, Field(min_length=1, max_length=4096)]
    """A folder or a bucket with a prefix."""
    glob: Annotated[str, Field(min_length=1, max_length=1024)] = "**/*"
    """Which of the objects, by their path below the prefix; ** crosses folders."""


class Source(ApiModel):
    """Where the images are: exactly one of urls, manifest, prefix."""

    urls: Annotated[list[ImageUrl], Field(min_length=1, max_length=MAX_INLINE_URLS)] | None = None
    """The inputs themselves, up to 1,000."""
    manifest: Manifest | None = None
    """A file that lists the inputs."""
    prefix: Prefix | None = None
    """A folder or bucket to list."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        given = [name for name in ("urls", "manifest", "prefix") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"exactly one of urls, manifest, prefix must be set, not {len(given)}")
        return self


class PipelineRef(ApiModel):
    """An ImagePipeline in the same namespace."""

    name: Name
    """Name of the ImagePipeline."""


class Output(ApiModel):
    """Where the rows go."""

    url: Annotated[str, Field(min_length=1, max_length=4096)]
    """A folder or a bucket with a prefix."""
    format: Literal["jsonl", "parquet"] = "jsonl"
    """Format of the rows."""
    if_exists: Literal["resume", "fail"] = "resume"
    """resume does what is missing of the same job; fail refuses an output that holds anything."""


class FailurePolicy(ApiModel):
    """How much may fail before the job counts as failed."""

    max_failure_rate: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Largest part of the images that may fail. Looked at from the hundredth image on, and at the end."""
    max_failures: Annotated[int, Field(ge=0)] | None = None
    """Largest number of images that may fail."""
    backoff_limit_per_shard: Annotated[int, Field(ge=0, le=100)] = 3
    """How often a shard's process or pod is started again after a crash."""
    retry_failed: bool = False
    """When resuming, do images with a failed row once more."""


class GpuSharing(StrEnum):
    """How pods come to the node's GPU."""

    DEVICE = "device"
    CLAIM = "claim"
    NONE = "none"


class Gpu(ApiModel):
    """The accelerator that each pod asks for."""

    sharing: GpuSharing = GpuSharing.DEVICE
    """device asks for an extended resource, claim for a ResourceClaim, none for nothing."""
    resource_name: Annotated[str, Field(min_length=1, max_length=317)] = DEFAULT_GPU_RESOURCE
    """Extended resource, with sharing: device."""
    count: Annotated[int, Field(ge=1, le=64)] = 1
    """How many of it."""
    claim_name: Annotated[str, Field(max_length=253)] | None = None
    """ResourceClaim, with sharing: claim."""
    runtime_class_name: Annotated[str, Field(max_length=253)] | None = None
    """RuntimeClass of the pods."""

    @model_validator(mode="after")
    def _claim_goes_with_claim(self) -> Self:
        if (self.claim_name is not None) != (self.sharing is GpuSharing.CLAIM):
            raise ValueError("claimName goes with sharing: claim, and sharing: claim needs it")
        return self


class ResourceRequirements(ApiModel):
    """Requests and limits of the runner container, as in Kubernetes."""

    requests: dict[str, str | int] = {}
    """What is reserved."""
    limits: dict[str, str | int] = {}
    """What is allowed."""


class Template(ApiModel):
    """What a user may choose about the pods."""

    image: Annotated[str, Field(min_length=1, max_length=1024)] | None = None
    """Image of the runner; the operator's default unless set."""
    resources: ResourceRequirements = ResourceRequirements()
    """CPU and memory."""
    node_selector: dict[str, str] = {}
    """Labels that the node must carry."""
    tolerations: Annotated[list[JsonObject], Field(max_length=64)] = []
    """Tolerations as in Kubernetes."""
    affinity: JsonObject = {}
    """Affinity as in Kubernetes."""
    env: Annotated[list[JsonObject], Field(max_length=256)] = []
    """Environment as in Kubernetes; credentials come from a Secret through valueFrom."""
    volumes: Annotated[list[JsonObject], Field(max_length=64)] = []
    """Volumes as in Kubernetes; hostPath is refused."""
    volume_mounts: Annotated[list[JsonObject], Field(max_length=64)] = []
    """Mounts of those volumes."""
    service_account_name: Annotated[str, Field(max_length=253)] | None = None
    """Service account; one made for runners unless set."""
    image_pull_secrets: Annotated[list[JsonObject], Field(max_length=16)] = []
    """Secrets to pull the image with."""
    priority_class_name: Annotated[str, Field(max_length=253)] | None = None
    """PriorityClass of the pods."""

    @model_validator(mode="after")
    def _no_host_path(self) -> Self:
        for index, volume in enumerate(self.volumes):
            if "hostPath" in volume:
                raise ValueError(f"volumes[{index}]: hostPath is not allowed; use a PersistentVolumeClaim, a ConfigMap or an emptyDir")
        return self


class ImageJobSpec(ApiModel):
    """What to run on which images, and where the rows go."""

    source: Source
    """Where the images are."""
    pipeline_ref: PipelineRef | None = None
    """The ImagePipeline to run; or write `pipeline`."""
    pipeline: ImagePipelineSpec | None = None
    """The pipeline itself, instead of `pipelineRef`."""
    output: Output
    """Where the rows go."""
    parallelism: Annotated[int, Field(ge=1, le=10_000)] = 1
    """Pods (on one machine: processes) at once."""
    chunk_size: Annotated[int, Field(ge=1, le=10_000)] = DEFAULT_CHUNK_SIZE
    """Images that are committed together: the unit of resume."""
    shards: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """Parts that the job is split into; computed unless set."""
    priority: Annotated[int, Field(ge=-1_000_000, le=1_000_000)] = 0
    """Place in the queue of a limit: higher goes first."""
    failure_policy: FailurePolicy = FailurePolicy()
    """How much may fail."""
    suspend: bool = False
    """True stops the job's pods; outputs stay, and False goes on."""
    cancel: bool = False
    """True ends the job for good; outputs stay."""
    active_deadline_seconds: Annotated[int, Field(ge=1)] | None = None
    """Seconds that the job may run."""
    start_deadline_seconds: Annotated[int, Field(ge=1)] | None = None
    """Seconds within which the job must have started."""
    ttl_seconds_after_finished: Annotated[int, Field(ge=0)] | None = None
    """Seconds after its end when the object is deleted; kept unless set."""
    gpu: Gpu = Gpu()
    """The accelerator that each pod asks for."""
    template: Template = Template()
    """What may be chosen about the pods."""

    @model_validator(mode="after")
    def _one_pipeline(self) -> Self:
        if (self.pipeline_ref is None) == (self.pipeline is None):
            raise ValueError("set exactly one of pipelineRef and pipeline")
        return self


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


class ImageJobStatus(ApiModel):
    """What the operator sees of the job."""

    observed_generation: int = -1
    """Generation of the spec that this status belongs to."""
    phase: Phase | None = None
    """For people; programs read conditions."""
    conditions: list[Condition] = []
    """Finished, Complete, Failed, Suspended, Reconciling and Stalled."""
    images: ImageCounts = ImageCounts()
    """Progress by image."""
    progress: str = ""
    """Progress as done/total, for printing."""
    shards: ShardCounts = ShardCounts()
    """Progress by shard."""
    pods: PodCounts = PodCounts()
    """The job's pods."""
    waiting_for_limit: int = 0
    """Pods that wait for a slot."""
    images_per_second: str = ""
    """Rate of late, as a decimal."""
    eta: str | None = None
    """Expected end, RFC 3339."""
    start_time: str | None = None
    """Start of the first pod, RFC 3339."""
    completion_time: str | None = None
    """End of the job, RFC 3339."""


class ImageJob(Resource):
    """Deep-learning inference over a set of images."""

    kind: Literal["ImageJob"] = "ImageJob"
    """Always ImageJob."""
    metadata: Metadata
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
