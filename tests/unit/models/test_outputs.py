import json
import math
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from imagejob_api.pipeline import Outputs, TopK
from imagejob_runner.constants import ErrorCode
from imagejob_runner.exceptions import ImageError, ModelError
from imagejob_runner.models import outputs as describing
from imagejob_runner.models.labels import load_labels
from imagejob_runner.models.outputs import JsonValue, check_output

pytestmark = pytest.mark.model

LOGITS = torch.tensor([[0.0, 2.0, 1.0], [3.0, 0.0, 0.0]])
NAMES = ("ant", "bee", "cat")


def top(k: int = 5, activation: str = "softmax") -> Outputs:
    return Outputs(top_k=TopK.model_validate({"k": k, "activation": activation}))


def describe(output: torch.Tensor, outputs: Outputs, labels: Sequence[str] | None) -> list[JsonValue | ImageError]:
    return describing.describe(describing.reduce(output, outputs), describing.form_of(output), outputs, labels)


class TestTopK:
    def test_best_first_with_labels(self) -> None:
        first, second = describe(LOGITS, top(2), NAMES)
        assert first == [{"label": "bee", "index": 1, "score": 0.665241}, {"label": "cat", "index": 2, "score": 0.244728}]
        assert isinstance(second, list)
        assert second[0]["index"] == 0  # type: ignore[index, call-overload]  a classification

    def test_k_beyond_the_classes_and_no_labels(self) -> None:
        (answer,) = describe(LOGITS[:1], top(99), None)
        assert isinstance(answer, list)
        assert [entry["label"] for entry in answer] == ["1", "2", "0"]  # type: ignore[index, call-overload]  a classification

    @pytest.mark.parametrize(("activation", "score"), [("sigmoid", 1 / (1 + math.exp(-2))), ("none", 2.0)])
    def test_activations(self, activation: str, score: float) -> None:
        (answer,) = describe(LOGITS[:1], top(1, activation), NAMES)
        assert answer == [{"label": "bee", "index": 1, "score": pytest.approx(score, abs=1e-6)}]

    def test_half_precision_is_widened_first(self) -> None:
        assert describe(LOGITS.bfloat16(), top(), NAMES) == describe(LOGITS, top(), NAMES)


class TestNumbers:
    def test_embeddings_have_short_numbers(self) -> None:
        (answer,) = describe(torch.tensor([[0.1, -12.5, 3e-5]]), Outputs(embedding="raw"), None)
        assert json.dumps(answer) == "[0.1, -12.5, 3e-05]"

    def test_rounding_keeps_float32(self) -> None:
        values = torch.randn(4, 1280, generator=torch.Generator().manual_seed(1)) * 1e-4
        found = torch.tensor(describe(values, Outputs(embedding="raw"), None))
        assert (found - values).abs().max() <= 5e-7 * values.abs().max()

    def test_each_image_is_rounded_by_its_own_largest(self) -> None:
        values = torch.tensor([[1e4 / 3, 0.1], [1e-4 / 3, 0.0], [0.0, 0.0], [1e12 / 3, 1.0]])
        assert describe(values, Outputs(embedding="raw"), None) == [
            [3333.333, 0.1],
            [3.333333e-05, 0.0],
            [0.0, 0.0],
            [333333300000.0, 0.0],
        ]

    def test_no_values_at_all(self) -> None:
        assert describe(torch.zeros(2, 0), Outputs(embedding="raw"), None) == [[], []]

    def test_l2(self) -> None:
        answers = describe(torch.tensor([[3.0, 4.0], [0.0, 0.0]]), Outputs(embedding="l2"), None)
        assert answers == [[0.6, 0.8], [0.0, 0.0]]

    def test_feature_maps_are_flattened(self) -> None:
        assert describe(torch.arange(8.0).reshape(1, 2, 2, 2), Outputs(embedding="raw"), None) == [[0, 1, 2, 3, 4, 5, 6, 7]]

    def test_tensor(self) -> None:
        answers = describe(torch.arange(8.0).reshape(2, 2, 2), Outputs(tensor=True), None)
        assert answers[1] == {"shape": [2, 2], "dtype": "float32", "data": [[4.0, 5.0], [6.0, 7.0]]}

    def test_tensor_of_integers(self) -> None:
        assert describe(torch.ones(1, 2, dtype=torch.int64), Outputs(tensor=True), None) == [
            {"shape": [2], "dtype": "int64", "data": [1, 1]}
        ]


@pytest.mark.parametrize("outputs", [top(), Outputs(embedding="l2"), Outputs(tensor=True)])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_not_finite_fails_that_image_only(outputs: Outputs, value: float) -> None:
    bad = LOGITS.clone()
    bad[1, 1] = value
    first, second = describe(bad, outputs, NAMES)
    assert first == describe(LOGITS, outputs, NAMES)[0]
    assert isinstance(second, ImageError)
    assert (second.code, second.retryable) == (ErrorCode.INVALID_OUTPUT, False)
    assert "1 of the model's 3" in second.message


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ((LOGITS, LOGITS), "returned a tuple"),
        (LOGITS[0], r"shape \(3,\) for 2 images"),
        (LOGITS[:1], r"shape \(1, 3\) for 2 images"),
        (torch.zeros(2, 4), "labels has 3 names and the model 4 classes"),
    ],
)
def test_outputs_that_make_no_sense(output: object, reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        check_output(output, 2, top(), NAMES)


def test_labels_do_not_matter_for_embeddings() -> None:
    assert check_output(torch.zeros(2, 4), 2, Outputs(embedding="raw"), NAMES).shape == (2, 4)


class TestLabels:
    def test_imagenet(self) -> None:
        names = load_labels("imagenet-1k")
        assert names is not None
        assert len(names) == 1000
        assert (names[0], names[698], names[967], names[999]) == ("tench", "palace", "espresso", "toilet tissue")

    def test_list_and_none(self) -> None:
        assert load_labels(["a", "b"]) == ("a", "b")
        assert load_labels(None) is None

    def test_file(self, tmp_path: Path) -> None:
        path = tmp_path / "labels.txt"
        path.write_text("\ufeffant\r\nblue  bee \n\ncat\n\n", encoding="utf-8")
        assert load_labels("https://example.org/labels.txt", path) == ("ant", "blue  bee", "", "cat")

    @pytest.mark.parametrize("data", [b"", b"\n\n", b"\xff\xfe\x00"])
    def test_no_labels_in_the_file(self, tmp_path: Path, data: bytes) -> None:
        path = tmp_path / "labels.txt"
        path.write_bytes(data)
        with pytest.raises(ModelError, match=r"one (name )?a line"):
            load_labels("file:///labels.txt", path)

    def test_not_fetched(self) -> None:
        with pytest.raises(ModelError, match="was not fetched"):
            load_labels("imagenet-21k")
