"""Which files may go to a GPU: those that it decodes as libjpeg does, and no others, whatever anybody puts into one."""

import io
import struct
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image

from imagejob_api.pipeline import Decode, Preprocess
from imagejob_runner.device.jpeg import Header, header_for_gpu
from imagejob_runner.exceptions import ImageError
from imagejob_runner.images.decode import decode
from tests.tools.photos import encoded, opened, photo

pytestmark = pytest.mark.filterwarnings(r"ignore:::PIL\.")

SMALL = opened("china.jpg").resize((64, 48))
WIDE = Image.fromarray(np.arange(64 * 48, dtype=np.uint16).reshape(48, 64) * 20)
PREPROCESS = Preprocess(size=32)
PLAIN = encoded(SMALL, "JPEG")


def read(data: bytes, **changes: object) -> Header | None:
    return header_for_gpu(data, Decode.model_validate(changes), PREPROCESS)


def exif(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation] = orientation
    return tags.tobytes()


def segment(marker: int, body: bytes) -> bytes:
    """A JPEG with a segment of ours behind its first marker."""
    return PLAIN[:2] + struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body + PLAIN[2:]


def edited(change: Callable[[bytearray], None]) -> bytes:
    data = bytearray(PLAIN)
    change(data)
    return bytes(data)


def frame(data: bytes | bytearray) -> int:
    """Where the frame's header begins, behind its length."""
    return data.find(b"\xff\xc0") + 4


def set_frame(offset: int, value: int) -> bytes:
    return edited(lambda data: data.__setitem__(frame(data) + offset, value))


@pytest.mark.parametrize(
    "data",
    [
        PLAIN,
        encoded(SMALL, "JPEG", progressive=True),
        encoded(SMALL, "JPEG", subsampling="4:4:4"),
        encoded(SMALL, "JPEG", subsampling="4:2:2"),
        encoded(SMALL, "JPEG", subsampling="4:2:0"),
        encoded(SMALL, "JPEG", subsampling="4:1:1"),
        encoded(SMALL, "JPEG", optimize=True, restart_marker_rows=1, comment="of no matter"),
        encoded(SMALL.convert("L"), "JPEG"),
        encoded(SMALL, "JPEG", icc_profile=b"a profile"),
        PLAIN + b"\0\0",
    ],
    ids=["420", "progressive", "444", "422", "420 named", "411", "restarts", "grey", "icc", "padded"],
)
def test_plain_ones_may(data: bytes) -> None:
    assert read(data) == Header(64, 48, 1)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("order", ["little", "big"])
def test_which_way_is_up(orientation: int, order: str) -> None:
    entry = {"little": "<HHIHxx", "big": ">HHIHxx"}[order]
    start = {"little": b"II*\0" + struct.pack("<IH", 8, 2), "big": b"MM\0*" + struct.pack(">IH", 8, 2)}[order]
    other = struct.pack(entry, 0x0100, 3, 1, 64)
    tiff = start + other + struct.pack(entry, 0x0112, 3, 1, orientation) + bytes(4)
    data = segment(0xE1, b"Exif\0\0" + tiff)
    assert read(data) == Header(64, 48, orientation)
    assert read(encoded(SMALL, "JPEG", exif=exif(orientation))) == Header(64, 48, orientation)
    assert read(data, exifOrientation=False) == Header(64, 48, 1)
    assert (decode(data, Decode()).width == 48) == (orientation > 4)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not an image",
        PLAIN[:3],
        PLAIN[:-2],
        PLAIN[: len(PLAIN) // 2],
        PLAIN[: len(PLAIN) // 2] + b"\xff\xd9"[:1],
        encoded(SMALL, "PNG"),
        encoded(WIDE, "PNG"),
        encoded(SMALL.quantize(), "GIF"),
        encoded(SMALL, "WEBP"),
        encoded(SMALL.convert("CMYK"), "JPEG"),
        encoded(SMALL, "JPEG", keep_rgb=True),
        encoded(SMALL, "MPO", save_all=True, append_images=[SMALL]),
        segment(0xEE, b"Adobe\0\x64\0\0\0\0\0"),
        segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation='6'/>"),
        segment(0xE1, b"Exif\0\0" + b"II*\0" + struct.pack("<I", 4000)),
        segment(0xE1, b"Exif\0\0" + b"no TIFF"),
        encoded(SMALL, "JPEG", exif=exif(9)),
        PLAIN.replace(b"\xff\xc0", b"\xff\xc1", 1),
        PLAIN.replace(b"\xff\xc0", b"\xff\xc3", 1),
        PLAIN.replace(b"\xff\xc0", b"\xff\xc9", 1),
        set_frame(0, 12),
        edited(lambda data: data.__setitem__(slice(frame(data) + 1, frame(data) + 3), b"\0\0")),
        set_frame(7, 0x31),
        set_frame(10, 0x21),
        set_frame(5, 4),
    ],
)
def test_what_is_odd_in_any_way_is_left_to_the_cpu(data: bytes) -> None:
    assert read(data) is None


def test_what_the_step_asks_for_decides_too() -> None:
    assert read(PLAIN, frame=1) is None
    assert read(PLAIN, maxPixels=64 * 48 - 1) is None
    assert read(PLAIN, maxPixels=64 * 48) is not None
    assert header_for_gpu(PLAIN, Decode(), Preprocess(size=32, filter="nearest")) is None
    assert header_for_gpu(PLAIN, Decode(), Preprocess(size=6)) is None


@pytest.mark.parametrize("name", ["china.jpg", "flower.jpg"])
def test_real_photos_may(name: str) -> None:
    assert header_for_gpu(photo(name), Decode(), Preprocess()) is not None


@given(st.binary(max_size=40), st.integers(0, len(PLAIN)), st.integers(0, 30))
@settings(max_examples=200, deadline=None)
def test_what_may_go_is_of_the_size_that_pillow_says(junk: bytes, place: int, cut: int) -> None:
    data = PLAIN[:place] + junk + PLAIN[place + cut :]
    found = read(data)
    if found is None:
        return
    try:
        image = Image.open(io.BytesIO(data))
    except OSError:
        pytest.fail("Pillow does not know it")
    assert (found.width, found.height) == image.size
    assert image.mode in ("RGB", "L")
    try:
        decoded = decode(data, Decode())
    except ImageError:
        return  # the device refuses it too, or shows as much of it as there is
    assert decoded.size == ((found.height, found.width) if found.orientation > 4 else (found.width, found.height))
