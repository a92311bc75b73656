"""Batches where none are named: as many images as suit the device, and no more pixels than it has room for."""

from pathlib import Path

import pytest

from imagejob_api.pipeline import Infer
from imagejob_runner.models import batching


def infer(**settings: object) -> Infer:
    return Infer.model_validate({"model": {"architecture": "torch.nn:Identity"}, **settings})


@pytest.mark.parametrize(
    ("size", "threads", "gpu", "images"),
    [
        (224, 1, False, 32),
        (224, 2, False, 32),
        (224, 16, False, 128),
        (224, 16, True, 256),
        (512, 16, True, 256),
        (513, 16, True, 128),
        (1024, 16, True, 64),
        (1024, 16, False, 64),
        (8192, 16, True, 1),
    ],
)
def test_suits_the_device(size: int, threads: int, *, gpu: bool, images: int) -> None:
    assert batching.default_batch(size, threads=threads, gpu=gpu) == images


@pytest.mark.parametrize(("size", "threads", "images"), [(224, 1, 16), (224, 4, 32), (512, 1, 16), (112, 1, 64), (32, 1, 784)])
def test_a_pass_on_a_cpu_stays_in_its_caches(size: int, threads: int, images: int) -> None:
    assert batching.cpu_pass(size, threads) == images


def test_what_is_set_holds() -> None:
    assert batching.batch_size(infer(batchSize=7, device="cuda:0")) == 7


def test_follows_the_device_that_is_named() -> None:
    assert batching.batch_size(infer(device="cuda:1", threads=1)) == 256
    assert batching.batch_size(infer(device="cpu", threads=8)) == 64


def test_auto_is_the_gpu_that_the_driver_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = tmp_path / "nvidiactl"
    monkeypatch.setattr(batching, "_DEVICES", (driver,))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert batching.batch_size(infer(threads=1)) == 32
    driver.touch()
    assert batching.batch_size(infer(threads=1)) == 256
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert batching.batch_size(infer(threads=1)) == 32
