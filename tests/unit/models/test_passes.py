import pytest
import torch
from torch import nn

from imagejob_runner.models.passes import fold_padding, work_in_place
from imagejob_runner.models.prepare import prepare

pytestmark = pytest.mark.model


def example() -> torch.Tensor:
    return torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(3))


class Padded(nn.Module):
    """Pads in a module of its own, as networks do that came from TensorFlow."""

    def __init__(self, padding: tuple[int, int, int, int] = (1, 1, 2, 2), value: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.pad = nn.ConstantPad2d(padding, value)
        self.convolution = nn.Conv2d(3, 4, 3)
        self.activation = nn.ReLU6()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.activation(self.convolution(self.pad(images)) * 9).mean((2, 3))


class Direct(Padded):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.activation(self.convolution(self.pad(images))).mean((2, 3))


def test_symmetric_zeros_are_left_to_the_convolution_and_answers_stay() -> None:
    network = Direct().eval()
    expected = network(example())
    result, _ = prepare(network, example())
    assert isinstance(result.pad, nn.Identity)
    assert result.convolution.padding == (2, 1)
    assert result.activation.inplace is True
    assert torch.allclose(result(example()), expected, atol=1e-6)


@pytest.mark.parametrize("network", [Direct((0, 1, 0, 1)), Direct(value=1.0), Direct((-1, -1, 0, 0))])
def test_other_padding_stays(network: nn.Module) -> None:
    assert fold_padding(network.eval(), example()) == 0


def test_padding_that_somebody_else_uses_stays() -> None:
    class Shared(Direct):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            padded = self.pad(images)
            return self.convolution(padded).mean() + padded.mean()

    assert fold_padding(Shared().eval(), example()) == 0


def test_a_convolution_that_is_called_twice_keeps_its_padding() -> None:
    class Twice(Direct):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.convolution(self.pad(images)).mean() + self.convolution(images).mean()

    assert fold_padding(Twice().eval(), example()) == 0


def test_an_activation_never_writes_over_what_another_uses() -> None:
    class Residual(Direct):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            raw = self.convolution(self.pad(images))
            return (raw + self.activation(raw)).mean((2, 3))

    assert work_in_place(Residual().eval(), example()) == 0


def test_an_activation_never_writes_over_what_is_no_layer_s_output() -> None:
    class First(Direct):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.convolution(self.activation(images)).mean((2, 3))

    class OfAView(Direct):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            raw = self.convolution(images)
            return self.activation(raw[:, :2]).mean((2, 3)) + raw[:, :2].mean((2, 3))

    assert work_in_place(First().eval(), example()) == 0
    assert work_in_place(OfAView().eval(), example()) == 0
    assert work_in_place(Padded().eval(), example()) == 0


def test_an_activation_that_is_called_twice_is_judged_by_both_calls() -> None:
    class Both(Direct):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.activation(self.convolution(self.pad(images))).mean() + self.activation(images).mean()

    assert work_in_place(Both().eval(), example()) == 0


def test_a_network_that_cannot_be_watched_runs_as_it_came() -> None:
    class Stubborn(Direct):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            if torch.overrides._len_torch_function_stack():
                raise RuntimeError("no watching")
            return super().forward(images)

    network = Stubborn().eval()
    result, _ = prepare(network, example())
    assert isinstance(result.pad, nn.ConstantPad2d)
    assert torch.equal(result(example()), network(example()))
