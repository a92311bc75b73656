"""ImagePipeline: the steps that every image goes through."""

from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from imagejob_api.base import ApiModel, Duration, Name, Sha256, duration_seconds


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
    go after this long without work. 0s passes the slot on after each unit of work."""

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
    allowed_networks: Annotated[list[str], Field(max_length=64)] = []
    """Networks in CIDR form that HTTP sources may reach although they are private, loopback, link-local or otherwise not public.
    Everything not public is refused otherwise."""
    headers: Annotated[dict[str, str], Field(max_length=32)] = {}
    """Extra HTTP request headers, dropped on a redirect to another host."""

    @model_validator(mode="after")
    def _networks_parse(self) -> Self:
        import ipaddress

        for network in self.allowed_networks:
            try:
                ipaddress.ip_network(network)
            except ValueError as error:
                raise ValueError(f"allowedNetworks: {error}; write a network such as 10.0.0.0/8") from None
        return self


class Decode(ApiModel):
    """How encoded bytes become RGB pixels."""

    max_pixels: Annotated[int, Field(ge=1, le=2**31 - 1)] = 100_000_000
    """Largest image accepted, in pixels of width times height; checked before any pixel is decoded."""
    draft: bool = True
    """Let the JPEG decoder scale down while decoding when a much smaller image is asked for. Changes pixels slightly (about 0.4 of 255)."""
    exif_orientation: bool = True
    """Turn the image as its EXIF orientation says."""
    background: Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")] = "#ffffff"
    """Colour that transparent pixels are composited onto, as #rrggbb."""
    frame: Annotated[int, Field(ge=0, le=100_000)] = 0
    """Which frame or page of an animated or multi-page file is used."""


class Resize(ApiModel):
    """Scales to an exact size, or the shorter side to `shorter` keeping the aspect ratio."""

    width: Annotated[int, Field(ge=1, le=16384)] | None = None
    """Width in pixels."""
    height: Annotated[int, Field(ge=1, le=16384)] | None = None
    """Height in pixels."""
    shorter: Annotated[int, Field(ge=1, le=16384)] | None = None
    """Length of the shorter side in pixels; excludes width and height."""
    filter: Literal["nearest", "bilinear", "bicubic", "lanczos"] = "bicubic"
    """Resampling filter."""

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        both = self.width is not None and self.height is not None
        neither = self.width is None and self.height is None
        if self.shorter is not None and neither:
            return self
        if self.shorter is None and both:
            return self
        raise ValueError("set width and height together, or shorter alone")


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

    resize: Resize | None = None
    """Scale the image."""
    crop: Crop | None = None
    """Cut out the centre."""
    thumbnail: Thumbnail | None = None
    """Shrink to fit a box."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        given = [name for name in ("resize", "crop", "thumbnail") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"exactly one of resize, crop, thumbnail must be set, not {len(given)}")
        return self


class Transform(ApiModel):
    """Decodes the image and changes its shape."""

    decode: Decode = Decode()
    """How bytes become pixels."""
    operations: Annotated[list[Operation], Field(max_length=16)] = []
    """Changes in order."""


class Normalize(ApiModel):
    """Turns 8-bit RGB values into model input: ``(value * scale - mean) / std`` per channel."""

    scale: float = 1 / 255
    """Factor applied to the 0..255 value first."""
    mean: Annotated[list[float], Field(min_length=3, max_length=3)] = [0.485, 0.456, 0.406]
    """Mean per channel, in scaled units, red first. The default is ImageNet's."""
    std: Annotated[list[float], Field(min_length=3, max_length=3)] = [0.229, 0.224, 0.225]
    """Standard deviation per channel, in scaled units, red first; never zero."""

    @model_validator(mode="after")
    def _no_zero(self) -> Self:
        if any(value == 0 for value in self.std):
            raise ValueError("std must not contain zero")
        return self


class Preprocess(ApiModel):
    """How a decoded image becomes the model's input of shape (3, size, size)."""

    size: Annotated[int, Field(ge=1, le=8192)] = 224
    """Side of the square input in pixels."""
    resize: Literal["crop", "squash", "pad"] = "crop"
    """crop: the shorter side is scaled to `size` / `cropFraction` and the centre cut out; squash: both sides are scaled to `size`; pad: the whole image
    is fitted in and the rest filled with the background."""
    crop_fraction: Annotated[float, Field(gt=0, le=1)] = 0.875
    """With `resize: crop`, the part of the shorter side that is kept."""
    filter: Literal["nearest", "bilinear", "bicubic", "lanczos"] = "bicubic"
    """Resampling filter."""
    normalize: Normalize = Normalize()
    """Scale, mean and standard deviation."""


