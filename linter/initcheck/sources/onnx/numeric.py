"""Operators of constant expressions, in numpy: what exporters write around shapes, masks and positions.

A function returns None for a form it does not cover.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import numpy_helper

from initcheck.sources.onnx.elements import ELEMENTS
from initcheck.sources.onnx.known import FOLD_LIMIT

if TYPE_CHECKING:
    from initcheck.sources.onnx.call import Call

__all__ = ["NUMERIC"]

Inputs = Sequence[Any]
"""Arrays, None for an absent optional one."""

Compute = Callable[["Call", Inputs], "Sequence[Any] | None"]


def _unary(function: Callable[[Any], Any]) -> Compute:
    return lambda _call, inputs: [function(inputs[0]).astype(inputs[0].dtype)]


def _retyped(function: Callable[[Any], Any]) -> Compute:
    return lambda _call, inputs: [function(inputs[0])]


def _binary(function: Callable[[Any, Any], Any]) -> Compute:
    def compute(call: Call, inputs: Inputs) -> Sequence[Any] | None:
        return None if "axis" in call.attributes else [function(inputs[0], inputs[1])]

    return compute


def _chain(function: Callable[[Any, Any], Any]) -> Compute:
    def compute(_call: Call, inputs: Inputs) -> Sequence[Any]:
        result = inputs[0]
        for other in inputs[1:]:
            result = function(result, other)
        return [result]

    return compute


def _reduce(function: Callable[..., Any]) -> Compute:
    def compute(call: Call, inputs: Inputs) -> Sequence[Any]:
        axes = call.ints("axes")
        if axes is None and len(inputs) > 1 and inputs[1] is not None:
            axes = tuple(int(axis) for axis in inputs[1])
        if not axes and call.integer("noop_with_empty_axes", 0):
            return [inputs[0]]
        keep = bool(call.integer("keepdims", 1))
        return [function(inputs[0], axis=axes or None, keepdims=keep).astype(inputs[0].dtype)]

    return compute


def _divide(left: Any, right: Any) -> Any:
    if np.asarray(left).dtype.kind in "iu":
        quotient = np.abs(left) // np.abs(right)
        return (np.sign(left) * np.sign(right) * quotient).astype(left.dtype)
    return left / right


def _modulo(call: Call, inputs: Inputs) -> Sequence[Any]:
    return [(np.fmod if call.integer("fmod", 0) else np.mod)(inputs[0], inputs[1])]


def _power(_call: Call, inputs: Inputs) -> Sequence[Any]:
    return [np.power(inputs[0], inputs[1]).astype(inputs[0].dtype)]


def _cast(call: Call, inputs: Inputs) -> Sequence[Any] | None:
    element = ELEMENTS.get(call.integer("to", 0))
    if element is None:
        return None
    name = "float32" if element.name == "bfloat16" else element.name
    return None if name.startswith(("float8", "float4", "int4", "uint4", "int2", "uint2")) else [inputs[0].astype(name)]


def _gather(call: Call, inputs: Inputs) -> Sequence[Any]:
    return [np.take(inputs[0], inputs[1], axis=call.integer("axis", 0), mode="raise")]


def _gather_elements(call: Call, inputs: Inputs) -> Sequence[Any]:
    axis = call.integer("axis", 0)
    region = tuple(
        slice(None) if at == axis % inputs[0].ndim else slice(0, size) for at, size in enumerate(inputs[1].shape)
    )
    return [np.take_along_axis(inputs[0][region], inputs[1], axis)]


def _concat(call: Call, inputs: Inputs) -> Sequence[Any]:
    return [np.concatenate(inputs, axis=call.integer("axis", 1))]


def _axes(call: Call, inputs: Inputs) -> tuple[int, ...] | None:
    given = call.ints("axes")
    if given is None and len(inputs) > 1 and inputs[1] is not None:
        given = tuple(int(axis) for axis in inputs[1].reshape(-1))
    return given


def _squeeze(call: Call, inputs: Inputs) -> Sequence[Any]:
    return [np.squeeze(inputs[0], _axes(call, inputs))]


def _unsqueeze(call: Call, inputs: Inputs) -> Sequence[Any]:
    return [np.expand_dims(inputs[0], _axes(call, inputs) or ())]


def _reshape(call: Call, inputs: Inputs) -> Sequence[Any]:
    target = call.ints("shape") if len(inputs) < 2 else tuple(int(size) for size in inputs[1])
    keeps_zero = bool(call.integer("allowzero", 0))
    shape = [inputs[0].shape[axis] if size == 0 and not keeps_zero else size for axis, size in enumerate(target or ())]
    return [inputs[0].reshape(shape)]


def _flatten(call: Call, inputs: Inputs) -> Sequence[Any]:
    axis = call.integer("axis", 1)
    lead = inputs[0].shape[:axis]
    return [inputs[0].reshape(math.prod(lead), -1)]


def _transpose(call: Call, inputs: Inputs) -> Sequence[Any]:
    return [np.transpose(inputs[0], call.ints("perm"))]


def _slice(call: Call, inputs: Inputs) -> Sequence[Any]:
    given = [None if entry is None else [int(number) for number in entry] for entry in inputs[1:]]
    starts = list(call.ints("starts") or given[0] or ())
    ends = list(call.ints("ends") or given[1] or ())
    axes = call.ints("axes") or (given[2] if len(given) > 2 else None) or range(len(starts))
    steps = (given[3] if len(given) > 3 else None) or [1] * len(starts)
    index: list[Any] = [slice(None)] * inputs[0].ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        size = inputs[0].shape[axis]
        stop = None if (step < 0 and end < -size) else end
        index[axis] = slice(start, stop, step)
    return [inputs[0][tuple(index)]]


def _split(call: Call, inputs: Inputs) -> Sequence[Any]:
    axis = call.integer("axis", 0)
    sizes = call.ints("split") or (tuple(int(size) for size in inputs[1]) if len(inputs) > 1 else None)
    if sizes is None:
        count = call.integer("num_outputs", len(call.outputs))
        step = -(-inputs[0].shape[axis] // count)
        return list(np.split(inputs[0], range(step, step * count, step), axis))
    return list(np.split(inputs[0], np.cumsum(sizes)[:-1], axis))


def _range(_call: Call, inputs: Inputs) -> Sequence[Any] | None:
    start, limit, delta = (entry.reshape(()) for entry in inputs)
    count = max(0, math.ceil((float(limit) - float(start)) / float(delta)))
    return None if count * 8 > FOLD_LIMIT else [(start + np.arange(count) * delta).astype(start.dtype)]


def _constant_of_shape(call: Call, inputs: Inputs) -> Sequence[Any] | None:
    value = call.attributes.get("value")
    fill = np.zeros(1, np.float32) if value is None else numpy_helper.to_array(value)
    return [np.broadcast_to(fill.reshape(()), tuple(int(size) for size in inputs[0]))]


def _expand(_call: Call, inputs: Inputs) -> Sequence[Any] | None:
    shape = np.broadcast_shapes(inputs[0].shape, tuple(int(size) for size in inputs[1]))
    return None if math.prod(shape) * 4 > FOLD_LIMIT else [np.broadcast_to(inputs[0], shape)]


def _tile(_call: Call, inputs: Inputs) -> Sequence[Any] | None:
    repeats = tuple(int(count) for count in inputs[1])
    large = math.prod(repeats) * inputs[0].size * 4 > FOLD_LIMIT
    return None if large else [np.tile(inputs[0], repeats)]


def _trilu(call: Call, inputs: Inputs) -> Sequence[Any]:
    diagonal = int(inputs[1]) if len(inputs) > 1 and inputs[1] is not None else 0
    return [(np.triu if call.integer("upper", 1) else np.tril)(inputs[0], diagonal)]


def _cumulative_sum(call: Call, inputs: Inputs) -> Sequence[Any] | None:
    if call.integer("exclusive", 0) or call.integer("reverse", 0):
        return None
    return [np.cumsum(inputs[0], axis=int(inputs[1]), dtype=inputs[0].dtype)]


def _clip(call: Call, inputs: Inputs) -> Sequence[Any]:
    low = inputs[1] if len(inputs) > 1 else call.attributes.get("min")
    high = inputs[2] if len(inputs) > 2 else call.attributes.get("max")
    result = inputs[0] if low is None else np.maximum(inputs[0], low)
    return [(result if high is None else np.minimum(result, high)).astype(inputs[0].dtype)]


def _dequantize(call: Call, inputs: Inputs) -> Sequence[Any] | None:
    values, scale = inputs[0], inputs[1]
    zero = inputs[2] if len(inputs) > 2 and inputs[2] is not None else np.zeros((), values.dtype)
    if scale.ndim > 1 or call.integer("block_size", 0):
        return None
    axis = call.integer("axis", 1)
    shape = [1] * values.ndim
    if scale.size > 1:
        shape[axis] = scale.size
    spread = [entry.reshape(shape) if entry.size > 1 else entry.reshape(()) for entry in (scale, zero)]
    return [((values.astype(np.float32) - spread[1].astype(np.float32)) * spread[0]).astype(scale.dtype)]


NUMERIC: dict[str, Compute] = {
    "Abs": _unary(np.abs),
    "Add": _binary(np.add),
    "And": _binary(np.logical_and),
    "Cast": _cast,
    "Ceil": _unary(np.ceil),
    "Clip": _clip,
    "Concat": _concat,
    "ConstantOfShape": _constant_of_shape,
    "Cos": _unary(np.cos),
    "CumSum": _cumulative_sum,
    "DequantizeLinear": _dequantize,
    "Div": _binary(_divide),
    "Equal": _binary(np.equal),
    "Exp": _unary(np.exp),
    "Expand": _expand,
    "Flatten": _flatten,
    "Floor": _unary(np.floor),
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "Greater": _binary(np.greater),
    "GreaterOrEqual": _binary(np.greater_equal),
    "Identity": _retyped(lambda x: x),
    "IsInf": _retyped(np.isinf),
    "IsNaN": _retyped(np.isnan),
    "Less": _binary(np.less),
    "LessOrEqual": _binary(np.less_equal),
    "Log": _unary(np.log),
    "MatMul": _binary(np.matmul),
    "Max": _chain(np.maximum),
    "Min": _chain(np.minimum),
    "Mod": _modulo,
    "Mul": _binary(np.multiply),
    "Neg": _unary(np.negative),
    "NonZero": _retyped(lambda x: np.asarray(np.nonzero(x), np.int64)),
    "Not": _retyped(np.logical_not),
    "Or": _binary(np.logical_or),
    "Pow": _power,
    "Range": _range,
    "Reciprocal": _unary(np.reciprocal),
    "ReduceMax": _reduce(np.max),
    "ReduceMean": _reduce(np.mean),
    "ReduceMin": _reduce(np.min),
    "ReduceProd": _reduce(np.prod),
    "ReduceSum": _reduce(np.sum),
    "Reshape": _reshape,
    "Round": _unary(np.round),
    "Sigmoid": _unary(lambda x: 0.5 * (1.0 + np.tanh(0.5 * x))),
    "Sign": _unary(np.sign),
    "Sin": _unary(np.sin),
    "Slice": _slice,
    "Split": _split,
    "Sqrt": _unary(np.sqrt),
    "Squeeze": _squeeze,
    "Sub": _binary(np.subtract),
    "Sum": _chain(np.add),
    "Tanh": _unary(np.tanh),
    "Tile": _tile,
    "Transpose": _transpose,
    "Trilu": _trilu,
    "Unsqueeze": _unsqueeze,
    "Where": lambda _call, inputs: [np.where(inputs[0], inputs[1], inputs[2])],
    "Xor": _binary(np.logical_xor),
}
"""Operator -> function of the node and its inputs (None for an absent one)."""
