"""Normalisations spelled out: LayerNorm in nine operations, RMSNorm in seven, GroupNorm around an InstanceNorm."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from initcheck.graph import Node, Op

if TYPE_CHECKING:
    from initcheck.sources.patterns.net import Net

__all__ = ["match_affine", "match_group", "match_normalize"]


def match_normalize(node: Node, net: Net) -> Node | None:
    """X' / sqrt(mean(x'^2) + eps), with x' = x - mean(x) or x itself, or x over its Euclidean norm."""
    for deviation, divisor, root, floor in _quotients(node, net):
        square, epsilon = _variance(root, net)
        reduced = _reduced(square, net) if square else None
        shape = net.shape(deviation)
        if reduced is None or shape is None or not _is_square_of(reduced.inputs[0], deviation, net):
            continue
        if net.shape(divisor) not in {shape, _kept(shape, reduced)}:
            continue
        axes = reduced.attributes["axes"]
        x = _centred(deviation, axes, net)
        attributes = _kind(shape, axes, centred=x is not None)
        count = math.prod(shape[axis] for axis in axes)
        summed = reduced.attributes["function"] == "sum"
        if attributes is None or (summed and (x is not None or not count)):
            continue
        epsilon += floor * floor
        if summed:
            # x over its Euclidean norm is x over its root mean square, over the root of the number of elements.
            attributes |= {"length": 1.0 / math.sqrt(count)}
            epsilon /= count
        return replace(
            node,
            op=Op.NORMALIZE,
            inputs=(x or net.source(deviation),),
            attributes={**attributes, "epsilon": epsilon},
            kind=f"{attributes['kind']}_norm",
        )
    return None


def _reduced(name: str, net: Net) -> Node | None:
    """The mean or sum that a value is, seen through axes of size one that are put back."""
    while (reshape := net.made_by(name, Op.RESHAPE)) is not None and _is_stretched(reshape, net):
        name = reshape.inputs[0]
    node = net.made_by(name, Op.REDUCE)
    return node if node is not None and node.attributes["function"] in {"mean", "sum"} else None


def _kept(shape: tuple[int, ...], node: Node) -> tuple[int, ...]:
    """Shape of a reduction that keeps its axes."""
    return tuple(1 if i in node.attributes["axes"] else n for i, n in enumerate(shape))


def _quotients(node: Node, net: Net) -> list[tuple[str, str, str, float]]:
    """(numerator, divisor or its reciprocal, value under the root, least value of the root) of x / sqrt(v)."""
    found = []
    if node.op is Op.DIV:
        divisor, floor = _without_floor(node.inputs[1], net)
        root = _under_root(divisor, net)
        found = [(node.inputs[0], node.inputs[1], root, floor)] if root else []
    elif node.op is Op.MUL:
        for factor, other in (node.inputs, node.inputs[::-1]):
            root = _under_reciprocal_root(other, net)
            if root:
                found.append((factor, other, root, 0.0))
    return found


def _without_floor(name: str, net: Net) -> tuple[str, float]:
    """A divisor without what keeps it from zero (a least value, a small addend), copies and added axes of size one."""
    floor = 0.0
    while (node := net.maker(name)) is not None:
        if node.op in {Op.EXPAND, Op.RESHAPE} and _is_stretched(node, net):
            name = node.inputs[0]
        elif node.op is Op.ELEMENTWISE and node.attributes["function"] == "clip":
            arguments = node.attributes["arguments"]
            if arguments.get("maximum", math.inf) != math.inf:
                break
            name, floor = node.inputs[0], max(floor, arguments.get("minimum", 0.0))
        elif node.op is Op.ADD:
            addend = next(((x, net.scalar(y)) for x, y in (node.inputs, node.inputs[::-1]) if net.scalar(y)), None)
            if addend is None or addend[1] is None or addend[1] < 0.0:
                break
            name, floor = addend[0], floor + addend[1]
        else:
            break
    return name, max(floor, 0.0)


def _is_stretched(node: Node, net: Net) -> bool:
    """Whether an operation only copies a value along axes of size one, or adds such axes."""
    before, after = net.shape(node.inputs[0]), net.shape(node.outputs[0])
    if before is None or after is None:
        return False
    if node.op is Op.EXPAND:
        return len(before) == len(after)
    return [n for n in before if n != 1] == [n for n in after if n != 1]


def _under_root(name: str, net: Net) -> str:
    node = net.made_by(name, Op.ELEMENTWISE)
    if node is None:
        return ""
    function, arguments = node.attributes["function"], node.attributes["arguments"]
    rooted = function == "sqrt" or (function == "power" and arguments["exponent"] == 0.5)
    return node.inputs[0] if rooted else ""


def _under_reciprocal_root(name: str, net: Net) -> str:
    node = net.maker(name)
    if node is None:
        return ""
    if node.op is Op.DIV and net.scalar(node.inputs[0]) == 1.0:
        return _under_root(node.inputs[1], net)
    if node.op is not Op.ELEMENTWISE:
        return ""
    function, exponent = node.attributes["function"], node.attributes["arguments"].get("exponent")
    if function == "power" and exponent == -0.5:
        return node.inputs[0]
    if function == "reciprocal" or (function == "power" and exponent == -1.0):
        return _under_root(node.inputs[0], net)
    inner = net.made_by(node.inputs[0], Op.ELEMENTWISE, "reciprocal") if function == "sqrt" else None
    return inner.inputs[0] if inner is not None else ""


