"""Pooling and reductions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from initcheck.graph import Op
from initcheck.sources.onnx.builder import NotUnderstoodError
from initcheck.sources.onnx.windows import read_window

if TYPE_CHECKING:
    from collections.abc import Callable

    from initcheck.sources.onnx.builder import Builder
    from initcheck.sources.onnx.call import Call

__all__ = ["HANDLERS"]


def _pool(op: Op, layer: str) -> Callable[[Call, Builder], None]:
    def lower(call: Call, build: Builder) -> None:
        kernel = call.ints("kernel_shape")
        if not kernel:
            raise NotUnderstoodError
        shape = build.shape_of(call.input(0))
        window = read_window(call, kernel, shape)
        if shape is not None and len(shape) == len(kernel) + 2:
            # With ceil_mode a window may be larger than all there is, and an average is that of what there is.
            window["kernel"] = tuple(
                min(size, whole + sum(around))
                for size, whole, around in zip(window["kernel"], shape[2:], window["padding"], strict=True)
            )
        build.emit(
            call,
            op,
            (build.activation(call.input(0)),),
            layer=f"{layer}{len(kernel)}d",
            count_include_pad=bool(call.integer("count_include_pad", 0)),
            **window,
        )

    return lower


def _global(function: str) -> Callable[[Call, Builder], None]:
    def lower(call: Call, build: Builder) -> None:
        axes = tuple(range(2, build.rank(call.input(0))))
        name = "avg" if function == "mean" else function
        _reduce(call, build, function, axes, layer=f"adaptive_{name}_pool", keepdims=True)

    return lower


def _reduction(function: str) -> Callable[[Call, Builder], None]:
    def lower(call: Call, build: Builder) -> None:
        axes = _axes(call, build)
        if axes is None:
            build.emit(call, Op.IDENTITY, (build.activation(call.input(0)),))
        else:
            _reduce(call, build, function, axes, layer=function, keepdims=bool(call.integer("keepdims", 1)))

    return lower


def _axes(call: Call, build: Builder) -> tuple[int, ...] | None:
    """Axes to reduce, None when nothing is reduced."""
    axes = build.ints(call, "axes", 1)
    shape = build.shape_of(call.input(0))
    if not axes:
        if call.integer("noop_with_empty_axes", 0):
            return None
        return tuple(range(build.rank(call.input(0))))
    return axes if shape is None else tuple(sorted(axis % len(shape) for axis in axes))


def _reduce(call: Call, build: Builder, function: str, axes: tuple[int, ...], *, layer: str, keepdims: bool) -> None:
    build.emit(
        call,
        Op.REDUCE,
        (build.activation(call.input(0)),),
        layer=layer,
        function=function,
        axes=axes,
        keepdims=keepdims,
    )


def _norm(call: Call, build: Builder) -> None:
    """ReduceL2 and ReduceSumSquare, spelled out."""
    axes = _axes(call, build)
    if axes is None:
        raise NotUnderstoodError
    root = call.op == "ReduceL2"
    x = build.activation(call.input(0))
    squares, value = build.temporary(call, build.values.get(x))
    build.emit(
        call,
        Op.ELEMENTWISE,
        (x,),
        (squares,),
        layer="power",
        result=value,
        function="power",
        arguments={"exponent": 2.0},
    )
    total = build.temporary(call)[0] if root else call.outputs[0]
    build.emit(
        call,
        Op.REDUCE,
        (squares,),
        (total,),
        layer="sum",
        result=build.inferred.get(call.outputs[0]),
        function="sum",
        axes=axes,
        keepdims=bool(call.integer("keepdims", 1)),
    )
    if root:
        build.emit(call, Op.ELEMENTWISE, (total,), layer="sqrt", function="sqrt", arguments={})


HANDLERS = {
    "AveragePool": _pool(Op.POOL_AVERAGE, "avg_pool"),
    "GlobalAveragePool": _global("mean"),
    "GlobalMaxPool": _global("max"),
    "MaxPool": _pool(Op.POOL_MAX, "max_pool"),
    "ReduceL2": _norm,
    "ReduceMax": _reduction("max"),
    "ReduceMean": _reduction("mean"),
    "ReduceMin": _reduction("min"),
    "ReduceSum": _reduction("sum"),
    "ReduceSumSquare": _norm,
}
