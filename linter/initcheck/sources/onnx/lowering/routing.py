"""Choices that depend on the input, sums up to a position, and random numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from initcheck.graph import Op
from initcheck.sources.onnx.builder import NotUnderstoodError

if TYPE_CHECKING:
    from collections.abc import Callable

    from initcheck.sources.onnx.builder import Builder
    from initcheck.sources.onnx.call import Call

__all__ = ["HANDLERS"]


def _top_k(call: Call, build: Builder) -> None:
    counts, rank = build.ints(call, "k", 1), build.rank(call.input(0))
    if not counts or len(counts) != 1 or rank == 0:
        raise NotUnderstoodError
    x = build.activation(call.input(0))
    outputs = [name for name in call.outputs if name]
    build.emit(
        call,
        Op.TOP_K,
        (x,),
        outputs,
        layer="topk",
        axis=call.integer("axis", -1) % rank,
        count=counts[0],
        largest=bool(call.integer("largest", 1)),
    )


def _cumulated(call: Call, build: Builder) -> None:
    axes, rank = build.ints(call, "axis", 1), build.rank(call.input(0))
    if not axes or len(axes) != 1 or rank == 0 or call.integer("exclusive", 0):
        raise NotUnderstoodError
    x = build.activation(call.input(0))
    reverse = bool(call.integer("reverse", 0))
    build.emit(call, Op.CUMULATE, (x,), layer="cumsum", axis=axes[0] % rank, reverse=reverse)


def _normal(call: Call, build: Builder) -> None:
    mean, std = call.number("mean", 0.0), call.number("scale", 1.0)
    build.emit(call, Op.RANDOM, (), layer="randn", family="normal", mean=mean, std=std)


HANDLERS: dict[str, Callable[[Call, Builder], None]] = {
    "CumSum": _cumulated,
    "RandomNormal": _normal,
    "RandomNormalLike": _normal,
    "TopK": _top_k,
}