def _variance(root: str, net: Net) -> tuple[str, float]:
    """(v, eps) of v + eps; an absent eps is none."""
    node = net.made_by(root, Op.ADD)
    if node is None:
        return root, 0.0
    for value, addend in (node.inputs, node.inputs[::-1]):
        epsilon = net.scalar(addend)
        if epsilon is not None:
            return value, epsilon
    return "", math.nan


def _is_square_of(name: str, base: str, net: Net) -> bool:
    node = net.maker(name)
    if node is None:
        return False
    if node.op is Op.MUL:
        return all(_same(operand, base, net) for operand in node.inputs)
    squared = node.op is Op.ELEMENTWISE and node.attributes["function"] == "power"
    return squared and node.attributes["arguments"]["exponent"] == 2.0 and _same(node.inputs[0], base, net)


def _same(first: str, second: str, net: Net) -> bool:
    """Whether two names are one value, or two subtractions of the same values."""
    first, second = net.source(first), net.source(second)
    if first == second:
        return True
    one, other = net.made_by(first, Op.SUB), net.made_by(second, Op.SUB)
    return (
        one is not None
        and other is not None
        and all(net.source(left) == net.source(right) for left, right in zip(one.inputs, other.inputs, strict=True))
    )


def _centred(name: str, axes: tuple[int, ...], net: Net) -> str | None:
    """x, if a value is x - mean(x) over these axes."""
    node = net.made_by(name, Op.SUB)
    mean = net.made_by(node.inputs[1], Op.REDUCE, "mean") if node is not None else None
    if node is None or mean is None or not mean.attributes["keepdims"] or mean.attributes["axes"] != axes:
        return None
    x = net.source(node.inputs[0])
    return x if net.source(mean.inputs[0]) == x else None


def _kind(shape: tuple[int, ...] | None, axes: tuple[int, ...], *, centred: bool) -> dict[str, Any] | None:
    if not centred:
        return {"kind": "rms", "axes": axes} if 0 not in axes else None
    rank = len(shape) if shape is not None else 0
    if rank >= 2 and axes in {(0,), (0, *range(2, rank))}:
        return {"kind": "batch", "training": True, "folded": False}
    if 0 in axes:
        return None
    if rank >= 4 and axes == tuple(range(2, rank)):
        return {"kind": "instance"}
    return {"kind": "layer", "axes": axes}


def match_group(node: Node, net: Net) -> Node | None:
    """(batch, channels, ...) reshaped to (batch, groups, -1), normalised per group, and reshaped back."""
    if node.op is not Op.RESHAPE:
        return None
    norm = net.made_by(node.inputs[0], Op.NORMALIZE)
    if norm is None or norm.attributes["kind"] not in {"instance", "layer"} or not _is_plain(norm, net):
        return None
    inner = net.made_by(norm.inputs[0], Op.RESHAPE)
    if inner is None:
        return None
    x = net.source(inner.inputs[0])
    whole, grouped, back = net.shape(x), net.shape(inner.outputs[0]), net.shape(node.outputs[0])
    if whole is None or grouped is None or whole != back or len(whole) < 2 or len(grouped) < 3:
        return None
    if norm.attributes["kind"] == "layer" and norm.attributes["axes"] != tuple(range(2, len(grouped))):
        return None
    groups = grouped[1]
    if grouped[0] != whole[0] or not groups or whole[1] % groups:
        return None
    attributes = {"kind": "group", "groups": groups, "epsilon": norm.attributes["epsilon"]}
    return replace(node, op=Op.NORMALIZE, inputs=(x,), attributes=attributes, kind="group_norm")


def _is_plain(norm: Node, net: Net) -> bool:
    """Whether scale and shift are absent, or one and zero."""
    return all(
        not name or net.is_filled_with(name, neutral)
        for name, neutral in zip(norm.inputs[1:3], (1.0, 0.0), strict=False)
    )


def match_affine(node: Node, net: Net) -> Node | None:
    """A learned factor or addend per channel, the first behind a normalisation that has none."""
    if node.op not in {Op.MUL, Op.ADD}:
        return None
    for value, operand in (node.inputs, node.inputs[::-1]):
        norm = net.made_by(value, Op.NORMALIZE)
        if norm is None or not net.is_parameter(operand) or not net.is_read_once(value):
            continue
        x, scale, shift = (*norm.inputs[:3], "", "")[:3]
        if shift or (node.op is Op.MUL and scale) or not _is_per_channel(net, operand, node.outputs[0]):
            continue
        inputs = (x, operand, "") if node.op is Op.MUL else (x, scale, operand)
        net.build.parameters.describe(operand, f"{node.path}.{'weight' if node.op is Op.MUL else 'bias'}", None)
        return replace(norm, inputs=(*inputs, *norm.inputs[3:]), outputs=node.outputs, path=node.path)
    return None


def _is_per_channel(net: Net, operand: str, output: str) -> bool:
    shape, whole = net.shape(operand), net.shape(output)
    if shape is None or whole is None or len(shape) > len(whole):
        return False
    aligned = (1,) * (len(whole) - len(shape)) + shape
    return aligned[0] == 1 and sum(size != 1 for size in aligned) <= 1
