import numpy as np
import pytest
from PIL import Image

from imagejob_api.pipeline import Normalize, Preprocess
from imagejob_runner.images.preprocess import to_array
from imagejob_runner.images.recipe import fingerprint
from tests.tools.photos import opened

PHOTO = opened("china.jpg")


def difference(one: np.ndarray, other: Image.Image) -> float:
    return float(np.abs(one.astype(float) - np.asarray(other, dtype=float)).mean())


@pytest.mark.parametrize("method", ["crop", "squash", "pad"])
@pytest.mark.parametrize("size", [(640, 427), (427, 640), (224, 224), (3, 900), (1, 1), (256, 256)])
def test_form(method: str, size: tuple[int, int]) -> None:
    array = to_array(PHOTO.resize(size), Preprocess.model_validate({"resize": method}))
    assert (array.shape, array.dtype) == ((224, 224, 3), np.uint8)


def test_crop_is_resize_then_centre_crop() -> None:
    scaled = PHOTO.resize((round(640 * 256 / 427), 256), Image.Resampling.BICUBIC)
    left = (scaled.width - 224) // 2
    expected = scaled.crop((left, 16, left + 224, 240))
    assert difference(to_array(PHOTO, Preprocess()), expected) < 3  # a quarter of a pixel apart on a detailed photo
    smooth = PHOTO.resize((20, 14)).resize((640, 427), Image.Resampling.BICUBIC)
    smooth_scaled = smooth.resize(scaled.size, Image.Resampling.BICUBIC).crop((left, 16, left + 224, 240))
    assert difference(to_array(smooth, Preprocess()), smooth_scaled) < 0.5


def test_squash() -> None:
    expected = PHOTO.resize((224, 224), Image.Resampling.BICUBIC)
    assert difference(to_array(PHOTO, Preprocess(resize="squash")), expected) == 0


def test_pad() -> None:
    array = to_array(PHOTO, Preprocess(resize="pad"), "#102030")
    assert np.unique(array[:37].reshape(-1, 3), axis=0).tolist() == [[0x10, 0x20, 0x30]]
    assert np.unique(array[186:].reshape(-1, 3), axis=0).tolist() == [[0x10, 0x20, 0x30]]
    assert difference(array[37:186], PHOTO.resize((224, 149), Image.Resampling.BICUBIC)) == 0


def test_a_picture_of_the_right_size_is_untouched() -> None:
    exact = PHOTO.resize((224, 224))
    for method in ("crop", "squash", "pad"):
        settings = Preprocess.model_validate({"resize": method, "cropFraction": 1})
        assert difference(to_array(exact, settings), exact) == 0


def test_fingerprint_names_every_setting() -> None:
    variants = [
        Preprocess(),
        Preprocess(size=225),
        Preprocess(resize="pad"),
        Preprocess(crop_fraction=1),
        Preprocess(filter="lanczos"),
        Preprocess(normalize=Normalize(scale=1)),
        Preprocess(normalize=Normalize(mean=[0.5, 0.5, 0.5])),
        Preprocess(normalize=Normalize(std=[0.5, 0.5, 0.5])),
    ]
    assert len({fingerprint(variant) for variant in variants}) == len(variants)
    assert fingerprint(Preprocess()) == fingerprint(Preprocess(size=224))
