"""Einstein sums of two operands, as products of matrices between transpositions and reshapes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from initcheck.graph import Op, Value
from initcheck.sources.torch.lowering.bound import Bound, NotUnderstoodError
from initcheck.sources.torch.lowering.known import Activation, View
from initcheck.sources.torch.lowering.linear import Product, emit_linear

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from initcheck.sources.torch.lowering.builder import Builder

__all__ = ["HANDLERS"]


@dataclass(frozen=True, slots=True)
class _Plan:
    """Letters by what becomes of them.

    Attributes:
        batch: In both operands and in the result.
        rows: In the first operand and the result.
        inner: In both operands, summed over.
        columns: In the second operand and the result.
    """

    batch: str
    rows: str
    inner: str
    columns: str


def _einsum(call: Bound, build: Builder) -> None:
    operands = list(call["tensors"])
    terms, result = _parse(call["equation"], [len(build.shape(operand)) for operand in operands])
    if len(operands) == 1:
        _rearrange(call, build, operands[0], terms[0], result)
        return
    if len(operands) != 2:
        raise NotUnderstoodError
    (a, b), (left, right) = operands, terms
    if isinstance(a, (View, torch.Tensor)) and isinstance(b, Activation):
        a, b, left, right = b, a, right, left
    sizes = {**dict(zip(left, build.shape(a), strict=True)), **dict(zip(right, build.shape(b), strict=True))}
    plan = _plan(left, right, result)
    weight = isinstance(b, (View, torch.Tensor))
    rows = _arranged(call, build, a, left, plan.batch + plan.rows + plan.inner)
    first = _folded(call, build, rows, sizes, (plan.batch, plan.rows, plan.inner))
    product_letters = plan.batch + plan.rows + plan.columns
    lead = (math.prod(sizes[x] for x in plan.batch),) if plan.batch else ()
    shape = (*lead, _size(plan.rows, sizes), _size(plan.columns, sizes))
    product, value = build.temporary(call, Value(shape, call.result.dtype))
    if weight:
        matrix = _weight(b, right, plan, sizes)
        x = build.known[first]
        emit_linear(call, build, Product(x, matrix, len(shape) - 1), product, value)
    else:
        columns = _arranged(call, build, b, right, plan.batch + plan.inner + plan.columns)
        second = _folded(call, build, columns, sizes, (plan.batch, plan.inner, plan.columns))
        build.emit(call, Op.MATMUL, (first, second), (product,), result=value, scale=1.0)
    order = tuple(product_letters.index(letter) for letter in result)
    if order == tuple(range(len(order))):
        build.emit(call, Op.RESHAPE, (product,), (call.output,))
        return
    whole, value = build.temporary(call, Value(tuple(sizes[x] for x in product_letters), call.result.dtype))
    build.emit(call, Op.RESHAPE, (product,), (whole,), result=value)
    build.emit(call, Op.TRANSPOSE, (whole,), (call.output,), permutation=order)


def _parse(equation: str, ranks: Sequence[int]) -> tuple[list[str], str]:
    """Letters of the operands and of the result, an ellipsis spelled out."""
    left, arrow, result = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    spare = [letter for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if letter not in equation]
    longest = max((rank - len(term.replace("...", "")) for term, rank in zip(terms, ranks, strict=True)), default=0)
    dots = "".join(spare[:longest])
    spelled = [
        term.replace("...", dots[longest - (rank - len(term.replace("...", ""))) :])
        for term, rank in zip(terms, ranks, strict=True)
    ]
    if not arrow:
        joined = "".join(spelled)
        result = dots + "".join(sorted(x for x in set(joined) if joined.count(x) == 1 and x not in dots))
    else:
        result = result.replace("...", dots)
    if any(len(set(term)) != len(term) for term in [*spelled, result]):
        raise NotUnderstoodError
    return spelled, result


def _plan(left: str, right: str, result: str) -> _Plan:
    plan = _Plan(
        batch="".join(x for x in left if x in right and x in result),
        rows="".join(x for x in left if x not in right and x in result),
        inner="".join(x for x in left if x in right and x not in result),
        columns="".join(x for x in right if x not in left and x in result),
    )
    used = set(plan.batch + plan.rows + plan.inner + plan.columns)
    if used != set(left + right) or not plan.inner:
        raise NotUnderstoodError
    return plan


def _size(letters: str, sizes: Mapping[str, int]) -> int:
    return math.prod(sizes[letter] for letter in letters)


def _arranged(call: Bound, build: Builder, x: Any, letters: str, wanted: str) -> str:
    name = build.activation(call, x)
    order = tuple(letters.index(letter) for letter in wanted)
    if order == tuple(range(len(order))):
        return name
    shape = build.shape(x)
    target, value = build.temporary(call, Value(tuple(shape[axis] for axis in order), call.result.dtype))
    return build.emit(call, Op.TRANSPOSE, (name,), (target,), result=value, permutation=order)


def _folded(call: Bound, build: Builder, name: str, sizes: Mapping[str, int], groups: Sequence[str]) -> str:
    """One axis per group of letters; no axis for an empty batch."""
    shape = tuple(_size(group, sizes) for at, group in enumerate(groups) if group or at)
    if build.values[name].shape == shape:
        return name
    target, value = build.temporary(call, Value(shape, call.result.dtype))
    return build.emit(call, Op.RESHAPE, (name,), (target,), result=value)


def _weight(known: Any, letters: str, plan: _Plan, sizes: Mapping[str, int]) -> Any:
    order = tuple(letters.index(letter) for letter in plan.batch + plan.inner + plan.columns)
    lead = (_size(plan.batch, sizes),) if plan.batch else ()
    shape = (*lead, _size(plan.inner, sizes), _size(plan.columns, sizes))
    if isinstance(known, View):
        return known.moved(torch.permute, order).moved(torch.reshape, shape)
    return known.permute(order).reshape(shape)


def _rearrange(call: Bound, build: Builder, x: Any, letters: str, result: str) -> None:
    if set(letters) != set(result):
        raise NotUnderstoodError
    permutation = tuple(letters.index(letter) for letter in result)
    build.emit(call, Op.TRANSPOSE, (build.activation(call, x),), permutation=permutation)


HANDLERS = {"einsum": _einsum}
