"""A factory to a graph: build, find inputs, trace, lower."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from initcheck.errors import ModelLoadError
from initcheck.graph import Graph, Location
from initcheck.sources.onnx.patterns import rewrite
from initcheck.sources.onnx.prune import prune
from initcheck.sources.torch.build import build
from initcheck.sources.torch.inputs import find_examples
from initcheck.sources.torch.locate import Locator, shown_path
from initcheck.sources.torch.lowering.builder import Builder
from initcheck.sources.torch.lowering.known import Activation, root_view
from initcheck.sources.torch.lowering.sampling import elements
from initcheck.sources.torch.lowering.walk import walk
from initcheck.sources.torch.outputs import main_output, returned
from initcheck.sources.torch.trace import first_line, fits, named_tensors, runs, trace_module
from initcheck.sources.torch.wrappers import unwrap

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from initcheck.sources.torch.built import Built
    from initcheck.sources.torch.calls import Trace
    from initcheck.sources.torch.inputs import Example, InputShape

__all__ = ["graph_of", "graph_of_trace", "load"]

MEMORY = 2 << 30
"""Bytes that a model built for real may take."""

LARGEST_RUN = 1 << 26
"""Elements of a model up to which its forward pass may be run for real."""


def load(
    factory: Callable[[], object],
    *,
    root: Path,
    shapes: Mapping[str, InputShape] | None = None,
    max_memory: int = MEMORY,
) -> Graph:
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
    return graph_of(built, root=root, shapes=shapes, factory=_line_of(factory, root))


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
    module = unwrap(built.module).train()
    size = sum(tensor.numel() for _, tensor in named_tensors(module))
    real = (lambda: _real_tensors(module, built)) if size <= LARGEST_RUN else None
    example = _example(module, built, shapes, real)
    trace, reasons = _trace(module, example, real)
    return graph_of_trace(trace, module, built, example.describe(), Locator(module, root, factory), reasons)


def graph_of_trace(
    trace: Trace,
    module: torch.nn.Module,
    built: Built,
    inputs: str,
    locator: Locator,
    reasons: tuple[str, ...] = (),
) -> Graph:
    """Lower a trace.

    Args:
        trace: One forward pass.
        module: The module that was traced.
        built: What is known of its tensors.
        inputs: The example inputs as the report shows them.
        locator: Finds the line of a layer.
        reasons: Why better ways of tracing failed.
    """
    builder = Builder(built.parameters, locator)
    tensors = dict(named_tensors(module))
    _define(trace, built, builder, tensors)
    walk(trace, builder)
    return _graph(trace, built, builder, module, inputs, locator, reasons)


def _example(
    module: torch.nn.Module, built: Built, shapes: Mapping[str, InputShape] | None, real: Tensors | None
) -> Example:
    """The first example that the forward pass accepts.

    A module that branches on values, or calls what exists for real tensors only, accepts none on tensors without
    values; then it runs on real ones, if it is small.
    """
    failures: list[tuple[Example, Exception]] = []
    for example in find_examples(module, built.example, shapes):
        error = fits(module, example)
        if error is None or example.declared:
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
    )


def _trace(module: torch.nn.Module, example: Example, real: Tensors | None) -> tuple[Trace, tuple[str, ...]]:
    try:
        return trace_module(module, example, real)
    except Exception as error:  # noqa: BLE001 - the forward pass is foreign code and may raise anything
        raise ModelLoadError(
            f"forward cannot be traced with {example.describe()}: {first_line(error)}",
            "name the inputs with --input-shape, or set the module's example_input",
            kind="trace",
        ) from error


def _real_tensors(module: torch.nn.Module, built: Built) -> dict[str, torch.Tensor]:
    """Every parameter and buffer with values: its own, drawn from its law, or zero."""
    made: dict[int, torch.Tensor] = {}
    tensors: dict[str, torch.Tensor] = {}
    for name, tensor in named_tensors(module):
        if id(tensor) not in made:
            record = built.parameters.get(name)
            drawn = elements(record, tensor) if record is not None else None
            made[id(tensor)] = torch.zeros(tensor.shape, dtype=tensor.dtype) if drawn is None else drawn.to(tensor.dtype)
        tensors[name] = made[id(tensor)]
    return tensors


def _define(trace: Trace, built: Built, builder: Builder, tensors: Mapping[str, torch.Tensor]) -> None:
    """What inputs, parameters and constants of a trace stand for."""
    for name in trace.inputs:
        builder.known[name] = builder.define(name, trace.values[name])
    for name, tensor in trace.constants.items():
        # A tensor made on the meta device has no values to fold: it is an input that nobody described.
        builder.known[name] = builder.define(name, trace.values[name]) if tensor.is_meta else tensor.detach().cpu()
    for name, owner in trace.parameters.items():
        record = built.parameters.get(owner)
        if record is None:
            builder.known[name] = builder.define(name, trace.values[name])
            continue
        canonical = built.parameters.get(record.tied_to, record)
        tensor = tensors.get(owner)
        if record.is_buffer and record.values is not None:
            values = elements(canonical, tensor)
            if values is not None:
                builder.known[name] = values.clone()
                continue
        if record.is_buffer and tensor is not None and not tensor.is_meta:
            builder.known[name] = tensor.detach().clone().cpu()
            continue
        view = root_view(canonical.name, record.shape, record.dtype, lambda r=canonical, t=tensor: elements(r, t))
        builder.known[name] = replace(view, history=tuple(write.initializer for write in canonical.history))


def _graph(
    trace: Trace,
    built: Built,
    builder: Builder,
    module: torch.nn.Module,
    inputs_shown: str,
    locator: Locator,
    reasons: tuple[str, ...],
) -> Graph:
    outputs = tuple(
        dict.fromkeys(
            known.name
            for _, name in returned(trace.outputs)
            if isinstance(known := builder.known.get(name), Activation)
        )
    )
    nodes = rewrite(prune(builder.nodes, outputs), builder, outputs)
    read = {name for node in nodes for name in node.inputs}
    defined = {name for node in nodes for name in node.outputs}
    inputs = tuple(name for name in trace.inputs if name in read or name in outputs)
    values = {
        name: value for name, value in builder.values.items() if name in read or name in defined or name in outputs
    }
    main = main_output(trace.outputs, {name: trace.values[name] for _, name in returned(trace.outputs)})
    known = builder.known.get(main)
    return Graph(
        nodes=nodes,
        inputs=inputs,
        outputs=outputs,
        main_output=known.name if isinstance(known, Activation) else "",
        values=values,
        parameters=builder.parameters.build(read),
        constants={name: constant for name, constant in builder.constants.items() if name in read},
        source="torch",
        assumptions=(f"inputs: {inputs_shown}",),
        notes=(*built.notes, *_route_notes(trace, reasons)),
        unused={name: locator.layer(name.rpartition(".")[0]) for name in _unused(trace, built, module)},
        producer=f"torch {torch.__version__}",
        parameter_count=sum(parameter.numel() for parameter in module.parameters()),
    )


def _route_notes(trace: Trace, reasons: tuple[str, ...]) -> tuple[str, ...]:
    if not reasons:
        return (f"traced by {trace.route}",)
    return (f"traced by {trace.route}, because {'; '.join(reasons)}",)


def _unused(trace: Trace, built: Built, module: torch.nn.Module) -> tuple[str, ...]:
    read = {name for call in trace.calls for name in call.reads} | {name for _, name in returned(trace.outputs)}
    used = {trace.parameters[name] for name in read if name in trace.parameters}
    alias = {name: record.tied_to or name for name, record in built.parameters.items()}
    reached = {alias.get(name, name) for name in used}
    return tuple(name for name, _ in module.named_parameters() if alias.get(name, name) not in reached)


def _line_of(factory: Callable[[], object], root: Path) -> Location | None:
    factory = inspect.unwrap(factory)
    try:
        file = inspect.getsourcefile(factory)
        line = inspect.getsourcelines(factory)[1]
    except (TypeError, OSError):
        return None
    shown = shown_path(file, root.resolve()) if file else ""
    return Location(shown, max(line, 1), "factory") if shown else None
