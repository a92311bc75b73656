import struct
from io import BytesIO

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageFile, PngImagePlugin, features

from imagejob_api.pipeline import Decode
from imagejob_runner.constants import ErrorCode
from imagejob_runner.exceptions import ImageError
from imagejob_runner.images import formats
from imagejob_runner.images.decode import decode, probe
from imagejob_runner.images.probe import FORMATS
from tests.tools.photos import encoded, opened, photo, png_bomb

# The warnings that Pillow gives about odd files are silenced at import, which pytest undoes.
pytestmark = pytest.mark.filterwarnings(r"ignore:::PIL\.")

SMALL = opened("china.jpg").resize((64, 48))
PLAIN = Decode()


def error_of(data: bytes, settings: Decode = PLAIN) -> ImageError:
    with pytest.raises(ImageError) as caught:
        decode(data, settings)
    return caught.value


def distance(one: Image.Image, other: Image.Image) -> float:
    assert one.size == other.size
    return float(np.abs(np.asarray(one, dtype=np.float32) - np.asarray(other, dtype=np.float32)).mean())


def test_each_format_has_a_signature() -> None:
    assert tuple(formats._SIGNATURES) == FORMATS


@pytest.mark.parametrize(
    "name", ["china.jpg", "coffee.png", "camera.png", "no_time_for_that_tiny.gif", "multipage.tif", "horse.png", "page.png"]
)
def test_real_photos_become_rgb_of_their_own_size(name: str) -> None:
    data = photo(name)
    header = probe(data, PLAIN)
    image = decode(data, PLAIN)
    assert (image.mode, image.size) == ("RGB", (header.width, header.height))
    assert not header.draft
    assert header.format in FORMATS


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF"])
def test_every_accepted_format_gives_the_picture_back(form: str) -> None:
    if form == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow is built without AVIF")
    data = encoded(SMALL, form)
    assert probe(data, PLAIN).format == form
    assert distance(decode(data, PLAIN), SMALL) < 8


