"""ImagePipeline: the steps that every image goes through."""

from enum import StrEnum
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field, model_validator

from imagejob_api.base import (
    COLOUR_PATTERN,
    DEVICE_PATTERN,
    ApiModel,
    Arguments,
    Duration,
    FunctionPath,
    Name,
    Network,
    Sha256,
    SourceUrl,
    duration_seconds,
)
from imagejob_api.rules import ListMap, Rule, exactly_one


class Retries(ApiModel):
    """How often a failed attempt is repeated, with exponential backoff and full jitter."""

    limit: Annotated[int, Field(ge=0, le=20)] = 2
    """Attempts after the first one. Only errors that another attempt can help are retried."""
    backoff: Duration = "500ms"
    """Longest wait before the first repetition; doubled for each further one."""
    max_backoff: Duration = "30s"
    """Upper bound of the wait."""


class StepLimit(ApiModel):
    """A per-node limit that the step takes before it works, as named by a NodeLimit."""

    name: Name
    """Name of the NodeLimit."""
    slots: Annotated[int, Field(ge=1, le=64)] = 1
    """Slots that one worker of this step takes."""
    hold: Duration = "5s"
    """How long a worker may go on through ready work while others wait. With nobody waiting it keeps the slot, and lets it
    go after this long without work. 0s passes the slot on after each unit of work. The NodeLimit's `maxHold` bounds it."""

    @property
    def hold_seconds(self) -> float:
        """`hold` in seconds."""
        return duration_seconds(self.hold)


class Download(ApiModel):
    """Fetches the image's URL into memory."""

    max_bytes: Annotated[int, Field(ge=1, le=2**31 - 1)] = 64 * 1024 * 1024
    """Largest body accepted, in bytes."""
    max_redirects: Annotated[int, Field(ge=0, le=20)] = 5
    """HTTP redirects followed, each checked anew."""
    allowed_networks: Annotated[list[Network], Field(max_length=64)] = Field(default_factory=list)
    """Networks in CIDR form that HTTP sources may reach although they are private, loopback, link-local or otherwise not public.
    Everything not public is refused otherwise."""
    headers: Annotated[dict[str, str], Field(max_length=32)] = Field(default_factory=dict)
    """Extra HTTP request headers, dropped on a redirect to another host."""


class Decode(ApiModel):
    """How encoded bytes become RGB pixels."""

    max_pixels: Annotated[int, Field(ge=1, le=2**31 - 1)] = 100_000_000
    """Largest image accepted, in pixels of width times height; checked before any pixel is decoded."""
    draft: bool = True
    """Let the JPEG decoder scale down while decoding when a much smaller image is asked for. Changes pixels slightly (about 0.4 of 255)."""
    exif_orientation: bool = True
    """Turn the image as its EXIF orientation says."""
    background: Annotated[str, Field(pattern=COLOUR_PATTERN)] = "#ffffff"
    """Colour that transparent pixels are composited onto, as #rrggbb."""
    frame: Annotated[int, Field(ge=0, le=100_000)] = 0
    """Which frame or page of an animated or multi-page file is used."""
    device: Literal["auto", "cpu", "gpu"] = "auto"
    """Where JPEGs are decoded that go straight to a model on a GPU: without operations, limits before the model, or a later use of the
    picture. auto: where it is sooner; gpu: there, or the job does not start; cpu: never on the GPU, which changes pixels slightly.
    Everything but plain JPEGs is decoded on CPUs."""


class Resize(ApiModel):
    """Scales to an exact size, or the shorter side to `shorter` keeping the aspect ratio."""

    RULES: ClassVar = (
        Rule(
            message="set width and height together, or shorter alone",
            cel="has(self.shorter) ? !has(self.width) && !has(self.height) : has(self.width) && has(self.height)",
            holds=lambda resize: (resize.width is None, resize.height is None) == (resize.shorter is not None,) * 2,
        ),
    )

    width: Annotated[int, Field(ge=1, le=16384)] | None = None
    """Width in pixels."""
    height: Annotated[int, Field(ge=1, le=16384)] | None = None
    """Height in pixels."""
    shorter: Annotated[int, Field(ge=1, le=16384)] | None = None
    """Length of the shorter side in pixels; excludes width and height."""
    filter: Literal["nearest", "bilinear", "bicubic", "lanczos"] = "bicubic"
    """Resampling filter."""


