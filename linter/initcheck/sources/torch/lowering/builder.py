"""State of one lowering: what every name stands for, and the nodes so far."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from initcheck.graph import Constant, Node, Op, Value
from initcheck.sources.torch.lowering.bound import Bound, NotUnderstoodError
from initcheck.sources.torch.lowering.known import Activation, Gate, Known, View, root_view
from initcheck.sources.torch.lowering.parameters import ParameterTable, Role
from initcheck.sources.torch.lowering.paths import layer_path

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from initcheck.sources.torch.built import RecordedTensor
    from initcheck.sources.torch.locate import Locator
    from initcheck.sources.torch.lowering.pieces import Pieces

__all__ = ["CONSTANT_LIMIT", "Builder"]

CONSTANT_LIMIT = 4 << 20
"""Bytes of a constant that the graph keeps."""


class Builder:
    """Collects the nodes of the lowered graph.

    Attributes:
        known: What each name of the trace stands for.
        values: Activations.
        nodes: Nodes so far.
        parameters: Uses of parameters so far.
        constants: Constants that nodes read.
        choices: Index that the input picks -> from how many.
        pieces: Value that was written part by part -> the parts.
        packed: Elements of a packed sequence -> the padded sequence.
        pairs: Complex value -> its real and imaginary parts, side by side along a last axis of two.
    """

    def __init__(self, recorded: Mapping[str, RecordedTensor], locator: Locator) -> None:
        self.known: dict[str, Known] = {}
        self.values: dict[str, Value] = {}
        self.nodes: list[Node] = []
        self.parameters = ParameterTable(recorded)
        self.constants: dict[str, Constant] = {}
        self.choices: dict[str, int] = {}
        self.pieces: dict[str, Pieces] = {}
        self.pairs: dict[str, str] = {}
        self.packed: dict[str, str] = {}
        self.locator = locator
        self._taken: set[str] = set()

    def shape(self, known: Known) -> tuple[int, ...]:
        """Shape of whatever a name stands for."""
        if isinstance(known, Activation):
            return self.values[known.name].shape or ()
        return tuple(known.shape)

    def activation(self, call: Bound, known: Any) -> str:
        """Name in the graph of a layer's input; a parameter that takes its place (a learned query) becomes a value.

        Raises:
            NotUnderstoodError: If it is no tensor.
        """
        if isinstance(known, Activation):
            return known.name
        if not isinstance(known, (View, torch.Tensor)):
            raise NotUnderstoodError
        source = self.operand(known)
        dtype = known.dtype if isinstance(known, View) else str(known.dtype).removeprefix("torch.")
        name, _ = self.temporary(call)
        return self.emit(call, Op.EXPAND, (source,), (name,), result=Value(tuple(known.shape), dtype))

    def operand(self, known: Any) -> str:
        """Name in the graph of an operand: an activation, a parameter used as a value, a constant, a number.

        Raises:
            NotUnderstoodError: If it is a parameter of unknown law, too large a constant, or drawn at random.
        """
        if isinstance(known, Activation):
            return known.name
        if isinstance(known, View):
            if not self.parameters.is_known(known):
                raise NotUnderstoodError
            return self.parameters.use(known, keep_shape=True)
        if isinstance(known, Gate):
            raise NotUnderstoodError
        return self.constant(known)

    def constant(self, known: Any) -> str:
        """Register a constant: a tensor or a number.

        Raises:
            NotUnderstoodError: If it is too large to keep, or complex.
        """
        tensor = known if isinstance(known, torch.Tensor) else torch.as_tensor(known)
        if tensor.is_complex() or tensor.numel() * 4 > CONSTANT_LIMIT:
            raise NotUnderstoodError
        if tensor.dtype in {torch.bfloat16, torch.float16}:
            tensor = tensor.to(torch.float32)
        array = np.array(tensor.detach().numpy())
        name = self.fresh(f"constant_{len(self.constants)}")
        self.constants[name] = Constant(array)
        return name

    def weight(self, known: Any, *, out_axis: int | None = None, **role: Any) -> str:
        """Register a weight of a layer; a constant in its place (a fixed filter) is a weight as well.

        Args:
            known: The weight as the layer reads it.
            out_axis: Axis of the view along which output units lie.
            role: Further fields of ``Role``.

        Raises:
            NotUnderstoodError: If it depends on the input, or its law is not known.
        """
        if isinstance(known, torch.Tensor):
            known = _as_view(known, self.fresh("fixed_weight"))
        if not isinstance(known, View) or not known.is_float or not self.parameters.is_known(known):
            raise NotUnderstoodError
        stored = None if out_axis is None else known.stored_axis(out_axis)
        return self.parameters.use(known, Role(out_axis=stored, **role))

    def optional(self, known: Any, **role: Any) -> str:
        """Register a weight that a layer may lack, ``""`` where it does."""
        return "" if known is None else self.weight(known, **role)

    def define(self, name: str, value: Value) -> Activation:
        """Define an activation."""
        self.values[name] = value
        return Activation(name)

    def fresh(self, wanted: str) -> str:
        """A name that no value or node has, ``wanted`` if possible."""
        name, count = wanted, 1
        while name in self._taken or name in self.values or name in self.constants or name in self.known:
            count += 1
            name = f"{wanted}_{count}"
        self._taken.add(name)
        return name

    def temporary(self, call: Bound, value: Value | None = None) -> tuple[str, Value]:
        """A fresh name and a type, that of the call's first output unless given."""
        return self.fresh(f"{call.output}:{len(self.nodes)}"), value or call.result

    def emit(
        self,
        call: Bound,
        op: Op,
        inputs: Sequence[str],
        outputs: Sequence[str] = (),
        *,
        layer: str = "",
        weight: str = "",
        result: Value | None = None,
        **attributes: Any,
    ) -> str:
        """Append a node.

        Args:
            call: The call it comes from.
            op: Operation.
            inputs: Names in the graph.
            outputs: Names to define; the first output of the call when left out.
            layer: What people call the layer; the operation when left out.
            weight: Name of the layer's weight, whose module is the layer.
            result: Type of the outputs; those of the call when left out.
            attributes: As ``Op`` documents.

        Returns:
            Name of the first output.
        """
        names = tuple(outputs) or call.call.outputs[:1]
        types = dict(zip(call.call.outputs, call.results, strict=True))
        for name in names:
            self.known[name] = self.define(name, result or types.get(name) or call.result)
        path = layer_path(call.call, weight)
        self.nodes.append(
            Node(
                op=op,
                name=self.fresh(f"{names[0]}.node" if names else call.call.op),
                inputs=tuple(inputs),
                outputs=names,
                attributes=attributes,
                path=path,
                kind=layer or op.value,
                location=self.locator.locate(call.call, path),
            )
        )
        return names[0]


def _as_view(tensor: torch.Tensor, name: str) -> View:
    dtype = str(tensor.dtype).removeprefix("torch.")
    return root_view(name, tuple(tensor.shape), dtype, lambda: tensor, computed=True)
