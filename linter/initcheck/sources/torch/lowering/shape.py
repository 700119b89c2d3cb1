"""Operations that move elements without computing with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from initcheck.graph import Op, Value
from initcheck.sources.torch.lowering.bound import Bound, NotUnderstoodError
from initcheck.sources.torch.lowering.known import Activation, View
from initcheck.sources.torch.lowering.pieces import take
from initcheck.sources.torch.lowering.routing import real

if TYPE_CHECKING:
    from initcheck.sources.torch.lowering.builder import Builder

__all__ = ["HANDLERS"]

Handler = Callable[[Bound, "Builder"], None]


def _simple(op: Op) -> Handler:
    def lower(call: Bound, build: Builder) -> None:
        x = build.activation(call, call.x)
        if x in build.choices:
            build.choices[call.output] = build.choices[x]
        same = op in {Op.RESHAPE, Op.EXPAND} and build.values[x].shape == call.result.shape
        build.emit(call, Op.IDENTITY if same else op, (x,), (call.output,))

    return lower


def _cast(call: Bound, build: Builder) -> None:
    x = build.activation(call, call.x)
    if call.result.is_float and not build.values[x].is_float:
        real(call, build, x)
        return
    if build.values[x].is_float != call.result.is_float:
        raise NotUnderstoodError
    if x in build.choices:
        build.choices[call.output] = build.choices[x]
    detached = call.call.op == "aten::detach"
    build.emit(call, Op.IDENTITY, (x,), (call.output,), layer="detach" if detached else "")


def _copied(call: Bound, build: Builder) -> None:
    """A tensor that takes the elements of another, spread over its shape."""
    source = build.activation(call, call["src"])
    same = build.values[source].shape == call.result.shape
    build.emit(call, Op.IDENTITY if same else Op.EXPAND, (source,), (call.output,))


def _permutation(call: Bound, build: Builder, order: tuple[int, ...]) -> None:
    x = build.activation(call, call.x)
    if order == tuple(range(len(order))):
        build.emit(call, Op.IDENTITY, (x,), (call.output,))
        return
    build.emit(call, Op.TRANSPOSE, (x,), (call.output,), permutation=order)


def _transpose(call: Bound, build: Builder) -> None:
    rank = len(build.shape(call.x))
    first, second = (int(call.first(*names)) % max(rank, 1) for names in (("dim0", "axis0"), ("dim1", "axis1")))
    order = list(range(rank))
    order[first], order[second] = order[second], order[first]
    _permutation(call, build, tuple(order))


def _turned(call: Bound, build: Builder) -> None:
    """T, mT, numpy_T: the last two axes change places, or all of them."""
    rank = len(build.shape(call.x))
    order = list(range(rank))
    if call.call.op.endswith("numpy_T") or rank <= 2:
        order.reverse()
    else:
        order[-2:] = order[:-3:-1]
    _permutation(call, build, tuple(order))


def _permute(call: Bound, build: Builder) -> None:
    rank = len(build.shape(call.x))
    _permutation(call, build, tuple(int(axis) % max(rank, 1) for axis in call["dims"]))


def _movedim(call: Bound, build: Builder) -> None:
    shape = build.shape(call.x)
    layout = torch.empty(tuple(range(2, 2 + len(shape))), device="meta")
    moved = torch.movedim(layout, call["source"], call["destination"])
    _permutation(call, build, tuple(size - 2 for size in moved.shape))


def _split(call: Bound, build: Builder) -> None:
    x = build.activation(call, call.x)
    rank = len(build.shape(call.x))
    outputs = [name or build.fresh(f"{call.output}:unused") for name in call.call.outputs]
    if len(outputs) == 1:
        build.emit(call, Op.IDENTITY, (x,), outputs)
        return
    build.emit(call, Op.SPLIT, (x,), outputs, layer="split", axis=int(call["dim"]) % max(rank, 1))


def _unbind(call: Bound, build: Builder) -> None:
    """Every entry along an axis, without it."""
    x, rank = build.activation(call, call.x), len(build.shape(call.x))
    axis = int(call["dim"]) % max(rank, 1)
    for at, name in enumerate(call.call.outputs):
        build.emit(call, Op.SLICE, (x,), (name,), layer="slice", axes=(axis,), dropped=(axis,), starts=(at,))


def _slice(call: Bound, build: Builder) -> None:
    shape = build.shape(call.x)
    axis = int(call["dim"]) % max(len(shape), 1)
    start = call.get("start") or 0
    _part(call, build, (axis,), (), (int(start) % max(shape[axis], 1),) if isinstance(start, int) else None)


def _select(call: Bound, build: Builder) -> None:
    shape = build.shape(call.x)
    axis = int(call["dim"]) % max(len(shape), 1)
    index = call["index"]
    _part(call, build, (axis,), (axis,), (int(index) % max(shape[axis], 1),) if isinstance(index, int) else None)


def _part(
    call: Bound, build: Builder, axes: tuple[int, ...], dropped: tuple[int, ...], starts: tuple[int, ...] | None
) -> None:
    x = build.activation(call, call.x)
    if build.values[x].shape == call.result.shape:
        build.emit(call, Op.IDENTITY, (x,), (call.output,))
        return
    size = (call.result.shape or ())[axes[0]] if not dropped else 1
    if x in build.pieces and starts is not None and call.get("step") in {None, 1}:
        take(call, build, x, (axes[0], starts[0], starts[0] + size), call.output, call.result)
        return
    build.emit(call, Op.SLICE, (x,), (call.output,), layer="slice", axes=axes, dropped=dropped, starts=starts)


def _index_select(call: Bound, build: Builder) -> None:
    rank = len(build.shape(call.x))
    _part(call, build, (int(call["dim"]) % max(rank, 1),), (), None)


def _gather(call: Bound, build: Builder) -> None:
    """Entries picked along one axis, the same number of axes."""
    x = build.activation(call, call.x)
    axis = int(call["dim"]) % max(len(build.shape(call.x)), 1)
    build.emit(call, Op.SLICE, (x,), (call.output,), layer="slice", axes=(axis,), dropped=(), starts=None)


def _index(call: Bound, build: Builder) -> None:
    """Entries picked by index tensors: rows of a table, or part of a value along the indexed axes."""
    x, indices = call["self"], list(call["indices"])
    where = [axis for axis, index in enumerate(indices) if index is not None]
    if isinstance(x, View) and where == [0] and len(x.shape) == 2:
        key = build.weight(x, out_axis=0)
        names = (build.operand(indices[0]), key)
        build.emit(call, Op.EMBEDDING, names, (call.output,), layer="embedding", weight=key)
        return
    _pick(call, build, x, indices, where)


def _pick(call: Bound, build: Builder, x: Any, indices: list[Any], where: list[int]) -> None:
    name = build.activation(call, x)
    shape, result = build.shape(x), call.result.shape or ()
    if where != list(range(where[0], where[-1] + 1)):
        raise NotUnderstoodError
    mask = any(_dtype(build, indices[axis]) == "bool" for axis in where)
    kept = len(shape) - len(where)
    spread = 1 if mask else len(result) - kept
    axes = tuple(where)
    if spread == 0:
        build.emit(call, Op.SLICE, (name,), (call.output,), layer="slice", axes=axes, dropped=axes, starts=None)
        return
    if spread == 1:
        build.emit(call, Op.SLICE, (name,), (call.output,), layer="slice", axes=axes, dropped=axes[1:], starts=None)
        return
    at = where[0]
    rows = 1
    for size in result[at : at + spread]:
        rows *= size
    flat, value = build.temporary(call, Value((*result[:at], rows, *result[at + spread :]), call.result.dtype))
    build.emit(call, Op.SLICE, (name,), (flat,), layer="slice", result=value, axes=axes, dropped=axes[1:], starts=None)
    build.emit(call, Op.RESHAPE, (flat,), (call.output,))


def _dtype(build: Builder, known: Any) -> str:
    if isinstance(known, Activation):
        return build.values[known.name].dtype
    return str(known.dtype).removeprefix("torch.")


def _pad(call: Bound, build: Builder) -> None:
    x, shape = build.activation(call, call.x), build.shape(call.x)
    sizes = call.first("pad", "padding")
    sizes = [int(size) for size in sizes] if isinstance(sizes, (list, tuple)) else [int(sizes)] * 4
    padding = [(0, 0)] * len(shape)
    for axis in range(len(sizes) // 2):
        padding[-1 - axis] = (sizes[2 * axis], sizes[2 * axis + 1])
    constant = "constant" in call.call.op or (call.call.op == "aten::pad" and call["mode"] == "constant")
    value = float(call.get("value") or 0.0) if constant else None
    if all(pair == (0, 0) for pair in padding):
        build.emit(call, Op.IDENTITY, (x,), (call.output,))
        return
    cut = tuple(axis for axis, pair in enumerate(padding) if min(pair) < 0)
    if cut:
        shorter = tuple(size + sum(min(part, 0) for part in pair) for size, pair in zip(shape, padding, strict=True))
        added = [(max(before, 0), max(after, 0)) for before, after in padding]
        last = all(pair == (0, 0) for pair in added)
        target = call.output if last else build.temporary(call)[0]
        value_cut = Value(shorter, call.result.dtype)
        x = build.emit(
            call, Op.SLICE, (x,), (target,), layer="slice", result=value_cut, axes=cut, dropped=(), starts=None
        )
        if last:
            return
        padding = added
    build.emit(call, Op.PAD, (x,), (call.output,), padding=tuple(padding), value=value)


def _resize(mode: str) -> Handler:
    def lower(call: Bound, build: Builder) -> None:
        x = build.activation(call, call.x)
        if build.values[x].shape == call.result.shape:
            build.emit(call, Op.IDENTITY, (x,), (call.output,))
            return
        build.emit(call, Op.RESIZE, (x,), (call.output,), mode=mode)

    return lower


def _windows(call: Bound, build: Builder) -> None:
    """Windows along an axis, the places within one as a new last axis; where they overlap, values are repeated."""
    x, shape = build.activation(call, call.x), build.shape(call.x)
    result, dtype = call.result.shape or (), call.result.dtype
    if not shape:
        raise NotUnderstoodError
    axis, size = int(call["dimension"]) % len(shape), int(call["size"])
    count = result[axis]
    laid = (*shape[:axis], count * size, *shape[axis + 1 :])
    if laid != shape:
        target, value = build.temporary(call, Value(laid, dtype))
        x = build.emit(call, Op.RESIZE, (x,), (target,), result=value, mode="nearest")
    split = (*shape[:axis], count, size, *shape[axis + 1 :])
    target, value = build.temporary(call, Value(split, dtype))
    x = build.emit(call, Op.RESHAPE, (x,), (target,), result=value)
    order = (*range(axis + 1), *range(axis + 2, len(split)), axis + 1)
    build.emit(call, Op.TRANSPOSE, (x,), (call.output,), permutation=order)


def _sampled(call: Bound, build: Builder) -> None:
    """Values between grid points, of places that a grid names: what a linear resize makes of them."""
    mode = call.get("interpolation_mode", 0)
    kinds = {0: "linear", 1: "nearest", 2: "cubic"}
    x = build.activation(call, call["input"])
    build.emit(call, Op.RESIZE, (x,), (call.output,), layer="grid_sample", mode=kinds[int(mode)])


def _rolled(call: Bound, build: Builder) -> None:
    """The same elements at other places, which no second moment sees."""
    build.emit(call, Op.IDENTITY, (build.activation(call, call.x),), (call.output,))


_RESIZES = {
    **{f"{mode}{axes}d": "nearest" for mode in ("upsample_nearest", "_upsample_nearest_exact") for axes in (1, 2, 3)},
    "upsample_linear1d": "linear",
    "upsample_bilinear2d": "linear",
    "_upsample_bilinear2d_aa": "linear",
    "upsample_trilinear3d": "linear",
    "upsample_bicubic2d": "cubic",
    "_upsample_bicubic2d_aa": "cubic",
}

HANDLERS: dict[str, Handler] = {
    **dict.fromkeys(
        (
            "_reshape_alias",
            "_unsafe_view",
            "channel_shuffle",
            "flatten",
            "pixel_shuffle",
            "pixel_unshuffle",
            "ravel",
            "reshape",
            "reshape_as",
            "squeeze",
            "unflatten",
            "unsqueeze",
            "view",
            "view_as",
        ),
        _simple(Op.RESHAPE),
    ),
    **dict.fromkeys(("broadcast_to", "expand", "expand_as", "repeat", "repeat_interleave", "tile"), _simple(Op.EXPAND)),
    **dict.fromkeys(
        (
            "_conj",
            "_to_copy",
            "alias",
            "clone",
            "contiguous",
            "detach",
            "lift_fresh",
            "lift_fresh_copy",
            "positive",
            "to",
            "type_as",
            "_assert_tensor_metadata",
            "float",
        ),
        _cast,
    ),
    **{name: _resize(mode) for name, mode in _RESIZES.items()},
    **dict.fromkeys(("chunk", "split", "split_with_sizes", "tensor_split", "unsafe_chunk", "unsafe_split"), _split),
    **dict.fromkeys(("constant_pad_nd", "pad"), _pad),
    **{f"{mode}_pad{axes}d": _pad for mode in ("reflection", "replication") for axes in (1, 2, 3)},
    **dict.fromkeys(("flip", "roll"), _rolled),
    **dict.fromkeys(("grid_sampler", "grid_sampler_2d", "grid_sampler_3d"), _sampled),
    **dict.fromkeys(("T", "adjoint", "mT", "matrix_H", "numpy_T", "t"), _turned),
    **dict.fromkeys(("swapaxes", "swapdims", "transpose"), _transpose),
    "copy": _copied,
    "gather": _gather,
    "index": _index,
    "index_select": _index_select,
    "movedim": _movedim,
    "narrow": _slice,
    "permute": _permute,
    "select": _select,
    "slice": _slice,
    "unbind": _unbind,
    "unfold": _windows,
}