class Crop(ApiModel):
    """Cuts out a centred rectangle, padded with the background where the image is smaller."""

    width: Annotated[int, Field(ge=1, le=16384)]
    """Width in pixels."""
    height: Annotated[int, Field(ge=1, le=16384)]
    """Height in pixels."""


class Thumbnail(ApiModel):
    """Scales down, never up, to fit into a box, keeping the aspect ratio."""

    width: Annotated[int, Field(ge=1, le=16384)]
    """Width of the box in pixels."""
    height: Annotated[int, Field(ge=1, le=16384)]
    """Height of the box in pixels."""


class Operation(ApiModel):
    """One change of the picture: exactly one of its fields is set."""

    RULES: ClassVar = (exactly_one("resize", "crop", "thumbnail"),)

    resize: Resize | None = None
    """Scale the image."""
    crop: Crop | None = None
    """Cut out the centre."""
    thumbnail: Thumbnail | None = None
    """Shrink to fit a box."""


class Transform(ApiModel):
    """Decodes the image and changes its shape."""

    decode: Decode = Decode()
    """How bytes become pixels."""
    operations: Annotated[list[Operation], Field(max_length=16)] = Field(default_factory=list)
    """Changes in order."""


class Normalize(ApiModel):
    """Turns 8-bit RGB values into model input: ``(value * scale - mean) / std`` per channel."""

    RULES: ClassVar = (
        Rule(
            message="std must not contain zero",
            cel="!has(self.std) || self.std.all(value, value != 0.0)",
            holds=lambda normalize: all(value != 0 for value in normalize.std),
            field_path=".std",
        ),
    )

    scale: float = 1 / 255
    """Factor applied to the 0..255 value first."""
    mean: Annotated[list[float], Field(min_length=3, max_length=3)] = Field(default=[0.485, 0.456, 0.406])
    """Mean per channel, in scaled units, red first. The default is ImageNet's."""
    std: Annotated[list[float], Field(min_length=3, max_length=3)] = Field(default=[0.229, 0.224, 0.225])
    """Standard deviation per channel, in scaled units, red first; never zero."""


class Preprocess(ApiModel):
    """How a decoded image becomes the model's input of shape (3, size, size)."""

    size: Annotated[int, Field(ge=1, le=8192)] = 224
    """Side of the square input in pixels."""
    resize: Literal["crop", "squash", "pad"] = "crop"
    """crop: the shorter side is scaled to `size` / `cropFraction` and the centre cut out; squash: both sides are scaled to `size`;
    pad: the whole image is fitted in and the rest filled with the background."""
    crop_fraction: Annotated[float, Field(gt=0, le=1)] = 0.875
    """With `resize: crop`, the part of the shorter side that is kept."""
    filter: Literal["nearest", "bilinear", "bicubic", "lanczos"] = "bicubic"
    """Resampling filter."""
    normalize: Normalize = Normalize()
    """Scale, mean and standard deviation."""


class Model(ApiModel):
    """The network: weights with a named architecture, or an exported program."""

    RULES: ClassVar = (
        Rule(
            message="exactly one of architecture (with weights) and program must be set",
            cel="has(self.architecture) != has(self.program)",
            holds=lambda model: (model.architecture is None) != (model.program is None),
        ),
        Rule(
            message="program needs sha256: an exported program can run code, so its digest must be known",
            cel="!has(self.program) || has(self.sha256)",
            holds=lambda model: model.program is None or model.sha256 is not None,
        ),
        Rule(
            message="weights go with architecture, not with program",
            cel="!has(self.program) || !has(self.weights)",
            holds=lambda model: model.program is None or model.weights is None,
        ),
    )

    architecture: FunctionPath | None = None
    """Where the network comes from: a Python factory as ``module:function``, called with `arguments`, that returns a torch.nn.Module."""
    arguments: Arguments = Field(default_factory=dict)
    """Keyword arguments of the factory."""
    weights: SourceUrl | None = None
    """URL of a safetensors file or a state dict, loaded with weights_only=True."""
    program: SourceUrl | None = None
    """URL of a ``.pt2`` file saved by torch.export; needs `sha256`."""
    sha256: Sha256 | None = None
    """Expected digest of the weights or the program."""


