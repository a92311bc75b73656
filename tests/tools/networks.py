"""Small networks that tests name as `model.architecture`, good and bad."""

import torch
from torch import nn


class Tiny(nn.Module):
    """Convolutions with normalisation, a skip connection, and a linear layer."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        torch.manual_seed(7)
        self.first = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(8)
        self.second = nn.Conv2d(8, 8, 3, padding=1)
        self.second_norm = nn.BatchNorm2d(8)
        self.head = nn.Linear(8, classes)
        for norm in (self.first_norm, self.second_norm):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.uniform_(norm.running_var, 0.5, 1.5)
            nn.init.uniform_(norm.running_mean, -0.5, 0.5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits of shape (batch, classes)."""
        features = self.first_norm(self.first(images)).relu()
        features = features + self.second_norm(self.second(features)).relu()
        return self.head(features.mean((2, 3)))

    @classmethod
    def named(cls, name: str, classes: int = 5) -> "Tiny":
        """A factory that is a class method."""
        if name != "tiny":
            raise ValueError(f"no network is called {name}")
        return cls(classes)


class Branching(Tiny):
    """Uses a convolution's output twice, so that folding its normalisation would change the result."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits of shape (batch, classes)."""
        raw = self.first(images)
        return self.head((self.first_norm(raw) + raw).mean((2, 3)))


class Viewing(Tiny):
    """Flattens with `view`, which fails on channels-last memory."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits of shape (batch, classes)."""
        features = self.first_norm(self.first(images))
        return self.head(features.view(features.shape[0], -1)[:, :8])


class Picky(Tiny):
    """Raises for a batch with a white image, gives NaN for a black one, and runs out of memory above `most` images."""

    def __init__(self, most: int = 1_000_000) -> None:
        super().__init__()
        self.most = most
        self.sizes: list[int] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits of shape (batch, classes)."""
        self.sizes.append(len(images))
        if len(images) > self.most:
            raise torch.OutOfMemoryError("tried to allocate a lot")
        if bool((images.amin((1, 2, 3)) > 0.999).any()):
            raise ValueError("a white image is too bright")
        black = images.amax((1, 2, 3)) <= 0
        return super().forward(images).masked_fill(black[:, None], torch.nan)


class Shapeless(Tiny):
    """Forgets the batch dimension."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits of shape (classes,)."""
        return super().forward(images).mean(0)


class Pair(Tiny):
    """Returns two things."""

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:  # type: ignore[override]  that is the point
        """Two tensors."""
        logits = super().forward(images)
        return logits, logits


class Maps(Tiny):
    """Answers with a feature map."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Features of shape (batch, 8, 2, 2)."""
        return nn.functional.adaptive_avg_pool2d(self.first_norm(self.first(images)), 2)


def fails() -> nn.Module:
    """A factory that raises."""
    raise RuntimeError("no such configuration")


def no_module() -> dict[str, int]:
    """A factory that returns something else."""
    return {}


NOT_CALLABLE = 3
