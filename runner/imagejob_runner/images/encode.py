"""Derived images: pictures written as files."""

from io import BytesIO

from PIL import Image

from imagejob_api.pipeline import DerivedImage
from imagejob_runner.constants import ErrorCode
from imagejob_runner.exceptions import ImageError


def encode(image: Image.Image, derived: DerivedImage) -> bytes:
    """The picture as a file of the asked format, with its colour profile and no other metadata.

    Args:
        image: An RGB picture.
        derived: Format and quality; PNG ignores the quality.

    Raises:
        ImageError: InvalidOutput, when the format cannot hold a picture of this size (JPEG 65,500 and WebP 16,383 pixels a side).
    """
    buffer = BytesIO()
    profile = image.info.get("icc_profile")
    try:
        if derived.format == "png":
            image.save(buffer, "PNG", icc_profile=profile)
        else:
            image.save(buffer, derived.format.upper(), quality=derived.quality, icc_profile=profile)
    except (OSError, ValueError) as error:
        width, height = image.size
        raise ImageError(
            ErrorCode.INVALID_OUTPUT, f"a picture of {width}x{height} cannot be written as {derived.format}: {error}"
        ) from error
    return buffer.getvalue()
