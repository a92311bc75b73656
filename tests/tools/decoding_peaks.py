"""Measures what decoding takes: `python -m tests.tools.decoding_peaks` prints, for pictures of many formats and modes, bytes a pixel.

Each picture is decoded in a process of its own, forked from one that has everything loaded, and the kernel tells how much memory it had
at most.
"""

import ctypes
import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from imagejob_api.pipeline import Decode
from imagejob_runner.images import decode as decoding

SIDE: Final = 1536
_LIBC: Final = ctypes.CDLL(None)
_SMALL: Final = (256, 256)
_ORIENTATION: Final = 0x0112
_DECODE: Final = Decode()
_SECOND: Final = Decode(frame=1)


def _noise(mode: str) -> Image.Image:
    """A picture that does not compress away: coarse noise, quick to make."""
    coarse = np.random.default_rng(7).integers(0, 255, (SIDE // 8, SIDE // 8, 4), dtype=np.uint8)
    rgba = Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.NEAREST)
    if mode == "RGBA":
        return rgba
    rgb = rgba.convert("RGB")
    grey = rgb.convert("L")
    made: dict[str, Callable[[], Image.Image]] = {
        "L": lambda: grey,
        "LA": lambda: Image.merge("LA", (grey, rgba.getchannel("A"))),
        "P": lambda: rgb.quantize(64, dither=Image.Dither.NONE),
        "LAB": lambda: Image.merge("LAB", rgb.split()),
        "I;16": lambda: Image.fromarray(np.asarray(grey).astype(np.uint16) * 257),
        "I": lambda: Image.fromarray(np.asarray(grey).astype(np.int32) * 1000),
        "F": lambda: Image.fromarray(np.asarray(grey).astype(np.float32) / 255),
    }
    return made[mode]() if mode in made else rgb.convert(mode)


def _saved(mode: str, form: str, **options: object) -> bytes:
    file = io.BytesIO()
    _noise(mode).save(file, form, **options)
    return file.getvalue()


def _turned(mode: str, form: str, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[_ORIENTATION] = orientation
    return _saved(mode, form, exif=exif)


def _rgb16_png() -> bytes:
    """A PNG of three times sixteen bits, which Pillow does not write."""
    import zlib  # noqa: PLC0415  for this one

    rows = np.zeros((SIDE, 1 + SIDE * 6), dtype=np.uint8)
    header = SIDE.to_bytes(4, "big") * 2 + bytes((16, 2, 0, 0, 0))

    def part(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", header) + part(b"IDAT", zlib.compress(rows.tobytes(), 1)) + part(b"IEND", b"")


def _animated(form: str) -> bytes:
    file = io.BytesIO()
    first, second = _noise("RGB"), _noise("RGB").rotate(90)
    first.save(file, form, save_all=True, append_images=[second])
    return file.getvalue()


_TIFF: Final = ("L", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F", "LAB", "YCbCr")
CASES: Final[dict[str, Callable[[], bytes]]] = {
    **{f"JPEG {mode}": lambda mode=mode: _saved(mode, "JPEG") for mode in ("L", "RGB", "CMYK")},
    "JPEG RGB 4:4:4": lambda: _saved("RGB", "JPEG", subsampling=0),
    "JPEG RGB progressive": lambda: _saved("RGB", "JPEG", progressive=True),
    "JPEG RGB progressive 4:4:4": lambda: _saved("RGB", "JPEG", progressive=True, subsampling=0),
    "JPEG CMYK progressive": lambda: _saved("CMYK", "JPEG", progressive=True),
    "JPEG L progressive": lambda: _saved("L", "JPEG", progressive=True),
    "JPEG RGB turned": lambda: _turned("RGB", "JPEG", 6),
    **{f"PNG {mode}": lambda mode=mode: _saved(mode, "PNG", compress_level=1) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")},
    "PNG P transparent": lambda: _saved("P", "PNG", compress_level=1, transparency=0),
    "PNG RGB transparent": lambda: _saved("RGB", "PNG", compress_level=1, transparency=(0, 0, 0)),
    "PNG I;16 transparent": lambda: _saved("I;16", "PNG", compress_level=1, transparency=0),
    "PNG RGB 16 bits": _rgb16_png,
    "PNG RGBA turned": lambda: _turned("RGBA", "PNG", 6),
    **{f"WEBP {mode}": lambda mode=mode: _saved(mode, "WEBP", method=0) for mode in ("RGB", "RGBA")},
    "WEBP RGB lossless": lambda: _saved("RGB", "WEBP", method=0, lossless=True),
    "WEBP RGBA lossless": lambda: _saved("RGBA", "WEBP", method=0, lossless=True),
    "WEBP animated": lambda: _animated("WEBP"),
    "GIF P": lambda: _saved("P", "GIF"),
    "GIF P transparent": lambda: _saved("P", "GIF", transparency=0),
    "GIF animated": lambda: _animated("GIF"),
    "GIF second frame": lambda: _animated("GIF"),
    **{f"BMP {mode}": lambda mode=mode: _saved(mode, "BMP") for mode in ("1", "L", "P", "RGB", "RGBA")},
    **{f"TIFF {mode}": lambda mode=mode: _saved(mode, "TIFF") for mode in _TIFF},
    **{f"TIFF {mode} packed": lambda mode=mode: _saved(mode, "TIFF", compression="tiff_lzw") for mode in _TIFF if mode != "YCbCr"},
    "TIFF RGB one strip": lambda: _saved("RGB", "TIFF", compression="tiff_lzw", strip_size=SIDE * SIDE * 8),
    "TIFF F one strip": lambda: _saved("F", "TIFF", compression="tiff_lzw", strip_size=SIDE * SIDE * 8),
    "TIFF RGB as JPEG": lambda: _saved("RGB", "TIFF", compression="jpeg"),
    "TIFF RGB turned": lambda: _saved("RGB", "TIFF", tiffinfo={_ORIENTATION: 6}),
    "TIFF F turned": lambda: _saved("F", "TIFF", tiffinfo={_ORIENTATION: 6}),
    **{f"AVIF {mode}": lambda mode=mode: _saved(mode, "AVIF", speed=10) for mode in ("RGB", "RGBA")},
    "AVIF RGB 4:4:4": lambda: _saved("RGB", "AVIF", speed=10, subsampling="4:4:4"),
    **{f"PPM {mode}": lambda mode=mode: _saved(mode, "PPM") for mode in ("1", "L", "RGB", "I", "F")},
}
"""Pictures of `SIDE` pixels square, by what they are."""


def peaks(name: str) -> dict[str, tuple[float, float]]:
    """What decoding a picture takes, in bytes a pixel: measured and counted, at its full size and as a small draft."""
    data, how = CASES[name](), _SECOND if name.endswith("second frame") else _DECODE
    found = {}
    for way, target in (("full", None), ("draft", _SMALL)):
        counted = decoding.probe(data, how, target).memory
        found[way] = (_measured(data, how, target) / SIDE**2, counted / SIDE**2)
    return found


def _measured(data: bytes, how: Decode, target: tuple[int, int] | None) -> int:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _LIBC.malloc_trim(0)  # what lies free in the heap would be used without being counted
        Path("/proc/self/clear_refs").write_text("5")  # the peak from here on
        before = _status("VmRSS")
        image = decoding.decode(data, how, target)
        os.write(writing, str(_status("VmHWM") - before).encode())
        del image
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return int(text)


def _warm_up() -> None:
    """Loads what is loaded with the first picture of a kind."""
    for mode in ("L", "P", "RGB", "RGBA", "I;16", "F"):
        file = io.BytesIO()
        Image.new(mode, (64, 64)).save(file, "TIFF")
        decoding.decode(file.getvalue(), _DECODE)


def _status(field: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{field}:"))
    return 1024 * int(line.split()[1])


if __name__ == "__main__":
    _warm_up()
    sys.stdout.write(json.dumps({name: peaks(name) for name in sys.argv[1:] or CASES}))
