"""Batch normalisation that an exporter folded into the layer before it.

Fresh running statistics make the folded weight equal to the layer's own (but for 1/sqrt(1 + eps)), so that a healthy
network looks as if it had no normalisation. Two markers prove a fold: the name of the rewrite rule that torch's dynamo
exporter leaves on the node, and the renamed weight and bias (``onnx::Conv_63``) of the legacy exporter, which keeps
``features.0.weight`` wherever it computes nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from initcheck.graph import Op
from initcheck.sources.onnx.metadata import rewrites, scope_of
from initcheck.sources.onnx.paths import is_anonymous, layer_path, module_of_parameter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from initcheck.graph import Graph, Node, Parameter
    from initcheck.sources.onnx.builder import Builder
    from initcheck.sources.onnx.call import Call

__all__ = ["may_hide_normalization", "restore_folded"]

_RULE = re.compile(r"FuseBatchNormInto\w+")

_RENAMED = re.compile(r"onnx::Conv_\d+")

EPSILON = 1e-5


def restore_folded(
    call: Call, build: Builder, op: Op, names: Sequence[str], output: str, weight: str, *, layer: str, **attributes: Any
) -> None:
    """Emit a weighted layer, followed by the normalisation that was folded into it, if any.

    Args:
        call: The layer's node.
        build: Where to emit.
        op: Operation of the layer.
        names: Its operands.
        output: Name to define.
        weight: Name of the stored weight.
        layer: What people call it.
        attributes: Attributes of the layer.
    """
    ruled = _RULE.search(rewrites(call.metadata)) is not None
    if not ruled and not _is_renamed(call, build):
        build.emit(call, op, names, (output,), layer=layer, path=layer_path(call, weight), **attributes)
        return
    scope = scope_of(call.metadata)
    normed = scope is not None and bool(scope.classes) and "BatchNorm" in scope.classes[-1]
    own = module_of_parameter(weight)
    path = own if normed and own else layer_path(call, weight)
    norm_path = scope.module if scope is not None and normed else path
    raw, value = build.temporary(call)
    build.emit(call, op, names, (raw,), layer=layer, path=path, result=value, **attributes)
    build.emit(
        call,
        Op.NORMALIZE,
        (raw, "", "", "", ""),
        (output,),
        layer="batch_norm",
        path=norm_path,
        result=value,
        kind="batch",
        epsilon=EPSILON,
        training=True,
        folded=True,
    )
    build.restored.append(path)


def _is_renamed(call: Call, build: Builder) -> bool:
    names = []
    for name in call.inputs[1:3]:
        known = build.known.get(name)
        names.append(known.origin.name if known is not None and known.origin is not None else "")
    return len(names) == 2 and all(_RENAMED.fullmatch(name) for name in names)


def may_hide_normalization(graph: Graph, producer: str) -> bool:
    """Whether normalisation may have been folded away without a trace.

    A fold leaves a bias, all zero at initialisation. A convolution is beyond suspicion where its bias is not zero, where
    dynamo's metadata would have named the rule, or where weight and bias still carry one module's name.
    """
    convolutions = [node for node in graph.nodes if node.op in {Op.CONV, Op.CONV_TRANSPOSE}]
    if not convolutions or any(node.op is Op.NORMALIZE for node in graph.nodes):
        return False
    if any(_has_bias(graph.bias(node)) for node in convolutions):
        return False
    suspects = [node for node in convolutions if not _keeps_names(graph, node, producer)]
    return 2 * len(suspects) >= len(convolutions)


def _has_bias(bias: Parameter | None) -> bool:
    return bias is not None and not bias.distribution.is_zero


def _keeps_names(graph: Graph, node: Node, producer: str) -> bool:
    """Whether torch's exporter left the layer as it was: it renames whatever it computes."""
    names = [name for name in node.inputs[1:3] if name]
    modules = {module_of_parameter(graph.parameters[name].name) for name in names if name in graph.parameters}
    named = not any(is_anonymous(name) for name in names)
    return producer.startswith("pytorch") and named and len(modules) == 1 and "" not in modules
