"""Tensors as the graph sees them: shape and numpy's name of the element type."""

from __future__ import annotations

from typing import TYPE_CHECKING

from initcheck.graph import Value

if TYPE_CHECKING:
    import torch

__all__ = ["dtype_name", "value_of"]


def dtype_name(dtype: torch.dtype) -> str:
    """Name in numpy of an element type, ``bfloat16`` and the like where numpy has none."""
    return str(dtype).removeprefix("torch.")


def value_of(tensor: torch.Tensor) -> Value:
    """Shape and element type."""
    return Value(tuple(int(size) for size in tensor.shape), dtype_name(tensor.dtype))
