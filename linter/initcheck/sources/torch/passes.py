"""Forward and backward passes of a real module, with the mean squares of every sample at the hooks."""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils import _pytree as pytree

from initcheck.feeding import split_samples
from initcheck.sources.torch.batch import draw
from initcheck.sources.torch.outputs import main_tensor
from initcheck.sources.torch.trace import first_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from initcheck.runs import Point
    from initcheck.sources.torch.batch import Batch
    from initcheck.sources.torch.probes import Probe

__all__ = ["Hooked", "Rows", "lengths_and_gradients", "relative", "replace_first"]

Rows = list["NDArray[np.float64] | None"]
"""Per point the mean square of every sample, None where nothing was caught."""


@dataclass(frozen=True, slots=True)
class Hooked:
    """A model with a batch, and where its values are caught.

    Attributes:
        module: Built for real, in training mode.
        batch: What it is called with.
        device: Where it is.
        points: Values to measure.
        probes: For each point the hooks that see it, the best first.
        traced_samples: Samples in the batch that the points' shapes belong to.
        embeddings: Paths of embeddings whose output is perturbed in place of the ids.
    """

    module: torch.nn.Module
    batch: Batch
    device: torch.device
    points: Sequence[Point]
    probes: Sequence[Sequence[Probe]]
    traced_samples: int
    embeddings: frozenset[str]

    @contextmanager
    def caught(self, take: Callable[[int, torch.Tensor], torch.Tensor]) -> Iterator[None]:
        """Hand every caught tensor to ``take(point, tensor)``, and what that returns to the rest of the model.

        A point that several hooks see is caught by the first that is called.
        """
        seen: set[int] = set()

        def taken(point: int) -> Callable[[torch.Tensor], torch.Tensor]:
            def function(tensor: torch.Tensor) -> torch.Tensor:
                if point in seen or not self._fits(point, tensor):
                    return tensor
                seen.add(point)
                return take(point, tensor)

            return function

        places: dict[str, list[tuple[Probe, int]]] = {}
        for point, probes in enumerate(self.probes):
            for probe in probes:
                places.setdefault(probe.module, []).append((probe, point))
        handles = []
        try:
            for path, wanted in places.items():
                handles += _hook(self.module.get_submodule(path), wanted, taken)
            yield
        finally:
            for handle in handles:
                handle.remove()

    def mean_squares(self, point: int, tensor: torch.Tensor) -> NDArray[np.float64]:
        """Mean square of every sample, of shape (samples,); of shape (1,) where the value has no batch axis."""
        shape, axis = self.points[point].shape, self.points[point].batch_axis
        rows = self.by_sample(tensor, axis if shape is not None and tensor.dim() == len(shape) else 0)
        squares: NDArray[np.float64] = rows.square().mean(1).cpu().numpy()
        return squares

    def by_sample(self, tensor: torch.Tensor, axis: int | None = 0) -> torch.Tensor:
        """The elements in double precision, of shape (samples, elements), or (1, elements) without a batch axis."""
        # Squares of small numbers leave the range of single precision; Apple's devices have no other.
        values = tensor.detach().to("cpu" if tensor.device.type == "mps" else tensor.device).to(torch.float64)
        front, rows = split_samples(values.shape, self.batch.samples, axis)
        return values.movedim(front, 0).reshape(rows, -1) if values.dim() else values.reshape(1, 1)

    def _fits(self, point: int, tensor: torch.Tensor) -> bool:
        """Whether a caught tensor has as many elements as the traced value, the size of the batch considered."""
        shape = self.points[point].shape
        if shape is None or not tensor.numel():
            return bool(tensor.numel())
        traced = math.prod(shape)
        return tensor.numel() in {traced, traced * self.batch.samples // max(self.traced_samples, 1)}


def lengths_and_gradients(hooked: Hooked, generator: torch.Generator) -> tuple[Rows, Rows, str]:
    """One forward and one backward pass.

    The backward pass starts from independent standard normal numbers at the main output, and gradients are relative to
    their mean square. Only those with respect to the caught values are computed, none of parameters.

    Args:
        hooked: The model.
        generator: Of the numbers at the main output.

    Returns:
        Mean squares of the values, those of the gradients, and why there are no gradients, empty where there are.

    Raises:
        Exception: Whatever the forward pass raises.
    """
    count = len(hooked.points)
    lengths: Rows = [None] * count
    kept: dict[int, torch.Tensor] = {}

    def take(point: int, tensor: torch.Tensor) -> torch.Tensor:
        lengths[point] = hooked.mean_squares(point, tensor)
        if tensor.is_inference() or any(probe.is_shared for probe in hooked.probes[point]):
            return tensor
        kept[point] = tensor if tensor.requires_grad else tensor.detach().requires_grad_()
        # What comes after may write into the tensor; a copy keeps the gradient that of this value.
        return kept[point].clone()

    args, kwargs = hooked.batch.on(hooked.device)
    with _without_weight_gradients(hooked.module), torch.enable_grad():
        with hooked.caught(take):
            main = main_tensor(hooked.module(*args, **kwargs))
        gradients: Rows = [None] * count
        if main is None:
            return lengths, gradients, "forward returns no real-valued tensor"
        if not main.requires_grad:
            return lengths, gradients, "nothing that the main output depends on can be differentiated"
        try:
            cotangent = draw(main, generator)
            found = torch.autograd.grad(main, list(kept.values()), cotangent, allow_unused=True)
        except Exception as error:  # noqa: BLE001 - an operation without a derivative may raise anything
            return lengths, gradients, first_line(error)
    power = hooked.by_sample(cotangent).square().mean(1).cpu().numpy()
    for point, gradient in zip(kept, found, strict=True):
        zero = np.zeros_like(lengths[point])
        squares = zero if gradient is None else hooked.mean_squares(point, gradient)
        gradients[point] = relative(squares, power)
    return lengths, gradients, ""


def relative(squares: NDArray[np.float64], power: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean squares divided by others, sample by sample, or by their mean for a value without samples."""
    return squares / (power if len(squares) == len(power) else power.mean())


@contextmanager
def _without_weight_gradients(module: torch.nn.Module) -> Iterator[None]:
    """Let no parameter ask for its gradient, so that the backward pass computes those of values only."""
    asking = [parameter for parameter in module.parameters() if parameter.requires_grad]
    try:
        for parameter in asking:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in asking:
            parameter.requires_grad_()


def _hook(
    module: torch.nn.Module,
    wanted: Sequence[tuple[Probe, int]],
    taken: Callable[[int], Callable[[torch.Tensor], torch.Tensor]],
) -> list[Any]:
    """Hooks of one module: for each call the points that it lets see."""
    entered = left = 0

    def enter(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        nonlocal entered
        call, entered = entered, entered + 1
        for probe, point in wanted:
            if probe.of_input and probe.call == call:
                args, kwargs = replace_first((args, kwargs), taken(point))
        return args, kwargs

    def leave(_: Any, __: Any, output: Any) -> Any:
        nonlocal left
        call, left = left, left + 1
        for probe, point in wanted:
            if not probe.of_input and probe.call == call:
                output = replace_first(output, taken(point))
        return output

    handles: list[Any] = []
    if any(probe.of_input for probe, _ in wanted):
        handles.append(module.register_forward_pre_hook(enter, with_kwargs=True))
    if any(not probe.of_input for probe, _ in wanted):
        handles.append(module.register_forward_hook(leave))
    return handles


def replace_first(tree: Any, function: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """A structure with its first real-valued tensor mapped; the structure itself where there is none."""
    leaves, spec = pytree.tree_flatten(tree)
    for index, leaf in enumerate(leaves):
        if isinstance(leaf, torch.Tensor) and leaf.is_floating_point() and leaf.layout is torch.strided:
            leaves[index] = function(leaf)
            return tree if leaves[index] is leaf else pytree.tree_unflatten(leaves, spec)
    return tree
