"""Making a network quick without changing its answers.

What usually pays: folding batch normalisation into convolutions (see `folding`), fewer passes over activations (see `passes`), and
channels-last memory. None suits every network (a `view` in a forward pass can fail on channels-last memory), so they are tried on an
example and compared with the network as it came: first all together, since a pass for each costs the start of a run half a second; and
where that differs one by one, and what differs is dropped.
"""

import copy
import logging
from collections.abc import Callable
from typing import Final

import torch

from imagejob_runner.models.folding import fold_batch_norm
from imagejob_runner.models.passes import fold_padding, work_in_place

_TOLERANCE: Final = 1e-5
"""Largest difference allowed, relative to the largest output value (at least 1)."""

_CHANGES: Final = {
    "folding batch normalisation": fold_batch_norm,
    "folding zero padding": fold_padding,
    "working in place": work_in_place,
}

logger = logging.getLogger(__name__)


@torch.no_grad()  # tensors made in inference mode could not be parameters later
def prepare(network: torch.nn.Module, example: torch.Tensor) -> tuple[torch.nn.Module, torch.memory_format]:
    """The quickest equivalent of `network` that works.

    Args:
        network: A network in evaluation mode, in float32.
        example: Its input, shape (batch, 3, size, size), contiguous, on the network's device.

    Returns:
        The network to use and the memory format that its input must have.

    Raises:
        Exception: Whatever the network itself raises on the example.
    """
    expected = network(example)
    if not isinstance(expected, torch.Tensor) or not expected.is_floating_point():
        return network, torch.contiguous_format
    together = _all_together(network, example, expected)
    if together is not None:
        return together, torch.channels_last
    layout = torch.contiguous_format
    for what, change in _CHANGES.items():
        changed = copy.deepcopy(network)
        if _done(change, changed, example) and _agrees(changed, example, expected, what):
            network = changed
    last = example.contiguous(memory_format=torch.channels_last)
    if _agrees(copy.deepcopy(network).to(memory_format=torch.channels_last), last, expected, "channels-last memory"):
        network, layout = network.to(memory_format=torch.channels_last), torch.channels_last
    return network, layout


def _all_together(network: torch.nn.Module, example: torch.Tensor, expected: torch.Tensor) -> torch.nn.Module | None:
    """The network with all changes and in channels-last memory; None if one of them fails, or the results differ."""
    changed = copy.deepcopy(network)
    try:
        for change in _CHANGES.values():
            change(changed, example.clone())
    except Exception as error:  # noqa: BLE001  a network may do anything; trying the changes one by one tells which it was
        logger.info("trying one change after the other: %s", error)
        return None
    changed = changed.to(memory_format=torch.channels_last)
    last = example.contiguous(memory_format=torch.channels_last)
    return changed if _agrees(changed, last, expected, "all of it together") else None


def _done(change: Callable[[torch.nn.Module, torch.Tensor], int], network: torch.nn.Module, example: torch.Tensor) -> bool:
    try:
        return change(network, example.clone()) > 0
    except Exception as error:  # noqa: BLE001  a network may do anything; it then runs as it came
        logger.info("%s is not used: %s", change.__name__, error)
        return False


def _agrees(network: torch.nn.Module, example: torch.Tensor, expected: torch.Tensor, what: str) -> bool:
    try:
        found = network(example.clone())
    except Exception as error:  # noqa: BLE001  a network may fail in any way on another layout; it then runs as it came
        logger.info("%s is not used: the network fails with it (%s)", what, error)
        return False
    if not isinstance(found, torch.Tensor) or found.shape != expected.shape:
        return False
    difference = (found - expected).abs().max().item()
    allowed = _TOLERANCE * max(1.0, expected.abs().max().item())
    if not difference <= allowed:  # also when it is not a number
        logger.info("%s is not used: results differ by %.2g, more than %.2g", what, difference, allowed)
        return False
    return True
