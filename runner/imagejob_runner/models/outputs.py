"""From a model's output tensor to what a row holds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
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
_ALL_DECIMALS: Final = 1000
"""More than any number has: nothing is rounded."""


@dataclass(frozen=True, slots=True)
class Form:
    """What the output for one image looks like."""

    values: int
    """How many."""
    dtype: str
    """Their type, as torch names it, without ``torch.``."""


def form_of(output: torch.Tensor) -> Form:
    """The form of one image's part of a batch's output, told without waiting for the device."""
    return Form(output[0].numel(), str(output.dtype).removeprefix("torch."))


def reduce(output: torch.Tensor, outputs: Outputs) -> tuple[torch.Tensor, ...]:
    """What rows need of a batch's output, computed where the output is, so that little has to be brought to the host.

    Args:
        output: The model's output for a batch, shape (images, …), on any device.
        outputs: What is asked for.

    Returns:
        How many values of each image are not finite, shape (images,), int64; and

        * top-k: indices and scores of the best classes, best first, shapes (images, k), int64 and float32.
        * embedding: shape (images, values), float32; with ``l2`` of length one.
        * tensor: the output; floating types as float32.
    """
    bad = (~torch.isfinite(output.flatten(1))).sum(1)
    if outputs.top_k is not None:
        return bad, *_best(output, outputs.top_k)
    if outputs.embedding is not None:
        vectors = output.flatten(1).float()
        return bad, torch.nn.functional.normalize(vectors, dim=1) if outputs.embedding == "l2" else vectors
    return bad, output.float() if output.is_floating_point() else output


def describe(reduced: tuple[torch.Tensor, ...], form: Form, outputs: Outputs, labels: Sequence[str] | None) -> list[JsonValue | ImageError]:
    """What is written about each image of a batch.

    * top-k: ``[{"label", "index", "score"}]``, best first, scores rounded to 6 decimals; without labels the label is the index as text.
    * embedding: the flattened output as a list of numbers with 7 digits of the largest; ``l2`` divides it by its length.
    * tensor: ``{"shape", "dtype", "data"}``, `data` as nested lists.

    Args:
        reduced: As `reduce` made it, in the host's memory.
        form: Of the output that it was made of.
        outputs: Which of the forms is asked for.
        labels: Class names, or None.

    Returns:
        One value for each image in order, or an InvalidOutput error for an image whose output is not finite.
    """
    bad: list[int] = reduced[0].tolist()
    values: list[JsonValue]
    if outputs.top_k is not None:
        values = _classes(reduced[1].tolist(), reduced[2].tolist(), labels)
    elif outputs.embedding is not None:
        values = _rounded(reduced[1].numpy())
    else:
        values = _tensors(reduced[1], form)
    if not any(bad):
        return [*values]
    return [_not_finite(count, form) if count else value for value, count in zip(values, bad, strict=True)]


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


def _not_finite(count: int, form: Form) -> ImageError:
    return ImageError(ErrorCode.INVALID_OUTPUT, f"{count} of the model's {form.values} output values are not finite numbers")


def _best(output: torch.Tensor, top_k: TopK) -> tuple[torch.Tensor, torch.Tensor]:
    scores = output.flatten(1).float()
    if top_k.activation == "softmax":
        scores = scores.softmax(1)
    elif top_k.activation == "sigmoid":
        scores = scores.sigmoid()
    best = scores.topk(min(top_k.k, scores.shape[1]), dim=1)
    return best.indices, best.values


def _classes(indices: list[list[int]], scores: list[list[float]], labels: Sequence[str] | None) -> list[JsonValue]:
    return [
        [
            {"label": str(index) if labels is None else labels[index], "index": index, "score": round(score, _SCORE_DECIMALS)}
            for index, score in zip(best, values, strict=True)
        ]
        for best, values in zip(indices, scores, strict=True)
    ]


def _tensors(output: torch.Tensor, form: Form) -> list[JsonValue]:
    shape: list[JsonValue] = [*output.shape[1:]]
    data = _rounded(output.numpy()) if output.is_floating_point() else output.tolist()
    return [{"shape": shape, "dtype": form.dtype, "data": one} for one in data]


def _rounded(values: np.ndarray) -> list[JsonValue]:
    """Each image's numbers as nested lists, rounded to what float32 holds relative to its largest: 0.1, not 0.10000000149011612."""
    wide = values.astype(np.float64)
    largest = np.abs(wide).max(axis=tuple(range(1, wide.ndim)), initial=0.0)
    decimals = np.array([_decimals(one) for one in largest.tolist()])
    for some in set(decimals.tolist()) - {_ALL_DECIMALS}:
        wide[decimals == some] = wide[decimals == some].round(some)
    numbers: list[JsonValue] = wide.tolist()
    return numbers


def _decimals(largest: float) -> int:
    return _DIGITS - 1 - math.floor(math.log10(largest)) if largest > 0 and math.isfinite(largest) else _ALL_DECIMALS