class TopK(ApiModel):
    """Writes the best classes as ``[{label, index, score}]``, best first."""

    k: Annotated[int, Field(ge=1, le=1000)] = 5
    """How many classes."""
    activation: Literal["softmax", "sigmoid", "none"] = "softmax"
    """What turns the model's output into scores."""


class Outputs(ApiModel):
    """What is written of the model's answer: exactly one of its fields is set."""

    RULES: ClassVar = (
        Rule(
            message="exactly one of topK, embedding, tensor must be set",
            cel="[has(self.topK), has(self.embedding), has(self.tensor) && self.tensor].filter(given, given).size() == 1",
            holds=lambda outputs: [outputs.top_k is not None, outputs.embedding is not None, outputs.tensor is True].count(True) == 1,
        ),
    )

    top_k: TopK | None = None
    """The best classes with label and score."""
    embedding: Literal["raw", "l2"] | None = None
    """The output as a list of numbers; l2 scales it to length one."""
    tensor: bool | None = None
    """The output as {shape, dtype, data}, data nested lists."""


class Precision(StrEnum):
    """Number format of the forward pass."""

    FP32 = "fp32"
    FP16 = "fp16"
    BF16 = "bf16"


class Infer(ApiModel):
    """Runs a torch model over batches of images."""

    RULES: ClassVar = (
        Rule(
            message="set labels or labelNames, not both",
            cel="!has(self.labels) || !has(self.labelNames)",
            holds=lambda infer: infer.labels_from is None or infer.label_names is None,
        ),
    )

    model: Model
    """The network."""
    labels_from: Annotated[str, Field(min_length=1, max_length=4096)] | None = Field(default=None, alias="labels")
    """Names of the classes: ``imagenet-1k``, or the URL of a text file with one name a line."""
    label_names: Annotated[list[str], Field(min_length=1, max_length=10_000)] | None = None
    """Names of the classes, in the order of the model's outputs, instead of `labels`."""
    preprocess: Preprocess = Preprocess()
    """How an image becomes the model's input."""
    batch_size: Annotated[int, Field(ge=1, le=4096)] | None = None
    """Largest number of images in one forward pass; halved when memory runs out. Chosen for the device unless set: 256 on a GPU, 32 (or 8
    for each thread) on CPUs, fewer for inputs of more than 512 pixels a side."""
    precision: Precision = Precision.FP32
    """Number format of the forward pass."""
    device: Annotated[str, Field(pattern=DEVICE_PATTERN)] = "auto"
    """auto takes the first GPU if there is one, else the CPU."""
    threads: Annotated[int, Field(ge=1, le=512)] | None = None
    """CPU threads of the forward pass; all of the pod's CPUs unless set. With fewer, images are decoded on the other CPUs."""
    compile: Literal["auto", "off"] = "auto"
    """auto: on a GPU torch compiles the model beside its work when what is left of the job pays that back, and the result is used if its
    answers differ by no more than 0.001 (fp16: 0.01, bf16: 0.03) of the largest value."""
    outputs: Outputs = Outputs(top_k=TopK())
    """What is written of the answer."""

    @property
    def labels(self) -> str | list[str] | None:
        """The names of the classes, or where they are: `label_names` or `labels_from`."""
        return self.labels_from if self.label_names is None else self.label_names


class Call(ApiModel):
    """Calls a Python function, sync or async, once for each image."""

    function: FunctionPath
    """Import path ``module:function``; called with an ImageItem and `arguments`."""
    arguments: Arguments = Field(default_factory=dict)
    """Keyword arguments."""


class DerivedImage(ApiModel):
    """An image file written for each input, from the pixels after the last transform."""

    format: Literal["jpeg", "png", "webp"] = "jpeg"
    """File format."""
    quality: Annotated[int, Field(ge=1, le=100)] = 90
    """Quality of jpeg and webp."""


