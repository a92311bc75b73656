"""From encoded bytes to RGB pixels, without trusting the bytes.

The header is read first and judged by a pixel cap of our own: Pillow's only warns at 89 million pixels, and a 10 kB PNG can take
gigabytes. Whatever Pillow raises on hostile bytes comes out as an ImageError with a stable code, and everything that is not plain 8-bit
RGB is turned into it by `modes`.
"""

import re
import struct
import warnings
from typing import Final

from PIL import ExifTags, Image
from PIL.ImageFile import ImageFile

from imagejob_api.pipeline import Decode
from imagejob_runner.constants import ErrorCode
from imagejob_runner.exceptions import ImageError
from imagejob_runner.images.formats import format_of, is_cut_short, open_as
from imagejob_runner.images.memory import decoding_bytes
from imagejob_runner.images.modes import to_rgb
from imagejob_runner.images.probe import Probe

# What Pillow finds odd in a stranger's file (metadata, a broken multi-picture index, a size) is no news for the log: either the picture
# decodes or the row says why not.
warnings.filterwarnings("ignore", module=r"PIL\.")

TRANSPOSE: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What turns a picture upright, by its EXIF orientation (EXIF 2.32, tag 0x0112)."""
_INVERSE: Final = {6: 8, 8: 6}
_SIDEWAYS: Final = frozenset({5, 6, 7, 8})

_SAY_ORIENTATION: Final = frozenset({"exif", "Raw profile type exif", "XML:com.adobe.xmp", "xmp"})
_PNG_ORIENTATION: Final = (b"eXIf", b"Raw profile type exif", b"XML:com.adobe.xmp")
"""Where Pillow looks for an orientation: entries of a picture's `info`, and what tells them in a PNG file."""

_TRUNCATED: Final = ("truncated", "reached eof")
_UNSUPPORTED: Final = ("unsupported", "not supported", "unknown pixel mode")
"""How Pillow says that a file ends too early, or that a sound file is of a kind it does not read."""

_BYTES: Final = re.compile(r"""(bytearray\()?b(['"]).*?\2\)?""", re.DOTALL)
_TILE_WIDTH: Final = 322
_TILE_LENGTH: Final = 323


class Opened:
    """A file of which the header is read: what it says, and then the picture.

    Args:
        data: The encoded file.
        decode: Cap, frame, draft, orientation and background.
        target: Smallest width and height that later steps need (see `transform.draft_target`): lets the JPEG decoder scale down by 2, 4 or
            8 to no less than that; None for the full size.

    Raises:
        ImageError: EmptyFile, UnsupportedFormat, TruncatedImage, CorruptImage, TooManyPixels or NoSuchFrame.
    """

    __slots__ = ("_data", "_decode", "_image", "probe")

    def __init__(self, data: bytes, decode: Decode, target: tuple[int, int] | None = None) -> None:
        self._data, self._decode = data, decode
        name = format_of(data)
        try:
            image = open_as(name, data)
            width, height = _checked_size(image, decode)
            _draft(image, name, decode, target)
            turned = (decode.exif_orientation or name == "TIFF") and _may_turn(image, name, data)
            memory = decoding_bytes(image, name, (width, height), encoded=len(data), turned=turned, frame=decode.frame)
        except ImageError:
            raise
        except Exception as error:
            raise _image_error(error, name, data) from error
        self._image = image
        self.probe = Probe(name, width, height, image.width * image.height < width * height, memory)

    def pixels(self) -> Image.Image:
        """Decodes the picture to mode RGB, upright, without transparency and metadata. May be called once.

        Returns:
            The picture; `info` holds at most its RGB colour profile.

        Raises:
            ImageError: UnsupportedFormat, TruncatedImage, CorruptImage, TooManyPixels or OutOfMemory.
        """
        name, image = self.probe.format, self._image
        try:
            # Loading a TIFF drops its orientation; a PNG may carry it after the pixels.
            orientation = 1 if name == "PNG" else _orientation(image)
            image.load()
            if name == "PNG":
                orientation = _orientation(image)
            return _upright(to_rgb(image, self._decode.background), name, orientation, wanted=self._decode.exif_orientation)
        except ImageError:
            raise
        except Exception as error:
            raise _image_error(error, name, self._data) from error


def probe(data: bytes, decode: Decode, target: tuple[int, int] | None = None) -> Probe:
    """Reads the header only; see `Opened`."""
    return Opened(data, decode, target).probe


