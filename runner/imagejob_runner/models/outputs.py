"""From a model's output tensor to what a row holds."""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import torch

from imagejob_api.pipeline import Outputs, TopK
from imagejob_runner.constants import ErrorCode
from imagejob_runner.exceptions import ImageError, ModelError

JsonValue = dict[str, "JsonValue"] | list["JsonValue"] | str | int | float | bool | None
"""What JSON can hold."""

_SCORE_DECIMALS: Final = 6
_DIGITS: Final = 7
"""Significant decimal digits of a float32."""


def describe(output: torch.Tensor, outputs: Outputs, labels: Sequence[str] | None) -> list[JsonValue | ImageError]:
    """What is written about each image of a batch.

    * top-k: ``[{"label", "index", "score"}]``, best first, scores rounded to 6 decimals; without labels the label is the index as text.
    * embedding: the flattened output as a list of numbers with 7 digits of the largest; ``l2`` divides it by its length.
    * tensor: ``{"shape", "dtype", "data"}``, `data` as nested lists.

    Args:
        output: The model's output for a batch, shape (images, …), on any device.
        outputs: Which of the forms is asked for.
        labels: Class names, or None.

    Returns:
        One value for each image in order, or an InvalidOutput error for an image whose output is not finite.
    """
    bad = _not_finite(output)
    values: Sequence[JsonValue]
    if outputs.top_k is not None:
        values = _best(output, outputs.top_k, labels)
    elif outputs.embedding is not None:
        values = _embeddings(output, unit=outputs.embedding == "l2")
    else:
        values = _tensors(output)
    return [
        ImageError(ErrorCode.INVALID_OUTPUT, f"{count} of the model's {output[0].numel()} output values are not finite numbers")
        if count
        else value
        for value, count in zip(values, bad, strict=True)
    ]


def check_output(output: object, images: int, outputs: Outputs, labels: Sequence[str] | None) -> torch.Tensor:
    """The output, if it is one that `describe` can work with.

    Args:
        output: What the model returned.
        images: Size of the batch that it was given.
        outputs: What is to be written.
        labels: Class names, or None.

    Raises:
        ModelError: It is no tensor, lacks the batch dimension, or has another number of classes than there are labels.
    """
    if not isinstance(output, torch.Tensor):
        raise ModelError(f"the model returned a {type(output).__name__}, not a tensor; name a factory whose network returns one tensor")
    shape = tuple(output.shape)
    if output.dim() < 2 or shape[0] != images:  # noqa: PLR2004  batch and values
        raise ModelError(f"the model returned shape {shape} for {images} images; it must be ({images}, …), one entry for each image")
    if outputs.top_k is not None:
        classes = output[0].numel()
        if labels is not None and len(labels) != classes:
            raise ModelError(f"infer.labels has {len(labels)} names and the model {classes} classes; give the names it was trained with")
    return output


def _not_finite(output: torch.Tensor) -> list[int]:
    return (~torch.isfinite(output.flatten(1))).sum(1).tolist()


def _best(output: torch.Tensor, top_k: TopK, labels: Sequence[str] | None) -> list[JsonValue]:
    scores = output.flatten(1).float()
    if top_k.activation == "softmax":
        scores = scores.softmax(1)
    elif top_k.activation == "sigmoid":
        scores = scores.sigmoid()
    best = scores.topk(min(top_k.k, scores.shape[1]), dim=1)
    return [
        [
            {"label": labels[index] if labels is not None else str(index), "index": index, "score": round(score, _SCORE_DECIMALS)}
            for index, score in zip(indices, values, strict=True)
        ]
        for indices, values in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]


def _embeddings(output: torch.Tensor, *, unit: bool) -> list[JsonValue]:
    vectors = output.flatten(1).float()
    if unit:
        vectors = torch.nn.functional.normalize(vectors, dim=1)
    return [_numbers(vector) for vector in vectors.cpu().numpy()]


def _tensors(output: torch.Tensor) -> list[JsonValue]:
    dtype = str(output.dtype).removeprefix("torch.")
    floating = output.is_floating_point()
    host = (output.float() if floating else output).cpu().numpy()
    return [{"shape": list(one.shape), "dtype": dtype, "data": _numbers(one) if floating else one.tolist()} for one in host]


def _numbers(values: np.ndarray) -> list[JsonValue]:
    """Nested lists, rounded to what float32 holds relative to the largest value: 0.1, not 0.10000000149011612."""
    largest = float(np.abs(values).max(initial=0.0))
    wide = values.astype(np.float64)
    if largest > 0 and math.isfinite(largest):
        wide = wide.round(_DIGITS - 1 - math.floor(math.log10(largest)))
    numbers: list[JsonValue] = wide.tolist()
    return numbers
