"""The batch that a measurement runs: the user's own, or numbers drawn as the analysis assumes them."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch.utils import _pytree as pytree

from initcheck.feeding import ASSUMED_SAMPLES, keeps_samples_apart, normalises_batch, rows_of_ids
from initcheck.graph import WEIGHTED
from initcheck.sources.torch.inputs import GIVEN, STATED, Example, as_example
from initcheck.sources.torch.trace import accepts, first_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from initcheck.graph import Graph
    from initcheck.sources.torch.load import Loaded

__all__ = ["Batch", "draw", "make_batch", "samples_of", "stream"]

TYPICAL = 1.2
"""Factor by which the mean square of the user's batch may differ from that of standard normal numbers unmentioned."""

AFFORDABLE = 10**10
"""Multiplications of a forward pass up to which a batch is enlarged to ``ASSUMED_SAMPLES``."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Arguments of the forward passes.

    Attributes:
        example: With values, on the CPU.
        samples: Size of the first axis of the first tensor.
        notes: Sentences about values that are not what they might be taken for.
    """

    example: Example
    samples: int
    notes: tuple[str, ...] = ()

    def on(self, device: torch.device, dtype: torch.dtype | None = None) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Positional and keyword arguments on a device, real-valued tensors in another precision if one is given."""

        def moved(tensor: torch.Tensor) -> torch.Tensor:
            return tensor.detach().to(device, dtype if tensor.is_floating_point() else None, copy=True)

        args, kwargs = pytree.tree_map_only(torch.Tensor, moved, (self.example.args, dict(self.example.kwargs)))
        return args, kwargs


def stream(seed: int, purpose: str) -> int:
    """A seed for draws beside those of the factory, which would repeat the weights if they used its own."""
    return zlib.crc32(f"{purpose} {seed}".encode())


def draw(like: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Standard normal numbers of a tensor's shape, type and device, the same on every device."""
    return torch.randn(like.shape, generator=generator).to(like.device, like.dtype)


def make_batch(loaded: Loaded, module: torch.nn.Module, given: Any, seed: int, device: torch.device) -> Batch:
    """The batch for every initialisation.

    Args:
        loaded: The model as it was traced.
        module: A real build of it, in training mode.
        given: Example inputs that the factory returned beside the module, None for none.
        seed: Of what is drawn.
        device: Where the module is.
    """
    if given is not None and loaded.example.origin.startswith(GIVEN):
        return _checked(loaded.graph, *_given(as_example(given, GIVEN), seed))
    example, notes = _drawn(loaded, module, seed, device)
    return _checked(loaded.graph, example, notes)


def _given(example: Example, seed: int) -> tuple[Example, tuple[str, ...]]:
    """The user's batch; a real-valued tensor of one number throughout only says a shape, and is drawn."""
    generator = torch.Generator().manual_seed(stream(seed, "inputs"))
    replaced: list[str] = []

    def valued(tensor: torch.Tensor) -> torch.Tensor:
        constant = tensor.is_floating_point() and tensor.numel() > 1 and bool((tensor == tensor.reshape(-1)[0]).all())
        if not constant:
            return tensor
        replaced.append(str(list(tensor.shape)))
        return _standard(draw(tensor, generator))

    example = _mapped(example, valued)
    notes = []
    if replaced:
        several = f"inputs {', '.join(replaced)}" if len(replaced) > 1 else f"input {replaced[0]}"
        notes.append(f"{several} of the factory: one number throughout, replaced by standard normal numbers")
    square = _mean_square(example)
    if square is not None and not 1.0 / TYPICAL < square < TYPICAL:
        notes.append(f"the batch has mean square {square:.3g}, and the prediction assumes 1")
    return example, tuple(notes)


def _standard(drawn: torch.Tensor) -> torch.Tensor:
    """Scaled to a mean square of exactly one in every sample.

    That is what the analysis assumes; with one batch for all initialisations its chance would not average out.
    """
    if drawn.dim() < 2 or not drawn.numel():
        return drawn
    squares = drawn.double().square().flatten(1).mean(1)
    return (drawn / squares.sqrt().reshape(-1, *[1] * (drawn.dim() - 1))).to(drawn.dtype)


