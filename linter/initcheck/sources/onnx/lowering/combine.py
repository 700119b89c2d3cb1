"""Operations that join several values: arithmetic, concatenation, selection."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from initcheck.graph import Op, Value
from initcheck.sources.onnx.builder import CONSTANT_LIMIT, MASKED, NotUnderstoodError

if TYPE_CHECKING:
    from collections.abc import Callable

    from initcheck.sources.onnx.builder import Builder
    from initcheck.sources.onnx.call import Call
    from initcheck.sources.onnx.known import Known

__all__ = ["HANDLERS"]


def _arithmetic(op: Op) -> Callable[[Call, Builder], None]:
    """Two or more operands, broadcast against each other; more than two become a chain."""

    def lower(call: Call, build: Builder) -> None:
        _require_float(call, build)
        _chain(call, build, op, call.outputs[0])

    return lower


def _require_float(call: Call, build: Builder) -> None:
    """Integer arithmetic on ids is no signal."""
    value = build.inferred.get(call.outputs[0])
    if value is not None and not value.is_float:
        raise NotUnderstoodError


def _chain(call: Call, build: Builder, op: Op, output: str) -> str:
    names = [_operand(build, name, op) for name in call.inputs if name]
    if not names:
        raise NotUnderstoodError
    if len(names) == 1:
        return build.emit(call, Op.IDENTITY, names, (output,), result=build.inferred.get(call.outputs[0]))
    result = names[0]
    for position, name in enumerate(names[1:], 2):
        last = position == len(names)
        target, value = (output, build.inferred.get(call.outputs[0])) if last else build.temporary(call)
        result = build.emit(call, op, (result, name), (target,), result=value)
    return result


def _operand(build: Builder, name: str, op: Op) -> str:
    """A learned operand is a parameter unless its values say that it is structure.

    An addend with entries that no softmax survives is a mask. A factor that varies along two axes or more is a table
    (cosines of positions, a window); learned factors are one number per channel.
    """
    known = build.known.get(name)
    if known is not None and known.origin is not None and known.is_float and known.size * 4 <= CONSTANT_LIMIT:
        varying = sum(size != 1 for size in known.shape)
        table = op in {Op.MUL, Op.DIV} and varying >= 2
        if table or (op in {Op.ADD, Op.SUB} and varying >= 2 and is_mask(known)):
            return build.constant(name, known)
    return build.operand(name)


def is_mask(known: Known) -> bool:
    """Whether some entry of an addend is so negative that it can only be meant to hide something."""
    array = known.array()
    return bool(array.size) and bool(np.nanmin(array) <= MASKED)


def _mean(call: Call, build: Builder) -> None:
    _require_float(call, build)
    count = len(call.inputs)
    name, value = build.temporary(call)
    total = _chain(call, build, Op.ADD, name)
    build.values[total] = value
    build.emit(call, Op.MUL, (total, build.literal(call, 1.0 / count)))


def _concat(call: Call, build: Builder) -> None:
    names = [name for name in call.inputs if name]
    rank = build.rank(call.outputs[0]) if build.is_defined(call.outputs[0]) else _rank(call, build)
    axis = call.integer("axis", 1)
    operands = [build.operand(name) for name in names]
    build.emit(call, Op.CONCAT, operands, axis=axis % rank if rank else axis)


def _rank(call: Call, build: Builder) -> int:
    return next((len(shape) for name in call.inputs if (shape := build.shape_of(name)) is not None), 0)


def _where(call: Call, build: Builder) -> None:
    _require_float(call, build)
    if _pick(call, build):
        return
    names = []
    for position in range(3):
        known = build.known.get(call.input(position))
        if known is not None and known.origin is not None and position and known.size > 1:
            names.append(build.operand(call.input(position)))
        elif known is not None:
            names.append(build.constant(call.input(position), known))
        else:
            names.append(build.activation(call.input(position)))
    build.emit(call, Op.WHERE, names)


def _pick(call: Call, build: Builder) -> bool:
    """Replace a choice that is the same everywhere by what it chooses."""
    condition = build.known.get(call.input(0))
    if condition is None or not (condition.is_filled or condition.size == 1):
        return False
    chosen = call.input(1 if condition.array().flat[0] else 2)
    value = build.inferred.get(call.outputs[0])
    if chosen in build.known or value is None or build.shape_of(chosen) != value.shape:
        return False
    build.emit(call, Op.IDENTITY, (build.activation(chosen),), result=value)
    return True


def _identity(call: Call, build: Builder) -> None:
    value = build.inferred.get(call.outputs[0])
    source = build.values.get(build.activation(call.input(0)))
    if value is None or not value.dtype:
        value = source or Value(None, "")
    if source is not None and value.is_float and not source.is_float:
        build.emit(call, Op.REAL, (build.activation(call.input(0)),), layer="cast", result=value)
        return
    if source is not None and source.is_float != value.is_float:
        raise NotUnderstoodError
    build.emit(call, Op.IDENTITY, (build.activation(call.input(0)),), result=value)


HANDLERS = {
    "Add": _arithmetic(Op.ADD),
    "Cast": _identity,
    "CastLike": _identity,
    "Concat": _concat,
    "Div": _arithmetic(Op.DIV),
    "Identity": _identity,
    "Max": _arithmetic(Op.MAXIMUM),
    "Mean": _mean,
    "Min": _arithmetic(Op.MINIMUM),
    "Mul": _arithmetic(Op.MUL),
    "Sub": _arithmetic(Op.SUB),
    "Sum": _arithmetic(Op.ADD),
    "Where": _where,
}
