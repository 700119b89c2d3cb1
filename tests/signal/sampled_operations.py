"""The vocabulary of operations in plain numpy, float64: what the laws are measured against."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from initcheck.graph import Node, Op
from initcheck.signal.functions import FUNCTIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Array: TypeAlias = np.ndarray[Any, Any]

REDUCTIONS = {"mean": np.mean, "sum": np.sum, "max": np.max, "min": np.min}


def evaluate(node: Node, args: list[Any], shapes: list[tuple[int, ...]], rng: np.random.Generator) -> list[Array]:
    """Outputs of a node.

    Args:
        node: The operation.
        args: Arrays of its inputs, None for an absent one.
        shapes: Shapes its outputs must have.
        rng: Draws dropout's mask.
    """
    if node.op is Op.SPLIT:
        axis = node.attributes["axis"]
        return list(np.split(args[0], np.cumsum([shape[axis] for shape in shapes])[:-1], axis=axis))
    if node.op is Op.DROPOUT:
        rate = node.attributes["rate"] if node.attributes.get("training", True) else 0.0
        result = args[0] * (rng.random(args[0].shape) >= rate) / (1.0 - rate)
    elif node.op is Op.RANDOM:
        result = drawn(node.attributes, shapes[0], rng)
    elif node.op is Op.SCATTER:
        result = placed(args[0], shapes[0], rng)
    elif node.op in SHAPED:
        result = SHAPED[node.op](node.attributes, args, shapes[0])
    else:
        result = PLAIN[node.op](node.attributes, *args)
    assert result.shape == shapes[0], (node.name, result.shape, shapes[0])
    return [result]


def drawn(a: Any, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    if a["family"] == "normal":
        return a["mean"] + a["std"] * rng.standard_normal(shape)
    if a["family"] == "bernoulli":
        return (rng.random(shape) < a["mean"]).astype(np.float64)
    return a["mean"] + math.sqrt(12.0) * a["std"] * (rng.random(shape) - 0.5)


def placed(x: Array, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Rows of every sample at different places of its own."""
    result = np.zeros(shape)
    for sample, rows in zip(result, x, strict=True):
        sample[rng.permutation(shape[1])[: x.shape[1]]] = rows
    return result


def largest(a: Any, x: Array) -> Array:
    ordered = np.sort(x, axis=a["axis"])
    ordered = np.flip(ordered, axis=a["axis"]) if a.get("largest", True) else ordered
    return np.take(ordered, range(a["count"]), axis=a["axis"])


def linear(a: Any, x: Array, weight: Array, bias: Array | None = None) -> Array:
    matrix = weight if a.get("out_axis", 0) == 1 else weight.T
    result = a.get("scale", 1.0) * (np.moveaxis(x, a.get("axis", -1), -1) @ matrix)
    if bias is not None:
        result = result + a.get("bias_scale", 1.0) * bias
    return np.moveaxis(result, -1, a.get("axis", -1))


def with_bias(x: Array, bias: Array | None) -> Array:
    return x if bias is None else x + bias.reshape(1, -1, *(1,) * (x.ndim - 2))


def windows(x: Array, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]) -> Array:
    """(batch, channel, *output, *kernel)."""
    rank = len(kernel)
    extents = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    view = np.lib.stride_tricks.sliding_window_view(x, extents, axis=tuple(range(2, 2 + rank)))
    steps = (slice(None), slice(None), *(slice(None, None, s) for s in (*strides, *dilations)))
    return view[steps]


def convolve(a: Any, x: Array, weight: Array, bias: Array | None = None) -> Array:
    rank = len(a["kernel"])
    padded = np.pad(x, [(0, 0), (0, 0), *a["padding"]])
    view = windows(padded, a["kernel"], a["strides"], a["dilations"])
    taps = [1, *range(2 + rank, 2 + 2 * rank)]
    parts = [
        np.moveaxis(np.tensordot(inner, outer, (taps, list(range(1, 2 + rank)))), -1, 1)
        for inner, outer in zip(np.split(view, a["groups"], 1), np.split(weight, a["groups"], 0), strict=True)
    ]
    return with_bias(np.concatenate(parts, axis=1), bias)


