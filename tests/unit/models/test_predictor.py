import hashlib
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from imagejob_api.pipeline import Infer
from imagejob_runner.constants import ErrorCode
from imagejob_runner.exceptions import DeviceError, ImageError, ModelError
from imagejob_runner.images.recipe import fingerprint
from imagejob_runner.models.network import Network
from imagejob_runner.models.predictor import Predictor
from imagejob_runner.planning import PlannedModel
from tests.tools.networks import Picky, Tiny

pytestmark = pytest.mark.model

SIZE = 16
NOISE = np.random.default_rng(5).integers(1, 250, (11, SIZE, SIZE, 3), dtype=np.uint8)
WHITE = np.full((SIZE, SIZE, 3), 255, np.uint8)
BLACK = np.zeros((SIZE, SIZE, 3), np.uint8)


def infer(network: str = "Tiny", **changes: Any) -> Infer:  # noqa: ANN401  settings of any kind
    plain = {"size": SIZE, "normalize": {"mean": [0, 0, 0], "std": [1, 1, 1]}}
    model = {"architecture": f"tests.tools.networks:{network}", "arguments": changes.pop("arguments", {})}
    settings = {"model": model, "preprocess": plain, "device": "cpu", "threads": 1, "outputs": {"embedding": "raw"}, **changes}
    return Infer.model_validate(settings)


def predictor(network: str = "Tiny", **changes: Any) -> Predictor:  # noqa: ANN401  settings of any kind
    return Predictor(infer(network, **changes), None, None)


def expected(images: np.ndarray) -> torch.Tensor:
    with torch.inference_mode():
        return Tiny().eval()(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255)


def raising(error: Exception) -> Callable[..., object]:
    def fail(*_arguments: object, **_more: object) -> object:
        raise error

    return fail


DEVICE_ERRORS = [
    (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "does not fit into the memory that is free.*2 GiB"),
    (
        RuntimeError("CUDA error: all devices are busy\nCompile with"),
        "GPU cannot be used by this process: CUDA error: all .*busy$",
    ),
]


class TestAnswers:
    def test_are_those_of_the_bare_network(self) -> None:
        assert np.allclose(np.array(predictor().predict(NOISE)), expected(NOISE), atol=1e-5)

    def test_do_not_depend_on_the_batch(self) -> None:
        model = predictor()
        together = np.array(model.predict(NOISE))
        alone = np.array([model.predict([image])[0] for image in NOISE])
        assert np.abs(together - alone).max() < 1e-5

    def test_normalisation(self) -> None:
        normalize = {"scale": 1, "mean": [127, 100, 90], "std": [128, 64, 32]}
        found = np.array(predictor(preprocess={"size": SIZE, "normalize": normalize}).predict(NOISE))
        images = (torch.from_numpy(NOISE).double() - torch.tensor([127, 100, 90])) / torch.tensor([128, 64, 32])
        with torch.inference_mode():
            assert np.allclose(found, Tiny().eval()(images.permute(0, 3, 1, 2).float()), atol=1e-5)

    def test_of_no_images(self) -> None:
        assert predictor().predict([]) == []

    def test_labels_and_digest_and_fingerprint(self, tmp_path: Path) -> None:
        path = tmp_path / "tiny.pt"
        torch.save(Tiny().state_dict(), path)
        settings = infer(labelNames=list("abcde"), outputs={"topK": {"k": 1}})
        model = Predictor(settings, path, None)
        ((best,),) = model.predict(NOISE[:1])  # type: ignore[misc]  one class of one image
        assert best["label"] == "abcde"[int(expected(NOISE[:1]).argmax())]  # type: ignore[index, call-overload]
        assert model.model_digest == hashlib.sha256(path.read_bytes()).hexdigest()
        assert model.preprocess_fingerprint == fingerprint(settings.preprocess)
        assert model.device == "cpu"

    @pytest.mark.parametrize("precision", ["bf16", "fp16"])
    def test_lower_precision_is_close(self, precision: str) -> None:
        found = np.array(predictor(precision=precision).predict(NOISE))
        assert np.abs(found - expected(NOISE).numpy()).max() < 0.05

    def test_on_another_thread_than_it_was_loaded(self) -> None:
        model = predictor(threads=1)
        seen: list[int] = []

        def work() -> None:
            model.predict(NOISE)
            seen.append(torch.get_num_threads())

        torch.set_num_threads(2)
        thread = threading.Thread(target=work)
        thread.start()
        thread.join(timeout=60)
        assert seen == [1]