def decode(data: bytes, decode: Decode, target: tuple[int, int] | None = None) -> Image.Image:
    """Decodes one picture of a file to mode RGB, upright, without transparency and metadata; see `Opened` and `Opened.pixels`."""
    return Opened(data, decode, target).pixels()


def _checked_size(image: ImageFile, decode: Decode) -> tuple[int, int]:
    if Image.MAX_IMAGE_PIXELS is not None and decode.max_pixels > Image.MAX_IMAGE_PIXELS:
        # Pillow checks again in places; its cap may be a second net but must not undercut the one that the user set.
        Image.MAX_IMAGE_PIXELS = decode.max_pixels
    _check_pixels(image, decode)
    if decode.frame:
        try:
            image.seek(decode.frame)
        except EOFError:
            raise ImageError(
                ErrorCode.NO_SUCH_FRAME, f"frame {decode.frame} was asked for and the file ends before it (the first is 0)"
            ) from None
        _check_pixels(image, decode)
    return image.size


def _check_pixels(image: ImageFile, decode: Decode) -> None:
    areas = [image.size]
    tags = getattr(image, "tag_v2", None)
    if tags is not None and _TILE_WIDTH in tags:
        # libtiff holds a whole tile, however small the picture is.
        areas.append((int(tags[_TILE_WIDTH]), int(tags.get(_TILE_LENGTH, 1))))
    for width, height in areas:
        if width * height > decode.max_pixels:
            raise ImageError(
                ErrorCode.TOO_MANY_PIXELS,
                f"{width}x{height} is {width * height:,} pixels, more than decode.maxPixels ({decode.max_pixels:,})",
            )


def _draft(image: ImageFile, name: str, decode: Decode, target: tuple[int, int] | None) -> None:
    if name == "JPEG" and decode.draft and target is not None:
        if decode.exif_orientation and _orientation(image) in _SIDEWAYS:
            target = target[1], target[0]
        if image.width >= 2 * target[0] and image.height >= 2 * target[1]:  # else it changes nothing
            image.draft(None, target)


def _orientation(image: Image.Image) -> int:
    if image.info.keys().isdisjoint(_SAY_ORIENTATION) and not hasattr(image, "tag_v2"):
        return 1
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # noqa: BLE001  damaged metadata do not make a sound picture fail; viewers ignore them too
        return 1


def _may_turn(image: Image.Image, name: str, data: bytes) -> bool:
    if name == "PNG":  # they may stand behind the pixels, and to look for them there Pillow decodes those first
        return any(key in data for key in _PNG_ORIENTATION)
    return _orientation(image) in TRANSPOSE


def _upright(image: Image.Image, name: str, orientation: int, *, wanted: bool) -> Image.Image:
    if name == "TIFF":
        # Pillow turns TIFF pictures while loading, asked or not, so an unwanted turn has to be taken back.
        orientation = 1 if wanted else _INVERSE.get(orientation, orientation)
    elif not wanted:
        orientation = 1
    method = TRANSPOSE.get(orientation)
    return image if method is None else image.transpose(method)


def _without_content(text: str, name: str) -> str:
    """What Pillow says, without the bytes of the file that it quotes; of a PPM file, whose values are texts, it quotes those too."""
    return "its header or its values make no sense" if name == "PPM" else _BYTES.sub("…", text)


def _image_error(error: Exception, name: str, data: bytes) -> ImageError:
    text = str(error) or type(error).__name__
    shown = _without_content(text, name)
    if isinstance(error, MemoryError):
        return ImageError(ErrorCode.OUT_OF_MEMORY, f"not enough memory to decode this {name} file", retryable=True)
    if isinstance(error, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
        return ImageError(ErrorCode.TOO_MANY_PIXELS, f"the {name} file asks for a canvas beyond decode.maxPixels: {shown}")
    ended = any(isinstance(each, (EOFError, struct.error)) for each in (error, error.__cause__))
    if ended or any(phrase in text.lower() for phrase in _TRUNCATED) or is_cut_short(name, data):
        return ImageError(ErrorCode.TRUNCATED_IMAGE, f"the {name} file ends too early ({len(data):,} bytes): {shown}")
    if any(phrase in text.lower() for phrase in _UNSUPPORTED):
        return ImageError(ErrorCode.UNSUPPORTED_FORMAT, f"this kind of {name} file is not supported: {shown}")
    return ImageError(ErrorCode.CORRUPT_IMAGE, f"the {name} file is damaged: {shown}")
