"""Values that need no run of the model: shape arithmetic, masks, position tables, reparametrised weights.

Common operators are evaluated here in numpy; the rest by ONNX's reference implementation, whose import costs more than
reading most models and is put off until it is needed.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto, helper

from initcheck.sources.onnx.elements import ELEMENTS
from initcheck.sources.onnx.known import FOLD_LIMIT, Array, Known, known_array
from initcheck.sources.onnx.numeric import NUMERIC

if TYPE_CHECKING:
    from collections.abc import Sequence

    from initcheck.graph import Value
    from initcheck.sources.onnx.builder import Builder
    from initcheck.sources.onnx.call import Call

__all__ = ["fold"]

REFERENCE = frozenset(
    {
        "ArgMax",
        "ArgMin",
        "BitwiseAnd",
        "BitwiseOr",
        "Celu",
        "Einsum",
        "Elu",
        "Erf",
        "EyeLike",
        "Gelu",
        "GatherND",
        "Gemm",
        "OneHot",
        "Pad",
        "ReduceL2",
        "ReduceSumSquare",
        "Relu",
        "ScatterElements",
        "ScatterND",
        "Softmax",
        "Softplus",
        "TopK",
    }
)
"""Operators left to the reference implementation, which allocates whatever a malformed node asks for: none of these can
make more than the output whose size inference has found."""

VIEWS = frozenset({"Identity", "Cast", "CastLike", "Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Expand"})

PICKS = frozenset({"Shape", "Size"})
"""Operators that read only the shape."""

NEVER = frozenset({"IsNaN", "IsInf"})
"""Questions whose answer is no in a network that works."""

KEPT_LEARNED = frozenset({"Gather"})
"""Lookups in a learned table stay lookups, so that what is known of the table is kept."""


def fold(call: Call, build: Builder) -> bool:
    """Evaluate a node if everything it reads is known.

    Returns:
        Whether its outputs are now known.
    """
    if call.op in PICKS:
        return _fold_shape(call, build)
    if call.op in NEVER and call.input(0) not in build.known:
        return _fold_never(call, build)
    needed = call.inputs[:1] if call.op == "CastLike" else call.inputs
    if any(name and name not in build.known for name in needed):
        return False
    if not (call.op in NUMERIC or call.op in VIEWS or (call.op in REFERENCE and _has_shapes(call, build))):
        return False
    inputs = [build.known.get(name) for name in call.inputs]
    if call.op in VIEWS and _fold_view(call, inputs[0] if inputs else None, build):
        return True
    if _is_lookup(call, inputs) or not _is_affordable(call, inputs, build):
        return _fold_large(call, inputs, build)
    results = _evaluate(call, [None if known is None else known.array() for known in inputs])
    learned = any(known is not None and known.origin is not None for known in inputs)
    for name, result in zip(call.outputs, results or (), strict=False):
        if name:
            is_weight = learned and result.dtype.kind == "f" and result.size > 1
            build.known[name] = known_array(result, name if is_weight else "")
    return results is not None


def _fold_shape(call: Call, build: Builder) -> bool:
    shape = build.shape_of(call.input(0))
    if shape is None:
        return False
    if call.op == "Size":
        result = np.asarray(math.prod(shape), np.int64)
    else:
        start, end = call.integer("start", 0), call.attributes.get("end")
        result = np.asarray(shape[start:end], np.int64)
    build.known[call.outputs[0]] = known_array(result)
    return True


def _fold_never(call: Call, build: Builder) -> bool:
    """Exporters ask whether attention is not a number, for rows that a mask hides entirely."""
    shape = build.shape_of(call.input(0))
    if shape is None:
        return False
    build.known[call.outputs[0]] = known_array(np.broadcast_to(np.False_, shape))
    return True


def _fold_view(call: Call, known: Known | None, build: Builder) -> bool:
    """Look through to a weight, and to a constant that is too large to copy."""
    viewed = None
    if known is not None and (known.origin is not None or not known.is_small or call.op == "CastLike"):
        viewed = _view(call, known, build)
    if viewed is not None:
        build.known[call.outputs[0]] = viewed
    return viewed is not None


def _view(call: Call, known: Known, build: Builder) -> Known | None:
    """The same elements seen otherwise, without reading them."""
    if call.op == "Identity":
        return known
    value = build.inferred.get(call.outputs[0])
    if value is None or value.shape is None:
        return None
    if call.op in {"Cast", "CastLike"}:
        return known.cast(value.dtype) if value.dtype in NATIVE else None
    if call.op == "Transpose":
        permutation = call.ints("perm") or tuple(reversed(range(len(known.shape))))
        return known.transposed(permutation) if sorted(permutation) == list(range(len(known.shape))) else None
    if call.op == "Expand":
        return known.expanded(value.shape)
    return known.reshaped(value.shape) if math.prod(value.shape) == known.size else None


def _is_lookup(call: Call, inputs: Sequence[Known | None]) -> bool:
    table = inputs[0] if inputs else None
    return call.op in KEPT_LEARNED and table is not None and table.origin is not None and len(table.shape) == 2


def _is_affordable(call: Call, inputs: Sequence[Known | None], build: Builder) -> bool:
    if any(known is not None and not (known.is_small and known.dtype in _COMPUTABLE) for known in inputs):
        return False
    if call.op == "ConstantOfShape":
        return True
    return all(_size(build.inferred.get(name)) * 4 <= FOLD_LIMIT for name in call.outputs)


def _has_shapes(call: Call, build: Builder) -> bool:
    values = [build.inferred.get(name) for name in call.outputs if name]
    return all(value is not None and value.shape is not None for value in values)


def _size(value: Value | None) -> int:
    return math.prod(value.shape) if value is not None and value.shape is not None else 0


def _fold_large(call: Call, inputs: Sequence[Known | None], build: Builder) -> bool:
    """Multiplication of a large weight by a number, the one computation that needs no element of it."""
    weight, factor = inputs if len(inputs) == 2 else (None, None)
    if call.op not in {"Mul", "Div"} or weight is None or factor is None:
        return False
    if call.op == "Mul" and factor.size != 1:
        weight, factor = factor, weight
    number = factor.scalar()
    if weight.origin is None or not number or not math.isfinite(number):
        return False
    build.known[call.outputs[0]] = weight.scaled(number if call.op == "Mul" else 1.0 / number)
    return True


def _evaluate(call: Call, arrays: Sequence[Array | None]) -> Sequence[Array] | None:
    compute = NUMERIC.get(call.op)
    with np.errstate(all="ignore"):
        try:
            if compute is not None:
                found = compute(call, arrays)
                if found is not None:
                    return [np.asarray(entry) for entry in found]
            if call.op not in REFERENCE:
                return None
            found = _by_reference(call, arrays)
            return found if all(isinstance(entry, np.ndarray) for entry in found) else None
        except (ArithmeticError, AttributeError, IndexError, LookupError, RuntimeError, TypeError, ValueError):
            # Malformed operands, or a gap of the reference: the node is then lowered or opaque like any other.
            return None


def _by_reference(call: Call, arrays: Sequence[Array | None]) -> Sequence[Array]:
    from onnx.reference import ReferenceEvaluator

    inputs = [
        helper.make_tensor_value_info(name, CODES.get(str(array.dtype), TensorProto.UNDEFINED), array.shape)
        for name, array in zip(call.inputs, arrays, strict=True)
        if name and array is not None
    ]
    outputs = [helper.make_empty_tensor_value_info(name) for name in call.outputs if name]
    graph = helper.make_graph([call.proto], "node", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid(call.proto.domain, call.version)])
    feed = {name: array for name, array in zip(call.inputs, arrays, strict=True) if name and array is not None}
    found = iter(ReferenceEvaluator(model).run(None, feed))
    return [next(found) if name else np.empty(0) for name in call.outputs]


CODES = {element.name: code for code, element in ELEMENTS.items()}

INTEGERS = frozenset(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))

NATIVE = frozenset({"float64", "float32", "float16", "bool"}) | INTEGERS
"""Element types that numpy has."""

_COMPUTABLE = NATIVE | {
    "bfloat16",
    "int4",
    "uint4",
    "int2",
    "uint2",
    "float8e4m3fn",
    "float8e4m3fnuz",
    "float8e5m2",
    "float8e5m2fnuz",
}
"""Element types that are read as numpy's own."""
