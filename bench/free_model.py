"""A model that costs nothing, so that what is measured is everything around it: ten classes from the mean colour of a picture."""

from typing import Any

SIZE = 32
"""Side in pixels of its input."""


def build() -> Any:  # noqa: ANN401  a torch module; torch is imported only where it is used
    """A network for input of shape (batch, 3, any, any)."""
    import torch

    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, 10))


def steps(size: int = SIZE) -> list[dict[str, Any]]:
    """A pipeline of it, as it comes: one limit, no other setting."""
    infer = {"model": {"architecture": "bench.free_model:build"}, "preprocess": {"size": size}, "device": "cpu"}
    return [
        {"name": "download", "download": {}},
        {"name": "classify", "infer": infer, "limits": [{"name": "gpu"}]},
        {"name": "save", "save": {}},
    ]
