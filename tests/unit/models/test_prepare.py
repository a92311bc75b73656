import pytest
import torch
from torch import nn

from imagejob_runner.models.prepare import prepare
from tests.tools.networks import Branching, Tiny, Viewing

pytestmark = pytest.mark.model


def example() -> torch.Tensor:
    return torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(3))


def norms(network: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def prepared(network: nn.Module) -> tuple[nn.Module, torch.memory_format]:
    network.eval()
    with torch.inference_mode():
        expected = network(example())
    result, layout = prepare(network, example())
    with torch.inference_mode():
        assert torch.allclose(result(example().contiguous(memory_format=layout)), expected, atol=1e-5)
    return result, layout


def test_normalisation_is_folded_and_memory_is_channels_last() -> None:
    network, layout = prepared(Tiny())
    assert (norms(network), layout) == (0, torch.channels_last)


def test_a_convolution_that_is_used_twice_is_left_alone() -> None:
    network, _ = prepared(Branching())
    assert norms(network) == 2


def test_a_convolution_that_feeds_two_norms_is_left_alone() -> None:
    class Twice(Tiny):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            raw = self.first(images)
            return self.head((self.first_norm(raw) + self.second_norm(raw)).mean((2, 3)))

    assert norms(prepared(Twice())[0]) == 2


def test_a_convolution_that_is_called_twice_is_left_alone() -> None:
    class Shared(Tiny):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            features = self.second_norm(self.second(self.second(self.first(images))))
            return self.head(features.mean((2, 3)))

    assert norms(prepared(Shared())[0]) == 2


def test_a_network_that_needs_contiguous_memory_gets_it() -> None:
    network, layout = prepared(Viewing())
    assert (norms(network), layout) == (1, torch.contiguous_format)  # only the one that it uses is folded


def test_batch_statistics_are_not_folded() -> None:
    network = Tiny()
    network.first_norm.track_running_stats = False
    network.first_norm.running_mean = network.first_norm.running_var = None
    assert norms(prepared(network)[0]) == 1


def test_a_network_that_takes_all_changes_is_not_run_for_each_of_them() -> None:
    runs: list[None] = []

    class Counting(Tiny):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            runs.append(None)
            return super().forward(images)

    prepare(Counting().eval(), example())
    assert len(runs) == 5  # as it came, watched by each change, and with all of them
