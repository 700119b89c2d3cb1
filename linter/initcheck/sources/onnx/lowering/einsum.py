"""Einsum: the two-operand forms that are a matrix product."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from initcheck.graph import Op, Value
from initcheck.sources.onnx.builder import NotUnderstoodError
from initcheck.sources.onnx.paths import layer_path

if TYPE_CHECKING:
    from initcheck.sources.onnx.builder import Builder
    from initcheck.sources.onnx.call import Call
    from initcheck.sources.onnx.known import Known

__all__ = ["HANDLERS"]


def _einsum(call: Call, build: Builder) -> None:
    """The two-operand forms that are a matrix product: with a weight, or of two activations."""
    left, right, out = _terms(call, build)
    known = [build.known.get(name) for name in call.inputs]
    if known[1] is not None and known[0] is None:
        _weighted(call, build, _Contraction(call.input(0), left, known[1], right, out))
    elif known[0] is not None and known[1] is None:
        _weighted(call, build, _Contraction(call.input(1), right, known[0], left, out))
    else:
        _product(call, build, left, right, out)


def _terms(call: Call, build: Builder) -> tuple[str, str, str]:
    equation = call.text("equation", "").replace(" ", "")
    inputs, arrow, out = equation.partition("->")
    terms = inputs.split(",")
    plain = arrow and all(term.isalpha() and len(set(term)) == len(term) for term in (*terms, out) if term)
    if len(terms) != 2 or not plain or any(len(t) != build.rank(n) for t, n in zip(terms, call.inputs, strict=True)):
        raise NotUnderstoodError
    return terms[0], terms[1], out


@dataclass(frozen=True, slots=True)
class _Contraction:
    """A sum of products with a weight.

    Attributes:
        x: Name of the activation in the file.
        labels: One letter per axis of the activation.
        weight: View of the weight.
        own: One letter per axis of the weight.
        out: One letter per axis of the result.
    """

    x: str
    labels: str
    weight: Known
    own: str
    out: str


def _weighted(call: Call, build: Builder, form: _Contraction) -> None:
    contracted = [label for label in form.own if label in form.labels and label not in form.out]
    produced = [label for label in form.own if label not in form.labels]
    if not contracted or any(label not in form.out for label in produced):
        raise NotUnderstoodError
    size = dict(zip(form.own, form.weight.shape, strict=True))
    fan_in = math.prod(size[label] for label in contracted)
    fan_out = math.prod(size[label] for label in produced)
    out_axis = form.own.index(produced[0]) if len(produced) == 1 else None
    build.emit(
        call,
        Op.LINEAR,
        (build.activation(form.x), build.weight(call, form.weight, out_axis=out_axis, fans=(fan_in, fan_out))),
        layer="linear",
        path=layer_path(call, form.weight.origin.name if form.weight.origin else ""),
        axis=form.labels.index(contracted[-1]),
        fan_in=fan_in,
        fan_out=fan_out,
        out_axis=None if out_axis is None else form.weight.stored_axis(out_axis),
        scale=1.0,
        bias_scale=1.0,
    )


def _product(call: Call, build: Builder, left: str, right: str, out: str) -> None:
    batch = [label for label in left if label in right and label in out]
    inner = [label for label in left if label in right and label not in out]
    rows = [label for label in left if label not in right and label in out]
    columns = [label for label in right if label not in left and label in out]
    complete = len(batch) + len(inner) + len(rows) == len(left) and len(batch) + len(inner) + len(columns) == len(right)
    if not complete or not len(inner) == len(rows) == len(columns) == 1:
        raise NotUnderstoodError
    sizes: dict[str, int] = {}
    for labels, name in ((left, call.input(0)), (right, call.input(1))):
        sizes.update(zip(labels, build.shape_of(name) or (), strict=True))
    first = _arranged(call, build, 0, left, [*batch, *rows, *inner])
    second = _arranged(call, build, 1, right, [*batch, *inner, *columns])
    product = [*batch, *rows, *columns]
    if "".join(product) == out:
        build.emit(call, Op.MATMUL, (first, second), scale=1.0)
        return
    temporary, value = build.temporary(call, Value(tuple(sizes[label] for label in product)))
    build.emit(call, Op.MATMUL, (first, second), (temporary,), result=value, scale=1.0)
    build.emit(call, Op.TRANSPOSE, (temporary,), permutation=tuple(product.index(label) for label in out))


def _arranged(call: Call, build: Builder, position: int, labels: str, wanted: list[str]) -> str:
    """An operand with its axes in the wanted order."""
    name = build.activation(call.input(position))
    if list(labels) == wanted:
        return name
    sizes = dict(zip(labels, build.shape_of(name) or (), strict=True))
    temporary, value = build.temporary(call, Value(tuple(sizes[label] for label in wanted)))
    permutation = tuple(labels.index(label) for label in wanted)
    return build.emit(call, Op.TRANSPOSE, (name,), (temporary,), result=value, permutation=permutation)


HANDLERS = {"Einsum": _einsum}
