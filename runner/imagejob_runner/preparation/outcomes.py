"""How an image's end travels from a worker to the runner."""

import re
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final

from imagejob_runner.constants import ErrorCode
from imagejob_runner.exceptions import ImageError
from imagejob_runner.images.probe import FORMATS, Probe
from imagejob_runner.preparation.messages import Prepared
from imagejob_runner.preparation.recipe import BANDS, PreparationRecipe
from imagejob_runner.preparation.wire import MOST_BYTES, WireError

if TYPE_CHECKING:
    from imagejob_runner.device.jpeg import Header
    from imagejob_runner.preparation.preparer import Task

_ORIENTATIONS: Final = 8
_CODES: Final = frozenset(value for name, value in vars(ErrorCode).items() if name.isupper())
_SHA256: Final = re.compile("[0-9a-f]{64}")
_MOST_MESSAGE: Final = 4096
"""Characters of an error's message."""
_MOST_PROFILE: Final = 1 << 28
"""Bytes of a colour profile, if nothing says how large a file may be: it stands in there as it is, or is at most 1 MiB (PNG)."""
_BESIDE: Final = 1 << 22
"""Bytes of smaller pictures in the same message, and that of a PNG's profile."""
_MOST_COUNT: Final = 2**31 - 1
"""Attempts, or pixels side by side."""
_MOST_SIZE: Final = 2**48
"""Bytes of anything, and images of a run."""


def outcome(task: "Task") -> list[object]:
    """The end of an image as JSON; its picture, if it has one, is sent behind."""
    error, probe, image = task.error, task.probe, task.image
    failure = None if error is None else [error.code, error.message, error.retryable]
    header = None if probe is None else [probe.format, probe.width, probe.height, probe.draft]
    picture = None if image is None else [image.width, image.height, len(image.info.get("icc_profile", b""))]
    undecoded = task.undecoded
    encoded = None if undecoded is None else [undecoded.width, undecoded.height, undecoded.orientation]
    return [task.number, failure, task.attempts, task.sha256, task.size, header, *task.seconds, picture, encoded]


class Reader:
    """Reads ends of images as workers send them, believing nothing.

    Args:
        recipe: What was done to them.
        slot: Bytes of a slot.
    """

    def __init__(self, recipe: PreparationRecipe, slot: int) -> None:
        self._slot = slot
        self._download = recipe.download_step.name if recipe.download_step is not None else ""
        self._decode = recipe.decode_step.name
        self._keep_image = recipe.keep_image

    def read(self, value: Any, payload: memoryview) -> tuple[Prepared, int]:  # noqa: ANN401  anything at all
        """One end of an image, without its array and its slot, and how many bytes of the payload belong to it.

        Raises:
            WireError: It is none.
        """
        try:
            number, failure, attempts, sha256, size, header, downloading, decoding, picture, encoded = value
            provenance: dict[str, Any] = {}
            timings: dict[str, float] = {}
            if sha256 is not None:
                provenance["inputSha256"], provenance["inputBytes"] = _sha256(sha256), _size(size)
            if header is not None:
                form, width, height, draft = header
                provenance["format"], provenance["width"], provenance["height"] = _format(form), _count(width), _count(height)
                provenance["draft"] = draft is True
            if downloading is not None:
                timings[self._download] = _seconds(downloading)
            if decoding is not None:
                timings[self._decode] = timings.get(self._decode, 0.0) + _seconds(decoding)
            error = None
            if failure is not None:
                code, message, retryable = failure
                error = ImageError(_code(code), _text(message)[:_MOST_MESSAGE], retryable=retryable is True)
            prepared = Prepared(_size(number), error, _count(attempts), provenance, timings, None, None, -1)
            if encoded is not None and error is None:
                prepared.header = self._header(encoded, provenance)
                return prepared, 0
            if picture is None or error is not None:
                if self._keep_image and error is None:
                    raise WireError("a picture is missing")
                return prepared, 0
            prepared.image, used = _picture(picture, payload)
        except (TypeError, ValueError) as raised:
            raise WireError("not the end of an image") from raised
        return prepared, used

    def _header(self, value: Any, provenance: dict[str, Any]) -> "Header":  # noqa: ANN401  anything at all
        """The header of a file that a device decodes; what a row says of it is noted."""
        from imagejob_runner.device.jpeg import Header  # noqa: PLC0415  a runner without such a device does without Pillow

        width, height, orientation = map(_count, value)
        if not width * height or not 1 <= orientation <= _ORIENTATIONS or not 0 < provenance.get("inputBytes", 0) <= self._slot:
            raise WireError("not a file for a device")
        provenance.update(format="JPEG", width=width, height=height, draft=False)
        return Header(width, height, orientation)


def most_bytes(recipe: PreparationRecipe) -> int:
    """Most bytes that can go with a message of a worker: pictures that are kept, and their profiles."""
    if not recipe.keep_image:
        return 0
    pixels = recipe.decode.max_pixels
    for operation in recipe.operations:
        exact = operation.crop or operation.thumbnail or operation.resize
        if exact is None or exact.width is None or exact.height is None:
            return MOST_BYTES  # a side that follows from the other one may have any length
        pixels = exact.width * exact.height
    profile = recipe.download.max_bytes if recipe.download is not None else _MOST_PROFILE
    return min(MOST_BYTES, BANDS * pixels + profile + _BESIDE)


def read_probe(value: list[object]) -> Probe:
    """What a worker says of a header.

    Raises:
        WireError: It makes no sense.
    """
    if len(value) != len(fields(Probe)):
        raise WireError("not a header")
    form, width, height, draft, memory = value
    return Probe(_format(form), _count(width), _count(height), draft is True, _size(memory))


def _picture(value: Any, payload: memoryview) -> tuple[Any, int]:  # noqa: ANN401  anything at all; a picture
    from PIL import Image  # noqa: PLC0415  a runner that keeps no pictures does without Pillow

    width, height, profile = map(_count, value)
    pixels = width * height * BANDS
    if not pixels or pixels + profile > len(payload):
        raise WireError("a picture without its pixels")
    image = Image.frombytes("RGB", (width, height), payload[:pixels])
    if profile:
        image.info["icc_profile"] = bytes(payload[pixels : pixels + profile])
    return image, pixels + profile


def _text(value: object) -> str:
    if type(value) is not str:
        raise WireError("not a text")
    return value


def _code(value: object) -> str:
    if type(value) is not str or value not in _CODES:
        raise WireError("not an error code")
    return value


def _format(value: object) -> str:
    if type(value) is not str or value not in FORMATS:
        raise WireError("not a format")
    return value


def _sha256(value: object) -> str:
    if type(value) is not str or not _SHA256.fullmatch(value):
        raise WireError("not a SHA-256")
    return value


def _count(value: object) -> int:
    if type(value) is not int or not 0 <= value <= _MOST_COUNT:
        raise WireError("not a number")
    return value


def _size(value: object) -> int:
    if type(value) is not int or not 0 <= value <= _MOST_SIZE:
        raise WireError("not a size")
    return value


def _seconds(value: object) -> float:
    if type(value) is not float or not 0 <= value < float("inf"):
        raise WireError("not a time")
    return value
