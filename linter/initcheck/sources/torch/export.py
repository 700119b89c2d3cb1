"""The trace that torch.export makes: one node per operator, with module path and line, without running anything."""

from __future__ import annotations

import logging
import operator
import re
import sys
import warnings
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from typing import TYPE_CHECKING, Any

import torch
from torch._ops import HigherOrderOperator, OpOverload
from torch.utils import _pytree as pytree

from initcheck.sources.torch.calls import Call, Ref, Trace
from initcheck.sources.torch.schema import name_of
from initcheck.sources.torch.values import value_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch.export import ExportedProgram
    from torch.fx import Graph as FxGraph
    from torch.fx import GraphModule, Node

    from initcheck.sources.torch.inputs import Example

__all__ = ["export_trace", "read_program"]

ROUTE = "torch.export"

_FRAME = re.compile(r'File "([^"]+)", line (\d+)')

_INLINED = frozenset(
    {"tag_activation_checkpoint", "wrap_activation_checkpoint", "wrap_with_autocast", "wrap_with_set_grad_enabled"}
)
"""Higher-order operators that only call a subgraph."""


def export_trace(module: torch.nn.Module, example: Example) -> Trace:
    """Trace a module with torch.export (non-strict), in the mode the module is in.

    Args:
        module: On meta or not; its weights are not read.
        example: Inputs of one forward pass.

    Raises:
        Exception: Whatever torch.export or the module raises when it cannot be traced.
    """
    with _quiet():
        program = torch.export.export(module, example.args, dict(example.kwargs), strict=False)
    return read_program(program)


def read_program(program: ExportedProgram) -> Trace:
    """The trace in an exported program (also one read from a .pt2 archive)."""
    trace = Trace(ROUTE)
    signature = program.graph_signature
    parameters = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    constants = {**signature.inputs_to_lifted_tensor_constants}
    inputs = set(signature.user_inputs)
    reader = _Reader(trace, program.graph_module)
    for node in program.graph.nodes:
        if node.op != "placeholder":
            continue
        tensor = node.meta.get("val")
        if not isinstance(tensor, torch.Tensor):
            reader.env[node] = tensor
            continue
        reader.define(node, tensor)
        if node.name in parameters:
            trace.parameters[node.name] = parameters[node.name]
        elif node.name in constants:
            trace.constants[node.name] = program.constants[constants[node.name]]
        elif node.name in inputs:
            trace.inputs.append(node.name)
    flat = reader.run(program.graph, program.graph_module)
    mutations = len(signature.output_specs) - len(signature.user_outputs)
    returned = flat[mutations:]
    spec = program.call_spec.out_spec
    trace.outputs = pytree.tree_unflatten(returned, spec) if spec is not None else tuple(returned)
    return trace


class _Reader:
    """Walks a graph and its subgraphs, naming every tensor."""

    def __init__(self, trace: Trace, root: GraphModule) -> None:
        self.trace = trace
        self.root = root
        self.env: dict[Node, Any] = {}
        self._taken: set[str] = set()

    def define(self, node: Node, tensor: torch.Tensor, suffix: str = "") -> Ref:
        """Give a tensor its name."""
        wanted = name = node.name + suffix
        count = 1
        while name in self._taken:
            count += 1
            name = f"{wanted}_{count}"
        self._taken.add(name)
        self.trace.values[name] = value_of(tensor)
        ref = Ref(name)
        if not suffix:
            self.env[node] = ref
        return ref

    def run(self, graph: FxGraph, owner: GraphModule) -> list[Any]:
        """Read the nodes of a graph whose placeholders are defined; its outputs, flat."""
        result: list[Any] = []
        for node in graph.nodes:
            if node.op == "get_attr":
                self.env[node] = self._attribute(node, owner)
            elif node.op == "call_function":
                self._call(node)
            elif node.op == "output":
                result = pytree.tree_leaves(self._resolve(node.args[0]), is_leaf=lambda leaf: leaf is None)
        return result

    def _attribute(self, node: Node, owner: GraphModule) -> Any:
        target: Any = owner
        for name in str(node.target).split("."):
            target = getattr(target, name)
        if isinstance(target, torch.Tensor):
            ref = self.define(node, target)
            self.trace.constants[ref.name] = target
            return ref
        return target

    def _call(self, node: Node) -> None:
        target = node.target
        args, kwargs = self._resolve(node.args), self._resolve(node.kwargs)
        if target is operator.getitem:
            self.env[node] = args[0][args[1]]
        elif isinstance(target, OpOverload):
            self._record(node, target, name_of(target), args, kwargs)
        elif getattr(target, "__name__", "") in _INLINED:
            self.env[node] = self._inline(args)
        elif isinstance(target, HigherOrderOperator):
            self._record(node, None, target.__name__, tuple(pytree.tree_leaves((args, kwargs))), {})
        elif callable(target):
            self.env[node] = target(*args, **kwargs)

    def _inline(self, args: tuple[Any, ...]) -> Any:
        at = next(index for index, arg in enumerate(args) if isinstance(arg, torch.fx.GraphModule))
        body = args[at]
        placeholders = [inner for inner in body.graph.nodes if inner.op == "placeholder"]
        for inner, actual in zip(placeholders, args[at + 1 :], strict=True):
            self.env[inner] = actual
        flat = self.run(body.graph, body)
        return tuple(flat)

    def _record(
        self, node: Node, func: OpOverload | None, op: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> None:
        value = node.meta.get("val")
        if isinstance(value, torch.Tensor):
            outputs: tuple[str, ...] = (self.define(node, value).name,)
        elif isinstance(value, (tuple, list)):
            parts = [
                self.define(node, part, f".{index}") if isinstance(part, torch.Tensor) else part
                for index, part in enumerate(value)
            ]
            self.env[node] = parts
            outputs = tuple(part.name if isinstance(part, Ref) else "" for part in parts)
        else:
            self.env[node] = value
            outputs = ()
        path, module_type = _module(node)
        self.trace.calls.append(Call(func, op, args, kwargs, outputs, path, module_type, _stack(node)))

    def _resolve(self, tree: Any) -> Any:
        return torch.fx.node.map_arg(tree, lambda node: self.env[node])


def _module(node: Node) -> tuple[str, str]:
    stack = node.meta.get("nn_module_stack") or {}
    path, kind = list(stack.values())[-1] if stack else ("", "")
    return path, kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}"


def _stack(node: Node) -> tuple[tuple[str, int], ...]:
    return tuple((file, int(line)) for file, line in _FRAME.findall(node.meta.get("stack_trace") or ""))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings that tracing gives, and the graph that it prints where it stops."""
    previous = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stderr(StringIO()), redirect_stdout(sys.stderr):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(previous)
