"""Strings of a model that are no text.

Protobuf hands a string that is not UTF-8 over as ``bytes``; code that expects ``str`` would fail far from the cause.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onnx import ModelProto, NodeProto

__all__ = ["invalid_text"]


def invalid_text(model: ModelProto) -> object | None:
    """Return a string of the model or of its main graph's nodes, values and tensors that is not UTF-8, or ``None``.

    Doc strings and the insides of subgraphs and functions are not looked at.
    """
    graph = model.graph
    texts = chain(_header(model), *map(_node, graph.node), (tensor.name for tensor in graph.initializer))
    return next((text for text in texts if not isinstance(text, str)), None)


def _header(model: ModelProto) -> Iterator[str]:
    graph = model.graph
    yield from (model.producer_name, model.producer_version, graph.name)
    yield from (opset.domain for opset in model.opset_import)
    yield from (sparse.values.name for sparse in graph.sparse_initializer)
    for entry in chain(model.metadata_props, graph.metadata_props):
        yield from (entry.key, entry.value)
    for value in chain(graph.input, graph.output, graph.value_info):
        yield value.name
        yield from (dim.dim_param for dim in value.type.tensor_type.shape.dim)


def _node(node: NodeProto) -> list[str]:
    texts = [node.name, node.op_type, node.domain, *node.input, *node.output]
    texts += [attribute.name for attribute in node.attribute]
    for entry in node.metadata_props:
        texts += (entry.key, entry.value)
    return texts
