"""What is measured on replayed networks: lengths, gains, gradients, and how much ln M varies."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from accuracy_replay import draw, replay
from torch.autograd import forward_ad

if TYPE_CHECKING:
    from collections.abc import Iterable

    from accuracy_replay import Draw, Traced
    from torch import Tensor
    from zoo import Entry

__all__ = ["Logs", "Measured", "log_length_variances", "measure"]

LN10 = math.log(10.0)
LARGEST = 1e60
"""Numbers beyond it are masks (minus infinity, the least float32), no signal."""
ROUNDING = 1e-26
"""Gradients smaller than this part of the network's largest are what rounding leaves of zero (a bias before a norm)."""


@dataclass
class Logs:
    """Log10 of a mean square, one number per network.

    Attributes:
        numbers: Mean over samples of log10 of the sample's mean square, per network; networks without any are left out.
        zeros: Samples whose mean square was zero, in all networks.
        infinite: Samples whose mean square was not finite.
    """

    numbers: list[float] = field(default_factory=list)
    zeros: int = 0
    infinite: int = 0

    def add(self, squares: Tensor) -> None:
        """One network's mean squares, a number per sample."""
        finite = torch.isfinite(squares) & (squares < LARGEST)
        positive = finite & (squares > 0.0)
        self.infinite += int((~finite).sum())
        self.zeros += int((finite & ~positive).sum())
        if positive.any():
            self.numbers.append(float(squares[positive].log10().mean()))

    @property
    def mean(self) -> float:
        """Mean over networks."""
        return float(np.mean(self.numbers)) if self.numbers else math.nan

    @property
    def error(self) -> float:
        """Standard error of the mean."""
        count = len(self.numbers)
        return float(np.std(self.numbers, ddof=1)) / math.sqrt(count) if count > 1 else math.nan


@dataclass
class Measured:
    """All of one model.

    Attributes:
        lengths: Value -> its mean square.
        gains: Value -> mean square of its response to an independent standard normal change of the input.
        gradients: Value -> mean square of the gradient, for an independent standard normal one at the main output.
        parameters: Parameter -> mean square of its gradient.
        repeats: Networks.
    """

    lengths: dict[str, Logs] = field(default_factory=dict)
    gains: dict[str, Logs] = field(default_factory=dict)
    gradients: dict[str, Logs] = field(default_factory=dict)
    parameters: dict[str, Logs] = field(default_factory=dict)
    repeats: int = 0


def measure(entry: Entry, traced: Traced, values: Iterable[str], repeats: int) -> Measured:
    """Draw networks, run them forwards and backwards, and once more with a tangent.

    Args:
        entry: The model.
        traced: Its trace.
        values: Names of the values to measure.
        repeats: Networks to draw.
    """
    wanted = frozenset(values)
    measured = Measured(repeats=repeats)
    for seed in range(repeats):
        drawn = draw(entry, seed)
        _values_and_gradients(entry, traced, drawn, seed, wanted, measured)
        _tangents(entry, traced, drawn, seed, wanted, measured)
    return measured


def _values_and_gradients(
    entry: Entry, traced: Traced, drawn: Draw, seed: int, wanted: frozenset[str], into: Measured
) -> None:
    main = traced.graph.main_output
    found: dict[str, Tensor] = {}

    def visit(name: str, tensor: Tensor) -> Tensor:
        if name == main:
            found[main] = tensor
        if name in wanted:
            into.lengths.setdefault(name, Logs()).add(per_sample(tensor.detach(), entry.batch))
            if tensor.requires_grad:
                # A hook set before a later call writes to the tensor still sees the gradient of what was there.
                tensor.register_hook(lambda grad: gradients.__setitem__(name, grad))
        return tensor

    gradients: dict[str, Tensor] = {}
    replay(traced, drawn, seed, visit)
    if main not in found or not found[main].requires_grad:
        return
    generator = torch.Generator().manual_seed(seed)
    cotangent = torch.randn(found[main].shape, generator=generator, dtype=torch.float64)
    found[main].backward(cotangent)
    for name, gradient in gradients.items():
        into.gradients.setdefault(name, Logs()).add(per_sample(gradient, entry.batch))
    squares = {name: tensor.grad.square().mean() for name, tensor in drawn.tensors.items() if tensor.grad is not None}
    least = ROUNDING * max(squares.values(), default=torch.zeros(()))
    for name, square in squares.items():
        into.parameters.setdefault(name, Logs()).add(square.where(square > least, 0.0)[None])


def _tangents(entry: Entry, traced: Traced, drawn: Draw, seed: int, wanted: frozenset[str], into: Measured) -> None:
    generator = torch.Generator().manual_seed(seed)

    def visit(name: str, tensor: Tensor) -> Tensor:
        if name in traced.perturbed:
            tangent = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
            tensor = forward_ad.make_dual(tensor.detach(), tangent)
        if name in wanted:
            response = forward_ad.unpack_dual(tensor).tangent
            squares = torch.zeros(1) if response is None else per_sample(response, entry.batch)
            into.gains.setdefault(name, Logs()).add(squares)
        return tensor

    with torch.no_grad(), forward_ad.dual_level():
        replay(traced, drawn, seed, visit)


def log_length_variances(entry: Entry, traced: Traced, value: str, repeats: int) -> tuple[float, float]:
    """Var[ln M] over networks for fixed inputs, averaged over inputs, and its standard error.

    Args:
        entry: The model.
        traced: Its trace.
        value: Whose mean square M is.
        repeats: Networks to draw.
    """
    lengths: list[Tensor] = []

    def visit(name: str, tensor: Tensor) -> Tensor:
        if name == value:
            lengths.append(per_sample(tensor, entry.batch))
        return tensor

    with torch.no_grad():
        for seed in range(repeats):
            replay(traced, draw(entry, seed, input_seed=0), seed, visit)
    logs = torch.stack(lengths).log().numpy()
    logs = logs[np.isfinite(logs).all(axis=1)]
    squares = np.mean((logs - logs.mean(axis=0)) ** 2, axis=1) * len(logs) / (len(logs) - 1)
    return float(squares.mean()), float(squares.std(ddof=1) / math.sqrt(len(squares)))


def per_sample(tensor: Tensor, batch: int) -> Tensor:
    """Mean square of every sample.

    Samples lie along the first axis of their number; one that holds samples and something else (windows, tokens) has
    the samples outermost. A tensor without such an axis is one sample.
    """
    squares = tensor.to(torch.float64).square()
    axis = next((index for index, size in enumerate(tensor.shape) if size == batch), None)
    if axis is not None:
        return squares.movedim(axis, 0).reshape(batch, -1).mean(dim=1)
    if tensor.dim() and tensor.shape[0] % batch == 0:
        return squares.reshape(batch, -1).mean(dim=1)
    return squares.mean()[None]
