"""The kernels, run by Triton's interpreter, against Pillow itself; and that they compile for real GPUs."""

import sys
from pathlib import Path
from subprocess import run

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from imagejob_api.pipeline import Preprocess
from imagejob_runner.device.geometry import SUPPORT, most_taps, scaling, strides, upright
from imagejob_runner.images.decode import TRANSPOSE
from imagejob_runner.images.preprocess import to_array
from tests.tools.pillow_scaling import scaled

pytestmark = pytest.mark.model

NOISE = np.random.default_rng(3).integers(0, 256, (400, 400, 3), dtype=np.uint8)
BACKGROUND = 255


def pixels(width: int, height: int) -> np.ndarray:
    return NOISE[:height, :width]


def by_pillow(array: np.ndarray, orientation: int, preprocess: Preprocess) -> np.ndarray:
    image = Image.fromarray(array)
    return to_array(image.transpose(TRANSPOSE[orientation]) if orientation in TRANSPOSE else image, preprocess)


def tool(name: str, cache: Path) -> list[str]:
    """Lines of one of the tools, which cannot share a process: each needs Triton in its own way."""
    found = run(
        [sys.executable, "-m", f"tests.tools.{name}"],
        env={"PATH": "/usr/bin:/bin", "TRITON_CACHE_DIR": str(cache)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    return found.stdout.splitlines()


def test_batches_of_different_pictures_are_pillows_to_the_bit(tmp_path: Path) -> None:
    assert tool("kernels_by_interpreter", tmp_path) == ["bicubic crop", "bicubic pad", "bilinear squash", "lanczos crop"]


@given(
    st.integers(1, 300),
    st.integers(1, 400),
    st.sampled_from(["crop", "squash", "pad"]),
    st.sampled_from(sorted(SUPPORT)),
    st.integers(8, 64),
    st.floats(0.2, 1),
)
@settings(max_examples=30, deadline=None)
@example(75, 102, "squash", "bicubic", 48, 1.0)
@example(75, 103, "squash", "bicubic", 48, 1.0)
@example(40, 48, "squash", "bicubic", 48, 1.0)
@example(40, 49, "squash", "bicubic", 48, 1.0)
@example(100, 181, "crop", "lanczos", 60, 0.875)
def test_the_geometry_is_pillows(width: int, height: int, method: str, name: str, size: int, fraction: float) -> None:
    preprocess = Preprocess.model_validate({"size": size, "resize": method, "filter": name, "cropFraction": fraction})
    found = scaling(width, height, 1, preprocess)
    if found is not None:
        assert max(found.first.taps(SUPPORT[name]), found.second.taps(SUPPORT[name])) <= most_taps(SUPPORT[name])
        assert np.array_equal(scaled(pixels(width, height), found, preprocess, BACKGROUND), by_pillow(pixels(width, height), 1, preprocess))


@pytest.mark.parametrize("orientation", range(10))
def test_strides_turn_as_pillow_does(orientation: int) -> None:
    array = pixels(5, 3)
    width, height = upright(orientation, 5, 3)
    start, right, down = strides(orientation, 5, 3, array.strides[0])
    flat = np.lib.stride_tricks.as_strided(NOISE.reshape(-1)[start:], (height, width, 3), (down, right, 1))
    image = Image.fromarray(array)
    assert np.array_equal(flat, image.transpose(TRANSPOSE[orientation]) if orientation in TRANSPOSE else image)


@pytest.mark.parametrize(
    ("size", "changes"),
    [((700, 700), {}), ((3000, 100), {"resize": "squash"}), ((90, 90), {"filter": "nearest"})],
)
def test_what_pillow_does_in_another_way_is_left_to_it(size: tuple[int, int], changes: dict[str, str]) -> None:
    assert scaling(*size, 1, Preprocess.model_validate({"size": 100, "cropFraction": 1.0, **changes})) is None


def test_the_kernels_compile_for_a_gpu(tmp_path: Path) -> None:
    assert tool("kernels_for_a_gpu", tmp_path) == ["weigh", "scale_first", "scale_second"]
