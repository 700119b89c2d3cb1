"""One pass over the nodes of a file: fold what is known, lower the rest, call the remainder opaque."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto

from initcheck.graph import Op, Value
from initcheck.sources.onnx.builder import NotUnderstoodError
from initcheck.sources.onnx.call import read_call
from initcheck.sources.onnx.folding import fold
from initcheck.sources.onnx.initializers import stored
from initcheck.sources.onnx.inputs import element_name, evaluated
from initcheck.sources.onnx.known import known_array
from initcheck.sources.onnx.lowering import HANDLERS
from initcheck.sources.onnx.order import reads

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from onnx import GraphProto, NodeProto, ValueInfoProto

    from initcheck.sources.onnx.builder import Builder
    from initcheck.sources.onnx.call import Call
    from initcheck.sources.onnx.known import Known
    from initcheck.sources.onnx.read import ModelFile

__all__ = ["Walk"]

_LITERALS = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}


class Walk:
    """Lowers nodes in order into a builder.

    Args:
        build: Where to emit.
        file: The model, for the tensors of Constant nodes.
        opsets: Domain -> version the model imports.
        dims: Symbolic dimension -> size, to read declared shapes by.
    """

    def __init__(self, build: Builder, file: ModelFile, opsets: Mapping[str, int], dims: Mapping[str, int]) -> None:
        self._build = build
        self._file = file
        self._opsets = opsets
        self._dims = dims
        self._declared: dict[str, ValueInfoProto] = {}
        self._read: set[str] = set()

    def run(self, nodes: Sequence[NodeProto], graph: GraphProto) -> None:
        """Lower the nodes of a graph."""
        self._declared.update((entry.name, entry) for entry in (*graph.value_info, *graph.output))
        self._read.update(name for node in nodes for name in reads(node))
        self._read.update(entry.name for entry in graph.output)
        for index, node in enumerate(nodes):
            self._lower(read_call(node, index, self._opsets))

    def _lower(self, call: Call) -> None:
        build = self._build
        if call.op == "Constant" and call.outputs:
            build.known[call.outputs[0]] = self._constant(call)
            return
        if call.op == "If" and self._inline_branch(call):
            return
        build.inferred = self._types(call)
        if fold(call, build):
            return
        handler = HANDLERS.get(call.op)
        mark = len(build.nodes)
        if handler is not None:
            try:
                handler(call, build)
            except NotUnderstoodError:
                del build.nodes[mark:]
                self._opaque(call, call.outputs)
                return
        missing = [name for name in call.outputs if name in self._read and not build.is_defined(name)]
        if handler is None or missing:
            self._opaque(call, missing if handler else call.outputs)

    def _types(self, call: Call) -> dict[str, Value]:
        """Types of the outputs, inferred; what the file declares stands in where inference knows less."""
        found = self._build.inference.outputs(call, {name: self._build.value_of(name) for name in call.inputs if name})
        for name in call.outputs:
            value = found.get(name)
            if name and (value is None or value.shape is None or not value.dtype):
                declared = self._declaration(name)
                if declared is not None:
                    found[name] = Value(
                        value.shape if value is not None and value.shape is not None else declared.shape,
                        (value.dtype if value is not None else "") or declared.dtype,
                    )
        return found

    def _declaration(self, name: str) -> Value | None:
        entry = self._declared.get(name)
        if entry is None or not entry.type.HasField("tensor_type"):
            return None
        tensor = entry.type.tensor_type
        shape: list[int] | None = [] if tensor.HasField("shape") else None
        for dim in tensor.shape.dim if shape is not None else ():
            fixed = dim.WhichOneof("value") == "dim_value" and dim.dim_value >= 0
            size = dim.dim_value if fixed else self._dims.get(dim.dim_param) or evaluated(dim.dim_param, self._dims)
            if size is None:
                shape = None
                break
            if shape is not None:
                shape.append(size)
        return Value(None if shape is None else tuple(shape), element_name(tensor.elem_type))

    def _constant(self, call: Call) -> Known:
        name = call.outputs[0]
        for attribute, dtype in _LITERALS.items():
            if attribute in call.attributes:
                return known_array(np.asarray(call.attributes[attribute], dtype))
        tensor = call.attributes.get("value")
        if not isinstance(tensor, TensorProto):
            text = call.attributes.get("value_string", call.attributes.get("value_strings", ""))
            return known_array(np.asarray(text, object))
        return stored(self._file.tensors.get(name) or self._file.tensor(tensor))

    def _inline_branch(self, call: Call) -> bool:
        """Lower the branch that a known condition picks in place of the If node."""
        condition = self._build.known.get(call.input(0))
        if condition is None or condition.size != 1:
            return False
        branch = call.graph("then_branch" if condition.scalar() else "else_branch")
        if branch is None:
            return False
        for tensor in branch.initializer:
            self._build.known[tensor.name] = stored(self._file.tensor(tensor))
        self.run(list(branch.node), branch)
        for name, result in zip(call.outputs, branch.output, strict=True):
            if result.name in self._build.known:
                self._build.known[name] = self._build.known[result.name]
            elif name:
                value = self._build.values[self._build.activation(result.name)]
                self._build.emit(call, Op.IDENTITY, (result.name,), (name,), result=value)
        return True

    def _opaque(self, call: Call, outputs: Iterable[str]) -> None:
        build = self._build
        names = [self._operand(name) for name in dict.fromkeys(reads(call.proto))]
        build.emit(
            call,
            Op.OPAQUE,
            [name for name in names if name],
            [name for name in outputs if name],
            layer=call.op.rpartition("::")[2],
            type=call.op,
        )

    def _operand(self, name: str) -> str:
        """An input of an opaque node; constants too large to keep are left out."""
        if not self._build.is_defined(name):
            return ""
        known = self._build.known.get(name)
        if known is not None and known.origin is not None and known.is_float:
            return self._build.parameters.use(known)
        try:
            return self._build.operand(name)
        except NotUnderstoodError:
            return ""
