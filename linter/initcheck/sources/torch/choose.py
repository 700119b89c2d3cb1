"""The example that a module accepts, and its trace."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import torch

from initcheck.errors import ModelLoadError
from initcheck.sources.torch.inputs import find_examples
from initcheck.sources.torch.lowering.sampling import elements
from initcheck.sources.torch.trace import first_line, fits, named_tensors, runs, trace_module

if TYPE_CHECKING:
    from initcheck.sources.torch.built import Built
    from initcheck.sources.torch.calls import Trace
    from initcheck.sources.torch.inputs import Example, InputShape

__all__ = ["choose_example", "real_tensors", "trace_example"]

LARGEST_RUN = 1 << 27
"""Elements of a model up to which its forward pass may be run for real."""

Tensors = Callable[[], Mapping[str, torch.Tensor]]
"""Makes parameters and buffers with values, by name."""


def real_tensors(module: torch.nn.Module, built: Built) -> Tensors | None:
    """Makes every parameter and buffer with values: its own, drawn from its law, or zero.

    Args:
        module: The model.
        built: What is known of its tensors.

    Returns:
        None for a model that is too large to be run.
    """
    if sum(tensor.numel() for _, tensor in named_tensors(module)) > LARGEST_RUN:
        return None
    return lambda: _drawn(module, built)


def _drawn(module: torch.nn.Module, built: Built) -> dict[str, torch.Tensor]:
    made: dict[int, torch.Tensor] = {}
    tensors: dict[str, torch.Tensor] = {}
    for name, tensor in named_tensors(module):
        if id(tensor) not in made:
            record = built.parameters.get(name)
            drawn = elements(record, tensor) if record is not None else None
            empty = torch.zeros(tensor.shape, dtype=tensor.dtype)
            made[id(tensor)] = empty if drawn is None else drawn.to(tensor.dtype)
        tensors[name] = made[id(tensor)]
    return tensors


def choose_example(
    module: torch.nn.Module, built: Built, shapes: Mapping[str, InputShape] | None, real: Tensors | None
) -> Example:
    """The first example that the forward pass accepts.

    A module that branches on values, or calls what exists for real tensors only, accepts none on tensors without
    values; then it runs on real ones, if it is small.

    Args:
        module: The model.
        built: With the example that its factory returned.
        shapes: What ``--input-shape`` says.
        real: Makes real tensors, None where the model is too large to be run.

    Raises:
        ModelLoadError: If no example fits.
        UsageError: If ``shapes`` names an argument that ``forward`` has not.
    """
    failures: list[tuple[Example, Exception]] = []
    for example in find_examples(module, built.example, shapes):
        # What the user declared is not tried first: if it fails, tracing says why.
        error = None if example.declared else fits(module, example)
        if error is None:
            return example
        failures.append((example, error))
    for example, _ in failures if real is not None else ():
        if real is not None and runs(module, example, real()):
            return example
    first = f"; {failures[0][0].describe()} gives {first_line(failures[0][1])}" if failures else ""
    raise ModelLoadError(
        f"no example input fits forward{first}",
        "name the inputs with --input-shape NAME=2,3,224,224, or set the module's example_input",
        kind="no-input",
    ) from (failures[0][1] if failures else None)


def trace_example(module: torch.nn.Module, example: Example, real: Tensors | None) -> tuple[Trace, tuple[str, ...]]:
    """The trace of a forward pass, and why better ways of tracing failed.

    Raises:
        ModelLoadError: If no way works.
    """
    try:
        return trace_module(module, example, real)
    except Exception as error:
        raise ModelLoadError(
            f"forward cannot be traced with {example.describe()}: {first_line(error)}",
            "name the inputs with --input-shape, or set the module's example_input",
            kind="trace",
        ) from error
