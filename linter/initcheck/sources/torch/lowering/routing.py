"""Choices that depend on the input, sums up to a position, and random numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from initcheck.graph import Op, Value
from initcheck.sources.torch.lowering.bound import Bound, NotUnderstoodError
from initcheck.sources.torch.lowering.known import Activation

if TYPE_CHECKING:
    from initcheck.sources.torch.lowering.builder import Builder

__all__ = ["HANDLERS"]

Handler = Callable[[Bound, "Builder"], None]


def _top_k(call: Bound, build: Builder) -> None:
    """Values and indices of the k largest."""
    x, shape = build.activation(call, call["self"]), build.shape(call["self"])
    axis = int(call["dim"]) % max(len(shape), 1)
    count = call["k"]
    if not shape or not isinstance(count, int):
        raise NotUnderstoodError
    outputs = [name for name in call.call.outputs if name]
    build.emit(
        call, Op.TOP_K, (x,), outputs, layer="topk", axis=axis, count=count, largest=call.get("largest") is not False
    )
    if len(call.call.outputs) > 1 and call.call.outputs[1]:
        build.choices[call.call.outputs[1]] = shape[axis]


def _argmax(call: Bound, build: Builder) -> None:
    """An index: what it is compared with or spread over tells what becomes of it."""
    shape, axis = build.shape(call["self"]), call.get("dim")
    if axis is not None and shape:
        build.choices[call.output] = shape[int(axis) % len(shape)]
    raise NotUnderstoodError


def _equal(call: Bound, build: Builder) -> None:
    """Whether an index picked by the input is a given one."""
    x, other = list(call.arguments.values())[:2]
    if not isinstance(x, Activation) or isinstance(other, Activation):
        raise NotUnderstoodError
    _indicator(call, build, build.choices.get(x.name, 0))


def _one_hot(call: Bound, build: Builder) -> None:
    x = call["self"]
    if not isinstance(x, Activation):
        raise NotUnderstoodError
    _indicator(call, build, build.choices.get(x.name, 0))


def _indicator(call: Bound, build: Builder, choices: int) -> None:
    """One with the probability of one choice among many, all alike at initialisation."""
    if choices < 1:
        raise NotUnderstoodError
    chance = 1.0 / choices
    spread = math.sqrt(chance * (1.0 - chance))
    build.emit(call, Op.RANDOM, (), (call.output,), layer="choice", family="bernoulli", mean=chance, std=spread)


def _placed(call: Bound, build: Builder) -> None:
    """Rows added or written at places that the input picks; written ones must meet zeros."""
    base, source = call["self"], call.first("source", "src")
    adds = call.call.op.rpartition("::")[2].rstrip("_") != "scatter"
    if not isinstance(source, Activation):
        raise NotUnderstoodError
    empty = isinstance(base, torch.Tensor) and not bool(base.any())
    if not empty and not (adds and isinstance(base, Activation)):
        raise NotUnderstoodError
    if call.get("alpha", 1) != 1 or call.get("reduce") is not None:
        raise NotUnderstoodError
    if empty:
        build.emit(call, Op.SCATTER, (source.name,), (call.output,), layer="scatter")
        return
    target, value = build.temporary(call)
    build.emit(call, Op.SCATTER, (source.name,), (target,), layer="scatter", result=value)
    build.emit(call, Op.ADD, (build.operand(base), target), (call.output,))


def _cumulated(call: Bound, build: Builder) -> None:
    rank = len(build.shape(call["self"]))
    if not call.result.is_float or rank == 0:
        raise NotUnderstoodError
    x = build.activation(call, call["self"])
    build.emit(call, Op.CUMULATE, (x,), (call.output,), layer="cumsum", axis=int(call["dim"]) % rank, reverse=False)


def _normal(call: Bound, build: Builder) -> None:
    mean, std = _number(call.get("mean"), 0.0), _number(call.get("std"), 1.0)
    if not call.result.is_float:
        raise NotUnderstoodError
    build.emit(call, Op.RANDOM, (), (call.output,), layer="randn", family="normal", mean=mean, std=std)


def _number(given: Any, default: float) -> float:
    if given is None:
        return default
    if not isinstance(given, (int, float)):
        raise NotUnderstoodError
    return float(given)


def real(call: Bound, build: Builder, x: str) -> None:
    """Integers or truth values as real numbers."""
    result = call.result if call.result.shape is not None else Value(build.values[x].shape, call.result.dtype)
    build.emit(call, Op.REAL, (x,), (call.output,), layer="cast", result=result)


HANDLERS: dict[str, Handler] = {
    "argmax": _argmax,
    "cumsum": _cumulated,
    "eq": _equal,
    "index_add": _placed,
    "normal": _normal,
    "normal_functional": _normal,
    "one_hot": _one_hot,
    "randn": _normal,
    "randn_like": _normal,
    "scatter": _placed,
    "scatter_add": _placed,
    "topk": _top_k,
}
