"""Products with a weight, products of activations, lookups in a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from initcheck.graph import Op, Value
from initcheck.sources.torch.lowering.bound import Bound, NotUnderstoodError
from initcheck.sources.torch.lowering.known import Activation, Known, View

if TYPE_CHECKING:
    from initcheck.sources.torch.lowering.builder import Builder

__all__ = ["HANDLERS", "Product", "emit_linear", "emit_matmul", "is_weight"]


@dataclass(frozen=True, slots=True)
class Product:
    """A product with a weight whose last two axes are (in, out).

    Attributes:
        x: The other factor.
        weight: The weight.
        axis: Axis of ``x`` that is contracted.
        bias: The bias, None for none.
        scale: Factor on the product.
        bias_scale: Factor on the bias.
    """

    x: Known
    weight: View | torch.Tensor
    axis: int
    bias: Known | None = None
    scale: float = 1.0
    bias_scale: float = 1.0


def is_weight(known: Any, x: Any) -> bool:
    """Whether a factor is a weight and the other one what it is applied to."""
    if isinstance(known, View):
        return known.is_float
    return isinstance(known, torch.Tensor) and known.is_floating_point() and isinstance(x, Activation)


def emit_linear(call: Bound, build: Builder, product: Product, output: str = "", result: Value | None = None) -> str:
    """Emit a linear layer, its bias as an addition where it is not one number per output unit."""
    weight, x = product.weight, product.x
    shape = tuple(weight.shape)
    if len(shape) < 2:
        raise NotUnderstoodError
    fan_in, fan_out = shape[-2:]
    rank = len(shape)
    fans = (float(fan_in), float(fan_out))
    key = build.weight(weight, out_axis=rank - 1, fans=fans)
    names = [build.activation(call, x), key]
    bias = product.bias
    fused = isinstance(bias, (View, torch.Tensor)) and sum(size != 1 for size in bias.shape) <= 1
    final = output or call.output
    target = final
    if bias is not None and fused:
        names.append(build.weight(bias, fans=fans))
    elif bias is not None:
        target, _ = build.temporary(call)
    build.emit(
        call,
        Op.LINEAR,
        names,
        (target,),
        layer="linear",
        weight=key,
        result=result or call.result,
        axis=product.axis % max(len(build.shape(x)), 1),
        fan_in=fan_in,
        fan_out=fan_out,
        out_axis=weight.stored_axis(rank - 1) if isinstance(weight, View) else rank - 1,
        scale=product.scale,
        bias_scale=product.bias_scale if fused else 1.0,
    )
    if target != final:
        addend = scaled_operand(call, build, bias, product.bias_scale)
        build.emit(call, Op.ADD, (target, addend), (final,), result=result or call.result)
    return final


def scaled_operand(call: Bound, build: Builder, known: Any, factor: float) -> str:
    """An operand multiplied by a number."""
    name = build.operand(known)
    if factor == 1.0:
        return name
    target, _ = build.temporary(call)
    dtype = call.result.dtype
    return build.emit(
        call, Op.MUL, (name, build.constant(float(factor))), (target,), result=Value(build.shape(known), dtype)
    )


def emit_matmul(
    call: Bound,
    build: Builder,
    a: Known,
    b: Known,
    *,
    scale: float = 1.0,
    output: str = "",
    result: Value | None = None,
) -> str:
    """Emit numpy's matmul of two operands, as a linear layer where one is a weight."""
    outputs = (output or call.output,)
    left, right = build.shape(a), build.shape(b)
    if not left or not right:
        raise NotUnderstoodError
    if is_weight(b, a) and (isinstance(a, Activation) or not is_weight(a, b)):
        weight: Any = b if len(right) > 1 else _moved(b, torch.unsqueeze, 1)
        return emit_linear(call, build, Product(a, weight, len(left) - 1, scale=scale), outputs[0], result)
    if is_weight(a, b):
        weight = a if len(left) > 1 else _moved(a, torch.unsqueeze, 0)
        weight = _moved(weight, torch.transpose, -1, -2)
        return emit_linear(call, build, Product(b, weight, max(len(right) - 2, 0), scale=scale), outputs[0], result)
    names = (build.activation(call, a), build.activation(call, b))
    return build.emit(call, Op.MATMUL, names, outputs, result=result, scale=scale)


def _moved(known: Any, func: Any, *args: Any) -> Any:
    return known.moved(func, *args) if isinstance(known, View) else func(known, *args)


def _linear(call: Bound, build: Builder) -> None:
    x, weight, bias = call["input"], call["weight"], call["bias"]
    if not isinstance(weight, (View, torch.Tensor)):
        _linear_of_activations(call, build)
        return
    weight = _moved(weight, torch.t)
    emit_linear(call, build, Product(x, weight, len(build.shape(x)) - 1, bias))


