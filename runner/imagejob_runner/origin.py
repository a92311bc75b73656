"""Where a callable is defined, which its name in a pipeline does not tell: modules re-export, wrap and bind what others define."""

import sys
from collections.abc import Iterator
from functools import partial
from types import (
    BuiltinFunctionType,
    ClassMethodDescriptorType,
    FunctionType,
    MethodDescriptorType,
    MethodType,
    MethodWrapperType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import Any, Final

_BUILT_IN: Final = (BuiltinFunctionType, MethodWrapperType)
_DESCRIPTORS: Final = (MethodDescriptorType, ClassMethodDescriptorType, WrapperDescriptorType)
_MOST_WRAPPERS: Final = 32


def origins(found: object) -> tuple[str, ...]:
    """The modules that define a callable: its own first, then those of what it wraps, as a partial, a cache or a decorator does."""
    return tuple(_modules(found))


def is_python_s_own(module: str) -> bool:
    """Whether a module belongs to Python itself: the standard library, or built into the interpreter."""
    return module.partition(".")[0] in sys.stdlib_module_names


def is_within(module: str, package: str) -> bool:
    """Whether a module is `package` or lies in it."""
    return f"{module}.".startswith(f"{package}.")


def _modules(found: Any) -> Iterator[str]:  # noqa: ANN401  whatever a module holds
    for _ in range(_MOST_WRAPPERS):
        if isinstance(found, MethodType):
            found = found.__func__
            continue
        yield _module_of(found)
        inner = found.func if isinstance(found, partial) else getattr(found, "__wrapped__", None)
        if not callable(inner):
            return
        found = inner


def _module_of(found: Any) -> str:  # noqa: ANN401  as above
    if isinstance(found, FunctionType):
        # Not `__module__`: functools.wraps makes that the one of the wrapped function.
        return str(found.__globals__.get("__name__", ""))
    if isinstance(found, _DESCRIPTORS):
        return found.__objclass__.__module__
    # Functions of other compilers, such as Cython's, say it like classes and built-in functions do.
    if isinstance(named := getattr(found, "__module__", None), str):
        return named
    owner = found.__self__ if isinstance(found, _BUILT_IN) else found
    if isinstance(owner, ModuleType):
        return owner.__name__
    return str((owner if isinstance(owner, type) else type(owner)).__module__)
