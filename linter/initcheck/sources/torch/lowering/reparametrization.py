"""Weights that are computed from others by torch's own parametrisations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from initcheck.sources.torch.lowering.known import View, root_view

if TYPE_CHECKING:
    from initcheck.graph import Value
    from initcheck.sources.torch.calls import Call
    from initcheck.sources.torch.lowering.known import Known

__all__ = ["normalised"]


def normalised(call: Call, args: Any, results: tuple[Value, ...]) -> list[Known] | None:
    """The weight that weight or spectral normalisation computes at initialisation; None for any other call."""
    name = call.op.rpartition("::")[2]
    if name in {"_weight_norm", "_weight_norm_interface"}:
        return _weight_norm(call, args)
    if name == "div" and call.module_type.endswith("parametrizations._SpectralNorm"):
        return _spectral_norm(args, results)
    return None


def _weight_norm(call: Call, args: Any) -> list[Known] | None:
    """G v / |v|, which is v as long as g is what it was set to: the norm of v."""
    direction, length = args[:2]
    if not isinstance(direction, View) or not isinstance(length, View) or length.history[-1:] != ("norm(2)",):
        return None
    if direction.computed or direction.part or direction.scale != 1.0:
        return None
    return [direction, *(length for _ in call.outputs[1:])]


def _spectral_norm(args: Any, results: tuple[Value, ...]) -> list[Known] | None:
    """W / sigma(W): the power iteration that runs when the layer is made has found the largest singular value."""
    weight = args[0]
    if not isinstance(weight, View):
        return None

    def load() -> torch.Tensor | None:
        tensor = weight.load()
        return None if tensor is None else tensor / torch.linalg.matrix_norm(tensor.float().flatten(1), 2)

    value = results[0]
    return [root_view(weight.origin, value.shape or (), value.dtype, load, computed=True)]
