"""Small graphs written by hand, for the examples of rules and for tests."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from initcheck.content import content_key, is_draw
from initcheck.distribution import Distribution, Family
from initcheck.estimate import estimate
from initcheck.graph import Constant, Graph, Node, Op, Parameter, RowFacts, Value
from initcheck.schemes import scheme_distribution

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Builder", "Init"]

Init = str | np.ndarray[Any, Any]
"""A scheme by name, whose exact law the parameter gets, or the values themselves, whose moments are estimated.

``unwritten`` is memory that nothing ever wrote: PyTorch's sources give an opaque operation that reads it.
"""

UNWRITTEN = "unwritten"
KEPT = 1 << 20
"""Elements up to which given values are kept with the parameter."""


class Builder:
    """Builds a graph one layer at a time; every method returns the name of the value it defines.

    Paths are numbers unless given. Biases are zero unless given.

    Args:
        shape: Shape of the first input, the batch first.
        dtype: Its element type; a half type is that of all values and parameters as well.
    """

    def __init__(self, shape: Sequence[int] = (32, 64), dtype: str = "float32") -> None:
        self.nodes: list[Node] = []
        self.values: dict[str, Value] = {}
        self.parameters: dict[str, Parameter] = {}
        self.constants: dict[str, Constant] = {}
        self.inputs: list[str] = []
        self.dtype = dtype if dtype in {"float16", "bfloat16"} else "float32"
        self.x = self.input("input", shape, dtype)

    def input(self, name: str, shape: Sequence[int], dtype: str = "float32") -> str:
        """Another graph input."""
        self.values[name] = Value(tuple(shape), dtype)
        self.inputs.append(name)
        return name

    def linear(
        self, x: str, width: int, init: Init = "kaiming_normal", *, bias: Init | None = "zeros", path: str = ""
    ) -> str:
        """A linear layer over the last axis; the weight is (width, fan_in)."""
        shape = self.shape(x)
        path = path or self._next_path()
        weight = self.parameter(f"{path}.weight", (width, shape[-1]), init)
        attributes = {"axis": -1, "fan_in": shape[-1], "fan_out": width, "out_axis": 0, "scale": 1.0, "bias_scale": 1.0}
        inputs = (x, weight, *self._bias(path, width, bias, shape[-1]))
        return self.node(Op.LINEAR, inputs, (*shape[:-1], width), attributes, path=path, kind="linear")

    def conv(
        self,
        x: str,
        channels: int,
        init: Init = "kaiming_normal",
        *,
        kernel: int = 3,
        stride: int = 1,
        groups: int = 1,
        bias: Init | None = "zeros",
        path: str = "",
    ) -> str:
        """A two-dimensional convolution with half padding."""
        batch, width, *spatial = self.shape(x)
        path = path or self._next_path()
        shape = (channels, width // groups, kernel, kernel)
        fan_in = width // groups * kernel * kernel
        weight = self.parameter(f"{path}.weight", shape, init)
        attributes = {
            "kernel": (kernel, kernel),
            "strides": (stride, stride),
            "dilations": (1, 1),
            "padding": ((kernel // 2, kernel // 2),) * 2,
            "groups": groups,
            "fan_in": fan_in,
            "fan_out": channels // groups * kernel * kernel,
            "out_axis": 0,
        }
        sizes = [(size + 2 * (kernel // 2) - kernel) // stride + 1 for size in spatial]
        inputs = (x, weight, *self._bias(path, channels, bias, fan_in))
        return self.node(Op.CONV, inputs, (batch, channels, *sizes), attributes, path=path, kind="conv2d")

    def embedding(self, ids: str, count: int, width: int, init: Init = "normal(0, 1)", *, path: str = "") -> str:
        """Rows of a table of ``count`` rows; ``ids`` is a value or a constant of integers."""
        path = path or self._next_path()
        weight = self.parameter(f"{path}.weight", (count, width), init)
        attributes = {"fan_in": 1, "fan_out": width}
        return self.node(
            Op.EMBEDDING, (ids, weight), (*self.shape(ids), width), attributes, path=path, kind="embedding"
        )

    def activation(self, x: str, function: str = "relu", *, path: str = "", **arguments: float) -> str:
        """An elementwise function by its name in ``signal/functions.py``."""
        attributes = {"function": function, "arguments": arguments}
        return self.node(Op.ELEMENTWISE, (x,), self.shape(x), attributes, path=path or self._next_path(), kind=function)

    def normalize(
        self,
        x: str,
        kind: str = "layer",
        *,
        scale: Init = "ones",
        shift: Init = "zeros",
        training: bool = True,
        statistics: tuple[Init, Init] = ("zeros", "ones"),
        path: str = "",
    ) -> str:
        """Layer, RMS or batch normalisation; layer and RMS over the last axis."""
        path = path or self._next_path()
        shape = self.shape(x)
        width = shape[1] if kind == "batch" else shape[-1]
        inputs = [x, self.parameter(f"{path}.weight", (width,), scale)]
        if kind != "rms":
            inputs.append(self.parameter(f"{path}.bias", (width,), shift))
        if kind == "batch":
            inputs.append(self.parameter(f"{path}.running_mean", (width,), statistics[0]))
            inputs.append(self.parameter(f"{path}.running_var", (width,), statistics[1]))
        attributes = {"kind": kind, "epsilon": 1e-5, "axes": (-1,), "training": training, "folded": False}
        return self.node(Op.NORMALIZE, tuple(inputs), shape, attributes, path=path, kind=f"{kind}_norm")

    def attention(self, query: str, key: str, value: str, *, scale: float | None = None, path: str = "") -> str:
        """softmax(scale · query keyᵀ) value over the last two axes, spelled out; the scale is 1/√width by default."""
        *outer, queries, width = self.shape(query)
        *before, keys, _ = self.shape(key)
        path = path or self._next_path()
        order = (*range(len(before)), len(before) + 1, len(before))
        turned = self.node(Op.TRANSPOSE, (key,), (*before, width, keys), {"permutation": order}, path=path)
        scores = (*outer, queries, keys)
        logits = self.node(Op.MATMUL, (query, turned), scores, {"scale": 1.0}, path=path)
        logits = self.scale(logits, width**-0.5 if scale is None else scale)
        weights = self.node(Op.SOFTMAX, (logits,), scores, {"axis": -1}, path=path)
        mixed = (*outer, queries, self.shape(value)[-1])
        return self.node(Op.MATMUL, (weights, value), mixed, {"scale": 1.0}, path=path)

    def combine(self, op: Op, first: str, second: str, *, path: str = "") -> str:
        """``ADD``, ``MUL`` and the like of two values, parameters or constants, with broadcasting."""
        shape = np.broadcast_shapes(self.shape(first), self.shape(second))
        return self.node(op, (first, second), shape, {}, path=path or self._next_path(), kind=op.value)

    def add(self, first: str, second: str, *, path: str = "") -> str:
        """Sum of two values."""
        return self.combine(Op.ADD, first, second, path=path)

    def scale(self, x: str, factor: float | str) -> str:
        """A value times a number, or times a parameter of that name."""
        if not isinstance(factor, str):
            factor = self.constant(f"scale{len(self.constants)}", np.array(factor))
        return self.combine(Op.MUL, x, factor)

    def concatenate(self, values: Sequence[str], axis: int = 1) -> str:
        """Values side by side along an axis."""
        shape = list(self.shape(values[0]))
        shape[axis] = sum(self.shape(value)[axis] for value in values)
        return self.node(Op.CONCAT, tuple(values), shape, {"axis": axis}, path=self._next_path(), kind="concat")

    def pool(self, x: str) -> str:
        """Mean over all positions of an image: (batch, channel)."""
        attributes = {"function": "mean", "axes": (2, 3), "keepdims": False}
        return self.node(Op.REDUCE, (x,), self.shape(x)[:2], attributes, path=self._next_path(), kind="reduce_mean")

    def flatten(self, x: str) -> str:
        """(batch, everything else)."""
        shape = self.shape(x)
        flat = (shape[0], math.prod(shape[1:]))
        return self.node(Op.RESHAPE, (x,), flat, {}, path=self._next_path(), kind="flatten")

    def parameter(self, name: str, shape: Sequence[int], init: Init, *, fan_in: float | None = None) -> str:
        """A parameter; vectors take the fan that is given."""
        rows: RowFacts | None = None
        values = None
        written = not (isinstance(init, str) and init == UNWRITTEN)
        if not written:
            distribution = Distribution(Family.UNKNOWN, math.prod(shape), math.nan, math.nan)
        elif isinstance(init, str):
            distribution = scheme_distribution(init, shape, fan_in)
        else:
            array = np.ascontiguousarray(init)
            fans = (fan_in, fan_in) if fan_in and len(shape) < 2 else None
            distribution, rows = estimate((array,), array.shape, fans=fans)
            values = array.astype(np.float64) if array.size <= KEPT else None
        parameter = Parameter(name, tuple(shape), self.dtype, distribution, rows, values, written=written)
        if values is not None and is_draw(parameter):
            parameter = replace(parameter, content=content_key((values,)))
        self.parameters[name] = parameter
        return name

    def constant(self, name: str, array: np.ndarray[Any, Any]) -> str:
        """A constant."""
        self.constants[name] = Constant(array)
        return name

    def node(
        self,
        op: Op,
        inputs: Sequence[str],
        shape: Sequence[int],
        attributes: Mapping[str, Any] | None = None,
        *,
        path: str = "",
        kind: str = "",
    ) -> str:
        """Any operation with one output."""
        name = f"{op.value}_{len(self.nodes)}"
        self.values[name] = Value(tuple(shape), self.dtype)
        self.nodes.append(Node(op, name, tuple(inputs), (name,), attributes or {}, path=path, kind=kind or op.value))
        return name

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a value, parameter or constant."""
        if name in self.values:
            return self.values[name].shape or ()
        return self.parameters[name].shape if name in self.parameters else self.constants[name].shape

    def graph(self, output: str, **fields: Any) -> Graph:
        """The finished graph, with further fields of ``Graph`` where given."""
        return Graph(
            nodes=tuple(self.nodes),
            inputs=tuple(self.inputs),
            outputs=(output,),
            main_output=output,
            values=self.values,
            parameters=self.parameters,
            constants=self.constants,
            parameter_count=sum(parameter.size for parameter in self.parameters.values()),
            **fields,
        )

    def _bias(self, path: str, width: int, bias: Init | None, fan_in: int) -> tuple[str, ...]:
        if bias is None:
            return ()
        return (self.parameter(f"{path}.bias", (width,), bias, fan_in=fan_in),)

    def _next_path(self) -> str:
        return str(len(self.nodes))
