"""State of one lowering: what every name stands for, and the nodes so far."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from initcheck.graph import Constant, Node, Op, Value
from initcheck.sources.onnx.known import Known, known_array
from initcheck.sources.onnx.locations import locate
from initcheck.sources.onnx.parameters import ParameterTable, Role
from initcheck.sources.onnx.paths import is_anonymous, layer_path

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from initcheck.sources.onnx.call import Call
    from initcheck.sources.onnx.inference import Inference

__all__ = ["CONSTANT_LIMIT", "MASKED", "Builder", "Layer", "NotUnderstoodError"]

CONSTANT_LIMIT = 4 << 20
"""Bytes of a constant that the graph keeps."""

FILLED_LIMIT = 1 << 28
"""Elements of a weight that is one number throughout; its statistics are counted like any other's."""

MASKED = -1e4
"""An addend with entries at or below this is a mask: exp of it is zero in every float type."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A weighted layer about to be emitted.

    Attributes:
        op: Operation.
        kind: What people call it.
        inputs: Its operands, names in the graph.
        output: Name to define.
        weight: Name of the stored weight, empty for one that was computed.
        attributes: As ``Op`` documents.
    """

    op: Op
    kind: str
    inputs: Sequence[str]
    output: str
    weight: str
    attributes: Mapping[str, Any]


class NotUnderstoodError(Exception):
    """This use of an operator has no word in the vocabulary; the node becomes opaque."""