def convolve_transposed(a: Any, args: list[Any], shape: tuple[int, ...]) -> Array:
    x, weight = args[:2]
    groups, spatial = a.get("groups", 1), x.shape[2:]
    kernel, strides, dilations = a["kernel"], a["strides"], a["dilations"]
    before = [low for low, _ in a["padding"]]
    full = [(n - 1) * s + (k - 1) * d + 1 for n, s, k, d in zip(spatial, strides, kernel, dilations, strict=True)]
    canvas = np.zeros((*shape[:2], *(max(f, low + n) for f, low, n in zip(full, before, shape[2:], strict=True))))
    for tap in itertools.product(*(range(k) for k in kernel)):
        parts = [
            np.moveaxis(np.tensordot(inner, outer[(slice(None), slice(None), *tap)], ([1], [0])), -1, 1)
            for inner, outer in zip(np.split(x, groups, 1), np.split(weight, groups, 0), strict=True)
        ]
        place = [
            slice(t * d, t * d + (n - 1) * s + 1, s)
            for t, d, n, s in zip(tap, dilations, spatial, strides, strict=True)
        ]
        canvas[(slice(None), slice(None), *place)] += np.concatenate(parts, axis=1)
    cut = [slice(low, low + n) for low, n in zip(before, shape[2:], strict=True)]
    return with_bias(canvas[(slice(None), slice(None), *cut)], args[2] if len(args) > 2 else None)


def softmax(x: Array, axis: int = -1) -> Array:
    weights = np.exp(x - x.max(axis=axis, keepdims=True))
    return weights / weights.sum(axis=axis, keepdims=True)


def attention(a: Any, query: Array, key: Array, value: Array, mask: Array | None = None) -> Array:
    logits = (a.get("scale") or query.shape[-1] ** -0.5) * (query @ np.swapaxes(key, -1, -2))
    queries, keys = logits.shape[-2:]
    if a.get("causal"):
        logits = np.where(np.tri(queries, keys, keys - queries) > 0, logits, -np.inf)
    if mask is not None:
        logits = np.where(mask, logits, -np.inf) if mask.dtype == bool else logits + mask
    return softmax(logits, -1) @ value


def normalize(a: Any, *args: Any) -> Array:
    x = args[0]
    kind, epsilon = a["kind"], a.get("epsilon", 1e-5)
    channels = (1, -1, *(1,) * (x.ndim - 2))
    spatial = tuple(range(2, x.ndim))
    if kind in {"layer", "rms"}:
        axes = tuple(axis % x.ndim for axis in a["axes"])
        layout: tuple[int, ...] = tuple(x.shape[axis] for axis in axes)
        grouped = x
    elif kind == "group":
        grouped = x.reshape(x.shape[0], a["groups"], -1, *x.shape[2:])
        axes, layout = tuple(range(2, grouped.ndim)), channels
    else:
        grouped, axes, layout = x, (0, *spatial) if kind == "batch" else spatial, channels
    if kind == "batch" and not a.get("training", True):
        mean, variance = args[3].reshape(channels), args[4].reshape(channels)
    else:
        mean = 0.0 if kind == "rms" else grouped.mean(axis=axes, keepdims=True)
        variance = np.mean((grouped - mean) ** 2, axis=axes, keepdims=True)
    result = a.get("length", 1.0) * ((grouped - mean) / np.sqrt(variance + epsilon)).reshape(x.shape)
    if len(args) > 1 and args[1] is not None:
        result = result * args[1].reshape(layout)
    if len(args) > 2 and args[2] is not None:
        result = result + args[2].reshape(layout)
    return result


def pool(a: Any, x: Array, *, largest: bool) -> Array:
    rank = len(a["kernel"])
    geometry = (a["kernel"], a.get("strides", a["kernel"]), a.get("dilations", (1,) * rank))
    border = [(0, 0), (0, 0), *a.get("padding", ((0, 0),) * rank)]
    taps = tuple(range(2 + rank, 2 + 2 * rank))
    if largest:
        return windows(np.pad(x, border, constant_values=-np.inf), *geometry).max(axis=taps)
    sums = windows(np.pad(x, border), *geometry).sum(axis=taps)
    if a.get("count_include_pad"):
        return sums / math.prod(a["kernel"])
    return sums / windows(np.pad(np.ones((1, 1, *x.shape[2:])), border), *geometry).sum(axis=taps)


