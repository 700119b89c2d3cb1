"""Which of the values that a module returns a loss would use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.utils import _pytree as pytree

from initcheck.sources.torch.calls import Ref
from initcheck.sources.torch.values import value_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from initcheck.graph import Value

__all__ = ["main_output", "main_tensor", "returned"]

PREFERRED = ("logits", "last_hidden_state")
"""Names of outputs that a loss uses, the first that is there."""


def returned(outputs: Any) -> Iterator[tuple[str, str]]:
    """(name of the field or key, name of the tensor) of everything returned, in order.

    What lies below a preferred name goes by that name: the logits of several heads are logits.
    """
    for path, leaf in pytree.tree_flatten_with_path(_opened(outputs))[0]:
        if isinstance(leaf, Ref):
            fields = [str(getattr(key, "key", getattr(key, "name", ""))) for key in path]
            yield next((field for field in fields if field in PREFERRED), fields[-1] if fields else ""), leaf.name


def main_output(outputs: Any, values: Mapping[str, Value]) -> str:
    """Name of the tensor: logits, else last_hidden_state, else the first real-valued one; empty where there is none."""
    found = list(returned(outputs))
    for wanted in PREFERRED:
        for field, name in found:
            if field == wanted:
                return name
    return next((name for _, name in found if name in values and values[name].is_float), "")


def main_tensor(outputs: Any) -> torch.Tensor | None:
    """The main output among what a forward pass returned, None where it returned no real-valued tensor."""
    tensors: dict[str, torch.Tensor] = {}

    def named(tensor: torch.Tensor) -> Ref:
        name = str(len(tensors))
        tensors[name] = tensor
        return Ref(name)

    names = pytree.tree_map_only(torch.Tensor, named, _opened(outputs))
    return tensors.get(main_output(names, {name: value_of(tensor) for name, tensor in tensors.items()}))


def _opened(outputs: Any) -> Any:
    """Dataclasses as dicts of their fields."""
    if isinstance(outputs, dict):
        return {key: _opened(value) for key, value in outputs.items()}
    if hasattr(outputs, "__dataclass_fields__") and not isinstance(outputs, Ref):
        return {name: _opened(getattr(outputs, name)) for name in outputs.__dataclass_fields__}
    if isinstance(outputs, (tuple, list)) and not hasattr(outputs, "_fields"):
        return [_opened(value) for value in outputs]
    if hasattr(outputs, "_fields"):
        return {name: _opened(getattr(outputs, name)) for name in outputs._fields}
    return outputs
