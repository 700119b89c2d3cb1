"""Matrix products: Gemm, MatMul, Einsum, lookups in an embedding."""

from __future__ import annotations

from typing import TYPE_CHECKING

from initcheck.graph import Op, Value
from initcheck.sources.onnx.batchnorm import restore_folded
from initcheck.sources.onnx.builder import NotUnderstood
from initcheck.sources.onnx.paths import layer_path

if TYPE_CHECKING:
    from initcheck.sources.onnx.builder import Builder
    from initcheck.sources.onnx.call import Call
    from initcheck.sources.onnx.known import Known

__all__ = ["HANDLERS"]


def _gemm(call: Call, build: Builder) -> None:
    """alpha A' B' + beta C, the primes transpositions."""
    transposed = [bool(call.integer(name, 0)) for name in ("transA", "transB")]
    sides = [build.known.get(call.input(position)) for position in range(2)]
    scale, bias_scale = call.number("alpha", 1.0), call.number("beta", 1.0)
    addend = "" if bias_scale == 0.0 or _is_zero(build, call.input(2)) else call.input(2)
    bias = addend if sides[1] is not None and sides[0] is None and _is_bias(build, addend) else ""
    output = build.temporary(call)[0] if addend and not bias else call.outputs[0]
    if sides[1] is not None and sides[0] is None:
        weight = sides[1].transposed((1, 0)) if transposed[1] else sides[1]
        axis = 0 if transposed[0] else 1
        _linear(call, build, call.input(0), weight, axis, bias, output, scale=scale, bias_scale=bias_scale)
    elif sides[0] is not None and sides[1] is None:
        weight = sides[0] if transposed[0] else sides[0].transposed((1, 0))
        _linear(call, build, call.input(1), weight, 1 if transposed[1] else 0, "", output, scale=scale)
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


def _is_zero(build: Builder, name: str) -> bool:
    known = build.known.get(name)
    return known is not None and known.origin is None and known.scalar() == 0.0


def _is_bias(build: Builder, name: str) -> bool:
    """Whether a tensor holds one number per output unit (or one for all)."""
    known = build.known.get(name)
    return known is not None and known.is_float and sum(size != 1 for size in known.shape) <= 1


def _transposed(call: Call, build: Builder, name: str) -> str:
    shape = build.shape_of(name)
    if shape is None or len(shape) != 2:
        raise NotUnderstood
    temporary, value = build.temporary(call, Value((shape[1], shape[0])))
    return build.emit(
        call, Op.TRANSPOSE, (build.activation(name),), (temporary,), result=value, permutation=(1, 0)
    )


def _linear(
    call: Call,
    build: Builder,
    x: str,
    weight: Known,
    axis: int,
    bias: str,
    output: str,
    *,
    scale: float = 1.0,
    bias_scale: float = 1.0,
) -> None:
    """A product with a weight whose last two axes are (in, out)."""
    if len(weight.shape) < 2:
        raise NotUnderstood
    fan_in, fan_out = weight.shape[-2:]
    rank = len(weight.shape)
    names = [build.activation(x), build.weight(call, weight, out_axis=rank - 1)]
    if bias:
        known = build.known[bias]
        if known.origin is None and known.size == 1:
            known = build.learned(bias, known)
        names.append(build.weight(call, known, leaf="bias", fans=(fan_in, fan_out)))
    stored = weight.origin.name if weight.origin else ""
    restore_folded(
        call,
        build,
        Op.LINEAR,
        names,
        output,
        stored,
        layer="linear",
        axis=axis,
        fan_in=fan_in,
        fan_out=fan_out,
        out_axis=weight.stored_axis(rank - 1),
        scale=scale,
        bias_scale=bias_scale,
    )


def _matmul(call: Call, build: Builder) -> None:
    left, right = (build.known.get(call.input(position)) for position in range(2))
    if right is not None and left is None:
        shape = build.shape_of(call.input(0))
        axis = len(shape) - 1 if shape else -1
        weight = right.reshaped((right.shape[0], 1)) if len(right.shape) == 1 else right
        _linear(call, build, call.input(0), weight, axis, "", call.outputs[0])
    elif left is not None and right is None:
        rank = build.rank(call.input(1))
        weight = left.reshaped((1, left.shape[0])) if len(left.shape) == 1 else left
        permutation = (*range(len(weight.shape) - 2), len(weight.shape) - 1, len(weight.shape) - 2)
        _linear(call, build, call.input(1), weight.transposed(permutation), max(rank - 2, 0), "", call.outputs[0])
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
        raise NotUnderstood
    weight = build.weight(call, table, out_axis=0)
    build.emit(call, Op.EMBEDDING, (build.operand(call.input(1)), weight), layer="embedding", path=_table_path(call, table))


