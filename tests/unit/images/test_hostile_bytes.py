"""Whatever bytes come in, an RGB picture or an ImageError comes out."""

from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, features

from imagejob_api.pipeline import Decode
from imagejob_runner.exceptions import ImageError
from imagejob_runner.images.decode import decode, probe
from tests.tools.photos import encoded, opened

# The warnings that Pillow gives about odd files are silenced at import, which pytest undoes.
pytestmark = pytest.mark.filterwarnings(r"ignore:::PIL\.")

PICTURE: Final = opened("china.jpg").resize((48, 40))
SOUND: Final = [
    encoded(PICTURE, "JPEG"),
    encoded(PICTURE, "JPEG", progressive=True),
    encoded(PICTURE.convert("CMYK"), "JPEG"),
    encoded(PICTURE, "PNG"),
    encoded(PICTURE.convert("P"), "PNG", transparency=3),
    encoded(PICTURE.convert("RGBA"), "PNG"),
    encoded(PICTURE, "WEBP"),
    encoded(PICTURE.convert("RGBA"), "WEBP", lossless=True),
    encoded(PICTURE, "GIF", save_all=True, append_images=[PICTURE.rotate(90)], disposal=2, transparency=1),
    encoded(PICTURE, "BMP"),
    encoded(PICTURE, "TIFF"),
    encoded(PICTURE, "TIFF", compression="tiff_lzw"),
    encoded(PICTURE, "TIFF", compression="tiff_adobe_deflate"),
    encoded(PICTURE.convert("I;16"), "TIFF", save_all=True, append_images=[PICTURE.convert("I;16")]),
    encoded(PICTURE.convert("F"), "TIFF"),
    encoded(PICTURE, "PPM"),
    encoded(PICTURE.convert("I;16"), "PNG"),
    *([encoded(PICTURE, "AVIF")] if features.check("avif") else []),
]
SETTINGS: Final = st.builds(
    Decode,
    max_pixels=st.just(1_000_000),
    draft=st.booleans(),
    exif_orientation=st.booleans(),
    frame=st.sampled_from([0, 0, 0, 1, 5]),
)


def survives(data: bytes, how: Decode, target: tuple[int, int] | None) -> None:
    try:
        header = probe(data, how, target)
    except ImageError:
        header = None
    try:
        image = decode(data, how, target)
    except ImageError:
        return
    assert isinstance(image, Image.Image)
    assert image.mode == "RGB"
    assert image.width * image.height <= how.max_pixels
    assert header is not None


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A sound file with bytes replaced (most often near its start, where the structure is), cut out, doubled, or its end missing."""
    data = bytearray(draw(st.sampled_from(SOUND)))
    for _ in range(draw(st.integers(1, 6))):
        if not data:
            break
        end = min(len(data), draw(st.sampled_from([64, 400, len(data)])))
        place = draw(st.integers(0, end - 1))
        match draw(st.sampled_from(["replace", "replace", "extreme", "cut", "double", "insert"])):
            case "replace":
                data[place] = draw(st.integers(0, 255))
            case "extreme":
                data[place : place + 4] = draw(
                    st.sampled_from([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f"])
                )
            case "cut":
                del data[place : place + draw(st.integers(1, 300))]
            case "double":
                data[place:place] = data[place : place + draw(st.integers(1, 300))]
            case _:
                data[place:place] = draw(st.binary(min_size=1, max_size=16))
    return bytes(data[: draw(st.integers(0, len(data)))]) if draw(st.booleans()) else bytes(data)


@settings(max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(damaged(), SETTINGS, st.sampled_from([None, (8, 8), (24, 24)]))
def test_damaged_files(data: bytes, how: Decode, target: tuple[int, int] | None) -> None:
    survives(data, how, target)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([b"", *(sound[:16] for sound in SOUND)]), st.binary(max_size=400), SETTINGS)
def test_arbitrary_bytes_after_a_signature(start: bytes, rest: bytes, how: Decode) -> None:
    survives(start + rest, how, None)


@pytest.mark.parametrize("data", SOUND)
def test_the_seeds_are_sound(data: bytes) -> None:
    assert decode(data, Decode()).size == PICTURE.size
