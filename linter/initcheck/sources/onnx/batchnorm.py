"""Batch normalisation that an exporter folded into the layer before it.

Fresh running statistics make the folded weight equal to the layer's own (but for 1/sqrt(1 + eps)), so that a healthy
network looks as if it had no normalisation. Two markers prove a fold: the name of the rewrite rule that torch's dynamo
exporter leaves on the node, and the renamed weight and bias (``onnx::Conv_63``) of the legacy exporter, which keeps
``features.0.weight`` wherever it computes nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from initcheck.graph import Op
from initcheck.sources.onnx.metadata import rewrites, scope_of
from initcheck.sources.onnx.paths import is_anonymous, layer_path, module_of_parameter

if TYPE_CHECKING:
    from initcheck.graph import Graph, Node, Parameter
    from initcheck.sources.onnx.builder import Builder, Layer
    from initcheck.sources.onnx.call import Call

__all__ = ["emit_layer", "may_hide_normalization"]

_RULE = re.compile(r"FuseBatchNormInto\w+")

_RENAMED = re.compile(r"onnx::Conv_\d+")

EPSILON = 1e-5


def emit_layer(call: Call, build: Builder, layer: Layer) -> None:
    """Emit a weighted layer, followed by the normalisation that was folded into it, if any.

    Args:
        call: The layer's node in the file.
        build: Where to emit.
        layer: The layer.
    """
    ruled = _RULE.search(rewrites(call.metadata)) is not None
    if not ruled and not _is_renamed(call, build):
        path = layer_path(call, layer.weight)
        build.emit(call, layer.op, layer.inputs, (layer.output,), layer=layer.kind, path=path, **layer.attributes)
        return
    scope = scope_of(call.metadata)
    normed = scope is not None and bool(scope.classes) and "BatchNorm" in scope.classes[-1]
    own = module_of_parameter(layer.weight)
    path = own if normed and own else layer_path(call, layer.weight)
    norm_path = scope.module if scope is not None and normed else path
    raw, value = build.temporary(call)
    build.emit(call, layer.op, layer.inputs, (raw,), layer=layer.kind, path=path, result=value, **layer.attributes)
    build.emit(
        call,
        Op.NORMALIZE,
        (raw, "", "", "", ""),
        (layer.output,),
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


def may_hide_normalization(graph: Graph) -> bool:
    """Whether normalisation may have been folded away without a trace.

    A fold leaves a bias, all zero at initialisation. Convolutions are beyond suspicion where a bias is not zero, or
    where an exporter that renames what it computes left weight and bias under one module's name.
    """
    convolutions = [node for node in graph.nodes if node.op in {Op.CONV, Op.CONV_TRANSPOSE}]
    if not convolutions or any(node.op is Op.NORMALIZE for node in graph.nodes):
        return False
    if any(_has_bias(graph.bias(node)) for node in convolutions):
        return False
    suspects = [node for node in convolutions if not _keeps_names(graph, node)]
    return 2 * len(suspects) >= len(convolutions)


def _has_bias(bias: Parameter | None) -> bool:
    return bias is not None and not bias.distribution.is_zero


def _keeps_names(graph: Graph, node: Node) -> bool:
    """Whether torch's exporter left the layer as it was: it renames whatever it computes."""
    names = [name for name in node.inputs[1:3] if name]
    modules = {module_of_parameter(graph.parameters[name].name) for name in names if name in graph.parameters}
    named = not any(is_anonymous(name) for name in names)
    return graph.producer.startswith("pytorch") and named and len(modules) == 1 and "" not in modules
