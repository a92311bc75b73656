"""Batches of prepared arrays and of files that the device decodes: each image in its place, with its own error, however it came in."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from imagejob_api.pipeline import Decode, Outputs, Preprocess
from imagejob_runner.constants import ErrorCode
from imagejob_runner.device.jpeg import header_for_gpu
from imagejob_runner.device.picture import Picture
from imagejob_runner.exceptions import DeviceError, ImageError
from imagejob_runner.images.decode import decode
from imagejob_runner.images.preprocess import to_array
from imagejob_runner.models import inputs as making
from imagejob_runner.models.forward import Answer, Forward
from imagejob_runner.models.inputs import Inputs, Undecoded, _tried, inputs_of
from imagejob_runner.models.lanes import HostLane
from tests.tools.host_decoder import HostDecoder, HostScale
from tests.tools.photos import encoded, opened

pytestmark = pytest.mark.model

PHOTO = opened("china.jpg").resize((60, 40))
PLAIN = Decode(draft=False)
CPU = torch.device("cpu")


def preprocess(resize: str = "crop") -> Preprocess:
    return Preprocess.model_validate({"size": 24, "resize": resize})


def undecoded(data: bytes, how: Preprocess) -> Undecoded:
    header = header_for_gpu(data, PLAIN, how)
    assert header is not None
    return Undecoded(np.frombuffer(data, np.uint8), header)


def turned(turn: int, orientation: int) -> bytes:
    """The photo, turned and with the tag that says so."""
    exif = PHOTO.getexif()
    exif[0x0112] = orientation
    return encoded(PHOTO.rotate(turn, expand=True), "JPEG", exif=exif.tobytes())


def by_cpu(data: bytes, how: Preprocess) -> np.ndarray:
    return np.asarray(to_array(decode(data, PLAIN), how, PLAIN.background))


def forward(inputs: Inputs, seen: list[torch.Tensor], *, most: int = 8, least: int = 1) -> Forward:
    """A network that shows what it is given."""

    def show(batch: torch.Tensor) -> torch.Tensor:
        seen.append(batch.clone())
        return batch.flatten(1).float()

    return Forward(show, HostLane(inputs), least=least, most=most, outputs=Outputs(embedding="raw"), labels=None)


def codes(answers: Sequence[Answer]) -> list[str | None]:
    return [answer.code if isinstance(answer, ImageError) else None for answer in answers]


@pytest.mark.parametrize("resize", ["crop", "squash", "pad"])
def test_files_and_arrays_in_one_batch(resize: str) -> None:
    how, decoder, scale = preprocess(resize), HostDecoder(), HostScale()
    files = [encoded(PHOTO, "JPEG"), turned(90, 6), encoded(PHOTO.convert("L"), "JPEG"), encoded(PHOTO.rotate(90, expand=True), "JPEG")]
    array = by_cpu(encoded(PHOTO.rotate(180), "JPEG"), how)
    seen: list[torch.Tensor] = []
    under_way = forward(Inputs(decoder, scale, PLAIN, how), seen, least=7).launch(
        [undecoded(files[0], how), array, *(undecoded(data, how) for data in files[1:]), array]
    )
    assert codes(under_way.answers()) == [None] * 6
    assert under_way.decoded == [True, False, True, True, True, False]
    assert scale.batches == [4]
    expected = [by_cpu(files[0], how), array, *(by_cpu(data, how) for data in files[1:]), array]
    assert np.array_equal(seen[0][:6].numpy(), np.stack(expected))
    assert len(seen[0]) == 7


def test_what_the_device_refuses_is_judged_by_the_cpu() -> None:
    how, sound = preprocess(), encoded(PHOTO, "JPEG")
    broken = sound[:-2].replace(b"\xff\xda", b"\xff\xd0", 1) + b"\xff\xd9"

    class Refusing(HostDecoder):
        def decode(self, files: Sequence[np.ndarray]) -> list[None]:  # type: ignore[override]
            return [None] * len(files)

    seen: list[torch.Tensor] = []
    header = undecoded(sound, how).header
    batch = [undecoded(sound, how), Undecoded(np.frombuffer(broken, np.uint8), header), undecoded(sound, how)]
    under_way = forward(Inputs(Refusing(), HostScale(), PLAIN, how), seen).launch(batch)
    answers = under_way.answers()
    with pytest.raises(ImageError) as on_cpu:
        decode(broken, PLAIN)
    assert codes(answers) == [None, on_cpu.value.code, None]
    assert under_way.decoded == [False] * 3
    assert np.array_equal(seen[0][2].numpy(), by_cpu(sound, how))


def test_a_picture_of_another_size_than_its_header_says_is_not_believed() -> None:
    how, data = preprocess(), encoded(PHOTO, "JPEG")
    other = Undecoded(np.frombuffer(data, np.uint8), undecoded(encoded(PHOTO.resize((90, 70)), "JPEG"), how).header)
    under_way = forward(Inputs(HostDecoder(), HostScale(), PLAIN, how), []).launch([other])
    assert codes(under_way.answers()) == [None]
    assert under_way.decoded == [False]


def test_a_batch_that_fails_is_decoded_again_in_halves() -> None:
    how, decoder = preprocess(), HostDecoder()
    data = encoded(PHOTO, "JPEG")

    def picky(batch: torch.Tensor) -> torch.Tensor:
        if (batch == 0).all(dim=3).all(dim=2).all(dim=1).any():
            raise ValueError("a black image")
        return batch.flatten(1).float()

    black = np.zeros((24, 24, 3), np.uint8)
    model = Forward(
        picky, HostLane(Inputs(decoder, HostScale(), PLAIN, how)), least=1, most=8, outputs=Outputs(embedding="raw"), labels=None
    )
    under_way = model.launch([undecoded(data, how), black, undecoded(data, how), undecoded(data, how)])
    assert codes(under_way.answers()) == [None, ErrorCode.INFERENCE_FAILED, None, None]
    assert under_way.decoded == [True, False, True, True]
    assert decoder.seen == 3 + 3 + 1


class TestWhetherTheDeviceDecodes:
    def test_not_where_the_model_runs_on_a_cpu(self) -> None:
        assert inputs_of(CPU, Decode(), preprocess()) is None
        assert inputs_of(CPU, Decode(device="cpu"), preprocess()) is None
        with pytest.raises(DeviceError, match=r"decode.device: gpu was asked for .*the model runs on the CPU.*write auto or cpu"):
            inputs_of(CPU, Decode(device="gpu"), preprocess())

    def test_not_without_its_libraries(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level("INFO")
        assert inputs_of(torch.device("cuda", 0), Decode(), preprocess()) is None
        assert "JPEGs are decoded on the CPU, as the GPU cannot" in caplog.text
        with pytest.raises(DeviceError, match=r"decode.device: gpu was asked for and pictures cannot be decoded on the GPU here \(.*Error"):
            inputs_of(torch.device("cuda", 0), Decode(device="gpu"), preprocess())

    @pytest.mark.parametrize(("text", "fatal"), [("CUDA error: an illegal memory access", True), ("CUDA out of memory", False)])
    def test_a_device_that_fails_for_good_says_what_to_do(self, monkeypatch: pytest.MonkeyPatch, text: str, *, fatal: bool) -> None:
        def fail(*_: object) -> None:
            raise RuntimeError(text) if fatal else torch.OutOfMemoryError(text)

        monkeypatch.setattr(making, "_nvidia", fail)
        if fatal:
            with pytest.raises(DeviceError, match=r"failed when it decoded a trial picture .*illegal.*write decode.device: cpu"):
                inputs_of(torch.device("cuda", 0), Decode(), preprocess())
        else:
            assert inputs_of(torch.device("cuda", 0), Decode(), preprocess()) is None

    def test_only_if_a_trial_picture_comes_out_right(self) -> None:
        def black(_pictures: object, _how: object, batch: torch.Tensor, *_more: object) -> None:
            batch[...] = 0

        good = Inputs(HostDecoder(), HostScale(), PLAIN, preprocess())
        assert _tried(good, CPU, PLAIN, preprocess()) is good
        with pytest.raises(ValueError, match=r"differs by \d+\.\d of 255"):
            _tried(Inputs(HostDecoder(), black, PLAIN, preprocess()), CPU, PLAIN, preprocess())
        nearest = Preprocess(size=24, filter="nearest")
        assert _tried(Inputs(HostDecoder(), HostScale(), PLAIN, nearest), CPU, PLAIN, nearest) is None


class _Failing(HostDecoder):
    """A decoder that raises instead of refusing."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text

    def decode(self, files: Sequence[np.ndarray]) -> list[Picture | None]:
        super().decode(files)
        raise RuntimeError(self.text)


def test_a_decoder_that_raises_leaves_its_files_to_the_cpu_unless_the_gpu_is_broken() -> None:
    data = encoded(PHOTO, "JPEG")
    file, how = undecoded(data, preprocess()), preprocess()
    batch = torch.zeros(1, 24, 24, 3, dtype=torch.uint8)
    made = Inputs(_Failing("nvImageCodec failure: '#8'"), HostScale(), PLAIN, how).fill([file], [0], batch)
    assert (made.errors, made.decoded) == ({}, frozenset())
    assert (batch[0].numpy() == by_cpu(data, how)).all()
    with pytest.raises(RuntimeError, match="#700"):
        Inputs(_Failing("CUDA Runtime failure: '#700'"), HostScale(), PLAIN, how).fill([file], [0], batch)