class Model(ApiModel):
    """The network: weights with a named architecture, or an exported program."""

    architecture: str | None = None
    """Where the network comes from: a Python factory as ``module:function``, called with `arguments`, that returns a torch.nn.Module."""
    arguments: dict[str, Any] = {}
    """Keyword arguments of the factory."""
    weights: str | None = None
    """URL of a safetensors file or a state dict, loaded with weights_only=True."""
    program: str | None = None
    """URL of a ``.pt2`` file saved by torch.export; needs `sha256`."""
    sha256: Sha256 | None = None
    """Expected digest of the weights or the program."""

    @model_validator(mode="after")
    def _weights_or_program(self) -> Self:
        if (self.program is None) == (self.architecture is None):
            raise ValueError("set exactly one of architecture (with weights) and program")
        if self.program is not None and self.sha256 is None:
            raise ValueError("program needs sha256: an exported program can run code, so its digest must be known")
        if self.program is not None and self.weights is not None:
            raise ValueError("weights go with architecture, not with program")
        return self


class TopK(ApiModel):
    """Writes the best classes as ``[{label, index, score}]``, best first."""

    k: Annotated[int, Field(ge=1, le=1000)] = 5
    """How many classes."""
    activation: Literal["softmax", "sigmoid", "none"] = "softmax"
    """What turns the model's output into scores."""


class Outputs(ApiModel):
    """What is written of the model's answer: exactly one of its fields is set."""

    top_k: TopK | None = None
    """The best classes with label and score."""
    embedding: Literal["raw", "l2"] | None = None
    """The output as a list of numbers; l2 scales it to length one."""
    tensor: bool | None = None
    """The output as {shape, dtype, data}, data nested lists."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        given = [name for name in ("top_k", "embedding", "tensor") if getattr(self, name)]
        if len(given) != 1:
            raise ValueError(f"exactly one of topK, embedding, tensor must be set, not {len(given)}")
        return self


class Precision(StrEnum):
    """Number format of the forward pass."""

    FP32 = "fp32"
    FP16 = "fp16"
    BF16 = "bf16"


class Infer(ApiModel):
    """Runs a torch model over batches of images."""

    model: Model
    """The network."""
    labels: str | list[str] | None = None
    """Names of the classes: ``imagenet-1k``, a URL of a text file with one name a line, or a list."""
    preprocess: Preprocess = Preprocess()
    """How an image becomes the model's input."""
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 32
    """Largest number of images in one forward pass; halved when memory runs out."""
    precision: Precision = Precision.FP32
    """Number format of the forward pass."""
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:[0-9]+)?)$")] = "auto"
    """auto takes the first GPU if there is one, else the CPU."""
    threads: Annotated[int, Field(ge=1, le=512)] | None = None
    """CPU threads of the forward pass; all of the pod's CPUs unless set."""
    outputs: Outputs = Outputs(top_k=TopK())
    """What is written of the answer."""


class Call(ApiModel):
    """Calls a Python function, sync or async, once for each image."""

    function: Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$")]
    """Import path ``module:function``; called with an ImageItem and `arguments`."""
    arguments: dict[str, Any] = {}
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


STEP_KINDS = ("download", "transform", "infer", "call", "save")


class Step(ApiModel):
    """One stage of a pipeline: a name and exactly one of download, transform, infer, call, save."""

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
    """Images (infer: batches) worked on at once in one pod. Default: download 16, save 8, call 4, transform one for each CPU, and 1 for infer and for any step with limits."""
    timeout: Duration | None = None
    """Time for one attempt on one image; download has 60s unless set, the others none."""
    retries: Retries = Retries()
    """Repetition of failed attempts."""
    limits: Annotated[list[StepLimit], Field(max_length=8)] = []
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
    def _empty_kind_is_a_kind(cls, value: Any) -> Any:
        # `save:` with nothing after it reads as null in YAML; a person means the defaults.
        if isinstance(value, dict):
            return {key: {} if key in STEP_KINDS and item is None else item for key, item in value.items()}
        return value

    @model_validator(mode="after")
    def _exactly_one_kind(self) -> Self:
        given = [kind for kind in STEP_KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError(f"exactly one of {', '.join(STEP_KINDS)} must be set, not {len(given)}")
        names = [limit.name for limit in self.limits]
        if len(set(names)) != len(names):
            raise ValueError("limits: each name may stand once")
        return self


class ImagePipelineSpec(ApiModel):
    """The steps of a pipeline."""

    steps: Annotated[list[Step], Field(min_length=1, max_length=32)]
    """Steps in order; each name once; save at most once and last."""

    @model_validator(mode="after")
    def _steps_make_sense(self) -> Self:
        names = [step.name for step in self.steps]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"steps: the name {name!r} stands more than once")
        kinds = [step.kind for step in self.steps]
        if "save" in kinds[:-1]:
            raise ValueError("steps: save must stand once and last")
        if "transform" in kinds and "download" not in kinds[: kinds.index("transform")] and "call" not in kinds[: kinds.index("transform")]:
            raise ValueError("steps: transform needs a download (or a call that sets item.data) before it")
        if "infer" in kinds and "transform" not in kinds[: kinds.index("infer")] and "download" not in kinds[: kinds.index("infer")]:
            raise ValueError("steps: infer needs a download or a transform before it")
        return self