class Save(ApiModel):
    """Puts the image's row into the output; with `image`, a derived image too."""

    image: DerivedImage | None = None
    """Write the picture as it is after the transforms, below images/ in the output."""


STEP_KINDS: Final = ("download", "transform", "infer", "call", "save")


class Step(ApiModel):
    """One stage of a pipeline: a name and exactly one of download, transform, infer, call, save."""

    RULES: ClassVar = (exactly_one(*STEP_KINDS),)

    name: Name
    """Name of the step; its outputs and timings stand under this name in every row."""
    download: Download | None = None
    """Fetch the image's URL."""
    transform: Transform | None = None
    """Decode and reshape."""
    infer: Infer | None = None
    """Run a model over batches."""
    call: Call | None = None
    """Call a Python function."""
    save: Save | None = None
    """Write the row."""
    concurrency: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Images (infer: batches) worked on at once in one pod. Default: download 16, save 8, call 4, transform one for each CPU, and 1 for
    infer and for any step with limits."""
    timeout: Duration | None = None
    """Time for one attempt on one image; download has 60s unless set, the others none. A forward pass is never cut short: on an infer step
    this bounds the decoding that the step does where no transform stands before it, and nothing else."""
    retries: Retries = Retries()
    """Repetition of failed attempts. On an infer step nothing is repeated: a batch that fails is halved until the image at fault is alone,
    and one that is too large for the memory is halved for good."""
    limits: Annotated[list[StepLimit], Field(max_length=8), ListMap("name")] = Field(default_factory=list)
    """Per-node limits taken before the step works, in order of their names, and let go before the next step."""

    @property
    def kind(self) -> str:
        """Which of `STEP_KINDS` is set."""
        return next(kind for kind in STEP_KINDS if getattr(self, kind) is not None)

    @property
    def timeout_seconds(self) -> float | None:
        """`timeout` in seconds, with the default of the step's kind."""
        if self.timeout is not None:
            return duration_seconds(self.timeout)
        return 60.0 if self.kind == "download" else None

    @model_validator(mode="before")
    @classmethod
    def _no_empty_kind(cls, value: object) -> object:
        # `save:` with nothing after it is null in YAML, which an API server drops: the step would have no kind at all.
        if isinstance(value, dict) and all(value.get(kind) is None for kind in STEP_KINDS):
            for kind in STEP_KINDS:
                if kind in value:
                    raise ValueError(f"{kind} is empty, and Kubernetes drops empty fields; write {kind}: {{}}")
        return value


def _first_kind(steps: list[Step], kinds: tuple[str, ...]) -> str | None:
    return next((step.kind for step in steps if step.kind in kinds), None)


def _comes_after(kind: str, before: tuple[str, ...], message: str) -> Rule:
    """The rule that `kind` needs one of the steps `before` ahead of it."""
    both = (kind, *before)
    found = f"self.steps.filter(step, {' || '.join(f'has(step.{each})' for each in both)})"
    return Rule(
        message=message,
        cel=f"{found}.size() == 0 || !has({found}[0].{kind})",
        holds=lambda spec: _first_kind(spec.steps, both) != kind,
        field_path=".steps",
    )


class ImagePipelineSpec(ApiModel):
    """The steps of a pipeline."""

    RULES: ClassVar = (
        Rule(
            message="save must stand once at most, and last",
            cel="self.steps.filter(step, has(step.save)).size() <= (has(self.steps[self.steps.size() - 1].save) ? 1 : 0)",
            holds=lambda spec: all(step.kind != "save" for step in spec.steps[:-1]),
            field_path=".steps",
        ),
        _comes_after("transform", ("download", "call"), "transform needs a download before it, or a call that sets item.data"),
        _comes_after(
            "infer", ("download", "transform", "call"), "infer needs a download or a transform before it, or a call that sets item.data"
        ),
    )

    steps: Annotated[list[Step], Field(min_length=1, max_length=32), ListMap("name")]
    """Steps in order; each name once; save at most once and last."""
