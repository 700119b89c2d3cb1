"""A model's trace and graph, and the trace played back with real weights, every tensor of it in sight.

The names of the graph's values are those of the trace's tensors, so that a measurement belongs to a prediction without
guesswork.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils import _pytree as pytree

from initcheck.graph import Graph, Op
from initcheck.sources.torch.build import build
from initcheck.sources.torch.calls import Ref, Trace
from initcheck.sources.torch.choose import choose_example, real_tensors, trace_example
from initcheck.sources.torch.load import MEMORY
from initcheck.sources.torch.locate import Locator
from initcheck.sources.torch.lower import graph_of_trace
from initcheck.sources.torch.record_seeds import seeded
from initcheck.sources.torch.trace import named_tensors, trace_module
from initcheck.sources.torch.wrappers import unwrap

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor
    from zoo import Entry

    from initcheck.sources.torch.inputs import Example

__all__ = ["Draw", "Traced", "draw", "replay", "trace_entry"]

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Traced:
    """One traced model.

    Attributes:
        trace: As the product traces it.
        graph: As the product lowers it.
        perturbed: Names of the tensors whose perturbation the gain is measured by: real inputs of the graph, and what
            embeddings make of integer ones.
    """

    trace: Trace
    graph: Graph
    perturbed: frozenset[str]


def trace_entry(entry: Entry) -> Traced:
    """Build, trace and lower, as ``initcheck.sources.torch.load`` does.

    Raises:
        ModelLoadError: If that fails.
        NotImplementedError: If the trace closes over constants whose values cannot be had.
    """
    with seeded(0):
        built = build(entry.factory, max_memory=MEMORY, root=ROOT)
    module = unwrap(built.module).train()
    real = real_tensors(module, built)
    with seeded():
        example = choose_example(module, built, None, real)
        trace, reasons = trace_example(module, example, real)
    if any(tensor.is_meta for tensor in trace.constants.values()):
        trace = replace(trace, constants=_constants(entry, example, trace))
    graph = graph_of_trace(trace, module, built, example.describe(), Locator(module, ROOT, None), reasons)
    inputs = {name for name in graph.inputs if graph.values[name].is_float}
    embedded = {
        node.outputs[0]
        for node in graph.nodes
        if node.op is Op.EMBEDDING and node.inputs[0] not in graph.constants and node.outputs
    }
    return Traced(trace, graph, frozenset(inputs | embedded))


def _constants(entry: Entry, example: Example, trace: Trace) -> dict[str, Tensor]:
    """Constants of a trace with values: those that the forward pass makes where the weights have values too."""
    module = entry.build().train()
    with seeded():
        found = trace_module(module, example)[0].constants
    if found.keys() != trace.constants.keys():
        raise NotImplementedError("constants have no values")
    return found


@dataclass(frozen=True)
class Draw:
    """One network and its inputs in float64.

    Attributes:
        tensors: Parameters and buffers by name, tied ones shared.
        inputs: The example's tensors in order.
    """

    tensors: dict[str, Tensor]
    inputs: list[Tensor]


def draw(entry: Entry, seed: int, input_seed: int | None = None) -> Draw:
    """A fresh build of the model and fresh inputs.

    Args:
        entry: The model.
        seed: Of its weights.
        input_seed: Of its inputs; drawn after the weights when left out.
    """
    torch.manual_seed(seed)
    module = entry.build().train()
    if input_seed is not None:
        torch.manual_seed(input_seed)
    inputs = [leaf for leaf in pytree.tree_leaves(entry.inputs()) if isinstance(leaf, torch.Tensor)]
    made: dict[int, Tensor] = {}
    tensors: dict[str, Tensor] = {}
    for name, tensor in named_tensors(module):
        if id(tensor) not in made:
            double = _double(tensor.detach()).clone()
            is_parameter = isinstance(tensor, torch.nn.Parameter) and double.is_floating_point()
            made[id(tensor)] = double.requires_grad_(is_parameter)
        tensors[name] = made[id(tensor)]
    return Draw(tensors, [_double(tensor) for tensor in inputs])


def replay(traced: Traced, drawn: Draw, seed: int, visit: Callable[[str, Tensor], Tensor]) -> None:
    """Run every call of a trace on real tensors.

    Everything that is real-valued is computed in float64, whatever the trace casts to.

    Args:
        traced: The model.
        drawn: Its weights and inputs; buffers are left as they are.
        seed: Of what the forward pass draws (dropout).
        visit: Sees every tensor right after the call that made it, before a later call may write to it; what it
            returns takes the tensor's place.

    Raises:
        NotImplementedError: For a call without an operator.
    """
    trace = traced.trace
    known: dict[str, Tensor] = {}
    for name, tensor in zip(trace.inputs, drawn.inputs, strict=True):
        known[name] = visit(name, tensor.clone())
    for name, owner in trace.parameters.items():
        tensor = drawn.tensors[owner]
        known[name] = tensor if tensor.requires_grad else tensor.clone()
    for name, tensor in trace.constants.items():
        known[name] = _double(tensor.detach()).clone()
    torch.manual_seed(seed)
    with sdpa_kernel(SDPBackend.MATH):
        for call in trace.calls:
            if not any(call.outputs):
                continue
            if call.func is None:
                raise NotImplementedError(call.op)
            args, kwargs = _resolved((call.args, dict(call.kwargs)), known)
            result = call.func(*args, **kwargs)
            results = result if isinstance(result, (tuple, list)) else (result,)
            for name, tensor in zip(call.outputs, results, strict=True):
                if name:
                    known[name] = visit(name, tensor)


def _resolved(tree: Any, known: dict[str, Tensor]) -> Any:
    """Arguments as they are in a float64 run on the CPU."""

    def resolve(leaf: Any) -> Any:
        if isinstance(leaf, Ref):
            return known[leaf.name]
        if isinstance(leaf, torch.dtype):
            return torch.float64 if leaf.is_floating_point else leaf
        return torch.device("cpu") if isinstance(leaf, torch.device) else leaf

    return pytree.tree_map(resolve, tree)


def _double(tensor: Tensor) -> Tensor:
    return tensor.double() if tensor.is_floating_point() else tensor