class Builder:
    """Collects the nodes of the lowered graph.

    A name stands for a ``Known`` tensor or for an activation; activations keep their names in the graph.

    Attributes:
        known: Tensors that need no run of the model.
        values: Activations.
        nodes: Nodes so far.
        parameters: Uses of parameters so far.
        constants: Constants that nodes read.
        sequences: Sequence values -> names of their elements.
        inferred: Types of the outputs of the node that is being lowered.
        restored: Paths of layers whose folded batch normalisation was put back.
        retrained: Paths of batch normalisations that the exporter wrote in inference form against the traced model.
    """

    def __init__(self, inference: Inference) -> None:
        self.inference = inference
        self.known: dict[str, Known] = {}
        self.values: dict[str, Value] = {}
        self.nodes: list[Node] = []
        self.parameters = ParameterTable()
        self.constants: dict[str, Constant] = {}
        self.restored: list[str] = []
        self.retrained: list[str] = []
        self.sequences: dict[str, tuple[str, ...]] = {}
        self.inferred: dict[str, Value] = {}
        self._taken: set[str] = set()

    def value_of(self, name: str) -> Value | Known | None:
        """What is known of a name: a tensor, an activation, or None when it is absent or was never defined."""
        return self.known.get(name) or self.values.get(name)

    def shape_of(self, name: str) -> tuple[int, ...] | None:
        """Shape of a value, None when unknown."""
        value = self.value_of(name)
        return value.shape if value is not None else None

    def rank(self, name: str) -> int:
        """Number of axes of a value.

        Raises:
            NotUnderstoodError: If its shape is unknown.
        """
        shape = self.shape_of(name)
        if shape is None:
            raise NotUnderstoodError
        return len(shape)

    def is_defined(self, name: str) -> bool:
        """Whether a name stands for something."""
        return name in self.known or name in self.values or name in self.sequences

    def activation(self, name: str) -> str:
        """Name in the graph of a value that depends on the input.

        Raises:
            NotUnderstoodError: If it is absent or a known tensor.
        """
        if name not in self.values:
            raise NotUnderstoodError
        return name

    def ints(self, call: Call, attribute: str, position: int) -> tuple[int, ...] | None:
        """Integers that older opsets give as an attribute and newer ones as a constant input; None when absent.

        Raises:
            NotUnderstoodError: If the input is computed from activations.
        """
        given = call.ints(attribute)
        name = call.input(position)
        if given is not None or not name:
            return given
        known = self.known.get(name)
        if known is None:
            raise NotUnderstoodError
        return tuple(int(entry) for entry in known.array().reshape(-1))

    def number(self, call: Call, attribute: str, position: int) -> float | None:
        """A number that older opsets give as an attribute and newer ones as a constant input; None when absent.

        Raises:
            NotUnderstoodError: If the input is computed from activations, or several numbers.
        """
        if attribute in call.attributes:
            return call.number(attribute, 0.0)
        name = call.input(position)
        if not name:
            return None
        known = self.known.get(name)
        scalar = known.scalar() if known is not None else None
        if scalar is None:
            raise NotUnderstoodError
        return scalar

    def operand(self, name: str) -> str:
        """Name in the graph of an operand of any kind, registered where it is a parameter or a constant."""
        known = self.known.get(name)
        if known is None:
            return self.activation(name)
        if known.origin is not None and known.is_float:
            return self.parameters.use(known, keep_shape=True)
        return self.constant(name, known)

    def constant(self, name: str, known: Known) -> str:
        """Register a constant.

        Raises:
            NotUnderstoodError: If it is too large to keep.
        """
        if known.size * 4 > CONSTANT_LIMIT or known.dtype == "string":
            raise NotUnderstoodError
        self.constants[name] = Constant(known.array())
        return name

    def literal(self, call: Call, number: float) -> str:
        """Register a scalar that the operator implies."""
        name = self.fresh(f"{call.outputs[0]}:constant")
        self.constants[name] = Constant(np.asarray(number))
        return name

    def weight(
        self, call: Call, known: Known, *, leaf: str = "weight", out_axis: int | None = None, **role: Any
    ) -> str:
        """Register a parameter of a layer, whatever the file makes of it.

        Args:
            call: The layer's node.
            known: View of the tensor.
            leaf: What the parameter is called within its layer, for tensors whose names say nothing.
            out_axis: Axis of the view along which output units lie.
            role: Further fields of ``Role``.

        Raises:
            NotUnderstoodError: If it is computed and too large to keep.
        """
        name = ""
        if known.origin is None or is_anonymous(known.origin.name):
            name = f"{layer_path(call)}.{leaf}"
        if known.origin is None:
            # What a weighted operation contracts is a weight, even if the file computes it.
            if not (known.is_small or (known.is_filled and known.size <= FILLED_LIMIT)) or not known.is_float:
                raise NotUnderstoodError
            known = known_array(known.array(), f"{call.outputs[0]}:{leaf}")
        stored = None if out_axis is None else known.stored_axis(out_axis)
        return self.parameters.use(known, Role(name=name, out_axis=stored, **role))

    def is_zero(self, name: str) -> bool:
        """Whether a name is a constant of zeros, which exporters write for an absent bias."""
        known = self.known.get(name)
        if known is None or known.origin is not None or not (known.is_small or known.is_filled):
            return False
        return not np.any(known.array())

    def define(self, name: str, value: Value | None = None) -> str:
        """Define an activation under its name in the file."""
        inferred = self.inferred.get(name)
        self.values[name] = value or inferred or Value(None, "")
        return name

    def fresh(self, wanted: str) -> str:
        """A name that no value, node or constant has, ``wanted`` if possible."""
        name, count = wanted, 1
        while name in self._taken or name in self.values or name in self.constants or name in self.known:
            count += 1
            name = f"{wanted}_{count}"
        self._taken.add(name)
        return name

    def emit(
        self,
        call: Call,
        op: Op,
        inputs: Sequence[str],
        outputs: Sequence[str] = (),
        *,
        layer: str = "",
        path: str = "",
        result: Value | None = None,
        **attributes: Any,
    ) -> str:
        """Append a node.

        Args:
            call: The node of the file it comes from.
            op: Operation.
            inputs: Names in the graph.
            outputs: Names to define; the first output of the call when left out.
            layer: What people call the layer; the operation when left out.
            path: Layer path; that of the call when left out.
            result: Type of the outputs; what inference found when left out.
            attributes: As ``Op`` documents.

        Returns:
            Name of the first output.
        """
        names = tuple(outputs) or call.outputs[:1]
        for name in names:
            self.define(name, result)
        self.nodes.append(
            Node(
                op=op,
                name=self.fresh(call.proto.name or f"{call.proto.op_type}_{call.index}"),
                inputs=tuple(inputs),
                outputs=names,
                attributes=attributes,
                path=path or layer_path(call),
                kind=layer or op.value,
                location=locate(call.metadata),
            )
        )
        return names[0]

    def temporary(self, call: Call, value: Value | None = None) -> tuple[str, Value]:
        """A fresh activation name and its type, that of the call's first output unless given."""
        name = call.outputs[0]
        return self.fresh(f"{name}:{len(self.nodes)}"), value or self.inferred.get(name) or Value(None, "")
