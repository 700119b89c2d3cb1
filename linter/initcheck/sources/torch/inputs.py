"""Example inputs of a module: declared by the user or by the module, else guessed."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from initcheck.errors import UsageError
from initcheck.near_miss import did_you_mean
from initcheck.sources.torch.guess import guesses
from initcheck.sources.torch.hub import hub_inputs
from initcheck.sources.torch.values import dtype_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["GIVEN", "STATED", "Example", "InputShape", "as_example", "find_examples"]

DECLARED = ("example_input", "example_input_array", "example_inputs")
"""Attributes that declare inputs; the second is Lightning's."""

GIVEN = "returned by the factory"
"""Origin of inputs that the user made beside the module."""

STATED = "--input-shape"
"""Origin of inputs whose shapes the user stated."""

LARGEST = 1 << 24
"""Elements of a declared input up to which it is given values."""


@dataclass(frozen=True, slots=True)
class InputShape:
    """What ``--input-shape NAME=SIZES[:dtype]`` says of one input.

    Attributes:
        sizes: Shape.
        dtype: numpy's name of the element type, empty to take it from the input's name.
    """

    sizes: tuple[int, ...]
    dtype: str = ""


@dataclass(frozen=True, slots=True)
class Example:
    """Arguments of one forward pass; only shapes and types are used, unless the forward pass branches on values.

    Attributes:
        args: Positional arguments.
        kwargs: Keyword arguments.
        origin: Where they come from, for the report.
        declared: Whether the user or the module said so: then a failure is theirs, and no other input is tried.
    """

    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    origin: str = ""
    declared: bool = True

    def on(self, device: str) -> Example:
        """The same example with its tensors on a device."""
        args, kwargs = pytree.tree_map_only(
            torch.Tensor, lambda t: t.detach().to(device), (self.args, dict(self.kwargs))
        )
        return replace(self, args=args, kwargs=kwargs)

    def describe(self) -> str:
        """Shapes and types as the report shows them: ``x float32[2, 3, 64, 64] (guessed from conv1)``."""
        parts = [_describe(value) for value in self.args]
        parts += [f"{name} {_describe(value)}" for name, value in self.kwargs.items() if value is not None]
        return f"{', '.join(part for part in parts if part)} ({self.origin})"


def find_examples(
    module: nn.Module, given: Any = None, shapes: Mapping[str, InputShape] | None = None
) -> Iterator[Example]:
    """Example inputs, the most trustworthy first; the batch is at least two wherever that can be arranged.

    Args:
        module: The model.
        given: What the factory returned beside the module: a tensor, a tuple of arguments, a dict of keyword arguments.
        shapes: What ``--input-shape`` says, by name of the argument of ``forward``.

    Raises:
        UsageError: If ``shapes`` names an argument that ``forward`` has not.
    """
    if shapes:
        yield from _with_shapes(module, shapes)
        return
    if given is not None:
        yield from _declared(given, GIVEN)
        return
    for name in DECLARED:
        value = getattr(module, name, None)
        if value is not None and not callable(value):
            yield from _declared(value, name)
            return
    for kwargs, origin in hub_inputs(module):
        yield Example((), kwargs, origin, declared=False)
    for args, origin in guesses(module):
        yield Example(args, {}, origin, declared=False)


def as_example(value: Any, origin: str) -> Example:
    """What somebody wrote as inputs: a dict of keyword arguments, arguments with such a dict last, or one argument."""
    if isinstance(value, dict):
        return Example((), value, origin)
    if isinstance(value, (tuple, list)):
        last: Any = value[-1] if value else None
        keyed = isinstance(last, dict) and len(value) > 1 and all(isinstance(key, str) for key in last)
        return Example(tuple(value[:-1]), last, origin) if keyed else Example(tuple(value), {}, origin)
    return Example((value,), {}, origin)


def _declared(value: Any, origin: str) -> Iterator[Example]:
    example = as_example(pytree.tree_map_only(torch.Tensor, _with_elements, value), origin)
    larger = _enlarged(example)
    if larger is not None:
        yield larger
    yield example


def _with_elements(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor without values, made while the model was built on the meta device, as one that forward can run on."""
    if not tensor.is_meta or tensor.numel() > LARGEST:
        return tensor
    if tensor.is_floating_point():
        return torch.randn(tensor.shape, generator=torch.Generator().manual_seed(0)).to(tensor.dtype)
    # One is a valid id, length, step and mask alike; zero is no length, and masks everything.
    return torch.ones(tensor.shape, dtype=tensor.dtype)


def _enlarged(example: Example) -> Example | None:
    """The example with a batch of two where it has a batch of one: statistics over one sample say nothing."""
    leaves = pytree.tree_leaves((example.args, dict(example.kwargs)))
    tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
    if not tensors or any(tensor.dim() < 2 or tensor.shape[0] != 1 for tensor in tensors):
        return None
    args, kwargs = pytree.tree_map_only(
        torch.Tensor, lambda t: torch.cat((t.detach(), t.detach())), (example.args, dict(example.kwargs))
    )
    return replace(example, args=args, kwargs=kwargs, origin=f"{example.origin}, batch of 2", declared=False)


def _with_shapes(module: nn.Module, shapes: Mapping[str, InputShape]) -> Iterator[Example]:
    signature = inspect.signature(module.forward).parameters
    free = any(parameter.kind is parameter.VAR_KEYWORD for parameter in signature.values())
    for name in shapes:
        if name not in signature and not free:
            hint = did_you_mean(name, tuple(signature)) or f"its arguments: {', '.join(signature) or 'none'}"
            raise UsageError(f"--input-shape: forward has no argument {name!r}", hint)
    stated = {name: _tensor(name, shape) for name, shape in shapes.items()}
    missing = [
        name
        for name, parameter in signature.items()
        if name not in stated
        and parameter.default is parameter.empty
        and parameter.kind not in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}
    ]
    if not missing:
        yield Example((), stated, STATED)
        return
    for args, origin in guesses(module):
        names = [name for name, parameter in signature.items() if parameter.default is parameter.empty]
        rest = {name: value for name, value in zip(names, args, strict=False) if name in missing}
        yield Example((), {**rest, **stated}, f"{STATED}, the rest {origin}", declared=False)


def _tensor(name: str, shape: InputShape) -> torch.Tensor:
    dtype = shape.dtype or ("int64" if _holds_ids(name) else "float32")
    kind = getattr(torch, dtype, None)
    if not isinstance(kind, torch.dtype):
        raise UsageError(f"--input-shape: {name} has no element type {dtype!r}", "for example float32, int64, bool")
    if kind.is_floating_point or kind.is_complex:
        return torch.randn(shape.sizes, generator=torch.Generator().manual_seed(0)).to(kind)
    return torch.zeros(shape.sizes, dtype=kind) if kind is not torch.bool else torch.ones(shape.sizes, dtype=kind)


def _holds_ids(name: str) -> bool:
    return name.endswith(("ids", "tokens", "idx", "index", "indices"))


def _describe(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"{dtype_name(value.dtype)}{list(value.shape)}"
    if isinstance(value, (tuple, list)):
        return f"({', '.join(map(_describe, value))})"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_describe(item)}' for key, item in value.items())}}}"
    return "" if value is None else repr(value)[:40]
