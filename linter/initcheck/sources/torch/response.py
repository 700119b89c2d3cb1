"""The response of a real module to an infinitesimal perturbation of its input."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils import _pytree as pytree

from initcheck.sources.torch.batch import draw
from initcheck.sources.torch.passes import relative, replace_first
from initcheck.sources.torch.record_seeds import seeded
from initcheck.sources.torch.trace import first_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from initcheck.sources.torch.passes import Hooked, Rows

__all__ = ["Response"]

STEP = 1e-6
"""Finite difference, relative to the input: the root of double precision's, with room for signals that shrink."""

NOTHING = "forward has no real-valued input and calls no embedding of its ids"


class Response:
    """Measures signal gains; remembers from one initialisation to the next which way works for a model.

    The derivative along a random direction comes from dual numbers (forward-mode differentiation). Some fused kernels
    have none: then those kernels are switched off. What has no forward derivative at all is approximated by a
    difference of two passes in double precision.
    """

    def __init__(self) -> None:
        self._ways: list[Callable[[Hooked, int], Rows]] = [_by_duals, _by_duals_unfused, _by_difference]
        self.reason = ""
        self.is_difference = False

    def gains(self, hooked: Hooked, seed: int) -> Rows:
        """Mean square of the response of every point, per sample, relative to that of the perturbation.

        The last thing to do with a module: it may be left in double precision.

        Args:
            hooked: The model.
            seed: Of the direction, and of what the model itself draws.

        Returns:
            None everywhere where no way works; ``reason`` then says why.
        """
        while self._ways:
            try:
                # The user has seen the model's warnings in the first pass, and torch has some of its own here.
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    rows = self._ways[0](hooked, seed)
            except NothingToPerturbError as error:
                self.reason = str(error)
                self._ways.clear()
            except Exception as error:  # noqa: BLE001 - operations without a derivative may raise anything
                self.reason = first_line(error)
                del self._ways[0]
            else:
                self.reason = ""
                self.is_difference = self._ways[0] is _by_difference
                return rows
        return [None] * len(hooked.points)


class NothingToPerturbError(Exception):
    """No input of the model can be perturbed."""


class _Direction:
    """Draws a random direction, tensor by tensor in the order of the pass, and keeps its mean square per sample."""

    def __init__(self, hooked: Hooked, seed: int) -> None:
        self._hooked = hooked
        self._generator = torch.Generator().manual_seed(seed)
        self._power: list[torch.Tensor] = []

    def draw(self, tensor: torch.Tensor) -> torch.Tensor:
        """Standard normal numbers of a tensor's shape."""
        direction = draw(tensor, self._generator)
        self._power.append(self._hooked.by_sample(direction))
        return direction

    def relative(self, rows: Rows) -> Rows:
        """Mean squares divided by those of the direction: sample by sample, or on average for a value without them."""
        if not self._power:
            raise NothingToPerturbError(NOTHING)
        samples = self._hooked.batch.samples
        parts = [part if len(part) == samples else part.reshape(1, -1).expand(samples, -1) for part in self._power]
        power: NDArray[np.float64] = torch.cat(parts, 1).square().mean(1).cpu().numpy()
        return [None if row is None else relative(row, power) for row in rows]


def _by_duals(hooked: Hooked, seed: int) -> Rows:
    direction = _Direction(hooked, seed)
    rows: Rows = [None] * len(hooked.points)

    def dual(tensor: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = forward_ad.make_dual(tensor.detach(), direction.draw(tensor))  # type: ignore[no-untyped-call]
        return made

    def take(point: int, tensor: torch.Tensor) -> torch.Tensor:
        tangent = forward_ad.unpack_dual(tensor).tangent  # type: ignore[no-untyped-call]
        rows[point] = hooked.mean_squares(point, torch.zeros_like(tensor) if tangent is None else tangent)
        return tensor

    with torch.no_grad(), forward_ad.dual_level(), seeded(seed):
        args, kwargs = _mapped_floats(hooked.batch.on(hooked.device), dual)
        with _perturbed(hooked, dual), hooked.caught(take):
            hooked.module(*args, **kwargs)
    return direction.relative(rows)


def _by_duals_unfused(hooked: Hooked, seed: int) -> Rows:
    kernels = torch.backends.mkldnn.flags(enabled=False), torch.backends.cudnn.flags(enabled=False)
    with kernels[0], kernels[1], sdpa_kernel(SDPBackend.MATH):
        return _by_duals(hooked, seed)


def _by_difference(hooked: Hooked, seed: int) -> Rows:
    """(f(x + h v) - f(x)) / h in double precision, the same random numbers drawn by the model in both passes."""
    device = torch.device("cpu") if hooked.device.type == "mps" else hooked.device
    hooked.module.to(device).double()
    before: dict[int, torch.Tensor] = {}
    sizes: list[float] = []

    def size(tensor: torch.Tensor) -> torch.Tensor:
        sizes.append(float(tensor.square().mean().sqrt()))
        return tensor

    def keep(point: int, tensor: torch.Tensor) -> torch.Tensor:
        before[point] = tensor
        return tensor.clone()

    _run(hooked, device, seed, size, keep)
    step = STEP * min((known for known in sizes if known > 0.0), default=1.0)
    direction = _Direction(hooked, seed)
    rows: Rows = [None] * len(hooked.points)

    def moved(tensor: torch.Tensor) -> torch.Tensor:
        return tensor + step * direction.draw(tensor)

    def compare(point: int, tensor: torch.Tensor) -> torch.Tensor:
        if point in before and before[point].shape == tensor.shape:
            rows[point] = hooked.mean_squares(point, (tensor - before[point]) / step)
        return tensor

    _run(hooked, device, seed, moved, compare)
    return direction.relative(rows)


def _run(
    hooked: Hooked,
    device: torch.device,
    seed: int,
    change: Callable[[torch.Tensor], torch.Tensor],
    take: Callable[[int, torch.Tensor], torch.Tensor],
) -> None:
    with torch.no_grad(), seeded(seed):
        args, kwargs = _mapped_floats(hooked.batch.on(device, torch.float64), change)
        with _perturbed(hooked, change), hooked.caught(take):
            hooked.module(*args, **kwargs)


@contextmanager
def _perturbed(hooked: Hooked, change: Callable[[torch.Tensor], torch.Tensor]) -> Iterator[None]:
    """Map what embeddings of the input's ids return; ids themselves cannot be changed a little."""
    handles = []
    try:
        for path in sorted(hooked.embeddings):
            embedding = hooked.module.get_submodule(path)
            handles.append(embedding.register_forward_hook(lambda _, __, output: replace_first(output, change)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _mapped_floats(tree: Any, function: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    return pytree.tree_map_only(
        torch.Tensor, lambda tensor: function(tensor) if tensor.is_floating_point() else tensor, tree
    )
