"""Operations that move elements without computing with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from initcheck.graph import Op, Value
from initcheck.sources.onnx.builder import NotUnderstoodError

if TYPE_CHECKING:
    from collections.abc import Callable

    from initcheck.sources.onnx.builder import Builder
    from initcheck.sources.onnx.call import Call

__all__ = ["HANDLERS"]


def _simple(op: Op) -> Callable[[Call, Builder], None]:
    return lambda call, build: _emit(call, build, op)


def _emit(call: Call, build: Builder, op: Op) -> None:
    build.emit(call, op, (build.activation(call.input(0)),))


def _transpose(call: Call, build: Builder) -> None:
    permutation = call.ints("perm") or tuple(reversed(range(build.rank(call.input(0)))))
    build.emit(call, Op.TRANSPOSE, (build.activation(call.input(0)),), permutation=permutation)


def _split(call: Call, build: Builder) -> None:
    rank = build.rank(call.input(0))
    outputs = tuple(name or build.fresh(f"{call.outputs[0]}:unused") for name in call.outputs)
    for name in outputs:
        build.define(name)
    x = build.activation(call.input(0))
    build.emit(call, Op.SPLIT, (x,), outputs, layer="split", axis=call.integer("axis", 0) % max(rank, 1))


def _split_to_sequence(call: Call, build: Builder) -> None:
    """A split whose parts are picked by ``SequenceAt``: how dynamo writes ``chunk`` before it is optimised."""
    name = call.input(0)
    shape = build.shape_of(name)
    if shape is None or not shape:
        raise NotUnderstoodError
    axis = call.integer("axis", 0) % len(shape)
    sizes = _part_sizes(shape[axis], _known_ints(call, build, "", 1) if call.input(1) else (1,))
    if not sizes or (not call.input(1) and not call.integer("keepdims", 1)):
        raise NotUnderstoodError
    x = build.activation(name)
    parts = tuple(build.fresh(f"{call.outputs[0]}:{index}") for index in range(len(sizes)))
    build.emit(call, Op.SPLIT, (x,), parts, layer="split", axis=axis)
    for part, size in zip(parts, sizes, strict=True):
        build.define(part, Value((*shape[:axis], size, *shape[axis + 1 :]), build.values[x].dtype))
    build.sequences[call.outputs[0]] = parts


def _part_sizes(total: int, split: tuple[int, ...] | None) -> tuple[int, ...]:
    """Sizes of the parts, empty where they do not fit.

    One number is the size of each; the last part takes what is left.
    """
    if split is None or any(size < 1 for size in split):
        return ()
    if len(split) == 1:
        whole, rest = divmod(total, split[0])
        return (split[0],) * whole + ((rest,) if rest else ())
    return split if sum(split) == total else ()


def _sequence_at(call: Call, build: Builder) -> None:
    parts = build.sequences.get(call.input(0))
    known = build.known.get(call.input(1))
    index = known.scalar() if known is not None else None
    if parts is None or index is None or not -len(parts) <= index < len(parts):
        raise NotUnderstoodError
    part = parts[int(index)]
    build.emit(call, Op.IDENTITY, (part,), result=build.values[part])


def _slice(call: Call, build: Builder) -> None:
    rank = build.rank(call.input(0))
    starts = _known_ints(call, build, "starts", 1)
    axes = _known_ints(call, build, "axes", 3)
    if axes is None:
        if starts is None:
            raise NotUnderstoodError
        axes = tuple(range(len(starts)))
    axes = tuple(axis % max(rank, 1) for axis in axes)
    before, after = build.shape_of(call.input(0)), build.inferred.get(call.outputs[0])
    x = build.activation(call.input(0))
    if after is not None and before == after.shape:
        build.emit(call, Op.IDENTITY, (x,))
        return
    build.emit(call, Op.SLICE, (x,), axes=axes, dropped=(), starts=starts)


def _known_ints(call: Call, build: Builder, attribute: str, position: int) -> tuple[int, ...] | None:
    """As ``Builder.ints``, but None for a list that depends on the input."""
    try:
        return build.ints(call, attribute, position)
    except NotUnderstoodError:
        return None


def _gather_nd(call: Call, build: Builder) -> None:
    """A choice of entries along the leading axes."""
    indices = build.known.get(call.input(1))
    batch = call.integer("batch_dims", 0)
    if indices is None or not indices.shape:
        raise NotUnderstoodError
    axes = tuple(range(batch, batch + indices.shape[-1]))
    build.emit(call, Op.SLICE, (build.activation(call.input(0)),), axes=axes, dropped=axes[1:], starts=None)


def _pad(call: Call, build: Builder) -> None:
    rank = build.rank(call.input(0))
    pads = build.ints(call, "pads", 1)
    axes = build.ints(call, "", 3) or tuple(range(rank))
    if pads is None or len(pads) != 2 * len(axes):
        raise NotUnderstoodError
    padding = [(0, 0)] * rank
    for position, axis in enumerate(axes):
        padding[axis] = (pads[position], pads[position + len(axes)])
    value: float | None = None
    if call.text("mode", "constant") == "constant":
        value = build.number(call, "value", 2) or 0.0
    x = build.activation(call.input(0))
    if all(pair == (0, 0) for pair in padding):
        build.emit(call, Op.IDENTITY, (x,))
        return
    build.emit(call, Op.PAD, (x,), padding=tuple(padding), value=value)


_MODES = {"nearest": "nearest", "linear": "linear", "bilinear": "linear", "cubic": "cubic"}


def _resize(call: Call, build: Builder) -> None:
    stored, after = build.known.get(call.input(0)), build.inferred.get(call.outputs[0])
    if stored is not None and after is not None and stored.shape == after.shape:
        # Position embeddings are resized to the image at hand, which is mostly the one they were made for.
        build.known[call.outputs[0]] = stored
        return
    mode = _MODES.get(call.text("mode", "nearest"))
    if mode is None:
        raise NotUnderstoodError
    build.emit(call, Op.RESIZE, (build.activation(call.input(0)),), mode=mode)


HANDLERS = {
    "DepthToSpace": _simple(Op.RESHAPE),
    "Expand": _simple(Op.EXPAND),
    "Flatten": _simple(Op.RESHAPE),
    "GatherND": _gather_nd,
    "Pad": _pad,
    "Reshape": _simple(Op.RESHAPE),
    "Resize": _resize,
    "SequenceAt": _sequence_at,
    "Slice": _slice,
    "SpaceToDepth": _simple(Op.RESHAPE),
    "Split": _split,
    "SplitToSequence": _split_to_sequence,
    "Squeeze": _simple(Op.RESHAPE),
    "Tile": _simple(Op.EXPAND),
    "Transpose": _transpose,
    "Unsqueeze": _simple(Op.RESHAPE),
    "Upsample": _resize,
}