def _linear_of_activations(call: Bound, build: Builder) -> None:
    """A weight that another network computed."""
    x, weight, bias = call["input"], call["weight"], call["bias"]
    rows, columns = build.shape(weight)
    turned, value = build.temporary(call, Value((columns, rows), call.result.dtype))
    build.emit(call, Op.TRANSPOSE, (build.activation(call, weight),), (turned,), result=value, permutation=(1, 0))
    if bias is None:
        build.emit(call, Op.MATMUL, (build.activation(call, x), turned), scale=1.0)
        return
    product, _ = build.temporary(call)
    build.emit(call, Op.MATMUL, (build.activation(call, x), turned), (product,), scale=1.0)
    build.emit(call, Op.ADD, (product, build.operand(bias)))


def _matmul(call: Bound, build: Builder) -> None:
    a, b = list(call.arguments.values())[:2]
    emit_matmul(call, build, a, b)


def _addmm(call: Bound, build: Builder) -> None:
    """Beta input + alpha a b."""
    addend, a, b = list(call.arguments.values())[:3]
    alpha, beta = float(call.get("alpha", 1.0)), float(call.get("beta", 1.0))
    if is_weight(b, a) and isinstance(a, Activation):
        product = Product(a, b, len(build.shape(a)) - 1, addend if beta else None, alpha, beta)
        emit_linear(call, build, product)
        return
    if beta == 0.0:
        emit_matmul(call, build, a, b, scale=alpha)
        return
    total, _ = build.temporary(call)
    emit_matmul(call, build, a, b, scale=alpha, output=total)
    build.emit(call, Op.ADD, (total, scaled_operand(call, build, addend, beta)))


def _embedding(call: Bound, build: Builder) -> None:
    table, ids = call["weight"], call["indices"]
    key = build.weight(table, out_axis=0)
    build.emit(
        call,
        Op.EMBEDDING,
        (build.operand(ids), key),
        layer="embedding",
        weight=key,
    )


def _embedding_bag(call: Bound, build: Builder) -> None:
    """Rows of a table, reduced per bag."""
    ids, mode = call["indices"], call.get("mode", 0)
    shape = build.shape(call["weight"])
    key = build.weight(call["weight"], out_axis=0)
    rows = build.shape(ids)
    bags = (call.result.shape or (0,))[0]
    if len(rows) == 1:
        if not bags or rows[0] % bags or call.get("per_sample_weights") is not None:
            raise NotUnderstoodError
        length = rows[0] // bags
        folded, value = build.temporary(call, Value((bags, length), "int64"))
        ids_name = build.emit(call, Op.RESHAPE, (build.operand(ids),), (folded,), result=value)
    else:
        length, ids_name = rows[1], build.operand(ids)
    looked, value = build.temporary(call, Value((bags, length, shape[-1]), call.result.dtype))
    build.emit(
        call,
        Op.EMBEDDING,
        (ids_name, key),
        (looked,),
        layer="embedding_bag",
        weight=key,
        result=value,
    )
    function = ("sum", "mean", "max")[int(mode)]
    build.emit(call, Op.REDUCE, (looked,), (call.output,), layer=function, function=function, axes=(1,), keepdims=False)


def _bilinear(call: Bound, build: Builder) -> None:
    """Y = x1' W x2 + b as a linear map of all products of an element of x1 and one of x2."""
    first, second, weight = call["input1"], call["input2"], call["weight"]
    left, right = build.shape(first), build.shape(second)
    if not isinstance(weight, (View, torch.Tensor)) or left[:-1] != right[:-1]:
        raise NotUnderstoodError
    dtype = call.result.dtype
    lead, columns, rows = left[:-1], left[-1], right[-1]
    names = []
    for known, shape in ((first, (*left, 1)), (second, (*lead, 1, rows))):
        target, value = build.temporary(call, Value(shape, dtype))
        source = build.activation(call, known)
        names.append(build.emit(call, Op.RESHAPE, (source,), (target,), result=value))
    product, value = build.temporary(call, Value((*lead, columns, rows), dtype))
    build.emit(call, Op.MUL, names, (product,), result=value)
    flat, value = build.temporary(call, Value((*lead, columns * rows), dtype))
    build.emit(call, Op.RESHAPE, (product,), (flat,), result=value)
    matrix = _moved(_moved(weight, torch.reshape, (weight.shape[0], columns * rows)), torch.t)
    emit_linear(call, build, Product(Activation(flat), matrix, len(lead), call["bias"]))


def _grouped(call: Bound, build: Builder) -> None:
    """Rows that each meet the weight of one group (the experts of a mixture)."""
    x, weights = list(call.arguments.values())[:2]
    if not is_weight(weights, x) or len(weights.shape) != 3 or len(build.shape(x)) != 2:
        raise NotUnderstoodError
    emit_linear(call, build, Product(x, weights, 1, call.get("bias")))


HANDLERS = {
    "_sparse_mm": _matmul,
    "_grouped_mm": _grouped,
    "grouped_mm_fallback": _grouped,
    "addmm": _addmm,
    "baddbmm": _addmm,
    "addmv": _addmm,
    "bilinear": _bilinear,
    "bmm": _matmul,
    "dot": _matmul,
    "embedding": _embedding,
    "embedding_bag": _embedding_bag,
    "_embedding_bag": _embedding_bag,
    "_embedding_bag_forward_only": _embedding_bag,
    "linear": _linear,
    "matmul": _matmul,
    "mm": _matmul,
    "mv": _matmul,
}
