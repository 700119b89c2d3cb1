"""A trace to a graph."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch._subclasses.fake_tensor import FakeTensor

from initcheck.graph import Graph
from initcheck.sources.patterns import rewrite
from initcheck.sources.prune import prune
from initcheck.sources.torch.lowering.builder import CONSTANT_LIMIT, Builder
from initcheck.sources.torch.lowering.known import Activation, root_view
from initcheck.sources.torch.lowering.sampling import elements
from initcheck.sources.torch.lowering.walk import walk
from initcheck.sources.torch.outputs import main_output, returned
from initcheck.sources.torch.trace import named_tensors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from initcheck.sources.torch.built import Built, RecordedTensor
    from initcheck.sources.torch.calls import Trace
    from initcheck.sources.torch.locate import Locator
    from initcheck.sources.torch.lowering.known import Known

__all__ = ["graph_of_trace", "names_read"]


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


def _define(trace: Trace, built: Built, builder: Builder, tensors: Mapping[str, torch.Tensor]) -> None:
    """What inputs, parameters and constants of a trace stand for."""
    for name in trace.inputs:
        builder.known[name] = builder.define(name, trace.values[name])
    for name, tensor in trace.constants.items():
        # Without values there is nothing to fold: it is an input that nobody described.
        empty = tensor.is_meta or isinstance(tensor, FakeTensor)
        # A sparse one (the edges of a graph) that does not fit as a matrix is as good as one without values.
        if empty or (tensor.layout is not torch.strided and tensor.numel() * 4 > CONSTANT_LIMIT):
            builder.known[name] = builder.define(name, trace.values[name])
        else:
            builder.known[name] = tensor.detach().cpu().to_dense()
    for name, owner in trace.parameters.items():
        record = built.parameters.get(owner)
        known = _owned(record, built, tensors.get(owner)) if record is not None else None
        builder.known[name] = known if known is not None else builder.define(name, trace.values[name])


def _owned(record: RecordedTensor, built: Built, tensor: torch.Tensor | None) -> Known | None:
    """A buffer with values as a constant, anything else as a view of the parameter."""
    canonical = built.parameters.get(record.tied_to, record)
    if record.is_buffer and tensor is not None and not tensor.is_meta:
        return tensor.detach().clone().cpu()
    if record.is_buffer and record.values is not None:
        values = elements(canonical, tensor)
        return None if values is None else values.clone()
    view = root_view(canonical.name, record.shape, record.dtype, partial(elements, canonical, tensor))
    return replace(view, history=tuple(write.initializer for write in canonical.history))


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
    # The patterns read of a builder what both sources' have.
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


def names_read(trace: Trace, built: Built) -> frozenset[str]:
    """Names of the parameters and buffers that the forward pass reads, of tied ones the first."""
    read = {name for call in trace.calls for name in call.reads} | {name for _, name in returned(trace.outputs)}
    used = {trace.parameters[name] for name in read if name in trace.parameters}
    return frozenset(_first_name(built, name) for name in used)


def _first_name(built: Built, name: str) -> str:
    record = built.parameters.get(name)
    return record.tied_to or name if record is not None else name


def _unused(trace: Trace, built: Built, module: torch.nn.Module) -> tuple[str, ...]:
    read = names_read(trace, built)
    return tuple(name for name, _ in module.named_parameters() if _first_name(built, name) not in read)
