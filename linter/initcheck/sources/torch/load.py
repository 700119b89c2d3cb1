"""A factory to a graph: build, find inputs, trace, lower."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from initcheck.errors import ModelLoadError
from initcheck.graph import Graph, Location
from initcheck.sources.torch.attributes import release_attributes
from initcheck.sources.torch.build import build
from initcheck.sources.torch.choose import choose_example, real_tensors, trace_example
from initcheck.sources.torch.locate import Locator, shown_path
from initcheck.sources.torch.lower import graph_of_trace, names_read
from initcheck.sources.torch.past import construction_of
from initcheck.sources.torch.record_seeds import seeded
from initcheck.sources.torch.wrappers import unwrap

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import torch

    from initcheck.sources.torch.built import Built
    from initcheck.sources.torch.calls import Trace
    from initcheck.sources.torch.inputs import Example, InputShape

__all__ = ["Loaded", "graph_of", "graph_of_trace", "load", "load_model"]

MEMORY = 2 << 30
"""Bytes that a model built for real may take."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model that was built and traced.

    Attributes:
        graph: The lowered trace.
        built: The module and what is known of its tensors.
        example: Inputs that its forward pass was traced with.
        inputs: Name in the graph of each tensor of the example, in order.
    """

    graph: Graph
    built: Built
    example: Example
    inputs: tuple[str, ...]


def load(
    factory: Callable[[], object],
    *,
    root: Path,
    shapes: Mapping[str, InputShape] | None = None,
    max_memory: int = MEMORY,
) -> Graph:
    """The graph of ``load_model``."""
    return load_model(factory, root=root, shapes=shapes, max_memory=max_memory).graph


def load_model(
    factory: Callable[[], object],
    *,
    root: Path,
    shapes: Mapping[str, InputShape] | None = None,
    max_memory: int = MEMORY,
) -> Loaded:
    """Build a model under the recorder and lower it.

    Args:
        factory: Returns a module, or ``(module, example inputs)``.
        root: Folder of the user's project; locations name code below it only.
        shapes: What ``--input-shape`` says, by name of the argument of ``forward``.
        max_memory: Bytes of weights up to which a model may be built for real.

    Raises:
        ModelLoadError: If the factory returns no module that can be traced.
        UsageError: If ``shapes`` names an argument that ``forward`` has not.
        Exception: Whatever the factory raises.
    """
    built = build(factory, max_memory=max_memory, root=root)
    return _trace(built, root, shapes, _line_of(factory, root))


def graph_of(
    built: Built,
    *,
    root: Path,
    shapes: Mapping[str, InputShape] | None = None,
    factory: Location | None = None,
) -> Graph:
    """Trace and lower a built module.

    Args:
        built: The module and what is known of its tensors.
        root: As for ``load``.
        shapes: As for ``load``.
        factory: Line of the factory, for layers that no code of the user's creates by name.

    Raises:
        ModelLoadError: If no input can be found, or tracing fails on every route.
        UsageError: If ``shapes`` names an argument that ``forward`` has not.
    """
    return _trace(built, root, shapes, factory).graph


def _trace(built: Built, root: Path, shapes: Mapping[str, InputShape] | None, factory: Location | None) -> Loaded:
    module = unwrap(built.module).train()
    try:
        example, trace, reasons = _pass(module, built, shapes)
    except ModelLoadError:
        plain = [name for name, record in built.parameters.items() if record.is_attribute]
        if not plain:
            raise
        # It may look for them in its own dictionary, or put a module in their place.
        release_attributes(module, plain)
        example, trace, reasons = _pass(module, built, shapes)
    locator = Locator(module, root, factory)
    graph = graph_of_trace(trace, module, built, example.describe(), locator, reasons)
    construction, note = construction_of(module, built, names_read(trace, built), locator, root)
    graph = replace(graph, construction=construction, notes=(*graph.notes, note) if note else graph.notes)
    return Loaded(graph, built, example, tuple(trace.inputs))


def _pass(
    module: torch.nn.Module, built: Built, shapes: Mapping[str, InputShape] | None
) -> tuple[Example, Trace, tuple[str, ...]]:
    real = real_tensors(module, built)
    # A forward pass may toss coins (layer drop, stochastic depth), which decide what there is to trace.
    with seeded():
        example = choose_example(module, built, shapes, real)
        trace, reasons = trace_example(module, example, real)
    return example, trace, reasons


def _line_of(factory: Callable[[], object], root: Path) -> Location | None:
    factory = inspect.unwrap(factory)
    try:
        file = inspect.getsourcefile(factory)
        line = inspect.getsourcelines(factory)[1]
    except (TypeError, OSError):
        return None
    shown = shown_path(file, root.resolve()) if file else ""
    return Location(shown, max(line, 1), "factory") if shown else None
