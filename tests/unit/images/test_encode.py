from io import BytesIO

import pytest
from PIL import ExifTags, Image, ImageChops

from imagejob_api.pipeline import Decode, DerivedImage
from imagejob_runner.constants import ErrorCode
from imagejob_runner.exceptions import ImageError
from imagejob_runner.images.decode import decode
from imagejob_runner.images.encode import encode
from tests.tools.photos import encoded, opened

PHOTO = opened("china.jpg")


@pytest.mark.parametrize("form", ["jpeg", "png", "webp"])
def test_formats(form: str) -> None:
    with Image.open(BytesIO(encode(PHOTO, DerivedImage.model_validate({"format": form})))) as image:
        assert image.format == form.upper()
        assert image.size == PHOTO.size


def test_png_is_exact_and_quality_counts() -> None:
    with Image.open(BytesIO(encode(PHOTO, DerivedImage(format="png")))) as image:
        assert ImageChops.difference(image, PHOTO).getbbox() is None
    assert len(encode(PHOTO, DerivedImage(quality=30))) < len(encode(PHOTO, DerivedImage(quality=95)))


def test_orientation_is_applied_and_metadata_dropped_but_the_profile_kept() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.Artist] = "somebody"
    data = encoded(PHOTO, "JPEG", exif=exif, icc_profile=b"a profile", comment=b"secret")
    with Image.open(BytesIO(encode(decode(data, Decode()), DerivedImage()))) as image:
        assert image.size == PHOTO.size[::-1]
        assert not image.getexif()
        assert "comment" not in image.info
        assert image.info["icc_profile"] == b"a profile"


def test_too_large_for_the_format() -> None:
    with pytest.raises(ImageError) as caught:
        encode(Image.new("RGB", (16_384, 1)), DerivedImage(format="webp"))
    assert caught.value.code == ErrorCode.INVALID_OUTPUT
    assert "16384x1" in caught.value.message
