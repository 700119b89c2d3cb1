"""Matrix products, and lookups in an embedding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from initcheck.graph import Op, Value
from initcheck.sources.onnx.batchnorm import emit_layer
from initcheck.sources.onnx.builder import Layer, NotUnderstoodError
from initcheck.sources.onnx.paths import layer_path

if TYPE_CHECKING:
    from initcheck.sources.onnx.builder import Builder
    from initcheck.sources.onnx.call import Call
    from initcheck.sources.onnx.known import Known

__all__ = ["HANDLERS"]


def _gemm(call: Call, build: Builder) -> None:
    """Y = alpha A' B' + beta C, the primes transpositions."""
    transposed = [bool(call.integer(name, 0)) for name in ("transA", "transB")]
    sides = [build.known.get(call.input(position)) for position in range(2)]
    if any(side is not None and len(side.shape) != 2 for side in sides):
        raise NotUnderstoodError
    scale, bias_scale = call.number("alpha", 1.0), call.number("beta", 1.0)
    addend = "" if bias_scale == 0.0 or build.is_zero(call.input(2)) else call.input(2)
    bias = addend if sides[1] is not None and sides[0] is None and _is_bias(build, addend) else ""
    output = build.temporary(call)[0] if addend and not bias else call.outputs[0]
    if sides[1] is not None and sides[0] is None:
        weight = sides[1].transposed((1, 0)) if transposed[1] else sides[1]
        axis = 0 if transposed[0] else 1
        _linear(call, build, _Product(call.input(0), weight, axis, output, bias, scale, bias_scale))
    elif sides[0] is not None and sides[1] is None:
        weight = sides[0] if transposed[0] else sides[0].transposed((1, 0))
        axis = 1 if transposed[1] else 0
        _linear(call, build, _Product(call.input(1), weight, axis, output, scale=scale))
    else:
        names = [
            _transposed(call, build, call.input(position)) if flag else build.activation(call.input(position))
            for position, flag in enumerate(transposed)
        ]
        build.emit(call, Op.MATMUL, names, (output,), result=build.inferred.get(call.outputs[0]), scale=scale)
    if output != call.outputs[0]:
        term = build.operand(addend)
        if bias_scale != 1.0:
            name, value = build.temporary(call, build.values.get(term))
            term = build.emit(call, Op.MUL, (term, build.literal(call, bias_scale)), (name,), result=value)
        build.emit(call, Op.ADD, (output, term))


def _is_bias(build: Builder, name: str) -> bool:
    """Whether a tensor holds one number per output unit (or one for all)."""
    known = build.known.get(name)
    return known is not None and known.is_float and sum(size != 1 for size in known.shape) <= 1


def _transposed(call: Call, build: Builder, name: str) -> str:
    shape = build.shape_of(name)
    if shape is None or len(shape) != 2:
        raise NotUnderstoodError
    temporary, value = build.temporary(call, Value((shape[1], shape[0])))
    return build.emit(call, Op.TRANSPOSE, (build.activation(name),), (temporary,), result=value, permutation=(1, 0))


@dataclass(frozen=True, slots=True)
class _Product:
    """A product with a weight whose last two axes are (in, out).

    Attributes:
        x: Name of the other factor in the file.
        weight: View of the weight.
        axis: Axis of ``x`` that is contracted.
        output: Name to define.
        bias: Name of the bias, empty for none.
        scale: Factor on the product.
        bias_scale: Factor on the bias.
    """

    x: str
    weight: Known
    axis: int
    output: str
    bias: str = ""
    scale: float = 1.0
    bias_scale: float = 1.0


def _linear(call: Call, build: Builder, product: _Product) -> None:
    weight = product.weight
    if len(weight.shape) < 2:
        raise NotUnderstoodError
    fan_in, fan_out = weight.shape[-2:]
    rank = len(weight.shape)
    names = [build.activation(product.x), build.weight(call, weight, out_axis=rank - 1)]
    if product.bias:
        names.append(build.weight(call, build.known[product.bias], leaf="bias", fans=(fan_in, fan_out)))
    attributes = {
        "axis": product.axis,
        "fan_in": fan_in,
        "fan_out": fan_out,
        "out_axis": weight.stored_axis(rank - 1),
        "scale": product.scale,
        "bias_scale": product.bias_scale,
    }
    stored = weight.origin.name if weight.origin else ""
    emit_layer(call, build, Layer(Op.LINEAR, "linear", names, product.output, stored, attributes))


def _matmul(call: Call, build: Builder) -> None:
    left, right = (build.known.get(call.input(position)) for position in range(2))
    if right is not None and left is None:
        shape = build.shape_of(call.input(0))
        axis = len(shape) - 1 if shape else -1
        weight = right.reshaped((right.shape[0], 1)) if len(right.shape) == 1 else right
        _linear(call, build, _Product(call.input(0), weight, axis, call.outputs[0]))
    elif left is not None and right is None:
        rank = build.rank(call.input(1))
        weight = left.reshaped((1, left.shape[0])) if len(left.shape) == 1 else left
        permutation = (*range(len(weight.shape) - 2), len(weight.shape) - 1, len(weight.shape) - 2)
        weight = weight.transposed(permutation)
        _linear(call, build, _Product(call.input(1), weight, max(rank - 2, 0), call.outputs[0]))
    else:
        names = [build.activation(call.input(position)) for position in range(2)]
        build.emit(call, Op.MATMUL, names, scale=1.0)


def _gather(call: Call, build: Builder) -> None:
    """A lookup in a table, or a choice of entries along an axis."""
    table, axis = build.known.get(call.input(0)), call.integer("axis", 0)
    if table is None:
        _choose(call, build, axis)
        return
    if axis or len(table.shape) < 2 or not table.is_float:
        raise NotUnderstoodError
    names = (build.operand(call.input(1)), build.weight(call, table, out_axis=0))
    build.emit(call, Op.EMBEDDING, names, layer="embedding", path=_table_path(call, table))


def _table_path(call: Call, table: Known) -> str:
    return layer_path(call, table.origin.name if table.origin else "")


def _choose(call: Call, build: Builder, axis: int) -> None:
    indices = build.known.get(call.input(1))
    rank = build.rank(call.input(0))
    axis %= max(rank, 1)
    index_shape = build.shape_of(call.input(1))
    if index_shape is None:
        raise NotUnderstoodError
    starts = None
    if indices is not None and indices.size:
        starts = (int(indices.array().reshape(-1)[0]),)
    dropped = () if index_shape else (axis,)
    build.emit(
        call, Op.SLICE, (build.activation(call.input(0)),), axes=(axis,), dropped=dropped, starts=starts, layer="slice"
    )


HANDLERS = {"Gemm": _gemm, "MatMul": _matmul, "Gather": _gather}
