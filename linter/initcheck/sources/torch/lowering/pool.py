"""Pooling and reductions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from initcheck.graph import Op, Value
from initcheck.sources.torch.lowering.bound import Bound, NotUnderstoodError
from initcheck.sources.torch.lowering.convolution import per_axis

if TYPE_CHECKING:
    from initcheck.sources.torch.lowering.builder import Builder

__all__ = ["HANDLERS"]

Handler = Callable[[Bound, "Builder"], None]


def _pool(op: Op, axes: int) -> Handler:
    kind = f"{'avg' if op is Op.POOL_AVERAGE else 'max'}_pool{axes}d"

    def lower(call: Bound, build: Builder) -> None:
        shape, result = build.shape(call["self"]), call.result.shape or ()
        if call.get("divisor_override") is not None:
            raise NotUnderstoodError
        kernel = per_axis(call["kernel_size"], axes)
        strides = per_axis(call["stride"], axes) if call["stride"] else kernel
        dilations = per_axis(call.get("dilation", 1), axes)
        padding = per_axis(call["padding"], axes)
        # With ceil_mode a window may be larger than all there is, and an average is that of what there is.
        kernel = tuple(
            min(size, whole + 2 * before) for size, whole, before in zip(kernel, shape[-axes:], padding, strict=True)
        )
        ends = [
            # Rounding up lets the last window hang over.
            max((out - 1) * stride + (size - 1) * dilation + 1 - whole - before, before)
            for out, stride, size, dilation, whole, before in zip(
                result[-axes:], strides, kernel, dilations, shape[-axes:], padding, strict=True
            )
        ]
        x, target = build.activation(call, call["self"]), call.output
        if len(shape) == axes + 1:
            # Without a batch: laws count axes from the front.
            single, _ = build.temporary(call)
            x = build.emit(call, Op.RESHAPE, (x,), (single,), result=Value((1, *shape), call.result.dtype))
            target, _ = build.temporary(call)
        build.emit(
            call,
            op,
            (x,),
            (target,),
            result=Value((*(() if target == call.output else (1,)), *result), call.result.dtype),
            layer=kind,
            kernel=kernel,
            strides=strides,
            dilations=dilations,
            padding=tuple(zip(padding, ends, strict=True)),
            count_include_pad=bool(call.get("count_include_pad", False)),
        )
        if target != call.output:
            build.emit(call, Op.RESHAPE, (target,), (call.output,))

    return lower


def _adaptive(function: str, axes: int) -> Handler:
    name = "avg" if function == "mean" else function

    def lower(call: Bound, build: Builder) -> None:
        shape, result = build.shape(call["self"]), call.result.shape or ()
        x = build.activation(call, call["self"])
        before, after = shape[-axes:], result[-axes:]
        kind = f"adaptive_{name}_pool"
        if all(size == 1 for size in after):
            where = tuple(range(len(shape) - axes, len(shape)))
            build.emit(call, Op.REDUCE, (x,), (call.output,), layer=kind, function=function, axes=where, keepdims=True)
            return
        if before == after:
            build.emit(call, Op.IDENTITY, (x,), (call.output,))
            return
        if 0 in (*before, *after):
            raise NotUnderstoodError
        kernel = tuple(map(_typical, before, after))
        laid = tuple(goal * width for goal, width in zip(after, kernel, strict=True))
        if laid != before:
            # Windows that overlap, or of which some are smaller: neighbours are repeated to fill windows of one size.
            target, value = build.temporary(call, Value((*shape[:-axes], *laid), call.result.dtype))
            x = build.emit(call, Op.RESIZE, (x,), (target,), result=value, mode="nearest")
        build.emit(
            call,
            Op.POOL_AVERAGE if function == "mean" else Op.POOL_MAX,
            (x,),
            (call.output,),
            layer=kind,
            kernel=kernel,
            strides=kernel,
            dilations=(1,) * axes,
            padding=((0, 0),) * axes,
            count_include_pad=False,
        )

    return lower


def _typical(size: int, goal: int) -> int:
    """Entries of the windows from floor(i n/m) to ceil((i + 1) n/m), by the mean of what averaging leaves, 1/k."""
    windows = (-(-(at + 1) * size // goal) - at * size // goal for at in range(goal))
    return max(round(goal / sum(1.0 / width for width in windows)), 1)


def _reduction(function: str) -> Handler:
    def lower(call: Bound, build: Builder) -> None:
        if not call.result.is_float:
            raise NotUnderstoodError
        axes = _axes(call, build)
        if len(axes) == 1 and len(call.call.outputs) > 1 and call.call.outputs[1]:
            build.choices[call.call.outputs[1]] = build.shape(call["self"])[axes[0]]
        x = build.activation(call, call["self"])
        _reduce(call, build, x, function, axes, call.output)

    return lower


def _axes(call: Bound, build: Builder) -> tuple[int, ...]:
    """Axes to reduce: all of them where none is named."""
    rank = len(build.shape(call["self"]))
    given = call.get("dim")
    if given is None or given == []:
        return tuple(range(rank))
    listed = given if isinstance(given, (list, tuple)) else (given,)
    return tuple(sorted(int(axis) % max(rank, 1) for axis in listed))


def _reduce(
    call: Bound, build: Builder, x: str, function: str, axes: tuple[int, ...], output: str, result: Value | None = None
) -> str:
    return build.emit(
        call,
        Op.REDUCE,
        (x,),
        (output,),
        layer=function,
        result=result,
        function=function,
        axes=axes,
        keepdims=bool(call.get("keepdim", False)),
    )


def _variance(*, root: bool) -> Handler:
    """Mean square of the deviation from the mean."""

    def lower(call: Bound, build: Builder) -> None:
        axes = _axes(call, build)
        x, shape = build.activation(call, call["self"]), build.shape(call["self"])
        kept = Value(tuple(1 if axis in axes else size for axis, size in enumerate(shape)), call.result.dtype)
        whole = Value(shape, call.result.dtype)
        mean = _existing_mean(build, x, axes) or build.temporary(call)[0]
        deviation, squares = build.temporary(call)[0], build.temporary(call)[0]
        if mean not in build.values:
            build.emit(
                call, Op.REDUCE, (x,), (mean,), layer="mean", result=kept, function="mean", axes=axes, keepdims=True
            )
        build.emit(call, Op.SUB, (x, mean), (deviation,), result=whole)
        power: dict[str, Any] = {"function": "power", "arguments": {"exponent": 2.0}}
        build.emit(call, Op.ELEMENTWISE, (deviation,), (squares,), layer="power", result=whole, **power)
        count = math.prod(shape[axis] for axis in axes)
        freedom = count - _correction(call)
        factor = count / freedom if freedom > 0 else 1.0
        steps = [output for output in ((root and "root"), (factor != 1.0 and "factor")) if output]
        target = build.temporary(call)[0] if steps else call.output
        current = _reduce(call, build, squares, "mean", axes, target, call.result)
        if factor != 1.0:
            target = build.temporary(call)[0] if root else call.output
            current = build.emit(call, Op.MUL, (current, build.constant(factor)), (target,), result=call.result)
        if root:
            build.emit(call, Op.ELEMENTWISE, (current,), (call.output,), layer="sqrt", function="sqrt", arguments={})

    return lower


def _existing_mean(build: Builder, x: str, axes: tuple[int, ...]) -> str:
    """The mean that was computed before, as in a normalisation spelled out; empty if there is none."""
    wanted = {"function": "mean", "axes": axes, "keepdims": True}
    found = (node for node in reversed(build.nodes) if node.op is Op.REDUCE and node.inputs == (x,))
    return next((node.outputs[0] for node in found if dict(node.attributes) == wanted), "")


def _correction(call: Bound) -> float:
    if call.get("correction") is not None:
        return float(call["correction"])
    return float(call.get("unbiased", True) is not False)


def _norm(call: Bound, build: Builder) -> None:
    """Euclidean length."""
    order = call.first("ord", "p")
    if order is not None and float(order) != 2.0:
        raise NotUnderstoodError
    x = build.activation(call, call["self"])
    value = Value(build.shape(call["self"]), call.result.dtype)
    squares, total = build.temporary(call)[0], build.temporary(call)[0]
    power: dict[str, Any] = {"function": "power", "arguments": {"exponent": 2.0}}
    build.emit(call, Op.ELEMENTWISE, (x,), (squares,), layer="power", result=value, **power)
    _reduce(call, build, squares, "sum", _axes(call, build), total, call.result)
    build.emit(call, Op.ELEMENTWISE, (total,), (call.output,), layer="sqrt", function="sqrt", arguments={})


HANDLERS: dict[str, Handler] = {
    **{f"avg_pool{n}d": _pool(Op.POOL_AVERAGE, n) for n in (1, 2, 3)},
    **{f"max_pool{n}d": _pool(Op.POOL_MAX, n) for n in (1, 2, 3)},
    **{f"max_pool{n}d_with_indices": _pool(Op.POOL_MAX, n) for n in (1, 2, 3)},
    **{f"adaptive_avg_pool{n}d": _adaptive("mean", n) for n in (1, 2, 3)},
    **{f"_adaptive_avg_pool{n}d": _adaptive("mean", n) for n in (2, 3)},
    **{f"adaptive_max_pool{n}d": _adaptive("max", n) for n in (1, 2, 3)},
    "amax": _reduction("max"),
    "amin": _reduction("min"),
    "linalg_vector_norm": _norm,
    "max": _reduction("max"),
    "max.dim": _reduction("max"),
    "mean": _reduction("mean"),
    "min": _reduction("min"),
    "min.dim": _reduction("min"),
    "norm": _norm,
    "std": _variance(root=True),
    "sum": _reduction("sum"),
    "var": _variance(root=False),
}