def part(a: Any, args: list[Any], shape: tuple[int, ...]) -> Array:
    x = args[0]
    rank = x.ndim
    axes = [axis % rank for axis in a.get("axes", ())]
    dropped = {axis % rank for axis in a.get("dropped", ())}
    starts = dict(zip(axes, a.get("starts", (0,) * len(axes)), strict=True))
    sizes = iter(shape)
    index: list[Any] = []
    for axis in range(rank):
        start = starts.get(axis, 0)
        index.append(start if axis in dropped else slice(start, start + next(sizes)))
    return x[tuple(index)]


def pad(a: Any, x: Array) -> Array:
    if a["value"] is None:
        return np.pad(x, a["padding"], mode="edge")
    return np.pad(x, a["padding"], constant_values=a["value"])


def resize(a: Any, args: list[Any], shape: tuple[int, ...]) -> Array:
    """Half-pixel centres, as in PyTorch's interpolate(align_corners=False)."""
    x = args[0]
    for axis, size in enumerate(shape):
        old = x.shape[axis]
        if old == size:
            continue
        centre = (np.arange(size) + 0.5) * old / size - 0.5
        if a["mode"] == "nearest":
            x = np.take(x, np.floor(np.arange(size) * old / size).astype(int), axis=axis)
            continue
        centre = np.clip(centre, 0, old - 1)
        low = np.minimum(np.floor(centre).astype(int), old - 1)
        high = np.minimum(low + 1, old - 1)
        share = (centre - low).reshape([-1 if i == axis else 1 for i in range(x.ndim)])
        x = (1.0 - share) * np.take(x, low, axis=axis) + share * np.take(x, high, axis=axis)
    return x


PLAIN: dict[Op, Callable[..., Array]] = {
    Op.LINEAR: linear,
    Op.CONV: convolve,
    Op.EMBEDDING: lambda a, ids, table: table[ids],
    Op.MATMUL: lambda a, x, y: a.get("scale", 1.0) * (x @ y),
    Op.ADD: lambda a, x, y: x + y,
    Op.SUB: lambda a, x, y: x - y,
    Op.MUL: lambda a, x, y: x * y,
    Op.DIV: lambda a, x, y: x / y,
    Op.MAXIMUM: lambda a, x, y: np.maximum(x, y),
    Op.MINIMUM: lambda a, x, y: np.minimum(x, y),
    Op.WHERE: lambda a, condition, x, y: np.where(condition, x, y),
    Op.ELEMENTWISE: lambda a, x: FUNCTIONS[a["function"]].value(x, **a.get("arguments", {})),
    Op.SOFTMAX: lambda a, x: softmax(x, a.get("axis", -1)),
    Op.ATTENTION: attention,
    Op.NORMALIZE: normalize,
    Op.POOL_AVERAGE: lambda a, x: pool(a, x, largest=False),
    Op.POOL_MAX: lambda a, x: pool(a, x, largest=True),
    Op.REDUCE: lambda a, x: REDUCTIONS[a["function"]](x, axis=tuple(a["axes"]), keepdims=bool(a.get("keepdims"))),
    Op.CONCAT: lambda a, *parts: np.concatenate(parts, axis=a["axis"]),
    Op.PAD: pad,
    Op.TRANSPOSE: lambda a, x: x.transpose(a["permutation"]),
    Op.IDENTITY: lambda a, x: x,
    Op.TOP_K: largest,
    Op.CUMULATE: lambda a, x: (
        np.flip(np.cumsum(np.flip(x, a["axis"]), a["axis"]), a["axis"]) if a.get("reverse") else np.cumsum(x, a["axis"])
    ),
    Op.REAL: lambda a, x: x.astype(np.float64),
}
SHAPED: dict[Op, Callable[[Any, list[Any], tuple[int, ...]], Array]] = {
    Op.CONV_TRANSPOSE: convolve_transposed,
    Op.SLICE: part,
    Op.RESIZE: resize,
    Op.RESHAPE: lambda a, args, shape: args[0].reshape(shape),
    Op.EXPAND: lambda a, args, shape: np.broadcast_to(args[0], shape),
}
"""Operations whose attributes leave the output's shape open."""