class TestRefusals:
    def test_empty(self) -> None:
        assert error_of(b"").code == ErrorCode.EMPTY_FILE

    @pytest.mark.parametrize(
        "data",
        [
            b"hello, I am a text named .jpg\n",
            b"BMW is a car and Python a language",
            b"P1 is not a portable bitmap" * 9,
            b"%!PS-Adobe-3.0 EPSF-3.0\n",
            b"\0" * 64,
        ],
        ids=["text", "BM", "P1", "eps", "zeros"],
    )
    def test_text_and_unknown_bytes(self, data: bytes) -> None:
        if data.startswith(b"P1"):
            assert error_of(data).code in {ErrorCode.CORRUPT_IMAGE, ErrorCode.TRUNCATED_IMAGE}
        else:
            error = error_of(data)
            assert error.code == ErrorCode.UNSUPPORTED_FORMAT
            assert "JPEG" in error.message

    @pytest.mark.parametrize(
        ("data", "looks"),
        [
            (b"<!DOCTYPE html><html>", "an HTML page"),
            (b'<?xml version="1.0"?>\n<svg xmlns="x">', "an SVG drawing"),
            (b"%PDF-1.7 hunter2", "a PDF document"),
            (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC"),
            (b"\0\0\0\x18ftypmp42\0\0\0\0", "a video"),
            (b"PK\3\4hunter2", "a ZIP archive"),
            (b'{"token": "hunter2"}', "JSON"),
            (b"eyJhbGciOiJSUzI1NiIhunter2", "text"),
            (b"\1\2hunter2", None),
        ],
    )
    def test_what_it_looks_like_is_told_and_never_what_is_in_it(self, data: bytes, looks: str | None) -> None:
        message = error_of(data).message
        assert f": it looks like {looks}" in message if looks is not None else "looks like" not in message
        assert "hunter2" not in message

    @pytest.mark.parametrize("data", [b"P3 hunter2", b"P3 2 2 255 hunter2hunter2hunter2", b"\x89PNG\r\n\x1a\n\0\0\0\5abcdhunter2"])
    def test_errors_of_pillow_quote_nothing_of_the_file(self, data: bytes) -> None:
        message = error_of(data).message
        assert "hunter2" not in message
        assert "abcd" not in message

    def test_a_format_that_pillow_knows_but_the_list_does_not(self) -> None:
        assert error_of(encoded(SMALL, "SGI")).code == ErrorCode.UNSUPPORTED_FORMAT

    def test_a_kind_of_tiff_that_cannot_be_read(self) -> None:
        error = error_of(photo("multipage_rgb.tif"))  # 64-bit floats
        assert (error.code, error.retryable) == (ErrorCode.UNSUPPORTED_FORMAT, False)

    @pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM"])
    @pytest.mark.parametrize("part", [0.2, 0.5, 0.9])
    def test_a_file_cut_short(self, form: str, part: float) -> None:
        data = encoded(SMALL, form)
        error = error_of(data[: int(len(data) * part)])
        assert error.code == ErrorCode.TRUNCATED_IMAGE
        assert form in error.message

    def test_a_jpeg_cut_by_two_bytes(self) -> None:
        assert error_of(photo("china.jpg")[:-2]).code == ErrorCode.TRUNCATED_IMAGE

    def test_damage_in_the_middle(self) -> None:
        data = bytearray(encoded(SMALL, "PNG"))
        data[60:160] = b"\xa5" * 100
        assert error_of(bytes(data)).code == ErrorCode.CORRUPT_IMAGE

    def test_a_bomb_is_refused_by_its_header(self) -> None:
        bomb = png_bomb(20_000, 20_000)
        assert len(bomb) < 100_000
        for refused in (lambda: probe(bomb, PLAIN), lambda: decode(bomb, PLAIN)):
            with pytest.raises(ImageError) as caught:
                refused()
            assert caught.value.code == ErrorCode.TOO_MANY_PIXELS
            assert "20000x20000" in caught.value.message
            assert "maxPixels" in caught.value.message

    def test_the_cap_is_the_users(self) -> None:
        photo_pixels = 640 * 427
        assert error_of(photo("china.jpg"), Decode(max_pixels=photo_pixels - 1)).code == ErrorCode.TOO_MANY_PIXELS
        assert decode(photo("china.jpg"), Decode(max_pixels=photo_pixels)).size == (640, 427)

    def test_a_cap_above_pillows_own_is_kept_without_a_warning(self) -> None:
        # 9,600 x 9,600 is more than the 89 million pixels at which Pillow warns.
        assert decode(png_bomb(9_600, 9_600), Decode(max_pixels=100_000_000)).size == (9_600, 9_600)

    def test_a_gif_frame_larger_than_its_canvas(self) -> None:
        data = bytearray(encoded(SMALL, "GIF"))
        frame = data.index(b",", 13 + 3 * 2 ** ((data[10] & 7) + 1))
        data[frame + 5 : frame + 9] = b"\xff\xff\xff\xff"
        assert error_of(bytes(data)).code == ErrorCode.TOO_MANY_PIXELS

    def test_a_tiff_with_a_huge_tile(self) -> None:
        tags = [(256, 16), (257, 16), (258, 8), (259, 8), (262, 1), (322, 60_000), (323, 60_000), (324, 8), (325, 8)]
        directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
        data = b"II*\0" + struct.pack("<IH", 8, len(tags)) + directory + bytes(4)
        error = error_of(data)
        assert error.code == ErrorCode.TOO_MANY_PIXELS
        assert "60000x60000" in error.message


class TestModes:
    def test_sixteen_bits_are_scaled_not_clipped(self) -> None:
        grey = np.asarray(opened("camera.png").convert("L"))
        data = encoded(Image.fromarray(grey.astype(np.uint16) * 257), "PNG")
        assert np.array_equal(np.asarray(decode(data, PLAIN))[..., 0], grey)

    def test_sixteen_bit_portable_map(self) -> None:
        grey = np.asarray(SMALL.convert("L"))
        data = b"P5 64 48 65535\n" + (grey.astype(">u2") * 257).tobytes()
        assert np.abs(np.asarray(decode(data, PLAIN))[..., 0].astype(int) - grey).max() <= 1

    @pytest.mark.parametrize(("factor", "offset"), [(1 / 255, 0.0), (1.0, 0.0), (257.0, 0.0)])
    def test_float_tiff_is_read_by_its_range(self, factor: float, offset: float) -> None:
        grey = np.asarray(opened("camera.png").convert("L"))
        data = encoded(Image.fromarray(grey.astype(np.float32) * np.float32(factor) + np.float32(offset)), "TIFF")
        assert np.abs(np.asarray(decode(data, PLAIN))[..., 0].astype(int) - grey).max() <= 1

    def test_float_tiff_of_another_range_is_stretched_and_nan_is_black(self) -> None:
        values = np.linspace(-5, 300_000, 64 * 48, dtype=np.float32).reshape(48, 64)
        values[0, 1] = np.nan
        pixels = np.asarray(decode(encoded(Image.fromarray(values), "TIFF"), PLAIN))[..., 0]
        assert (pixels[0, 0], pixels[0, 1], pixels[-1, -1]) == (0, 0, 255)

    def test_one_value_only(self) -> None:
        data = encoded(Image.fromarray(np.full((8, 8), -7.0, np.float32)), "TIFF")
        assert decode(data, PLAIN).getextrema() == ((0, 0),) * 3

    @pytest.mark.parametrize(("background", "expected"), [("#ffffff", 255), ("#102030", 0x10)])
    def test_transparent_pixels_show_the_background_not_their_hidden_colour(self, background: str, expected: int) -> None:
        image = Image.new("RGBA", (8, 8), (200, 0, 0, 0))
        image.paste((0, 200, 0, 255), (0, 0, 4, 8))
        pixels = decode(encoded(image, "PNG"), Decode(background=background))
        assert pixels.getpixel((0, 0)) == (0, 200, 0)
        assert pixels.getpixel((7, 0))[0] == expected  # type: ignore[index]  RGB

    def test_half_transparent_pixels_are_mixed(self) -> None:
        data = encoded(Image.new("RGBA", (4, 4), (0, 0, 0, 128)), "PNG")
        assert decode(data, PLAIN).getpixel((0, 0)) == (127, 127, 127)

    def test_palette_with_alpha(self) -> None:
        image = Image.new("P", (8, 8), 0)
        image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
        image.paste(1, (4, 0, 8, 8))
        pixels = decode(encoded(image, "PNG", transparency=bytes([0, 255, 255])), PLAIN)
        assert (pixels.getpixel((0, 0)), pixels.getpixel((7, 7))) == ((255, 255, 255), (0, 255, 0))

    @pytest.mark.parametrize("mode", ["L", "RGB"])
    def test_one_colour_named_transparent(self, mode: str) -> None:
        image = SMALL.convert(mode)
        hidden = image.getpixel((0, 0))
        assert decode(encoded(image, "PNG", transparency=hidden), Decode(background="#123456")).getpixel((0, 0)) == (0x12, 0x34, 0x56)

    def test_sixteen_bits_with_a_transparent_value(self) -> None:
        values = np.full((8, 8), 40_000, np.uint16)
        values[0, 0] = 7
        pixels = decode(encoded(Image.fromarray(values), "PNG", transparency=7), PLAIN)
        assert (pixels.getpixel((0, 0)), pixels.getpixel((1, 1))) == ((255, 255, 255), (156, 156, 156))

    @pytest.mark.parametrize("mode", ["1", "LA", "L", "P"])
    def test_other_modes(self, mode: str) -> None:
        image = SMALL.convert(mode)
        expected = image.convert("RGB")
        assert distance(decode(encoded(image, "PNG"), PLAIN), expected) < 1

    def test_cmyk_jpeg(self) -> None:
        data = encoded(SMALL.convert("CMYK"), "JPEG", quality=95)
        assert distance(decode(data, PLAIN), SMALL) < 8  # not inverted: Adobe's marker is heeded

    def test_metadata_do_not_travel(self) -> None:
        image = SMALL.copy()
        image.info["comment"] = "secret"
        assert set(decode(encoded(image, "JPEG", comment=b"secret", dpi=(72, 72)), PLAIN).info) <= {"icc_profile"}


class TestOrientation:
    @staticmethod
    def turned(form: str, orientation: int) -> bytes:
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        return encoded(SMALL, form, exif=exif)

    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
    def test_pictures_are_turned_upright(self, form: str, orientation: int) -> None:
        stored = decode(self.turned(form, 1), PLAIN)
        turns = {
            2: [Image.Transpose.FLIP_LEFT_RIGHT],
            3: [Image.Transpose.ROTATE_180],
            4: [Image.Transpose.FLIP_TOP_BOTTOM],
            5: [Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_90],
            6: [Image.Transpose.ROTATE_270],
            7: [Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_270],
            8: [Image.Transpose.ROTATE_90],
        }
        expected = stored
        for turn in turns.get(orientation, []):
            expected = expected.transpose(turn)
        data = self.turned(form, orientation)
        assert distance(decode(data, PLAIN), expected) == 0
        assert distance(decode(data, Decode(exif_orientation=False)), stored) == 0

    def test_damaged_exif_does_not_fail_a_sound_picture(self) -> None:
        data = encoded(SMALL, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\xee" * 40)
        assert decode(data, PLAIN).size == SMALL.size


class TestDraft:
    LARGE = encoded(opened("china.jpg").resize((1600, 1200)), "JPEG", quality=90)

    def test_scales_down_to_no_less_than_the_target(self) -> None:
        assert decode(self.LARGE, PLAIN, (256, 256)).size == (400, 300)
        assert decode(self.LARGE, PLAIN, (256, 301)).size == (800, 600)
        assert decode(self.LARGE, PLAIN, (3000, 3000)).size == (1600, 1200)

    def test_probe_counts_what_will_be_decoded(self) -> None:
        header = probe(self.LARGE, PLAIN, (256, 256))
        assert (header.width, header.height, header.draft, header.memory) == (1600, 1200, True, 4 * 400 * 300)
        whole = probe(self.LARGE, Decode(draft=False), (256, 256))
        assert (whole.draft, whole.memory) == (False, 4 * 1600 * 1200)

    def test_can_be_turned_off_and_changes_little(self) -> None:
        full = decode(self.LARGE, Decode(draft=False), (256, 256))
        assert full.size == (1600, 1200)
        small = decode(self.LARGE, PLAIN, (256, 256))
        assert distance(full.resize((224, 224), Image.Resampling.BICUBIC), small.resize((224, 224), Image.Resampling.BICUBIC)) < 1.5

    def test_target_is_of_the_upright_picture(self) -> None:
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = 6
        data = encoded(opened("china.jpg").resize((1600, 800)), "JPEG", exif=exif)
        assert decode(data, PLAIN, (400, 800)).size == (400, 800)
        assert decode(data, PLAIN, (401, 800)).size == (800, 1600)

    def test_other_formats_are_decoded_in_full(self) -> None:
        assert not probe(photo("coffee.png"), PLAIN, (50, 50)).draft


class TestFrames:
    FRAMES = (Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "lime"), Image.new("RGB", (8, 8), "blue"))

    @pytest.mark.parametrize("form", ["GIF", "TIFF", "WEBP", "PNG"])
    def test_the_first_unless_asked(self, form: str) -> None:
        options = {"lossless": True} if form == "WEBP" else {}
        data = encoded(self.FRAMES[0], form, save_all=True, append_images=self.FRAMES[1:], **options)
        assert [decode(data, Decode(frame=number)).getpixel((4, 4)) for number in range(3)] == [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
        assert decode(data, PLAIN).getpixel((4, 4)) == (255, 0, 0)
        error = error_of(data, Decode(frame=3))
        assert error.code == ErrorCode.NO_SUCH_FRAME
        assert "frame 3" in error.message

    def test_a_multi_picture_jpeg(self) -> None:
        data = encoded(self.FRAMES[0], "MPO", save_all=True, append_images=self.FRAMES[1:])
        assert probe(data, PLAIN).format == "JPEG"
        assert [decode(data, Decode(frame=number)).getpixel((4, 4)) for number in (0, 2)] == [(254, 0, 0), (0, 0, 254)]
        assert error_of(data, Decode(frame=3)).code == ErrorCode.NO_SUCH_FRAME

    def test_a_jpeg_has_one(self) -> None:
        assert error_of(photo("china.jpg"), Decode(frame=1)).code == ErrorCode.NO_SUCH_FRAME

    def test_real_multi_page_file(self) -> None:
        assert decode(photo("multipage.tif"), Decode(frame=1)).size == (10, 15)


@pytest.mark.parametrize("key", [b"", b"eXIf"])
def test_the_header_of_a_png_is_read_without_its_pixels(key: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(_: Image.Image) -> None:
        raise AssertionError("pixels were decoded")

    data = encoded(SMALL, "PNG")
    plain = probe(data, PLAIN)
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", load)
    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    assert probe(data, PLAIN) == plain
    assert (probe(data + key, PLAIN).memory > plain.memory) == bool(key), "an orientation may stand behind the pixels"


@pytest.mark.parametrize("size", [(448, 448), (447, 900), (900, 448), (1792, 1792), (100, 100)])
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_draft_is_taken_whenever_pillow_would_take_one(size: tuple[int, int], orientation: int) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    data = encoded(Image.new("RGB", size), "JPEG", exif=exif)
    with Image.open(BytesIO(data)) as image:
        target = (224, 200) if orientation == 1 else (200, 224)
        image.draft(None, target)
        expected = image.size
    upright = decode(data, PLAIN, (224, 200)).size
    assert (upright if orientation == 1 else upright[::-1]) == expected
    assert probe(data, PLAIN, (224, 200)).draft == (expected != size)
