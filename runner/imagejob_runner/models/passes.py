"""Saving passes over activations: zero padding that a convolution can do itself, and activation functions that can work in place.

On a CPU such a pass costs as much as reading and writing the whole activation. Each change is made only where watching one forward pass
(see `dataflow`) shows that nobody else uses what it changes; the caller compares results before and after all the same.
"""

from typing import Final

import torch
from torch import nn
from torch.nn import functional

from imagejob_runner.models.dataflow import Dataflow

_IN_PLACE: Final = (nn.ReLU, nn.ReLU6, nn.Hardtanh, nn.SiLU, nn.Hardswish, nn.LeakyReLU)
_FRESH: Final = (torch.conv2d, functional.linear, functional.batch_norm)
"""Functions whose output is memory of its own."""


def fold_padding(network: nn.Module, example: torch.Tensor) -> int:
    """Lets convolutions pad where a module before them pads symmetrically with zeros. Works in place.

    Args:
        network: A network in evaluation mode.
        example: Input for one forward pass.

    Returns:
        How many paddings were folded.
    """
    flow = Dataflow(network, example)
    convolutions = {id(module.weight): (name, module) for name, module in network.named_modules() if isinstance(module, nn.Conv2d)}
    folded = 0
    for name, module in list(network.named_modules()):
        padding = _symmetric_zeros(module)
        calls = flow.modules.get(name)
        if padding is None or calls is None or len(calls.outputs) != 1:
            continue
        users = flow.users(calls.outputs[0])
        if len(users) != 1 or users[0].function is not torch.conv2d:
            continue
        convolution_name, convolution = convolutions.get(id(users[0].given[1]), ("", None))
        if convolution is None or len(flow.modules[convolution_name].outputs) != 1:
            continue
        if convolution.padding == (0, 0) and convolution.padding_mode == "zeros":
            convolution.padding = padding
            network.set_submodule(name, nn.Identity())
            folded += 1
    return folded


def work_in_place(network: nn.Module, example: torch.Tensor) -> int:
    """Lets activation functions write over their input where that is a layer's output that only they use. Works in place.

    Args:
        network: A network in evaluation mode.
        example: Input for one forward pass.

    Returns:
        How many modules work in place now.
    """
    flow = Dataflow(network, example)
    changed = 0
    for name, module in network.named_modules():
        calls = flow.modules.get(name)
        if not isinstance(module, _IN_PLACE) or module.inplace or calls is None:
            continue
        if all(_only_user(flow, given) for given in calls.inputs):
            module.inplace = True
            changed += 1
    return changed


def _symmetric_zeros(module: nn.Module) -> tuple[int, int] | None:
    """Rows and columns that a module adds on either side, if it does just that."""
    if not isinstance(module, nn.ConstantPad2d) or module.value != 0:
        return None
    left, right, top, bottom = module.padding
    return (top, left) if left == right >= 0 and top == bottom >= 0 else None


def _only_user(flow: Dataflow, tensor: object) -> bool:
    maker = flow.maker(tensor)
    return maker is not None and maker.function in _FRESH and len(flow.users(tensor)) == 1
