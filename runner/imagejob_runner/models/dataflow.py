"""What goes where in one forward pass of a network, seen by watching it: symbolic tracing fails on many real networks."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """A call of a torch function."""

    function: Callable[..., Any]
    """The function, as in ``torch.conv2d``."""
    given: tuple[torch.Tensor, ...]
    """All tensors among its arguments, kept so that their ids are not given to others."""
    output: object
    """What it returned."""


@dataclass(slots=True)
class ModuleCalls:
    """All calls of one module."""

    inputs: list[object] = field(default_factory=list)
    """First argument of each call."""
    outputs: list[object] = field(default_factory=list)
    """What each call returned."""


@contextmanager
def noted_modules(network: nn.Module) -> Iterator[dict[str, ModuleCalls]]:
    """The calls of a network's modules by name, as far as they are made inside."""
    noted: dict[str, ModuleCalls] = {}

    def hook_of(name: str) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
        def note(_module: nn.Module, given: tuple[Any, ...], output: Any) -> None:  # noqa: ANN401  a module returns anything
            calls = noted.setdefault(name, ModuleCalls())
            calls.inputs.append(given[0] if given else None)
            calls.outputs.append(output)

        return note

    handles = [module.register_forward_hook(hook_of(name)) for name, module in network.named_modules() if name]
    try:
        yield noted
    finally:
        for handle in handles:
            handle.remove()


class Dataflow:
    """One forward pass.

    Args:
        network: A network in evaluation mode.
        example: Its input.
    """

    def __init__(self, network: nn.Module, example: torch.Tensor) -> None:
        self.functions: list[FunctionCall] = []
        with noted_modules(network) as self.modules, _Watch(self.functions):
            network(example)

    def users(self, tensor: object) -> list[FunctionCall]:
        """The calls that were given this tensor."""
        return [call for call in self.functions if any(given is tensor for given in call.given)]

    def maker(self, tensor: object) -> FunctionCall | None:
        """The first call that returned this tensor."""
        return next((call for call in self.functions if call.output is tensor), None)


class _Watch(TorchFunctionMode):
    def __init__(self, calls: list[FunctionCall]) -> None:
        super().__init__()
        self._calls = calls

    def __torch_function__(
        self, function: Callable[..., Any], _types: object, arguments: tuple[Any, ...] = (), named: Mapping[str, Any] | None = None
    ) -> Any:  # noqa: ANN401  whatever the function returns
        output = function(*arguments, **(named or {}))
        if getattr(function, "__name__", "") != "__get__":  # looking at a shape uses no values
            given = tuple(_tensors((arguments, tuple((named or {}).values()))))
            self._calls.append(FunctionCall(function, given, output))
        return output


def _tensors(value: object) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item)
