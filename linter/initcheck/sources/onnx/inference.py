"""Shapes and types of a node's outputs, from ONNX's own inference with what is already known as its data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx.defs
from onnx import TensorProto, TypeProto, numpy_helper, shape_inference

from initcheck.graph import Value
from initcheck.sources.onnx.elements import ELEMENTS
from initcheck.sources.onnx.inputs import element_name
from initcheck.sources.onnx.known import Known

if TYPE_CHECKING:
    from collections.abc import Mapping

    from initcheck.sources.onnx.call import Call

__all__ = ["Inference"]

CODES = {element.name: code for code, element in ELEMENTS.items()}

DATA_LIMIT = 4096
"""Integers up to which a constant is shown to inference: shapes, axes and pads are short."""

SCALES_LIMIT = 16
"""The same for real numbers: only the scales of a Resize tell a shape."""


class Inference:
    """Infers one node at a time, so that folded constants (a computed target shape) count as data.

    Args:
        opsets: Domain -> version the model imports.
    """

    def __init__(self, opsets: Mapping[str, int]) -> None:
        self._opsets = opsets
        self._schemas: dict[tuple[str, str], onnx.defs.OpSchema | None] = {}

    def schema(self, call: Call) -> onnx.defs.OpSchema | None:
        """Schema of a node's operator, None for one that the installed onnx does not know."""
        key = (call.proto.op_type, call.proto.domain)
        if key not in self._schemas:
            try:
                newest = onnx.defs.onnx_opset_version()
                version = min(call.version, newest) if not call.proto.domain else call.version
                self._schemas[key] = onnx.defs.get_schema(call.proto.op_type, version, call.proto.domain)
            except onnx.defs.SchemaError:
                self._schemas[key] = None
        return self._schemas[key]

    def outputs(self, call: Call, inputs: Mapping[str, Value | Known | None]) -> dict[str, Value]:
        """Types of the outputs that can be inferred.

        Args:
            call: The node.
            inputs: For every name it reads what is known of it.
        """
        schema = self.schema(call)
        if schema is None or not all(entry is not None and entry.dtype in CODES for entry in inputs.values()):
            return {}
        types = {name: _type(entry) for name, entry in inputs.items() if entry is not None}
        data = {name: tensor for name, entry in inputs.items() if (tensor := _data(entry)) is not None}
        try:
            found = shape_inference.infer_node_outputs(schema, call.proto, types, data)
        except (shape_inference.InferenceError, onnx.checker.ValidationError, RuntimeError, ValueError):
            return {}
        return {name: _value(entry) for name, entry in found.items() if entry.HasField("tensor_type")}


def _type(entry: Value | Known) -> TypeProto:
    proto = TypeProto()
    proto.tensor_type.elem_type = CODES[entry.dtype]
    if entry.shape is not None:
        shape = proto.tensor_type.shape
        shape.SetInParent()
        for size in entry.shape:
            shape.dim.add().dim_value = size
    return proto


def _data(entry: Value | Known | None) -> TensorProto | None:
    if not isinstance(entry, Known) or entry.dtype not in CODES:
        return None
    limit = SCALES_LIMIT if entry.is_float else DATA_LIMIT
    return numpy_helper.from_array(entry.array()) if entry.size <= limit else None


def _value(entry: TypeProto) -> Value:
    tensor = entry.tensor_type
    shape: tuple[int, ...] | None = None
    if tensor.HasField("shape") and all(dim.WhichOneof("value") == "dim_value" for dim in tensor.shape.dim):
        shape = tuple(dim.dim_value for dim in tensor.shape.dim)
    return Value(shape, element_name(tensor.elem_type))