def _mean_square(example: Example) -> float | None:
    """Of the real-valued tensors together, None where there are none."""
    leaves = pytree.tree_leaves((example.args, dict(example.kwargs)))
    real = [leaf.double() for leaf in leaves if isinstance(leaf, torch.Tensor) and leaf.is_floating_point()]
    count = sum(tensor.numel() for tensor in real)
    return float(sum(tensor.square().sum() for tensor in real)) / count if count else None


def _drawn(loaded: Loaded, module: torch.nn.Module, seed: int, device: torch.device) -> tuple[Example, tuple[str, ...]]:
    """The example's shapes with standard normal numbers, and uniform ids where an embedding reads them."""
    candidates = [loaded.example]
    size = _wanted_samples(loaded)
    if size > samples_of(loaded.example):
        candidates.insert(0, _enlarged(loaded.example, size))
    drawn = [_with_draws(candidate, loaded, seed) for candidate in candidates]
    errors = []
    for candidate in (*drawn, loaded.example):
        error = accepts(module, candidate.on(str(device)))
        if error is None:
            break
        errors.append(error)
    else:
        # Nothing fits: the pass itself will say why.
        return drawn[-1], ()
    if candidate is not loaded.example:
        return candidate, ()
    return candidate, (
        f"inputs keep the values of the example, since forward takes no others: {first_line(errors[-1])}",
    )


def _with_draws(example: Example, loaded: Loaded, seed: int) -> Example:
    generator = torch.Generator().manual_seed(stream(seed, "inputs"))
    names: Iterator[str] = iter(loaded.inputs)

    def valued(tensor: torch.Tensor) -> torch.Tensor:
        name = next(names, "")
        if tensor.is_floating_point():
            return _standard(draw(tensor, generator))
        rows = rows_of_ids(loaded.graph, name)
        if rows is None or tensor.is_complex() or tensor.dtype is torch.bool:
            return tensor
        return torch.randint(0, rows, tensor.shape, generator=generator).to(tensor.dtype)

    mapped = _mapped(example, valued)
    return replace(mapped, origin=f"{example.origin}; values drawn")


def _wanted_samples(loaded: Loaded) -> int:
    """Samples that the analysis assumes, unless the user says how many or the first axis may not be the batch.

    Inputs that the module declares or that are guessed only tell shapes, of which the batch is as good as any.
    """
    is_batch_first = normalises_batch(loaded.graph) or keeps_samples_apart(loaded.graph)
    if loaded.example.origin.startswith((GIVEN, STATED)) or not is_batch_first:
        return 0
    present = max(samples_of(loaded.example), 1)
    multiplications = sum(
        int(node.attributes.get("fan_in", 0)) * math.prod(shape)
        for node in loaded.graph.nodes
        if node.op in WEIGHTED and node.outputs and (shape := loaded.graph.values[node.outputs[0]].shape) is not None
    )
    return min(ASSUMED_SAMPLES, max(AFFORDABLE * present // max(multiplications, 1), present))


def _enlarged(example: Example, size: int) -> Example:
    present = samples_of(example)

    def repeated(tensor: torch.Tensor) -> torch.Tensor:
        if not tensor.dim() or tensor.shape[0] != present:
            return tensor
        return tensor.detach().repeat(math.ceil(size / present), *[1] * (tensor.dim() - 1))[:size]

    return replace(_mapped(example, repeated), origin=f"{example.origin}, batch of {size}")


def samples_of(example: Example) -> int:
    """Size of the first axis of the first tensor that has one."""
    leaves = pytree.tree_leaves((example.args, dict(example.kwargs)))
    return next((leaf.shape[0] for leaf in leaves if isinstance(leaf, torch.Tensor) and leaf.dim()), 1)


def _mapped(example: Example, function: Any) -> Example:
    args, kwargs = pytree.tree_map_only(torch.Tensor, function, (example.args, dict(example.kwargs)))
    return replace(example, args=args, kwargs=kwargs)


def _checked(graph: Graph, example: Example, notes: tuple[str, ...]) -> Batch:
    samples = samples_of(example)
    if samples != ASSUMED_SAMPLES and normalises_batch(graph):
        notes = (*notes, f"batch normalisation saw {samples} samples, and the prediction assumes {ASSUMED_SAMPLES}")
    return Batch(example, samples, notes)
