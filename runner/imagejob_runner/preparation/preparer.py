"""What is done to one image in a worker, all of it in plain synchronous code."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from PIL import Image

from imagejob_runner.constants import ErrorCode
from imagejob_runner.device.jpeg import Header, header_for_gpu
from imagejob_runner.device.split import Split, cost
from imagejob_runner.exceptions import ImageError, InvalidJobError
from imagejob_runner.fetch.local import read_file
from imagejob_runner.images import transform
from imagejob_runner.images.decode import Opened
from imagejob_runner.images.memory import RGB_BYTES
from imagejob_runner.images.preprocess import to_input
from imagejob_runner.images.probe import Probe
from imagejob_runner.preparation.arena import SharedMemory
from imagejob_runner.preparation.recipe import BANDS, PreparationRecipe
from imagejob_runner.urls import FileUrl, parse_url, plain_path


class AskFirst(Exception):  # noqa: N818  a reason to wait, not an error
    """An image takes more memory than a worker may use by itself."""


@dataclass(slots=True)
class Task:
    """An image in a worker."""

    number: int
    order: int
    """Its place among all images of the pool: what is older goes first."""
    slot: int
    url: str
    data: bytes | None
    used: list[int]
    """Attempts that have failed, by step."""
    attempts: int = 0
    """Of the step that it is in."""
    step: int = 0
    """Which that is."""
    permitted: bool = False
    """Whether it may be decoded however much memory that takes."""
    held: int = 0
    """Bytes of the budget."""
    fetched: bool = False
    """Whether `data` was fetched here, and can be had again."""
    sha256: str | None = None
    size: int | None = None
    probe: Probe | None = None
    seconds: list[float | None] = field(default_factory=lambda: [None, None])
    """Time that the attempts took, by step; None where there was none."""
    image: Image.Image | None = None
    undecoded: Header | None = None
    """Of a file that stands in its slot as it is, for the device to decode."""
    error: ImageError | None = None


class Preparer:
    """Prepares images as a recipe says.

    Args:
        recipe: What is done to each.
        pixels: Slots for the model's inputs; None if none are made.
        slot: Bytes of one.
        allowance: Bytes that a decoding may take without being permitted.
        split: Which of the files that a device could decode it does decode.
        device: Seconds of decoding that the device has to do; None if none decodes.
    """

    def __init__(
        self,
        recipe: PreparationRecipe,
        pixels: SharedMemory | None,
        slot: int,
        allowance: int,
        split: Split,
        device: Callable[[], float | None],
    ) -> None:
        self._recipe, self._slot, self._allowance = recipe, slot, allowance
        self._split, self._device = split, device
        self._memory = memoryview(pixels.memory) if pixels is not None else None
        self._limit = recipe.download.max_bytes if recipe.download is not None else 0
        hint = recipe.operations or (recipe.preprocess if not recipe.keep_image else None)
        self._target = transform.draft_target(hint) if hint else None

    def read(self, task: Task) -> None:
        """Reads a file of this machine.

        Raises:
            ImageError: It cannot be had.
        """
        path = plain_path(task.url)
        if path is not None:
            self.took(task, read_file(path, task.url, self._limit))
            return
        try:
            location = parse_url(task.url)
        except InvalidJobError as error:
            raise ImageError(ErrorCode.INVALID_URL, str(error)) from None
        assert isinstance(location, FileUrl)  # noqa: S101  what is somewhere else is fetched by the worker
        self.took(task, read_file(location.path, task.url, self._limit))

    @staticmethod
    def took(task: Task, data: bytes) -> None:
        """Notes the bytes of an image, and what they are."""
        task.data, task.fetched = data, True
        task.sha256, task.size = hashlib.sha256(data).hexdigest(), len(data)

    def decode(self, task: Task) -> None:
        """Makes of the bytes what the recipe asks for.

        Raises:
            ImageError: It cannot be decoded.
            AskFirst: It takes more memory than it may without being permitted.
        """
        recipe = self._recipe
        if task.data is None:
            raise ImageError(ErrorCode.INTERNAL, "there is neither data nor a picture to work on: put a download step first")
        task.undecoded = None  # of an attempt before
        waiting = self._device()
        if waiting is not None and self._left_to_device(task, task.data, waiting):
            return
        opened = Opened(task.data, recipe.decode, self._target)
        task.probe = probe = self._as_counted(opened.probe)
        if probe.memory > self._allowance and not task.permitted:
            raise AskFirst
        image = transform.apply(opened.pixels(), recipe.operations, recipe.decode.background)
        if recipe.preprocess is not None:
            assert self._memory is not None  # noqa: S101  there is an arena when there is a model
            size = BANDS * recipe.preprocess.size**2
            place = task.slot * self._slot
            self._memory[place : place + size] = to_input(image, recipe.preprocess, recipe.decode.background).tobytes()
        if recipe.keep_image:
            task.image = image

    def _as_counted(self, probe: Probe) -> Probe:
        """A header with the memory that is needed until the picture has arrived in the runner."""
        if not self._recipe.keep_image or self._recipe.operations:
            return probe
        return replace(probe, memory=max(probe.memory, (RGB_BYTES + BANDS) * probe.width * probe.height))

    def _left_to_device(self, task: Task, data: bytes, waiting: float) -> bool:
        """Puts a file into its slot as it is, if the device decodes it and does so sooner."""
        recipe = self._recipe
        if recipe.preprocess is None or self._memory is None or len(data) > self._slot:
            return False
        header = header_for_gpu(data, recipe.decode, recipe.preprocess)
        if header is None:
            return False
        target = self._target if recipe.decode.draft else None
        if not self._split.to_gpu([cost(header.width, header.height, target)], waiting)[0]:
            return False
        place = task.slot * self._slot
        self._memory[place : place + len(data)] = data
        task.undecoded = header
        return True
