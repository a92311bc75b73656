"""What decoding a picture takes, told from its header: many times the three bytes a pixel that one thinks of.

The numbers are measured (`python -m tests.tools.decoding_peaks`, with Pillow 12), and a test measures them again.
"""

from typing import Final

from PIL.ImageFile import ImageFile

RGB_BYTES: Final = 4
"""Of a pixel as Pillow keeps it: three are used."""

_STORED_BYTES: Final = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2, "I;16N": 2}
"""Of a pixel, by mode; all other modes take four."""
_LOADING_BYTES: Final = {"WEBP": 17, "AVIF": 20, "ppm": 12, "ppm_plain": 12}
"""Of a pixel while it is loaded, the picture included, by format or Pillow's decoder, where a whole picture is made on the way. AVIF: 15 of
a picture of 8 bits; those of 10 and 12 have planes of twice the size."""
_FRAMES_BYTES: Final = {"GIF": 13}
"""The same for a frame behind the first, which is drawn over those before."""
_COEFFICIENT_BYTES: Final = 2
_BITS: Final = 258
_SAMPLES: Final = 277
_TILE_WIDTH: Final = 322
_TILE_LENGTH: Final = 323


def decoding_bytes(image: ImageFile, name: str, size: tuple[int, int], *, encoded: int, turned: bool, frame: int) -> int:
    """Most memory that decoding takes at one moment, in bytes, besides the encoded file.

    Args:
        image: A picture of which only the header is read, and that is set to be decoded as small as it may be.
        name: Its format.
        size: Width and height in pixels as stored.
        encoded: Bytes of the file.
        turned: Whether it is turned upright afterwards.
        frame: Which frame is decoded.
    """
    area = image.width * image.height
    stored = area * _STORED_BYTES.get(image.mode, RGB_BYTES)
    codec = image.tile[0].codec_name if image.tile else ""
    loading = area * (_LOADING_BYTES.get(name) or _LOADING_BYTES.get(codec, 0))
    if name == "JPEG":
        loading = stored + _coefficients(image, size)
    elif codec == "libtiff":
        loading = stored + _strip(image, area) + encoded
    elif name in ("WEBP", "AVIF"):
        loading += encoded
    elif frame:
        loading = area * _FRAMES_BYTES.get(name, 0)
    plain = image.mode == "RGB" and not image.has_transparency_data
    converted = stored + (0 if plain else RGB_BYTES * area)
    return max(loading, converted + (RGB_BYTES * area if turned else 0))


def _coefficients(image: ImageFile, size: tuple[int, int]) -> int:
    """A progressive JPEG is collected as a whole before a pixel is known, at its full size however small it is decoded."""
    if not image.info.get("progressive"):
        return 0
    sampling = [(wide, high) for _, wide, high, _ in getattr(image, "layer", ())]
    most = max((wide * high for wide, high in sampling), default=1)
    parts = sum(wide * high for wide, high in sampling) / most if sampling else len(image.getbands())
    return int(_COEFFICIENT_BYTES * parts * size[0] * size[1])


def _strip(image: ImageFile, area: int) -> int:
    """A strip or tile, which libtiff holds unpacked, and which may be the whole picture or larger."""
    tags = getattr(image, "tag_v2", {})
    if _TILE_WIDTH in tags:
        area = max(area, int(tags[_TILE_WIDTH]) * int(tags.get(_TILE_LENGTH, 1)))
    bits = tags.get(_BITS, (8,))
    depth = max(bits) if isinstance(bits, tuple) else int(bits)
    return area * max(RGB_BYTES, -(-depth * int(tags.get(_SAMPLES, 1)) // 8))
