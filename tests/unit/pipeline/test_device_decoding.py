"""JPEGs that the model's device decodes, from the worker process that leaves them to it to the row; the device is this machine's CPU."""

from pathlib import Path

import numpy as np
import pytest
import torch

from imagejob_api.pipeline import Decode, Preprocess
from imagejob_runner.images.decode import decode
from imagejob_runner.images.preprocess import to_array
from imagejob_runner.models import predictor
from imagejob_runner.models.inputs import Inputs
from imagejob_runner.pipeline.engine import EngineSettings
from tests.tools.host_decoder import HostDecoder, HostScale
from tests.tools.photos import encoded, opened
from tests.unit.pipeline.levers import Workshop

pytestmark = pytest.mark.model

SIZE = 16
PHOTO = opened("china.jpg").resize((60, 40))
PREPROCESS = {"size": SIZE, "normalize": {"scale": 1.0, "mean": [0, 0, 0], "std": [1, 1, 1]}}


class Mean(torch.nn.Module):
    """The mean of each colour."""

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return batch.mean((2, 3))


def build() -> torch.nn.Module:
    return Mean()


def expected(data: bytes) -> list[float]:
    """What `Mean` says of a file that is decoded here, at full size."""
    array = to_array(decode(data, Decode(draft=False)), Preprocess.model_validate(PREPROCESS))
    return [float(value) for value in np.asarray(array, np.float64).mean((0, 1))]


def files() -> dict[str, bytes]:
    exif = PHOTO.getexif()
    exif[0x0112] = 6
    plain = encoded(PHOTO, "JPEG")
    turned = encoded(PHOTO.rotate(20), "JPEG", exif=exif.tobytes())
    return {
        "plain": plain,
        "turned": turned,
        "grey": encoded(PHOTO.convert("L"), "JPEG"),
        "png": encoded(PHOTO, "PNG"),
        "cmyk": encoded(PHOTO.convert("CMYK"), "JPEG"),
        "truncated": plain[: len(plain) // 2],
        "broken": plain[: plain.index(b"\xff\xda") + 40] + b"\xff\xd9",
        "empty": b"",
    }


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> HostDecoder:
    decoder = HostDecoder()

    def inputs_of(_: torch.device, decode: Decode, preprocess: Preprocess) -> Inputs | None:
        return None if decode.device == "cpu" else Inputs(decoder, HostScale(), decode, preprocess)

    monkeypatch.setattr(predictor, "inputs_of", inputs_of)
    monkeypatch.setattr("imagejob_runner.models.batching.sees_gpu", lambda: True)
    return decoder


async def run(folder: Path, device: str) -> Workshop:
    found = files()
    for place, data in enumerate(found.values()):
        (folder / f"0-{place}").write_bytes(data)
    infer = {
        "model": {"architecture": f"{__name__}:build"},
        "preprocess": PREPROCESS,
        "outputs": {"embedding": "raw"},
        "batchSize": 4,
        "threads": 1,
    }
    steps = [
        {"name": "download", "download": {}},
        {"name": "decode", "transform": {"decode": {"device": device}}},
        {"name": "mean", "infer": infer},
        {"name": "save", "save": {}},
    ]
    shop = Workshop(steps, [len(found)], folder=str(folder), settings=EngineSettings(cpus=1))
    await shop.run()
    return shop


async def test_each_file_ends_as_on_the_cpu_whoever_decodes_it(tmp_path: Path, device: HostDecoder) -> None:
    by_device = dict(zip(files(), (await run(tmp_path, "auto")).rows, strict=True))
    seen, device.seen = device.seen, 0
    by_cpu = dict(zip(files(), (await run(tmp_path, "cpu")).rows, strict=True))
    assert (seen, device.seen) == (4, 0), "what is plain, turned, grey, and what only a decoder can call broken"
    codes = {name: row["error"] and row["error"]["code"] for name, row in by_device.items()}
    assert codes == {name: row["error"] and row["error"]["code"] for name, row in by_cpu.items()}
    assert set(codes.values()) >= {"TruncatedImage", "EmptyFile", None}
    whose = {name: row["provenance"].get("decodedBy") for name, row in by_device.items()}
    assert {name for name, who in whose.items() if who == "gpu"} == {"plain", "turned", "grey", "broken"}
    for name in ("plain", "turned", "grey", "png"):
        assert by_device[name]["outputs"]["mean"] == pytest.approx(expected(files()[name]), abs=1e-3)
        same = ("format", "width", "height", "inputSha256", "inputBytes")
        assert [by_device[name]["provenance"][key] for key in same] == [by_cpu[name]["provenance"][key] for key in same]