class TestFailures:
    def test_one_bad_image_fails_alone(self) -> None:
        images = [*NOISE[:5], WHITE, *NOISE[5:]]
        answers = predictor("Picky", batchSize=8).predict(images)
        assert len(answers) == 12
        bad = answers.pop(5)
        assert isinstance(bad, ImageError)
        assert (bad.code, bad.retryable) == (ErrorCode.INFERENCE_FAILED, False)
        assert "ValueError: a white image is too bright" in bad.message
        assert np.allclose(np.array(answers), expected(NOISE), atol=1e-5)

    def test_an_answer_that_is_not_a_number_fails_alone(self) -> None:
        answers = predictor("Picky").predict([NOISE[0], BLACK, NOISE[1]])
        assert [isinstance(answer, ImageError) for answer in answers] == [False, True, False]
        assert isinstance(answers[1], ImageError)
        assert answers[1].code == ErrorCode.INVALID_OUTPUT

    def test_out_of_memory_makes_batches_smaller_for_good(self, caplog: pytest.LogCaptureFixture) -> None:
        model = predictor("Picky", arguments={"most": 3}, batchSize=8)
        network = model._network._module
        assert isinstance(network, Picky)
        network.sizes.clear()
        with caplog.at_level(logging.WARNING):
            assert np.allclose(np.array(model.predict(NOISE)), expected(NOISE), atol=1e-5)
            first = list(network.sizes)
            network.sizes.clear()
            model.predict(NOISE)
        assert max(first) == 8
        assert max(network.sizes) == 2
        assert [record.getMessage() for record in caplog.records if "out of memory" in record.getMessage()] == [
            "out of memory with 8 images at once: going on with batches of 4",
            "out of memory with 4 images at once: going on with batches of 2",
        ]

    def test_a_single_image_that_does_not_fit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        model = predictor("Picky")

        def full(_images: object) -> object:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

        monkeypatch.setattr(model._forward, "network", full)
        answers = model.predict(NOISE[:3])
        assert [answer.code for answer in answers if isinstance(answer, ImageError)] == [ErrorCode.OUT_OF_MEMORY] * 3
        assert all(answer.retryable for answer in answers if isinstance(answer, ImageError))

    def test_a_model_that_finds_no_memory_is_not_refused_for_good(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(DeviceError, match=r"does not fit into the memory that is free.*tried to allocate a lot"):
            predictor("Picky", arguments={"most": 0})

        def full(_network: Network, _images: object) -> object:
            raise torch.OutOfMemoryError("CUDA out of memory")

        monkeypatch.setattr(Network, "__call__", full)
        with pytest.raises(DeviceError, match=r"does not fit into the memory that is free.*CUDA out of memory"):
            predictor()

    @pytest.mark.parametrize(("error", "reason"), DEVICE_ERRORS)
    def test_a_device_that_fails_is_no_fault_of_the_architecture(
        self, monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
    ) -> None:
        monkeypatch.setattr(Tiny, "forward", raising(error))
        with pytest.raises(DeviceError, match=reason):
            predictor()
        monkeypatch.setattr(Tiny, "__init__", raising(error))
        with pytest.raises(DeviceError, match=reason):
            predictor()

    @pytest.mark.parametrize(("error", "reason"), DEVICE_ERRORS)
    def test_a_device_that_fails_is_no_fault_of_the_program(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception, reason: str
    ) -> None:
        path = tmp_path / "tiny.pt2"
        settings = TestPrograms.exported(path, images=4, dynamic=False)
        monkeypatch.setattr(torch.export, "load", raising(error))
        with pytest.raises(DeviceError, match=reason):
            Predictor(settings, path, None)

    def test_weights_that_find_no_memory_are_not_damaged(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        path = tmp_path / "tiny.pt"
        torch.save(Tiny().state_dict(), path)
        monkeypatch.setattr(torch, "load", raising(MemoryError()))
        with pytest.raises(DeviceError, match=r"does not fit into the memory that is free.*MemoryError"):
            Predictor(infer(), path, None)


class TestLoading:
    @pytest.mark.parametrize(
        ("network", "changes", "reason"),
        [
            ("Shapeless", {}, r"returned shape \(5,\)"),
            ("Pair", {}, "returned a tuple"),
            ("Tiny", {"labelNames": ["a", "b"], "outputs": {"topK": {}}}, "2 names and the model 5 classes"),
        ],
    )
    def test_what_can_never_work_is_said_at_once(self, network: str, changes: dict[str, Any], reason: str) -> None:
        with pytest.raises(ModelError, match=reason):
            predictor(network, **changes)

    def test_a_gpu_that_is_not_here_may_be_elsewhere(self) -> None:
        with pytest.raises(DeviceError, match=r"infer.device: cuda:99 was asked for and torch sees (no|\d+) GPUs? here.*auto"):
            predictor(device="cuda:99")

    def test_the_digest_comes_first(self, tmp_path: Path) -> None:
        path = tmp_path / "weights.pt"
        path.write_bytes(b"not even weights")
        model = {"architecture": "tests.tools.networks:Tiny", "weights": "file:///weights.pt", "sha256": "0" * 64}
        with pytest.raises(ModelError, match=f"weights.pt has the digest {hashlib.sha256(path.read_bytes()).hexdigest()}, not 0000"):
            Predictor(infer(model=model), path, None)

    def test_only_the_planned_model_and_labels_are_loaded(self, tmp_path: Path) -> None:
        path, labels = tmp_path / "weights.pt", tmp_path / "labels.txt"
        torch.save(Tiny().state_dict(), path)
        labels.write_text("a\nb\nc\nd\ne\n")
        model, names = (hashlib.sha256(file.read_bytes()).hexdigest() for file in (path, labels))
        settings = infer(labels="file:///labels.txt", outputs={"topK": {"k": 1}})
        assert Predictor(settings, path, PlannedModel(model, "", names), labels).model_digest == model
        with pytest.raises(ModelError, match=f"the model weights.pt has the digest {model}, but the output was planned with 1111"):
            Predictor(settings, path, PlannedModel("1" * 64, "", names), labels)
        with pytest.raises(ModelError, match=f"the labels labels.txt have the digest {names}, but the output was planned with 2222"):
            Predictor(settings, path, PlannedModel(model, "", "2" * 64), labels)
        with pytest.raises(ModelError, match=r"the architecture tests.tools.networks:Tiny has the digest \w+, but .* planned with 3333"):
            Predictor(infer(), None, PlannedModel("3" * 64, "", None))

    def test_a_file_that_changes_while_it_is_loaded(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        path, other = tmp_path / "weights.pt", tmp_path / "other.pt"
        torch.save(Tiny().state_dict(), path)
        torch.save({name: value + 1 for name, value in Tiny().state_dict().items()}, other)
        load = torch.load

        def swap_and_load(*arguments: object, **more: object) -> object:
            other.replace(path)
            return load(*arguments, **more)

        monkeypatch.setattr(torch, "load", swap_and_load)
        with pytest.raises(ModelError, match=r"weights.pt was changed while it was being loaded"):
            Predictor(infer(), path, None)

    def test_weights_that_were_not_fetched(self) -> None:
        with pytest.raises(ModelError, match=r"file:///weights.pt was not fetched"):
            predictor(model={"architecture": "tests.tools.networks:Tiny", "weights": "file:///weights.pt"})


class TestPrograms:
    @staticmethod
    def exported(path: Path, *, images: int, dynamic: bool) -> Infer:
        shapes = {"images": {0: torch.export.Dim("batch", min=2, max=3)}} if dynamic else None
        torch.export.save(torch.export.export(Tiny().eval(), (torch.zeros(images, 3, SIZE, SIZE),), dynamic_shapes=shapes), path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return infer(model={"program": f"file://{path}", "sha256": digest})

    @pytest.mark.parametrize(("images", "dynamic"), [(1, False), (4, False), (7, False), (2, True)])
    def test_of_any_batch_size(self, tmp_path: Path, images: int, *, dynamic: bool) -> None:
        path = tmp_path / "tiny.pt2"
        model = Predictor(self.exported(path, images=images, dynamic=dynamic), path, None)
        assert np.allclose(np.array(model.predict(NOISE)), expected(NOISE), atol=1e-5)
        assert np.allclose(np.array(model.predict(NOISE[:1])), expected(NOISE[:1]), atol=1e-5)

    def test_under_autocast(self, tmp_path: Path) -> None:
        path = tmp_path / "tiny.pt2"
        settings = self.exported(path, images=4, dynamic=False).model_copy(update={"precision": "bf16"})
        assert np.abs(np.array(Predictor(settings, path, None).predict(NOISE)) - expected(NOISE).numpy()).max() < 0.05

    def test_of_another_digest(self, tmp_path: Path) -> None:
        path = tmp_path / "tiny.pt2"
        settings = self.exported(path, images=4, dynamic=False)
        path.write_bytes(path.read_bytes() + b" ")
        with pytest.raises(ModelError, match=r"model.sha256: tiny.pt2 has the digest"):
            Predictor(settings, path, None)