def _table_path(call: Call, table: Known) -> str:
    return layer_path(call, table.origin.name if table.origin else "")


def _choose(call: Call, build: Builder, axis: int) -> None:
    indices = build.known.get(call.input(1))
    rank = build.rank(call.input(0))
    axis %= max(rank, 1)
    index_shape = build.shape_of(call.input(1))
    if index_shape is None:
        raise NotUnderstood
    starts = None
    if indices is not None and indices.size:
        starts = (int(indices.array().reshape(-1)[0]),)
    dropped = () if index_shape else (axis,)
    build.emit(
        call, Op.SLICE, (build.activation(call.input(0)),), axes=(axis,), dropped=dropped, starts=starts, layer="slice"
    )


def _einsum(call: Call, build: Builder) -> None:
    """The two-operand forms that are a matrix product: with a weight, or of two activations."""
    left, right, out = _terms(call, build)
    known = [build.known.get(name) for name in call.inputs]
    if known[1] is not None and known[0] is None:
        _einsum_weight(call, build, call.input(0), left, known[1], right, out)
    elif known[0] is not None and known[1] is None:
        _einsum_weight(call, build, call.input(1), right, known[0], left, out)
    else:
        _einsum_product(call, build, left, right, out)


def _terms(call: Call, build: Builder) -> tuple[str, str, str]:
    equation = call.text("equation", "").replace(" ", "")
    inputs, arrow, out = equation.partition("->")
    terms = inputs.split(",")
    plain = arrow and all(term.isalpha() and len(set(term)) == len(term) for term in (*terms, out) if term)
    if len(terms) != 2 or not plain or any(len(t) != build.rank(n) for t, n in zip(terms, call.inputs, strict=True)):
        raise NotUnderstood
    return terms[0], terms[1], out


def _einsum_weight(call: Call, build: Builder, x: str, labels: str, weight: Known, own: str, out: str) -> None:
    contracted = [label for label in own if label in labels and label not in out]
    produced = [label for label in own if label not in labels]
    if not contracted or any(label not in out for label in produced):
        raise NotUnderstood
    size = dict(zip(own, weight.shape, strict=True))
    fan_in, fan_out = 1, 1
    for label in contracted:
        fan_in *= size[label]
    for label in produced:
        fan_out *= size[label]
    out_axis = own.index(produced[0]) if len(produced) == 1 else None
    stored = None if out_axis is None else weight.stored_axis(out_axis)
    build.emit(
        call,
        Op.LINEAR,
        (build.activation(x), build.weight(call, weight, out_axis=out_axis, fans=(fan_in, fan_out))),
        layer="linear",
        path=_table_path(call, weight),
        axis=labels.index(contracted[-1]),
        fan_in=fan_in,
        fan_out=fan_out,
        out_axis=stored,
        scale=1.0,
        bias_scale=1.0,
    )


def _einsum_product(call: Call, build: Builder, left: str, right: str, out: str) -> None:
    batch = [label for label in left if label in right and label in out]
    inner = [label for label in left if label in right and label not in out]
    rows = [label for label in left if label not in right and label in out]
    columns = [label for label in right if label not in left and label in out]
    complete = len(batch) + len(inner) + len(rows) == len(left) and len(batch) + len(inner) + len(columns) == len(right)
    if not complete or not len(inner) == len(rows) == len(columns) == 1:
        raise NotUnderstood
    sizes: dict[str, int] = {}
    for labels, name in ((left, call.input(0)), (right, call.input(1))):
        sizes.update(zip(labels, build.shape_of(name) or (), strict=True))
    first = _arranged(call, build, call.input(0), left, [*batch, *rows, *inner], sizes)
    second = _arranged(call, build, call.input(1), right, [*batch, *inner, *columns], sizes)
    product = [*batch, *rows, *columns]
    if "".join(product) == out:
        build.emit(call, Op.MATMUL, (first, second), scale=1.0)
        return
    temporary, value = build.temporary(call, Value(tuple(sizes[label] for label in product)))
    build.emit(call, Op.MATMUL, (first, second), (temporary,), result=value, scale=1.0)
    build.emit(call, Op.TRANSPOSE, (temporary,), permutation=tuple(product.index(label) for label in out))


def _arranged(
    call: Call, build: Builder, name: str, labels: str, wanted: list[str], sizes: dict[str, int]
) -> str:
    if list(labels) == wanted:
        return build.activation(name)
    temporary, value = build.temporary(call, Value(tuple(sizes[label] for label in wanted)))
    permutation = tuple(labels.index(label) for label in wanted)
    return build.emit(
        call, Op.TRANSPOSE, (build.activation(name),), (temporary,), result=value, permutation=permutation
    )


HANDLERS = {"Gemm": _gemm, "MatMul": _matmul, "Gather": _gather, "Einsum": _einsum}
