import numpy as np
import pytest
from PIL import Image

from imagejob_api.pipeline import Crop, Operation, Preprocess, Resize, Thumbnail
from imagejob_runner.images.transform import apply, draft_target
from tests.tools.photos import opened

PHOTO = opened("china.jpg")  # 640 x 427
WHITE = "#ffffff"


def resize(**size: int) -> Operation:
    return Operation(resize=Resize.model_validate(size))


def crop(width: int, height: int) -> Operation:
    return Operation(crop=Crop(width=width, height=height))


def thumbnail(width: int, height: int) -> Operation:
    return Operation(thumbnail=Thumbnail(width=width, height=height))


@pytest.mark.parametrize(
    ("operations", "size"),
    [
        ([], (640, 427)),
        ([resize(width=100, height=50)], (100, 50)),
        ([resize(shorter=256)], (384, 256)),
        ([resize(shorter=854)], (1280, 854)),
        ([crop(100, 60)], (100, 60)),
        ([crop(1000, 60)], (1000, 60)),
        ([thumbnail(320, 320)], (320, 214)),
        ([thumbnail(1000, 100)], (150, 100)),
        ([thumbnail(1000, 1000)], (640, 427)),
        ([resize(shorter=256), crop(224, 224)], (224, 224)),
    ],
)
def test_sizes(operations: list[Operation], size: tuple[int, int]) -> None:
    assert apply(PHOTO, operations, WHITE).size == size


def test_nothing_to_do_gives_the_picture_itself() -> None:
    assert apply(PHOTO, [resize(width=640, height=427), crop(640, 427), thumbnail(9000, 9000)], WHITE) is PHOTO


def test_a_sliver_keeps_one_pixel() -> None:
    assert apply(Image.new("RGB", (1000, 1)), [thumbnail(10, 10)], WHITE).size == (10, 1)


def test_crop_is_the_centre() -> None:
    assert np.array_equal(np.asarray(apply(PHOTO, [crop(100, 27)], WHITE)), np.asarray(PHOTO)[200:227, 270:370])


def test_crop_pads_with_the_background() -> None:
    result = np.asarray(apply(Image.new("RGB", (10, 10), "black"), [crop(20, 6)], "#0a141e"))
    assert result[:, :5].reshape(-1, 3).tolist() == [[10, 20, 30]] * 30
    assert result[:, 15:].reshape(-1, 3).tolist() == [[10, 20, 30]] * 30
    assert not result[:, 5:15].any()


def test_scaling_is_as_good_as_exact_resampling() -> None:
    # `reducing_gap` averages whole pixels first; the difference must not be visible.
    large = PHOTO.resize((2560, 1708))
    found = np.asarray(apply(large, [resize(width=160, height=107)], WHITE), dtype=float)
    exact = np.asarray(large.resize((160, 107), Image.Resampling.BICUBIC), dtype=float)
    assert np.abs(found - exact).mean() < 0.5


@pytest.mark.parametrize(
    ("what", "target"),
    [
        ([], None),
        ([crop(10, 10)], None),
        ([crop(10, 10), resize(shorter=5)], None),
        ([resize(width=100, height=50)], (100, 50)),
        ([resize(shorter=256), crop(224, 224)], (256, 256)),
        ([thumbnail(320, 200)], (320, 200)),
        (Preprocess(size=224), (256, 256)),
        (Preprocess(size=224, crop_fraction=1), (224, 224)),
        (Preprocess(size=299, crop_fraction=0.9), (333, 333)),
        (Preprocess(size=224, resize="squash"), (224, 224)),
        (Preprocess(size=224, resize="pad"), (224, 224)),
    ],
)
def test_draft_target(what: list[Operation] | Preprocess, target: tuple[int, int] | None) -> None:
    assert draft_target(what) == target
