"""Weights that are computed from others by torch's own parametrisations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from initcheck.sources.torch.lowering.known import View, root_view

if TYPE_CHECKING:
    from collections.abc import Callable

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
        return _spectral_norm(args, results, _largest)
    if name == "div" and _is_hooked(args):
        turned = "ConvTranspose" in call.module_type
        return _spectral_norm(args, results, lambda matrix: _one_iteration(matrix, turned=turned))
    return None


def _is_hooked(args: Any) -> bool:
    """Whether a weight is divided by an inner product of computed vectors: ``nn.utils.spectral_norm``, a hook."""
    weight, divisor = args[:2] if len(args) == 2 else (None, None)
    if not isinstance(weight, View) or not isinstance(divisor, View):
        return False
    product = divisor.computed and divisor.origin.startswith("dot") and divisor.shape == ()
    return product and weight.origin.endswith("_orig") and not weight.computed


def _weight_norm(call: Call, args: Any) -> list[Known] | None:
    """G v / |v|, which is v as long as g is what it was set to: the norm of v."""
    direction, length = args[:2]
    if not isinstance(direction, View) or not isinstance(length, View) or length.history[-1:] != ("norm(2)",):
        return None
    if direction.computed or direction.part or direction.scale != 1.0:
        return None
    return [direction, *(length for _ in call.outputs[1:])]


def _spectral_norm(
    args: Any, results: tuple[Value, ...], norm: Callable[[torch.Tensor], torch.Tensor]
) -> list[Known] | None:
    """W / sigma(W), by the largest singular value or an estimate of it."""
    weight = args[0]
    if not isinstance(weight, View):
        return None

    def load() -> torch.Tensor | None:
        tensor = weight.load()
        return None if tensor is None else tensor / norm(tensor.float())

    value = results[0]
    return [root_view(weight.origin, value.shape or (), value.dtype, load, computed=True)]


def _largest(weight: torch.Tensor) -> torch.Tensor:
    """What the power iteration has found that runs when a parametrised layer is made."""
    norm: torch.Tensor = torch.linalg.matrix_norm(weight.reshape(len(weight), -1), 2)
    return norm


def _one_iteration(weight: torch.Tensor, *, turned: bool) -> torch.Tensor:
    """What the hook finds in its first forward pass: one step of the power iteration from a random vector u.

    |W Wᵀ u| / |Wᵀ u|, as the root of the ratio of both mean squares. A layer that was given more steps
    (``n_power_iterations``) is closer to the largest singular value.

    Args:
        weight: The weight.
        turned: Whether its rows lie along the second axis, as those of transposed convolutions do.
    """
    rows = weight.transpose(0, 1) if turned else weight
    matrix = rows.reshape(len(rows), -1)
    ratio: torch.Tensor = torch.linalg.matrix_norm(matrix @ matrix.T) / torch.linalg.matrix_norm(matrix)
    return ratio
