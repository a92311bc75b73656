"""Compiling beside the work: only when it pays, only if the answers are the same, and never a reason to fail."""

import logging
import threading
from collections.abc import Callable

import numpy as np
import pytest
import torch

from imagejob_api.pipeline import Infer, Outputs, Precision
from imagejob_runner.models import compiling
from imagejob_runner.models.compiling import Compilation, pays
from imagejob_runner.models.forward import Forward
from imagejob_runner.models.lanes import HostLane
from imagejob_runner.models.predictor import Predictor

pytestmark = pytest.mark.model

IMAGES = 4
EXAMPLE = torch.randint(0, 256, (IMAGES, 2, 2, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
MILLION = 1_000_000


def plain(batch: torch.Tensor) -> torch.Tensor:
    return batch.flatten(1).float() / 255


def forward() -> Forward:
    return Forward(plain, HostLane(), least=1, most=IMAGES, outputs=Outputs(embedding="raw"), labels=None)


def compilation(model: Forward, compile_it: Callable[[], compiling.Run], precision: Precision = Precision.FP32) -> Compilation:
    def put_in(network: compiling.Run) -> None:
        model.network = network

    return Compilation(plain, compile_it, EXAMPLE, precision, put_in)


@pytest.fixture(autouse=True)
def able(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device for which it pays when the rule below says so."""
    monkeypatch.setattr(compiling, "can_compile", lambda: True)
    monkeypatch.setattr(compiling, "pays", lambda left, *_: left >= MILLION)


def work(each: Compilation, left: int | None, passes: int = 20) -> None:
    for _ in range(passes):
        each.consider(IMAGES, 0.01, left)
    if each.thread is not None:
        each.thread.join(timeout=60)
        assert not each.thread.is_alive()


class Doubtful:
    """A compiled network that adds `off` to what is right, and counts its calls."""

    def __init__(self, off: float = 0.0) -> None:
        self.off, self.calls = off, 0
        self.broken = False

    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        if self.broken:
            raise RuntimeError("no kernel image is available\nand much advice")
        return plain(batch) + self.off


@pytest.mark.parametrize(
    ("left", "rate", "busy", "device", "precision", "expected"),
    [
        (3_000_000, 15_515, 0.9, "cuda", Precision.BF16, True),
        (2_000_000, 15_515, 0.9, "cuda", Precision.BF16, False),
        (3_000_000, 15_515, 0.5, "cuda", Precision.BF16, False),
        (3_000_000, 7_457, 0.9, "cuda", Precision.FP32, True),
        (2_500_000, 7_457, 0.9, "cuda", Precision.FP32, False),
        (10**9, 80, 1.0, "cpu", Precision.FP32, False),
    ],
)
def test_pays_for_what_takes_minutes_of_a_gpu(
    left: int, rate: float, busy: float, device: str, precision: Precision, *, expected: bool
) -> None:
    assert pays(left, 1 / rate, busy, device, precision) is expected


def test_takes_over_when_it_answers_the_same_and_only_for_its_size() -> None:
    model, quick = forward(), Doubtful(0.0005)
    before = model.launch(EXAMPLE.numpy()).answers()
    work(compilation(model, lambda: quick), MILLION)
    assert quick.calls == 1
    after = np.array(model.launch(EXAMPLE.numpy()).answers())
    assert quick.calls == 2
    assert np.abs(after - np.array(before)).max() == pytest.approx(0.0005, rel=0.01)
    assert model.launch(EXAMPLE[:2].numpy()).answers() == before[:2]
    assert quick.calls == 2


def test_nothing_is_done_before_it_pays_and_then_once() -> None:
    model, made = forward(), []

    def compile_it() -> compiling.Run:
        made.append(Doubtful())
        return made[-1]

    each = compilation(model, compile_it)
    work(each, MILLION - 1, passes=100)
    work(each, MILLION, passes=100)
    assert len(made) == 1


def test_where_nobody_knows_what_is_left_as_much_is_expected_as_there_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "pays", lambda left, *_: left >= 40 * IMAGES)
    each = compilation(forward(), Doubtful)
    work(each, None, passes=39)
    assert each.thread is None
    work(each, None, passes=1)
    assert each.thread is not None


def test_a_process_that_ends_gives_it_up() -> None:
    begun, never, goes_on = threading.Event(), threading.Event(), []

    def compile_it() -> compiling.Run:
        begun.set()
        try:
            while not never.wait(0.001):
                pass
            return Doubtful()
        finally:
            goes_on.append("ended")

    model = forward()
    each = compilation(model, compile_it)
    for _ in range(20):
        each.consider(IMAGES, 0.01, MILLION)
    assert begun.wait(60)
    each.close()
    assert each.thread is not None
    assert not each.thread.is_alive()
    assert (goes_on, model.network) == (["ended"], plain)
    each.close()


@pytest.mark.parametrize(
    ("off", "precision", "taken"),
    [
        (0.0009, Precision.FP32, True),
        (0.0011, Precision.FP32, False),
        (0.029, Precision.BF16, True),
        (0.031, Precision.BF16, False),
        (float("nan"), Precision.BF16, False),
    ],
)
def test_answers_beyond_the_tolerance_are_not_wanted(
    caplog: pytest.LogCaptureFixture, off: float, precision: Precision, *, taken: bool
) -> None:
    model = forward()
    work(compilation(model, lambda: Doubtful(off), precision), MILLION)
    assert (model.network is not plain) is taken
    assert (
        [record.levelno for record in caplog.records if "its answers would differ by" in record.getMessage()] == []
        if taken
        else [logging.WARNING]
    )


def test_a_compiler_that_fails_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> compiling.Run:
        raise RuntimeError("Failed to find C compiler.\nPlease specify one")

    model = forward()
    work(compilation(model, fail), MILLION, passes=100)
    assert model.network is plain
    assert [record.getMessage() for record in caplog.records] == ["the model is not compiled: RuntimeError: Failed to find C compiler."]


def test_a_compiled_network_that_fails_later_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    model, quick = forward(), Doubtful()
    expected = model.launch(EXAMPLE.numpy()).answers()
    work(compilation(model, lambda: quick), MILLION)
    quick.broken = True
    assert [model.launch(EXAMPLE.numpy()).answers() for _ in range(3)] == [expected] * 3
    assert quick.calls == 2
    assert len([record for record in caplog.records if "goes on as it was before it was compiled" in record.getMessage()]) == 1


def test_what_cannot_compile_does_not_try(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "can_compile", lambda: False)
    each = compilation(forward(), Doubtful)
    work(each, MILLION)
    assert each.thread is None


def test_torch_compiles_the_network_for_the_size_of_its_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"model": {"architecture": "tests.tools.networks:Tiny"}, "preprocess": {"size": 16}, "device": "cpu", "threads": 1}
    model = Predictor(Infer.model_validate({**settings, "outputs": {"embedding": "raw"}}), None, None)
    network, shapes = model._network, []

    def by_torch(module: torch.nn.Module, *, dynamic: bool) -> Callable[[torch.Tensor], object]:
        def run(given: torch.Tensor) -> object:
            shapes.append((dynamic, tuple(given.shape)))
            return module(given)

        return run

    monkeypatch.setattr(torch, "compile", by_torch)

    def put_in(found: compiling.Run) -> None:
        model._forward.network = found

    each = Compilation(network, network.compiled, network.example(), Precision.FP32, put_in)
    batch = network.example().numpy()
    expected = model.predict(batch)
    work(each, MILLION)
    assert model.predict(batch) == expected
    assert shapes == [(False, (network.best_batch, 3, 16, 16))] * 2
