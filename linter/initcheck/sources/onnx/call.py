"""One ONNX node with its attributes decoded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from onnx import AttributeProto

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnx import GraphProto, NodeProto

__all__ = ["Call", "read_call"]

ONNX_DOMAINS = frozenset({"", "ai.onnx"})

_FIELDS = {
    AttributeProto.FLOAT: "f",
    AttributeProto.INT: "i",
    AttributeProto.TENSOR: "t",
    AttributeProto.GRAPH: "g",
    AttributeProto.FLOATS: "floats",
    AttributeProto.INTS: "ints",
}


@dataclass(frozen=True, slots=True)
class Call:
    """A node as lowering sees it.

    Attributes:
        proto: The node itself, for shape inference.
        index: Its place in the file.
        op: Operator, with its domain in front when that is not ONNX's own (``com.microsoft::Gelu``).
        version: Version of the operator's domain that the model imports; 0 if it imports none.
        inputs: Names of values; ``""`` for an absent one.
        outputs: Names of values; ``""`` for one that is not wanted.
        attributes: Decoded attributes: numbers, tuples, text, TensorProto, GraphProto.
        metadata: The node's metadata_props.
    """

    proto: NodeProto
    index: int
    op: str
    version: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)

    def input(self, position: int) -> str:
        """Name of an input, empty when it is absent."""
        return self.inputs[position] if position < len(self.inputs) else ""

    def ints(self, name: str) -> tuple[int, ...] | None:
        """An attribute that is a list of integers, None when absent."""
        value = self.attributes.get(name)
        return None if value is None else tuple(value)

    def number(self, name: str, default: float) -> float:
        """An attribute that is a number."""
        return float(self.attributes.get(name, default))

    def integer(self, name: str, default: int) -> int:
        """An attribute that is an integer."""
        return int(self.attributes.get(name, default))

    def text(self, name: str, default: str) -> str:
        """An attribute that is text."""
        return str(self.attributes.get(name, default))

    def graph(self, name: str) -> GraphProto | None:
        """An attribute that is a graph."""
        return self.attributes.get(name)


def read_call(proto: NodeProto, index: int, opsets: Mapping[str, int]) -> Call:
    """Decode a node.

    Args:
        proto: The node.
        index: Its place in the file.
        opsets: Domain -> version the model imports.
    """
    domain = "" if proto.domain in ONNX_DOMAINS else proto.domain
    return Call(
        proto=proto,
        index=index,
        op=f"{domain}::{proto.op_type}" if domain else proto.op_type,
        version=opsets.get(domain, 0),
        inputs=tuple(proto.input),
        outputs=tuple(proto.output),
        attributes={attribute.name: _decode(attribute) for attribute in proto.attribute},
        metadata={entry.key: entry.value for entry in proto.metadata_props},
    )


def _decode(attribute: AttributeProto) -> Any:
    if attribute.type == AttributeProto.STRING:
        return attribute.s.decode("utf-8", "replace")
    if attribute.type == AttributeProto.STRINGS:
        return tuple(entry.decode("utf-8", "replace") for entry in attribute.strings)
    name = _FIELDS.get(attribute.type)
    if name is None:
        return None
    value = getattr(attribute, name)
    return tuple(value) if attribute.type in {AttributeProto.FLOATS, AttributeProto.INTS} else value
