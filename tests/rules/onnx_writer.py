"""Writes a hand-built graph as an ONNX file, its weights drawn from the laws of its parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from initcheck import Family, Graph, Node, Op, Parameter

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["write"]

_FUNCTIONS = {"relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid"}


def write(graph: Graph, path: Path) -> None:
    """Save a graph of the operations that the examples of rules use."""
    rng = np.random.default_rng(0)
    nodes = [item for node in graph.nodes for item in _nodes(graph, node)]
    tensors = [numpy_helper.from_array(_draw(rng, p), name) for name, p in graph.parameters.items()]
    tensors += [numpy_helper.from_array(c.array.astype(np.float32), name) for name, c in graph.constants.items()]
    inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, graph.values[n].shape) for n in graph.inputs]
    outputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, graph.values[n].shape) for n in graph.outputs]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("example", 1)]
    body = helper.make_graph(nodes, "example", inputs, outputs, tensors)
    onnx.save(helper.make_model(body, opset_imports=opsets, ir_version=8), path)


def _nodes(graph: Graph, node: Node) -> list[Any]:
    inputs, outputs, name = list(node.inputs), list(node.outputs), f"/{node.path}/{node.op}"
    if node.op is Op.LINEAR:
        return [helper.make_node("Gemm", inputs, outputs, name, transB=1)]
    if node.op is Op.ELEMENTWISE:
        return [helper.make_node(_FUNCTIONS[node.attributes["function"]], inputs, outputs, name)]
    if node.op in {Op.ADD, Op.MUL}:
        return [helper.make_node(node.op.value.capitalize(), inputs, outputs, name)]
    if node.op is Op.CONV:
        pads = [side for end in (0, 1) for side in (pair[end] for pair in node.attributes["padding"])]
        options = {"kernel_shape": node.attributes["kernel"], "strides": node.attributes["strides"], "pads": pads}
        return [helper.make_node("Conv", inputs, outputs, name, group=node.attributes["groups"], **options)]
    if node.op is Op.REDUCE:
        axes, keep = node.attributes["axes"], int(node.attributes["keepdims"])
        return [helper.make_node("ReduceMean", inputs, outputs, name, axes=axes, keepdims=keep)]
    if node.op is Op.NORMALIZE and node.attributes["kind"] == "batch":
        training = int(node.attributes["training"])
        extra = [f"{node.name}_mean", f"{node.name}_variance"] if training else []
        return [helper.make_node("BatchNormalization", inputs, outputs + extra, name, training_mode=training)]
    assert node.op is Op.OPAQUE, f"no ONNX operator is written for {node.op}"
    domain, _, kind = node.attributes["type"].rpartition(".")
    return [helper.make_node(kind, inputs, outputs, name, domain=domain)]


def _draw(rng: np.random.Generator, parameter: Parameter) -> np.ndarray[Any, Any]:
    law, shape = parameter.distribution, parameter.shape
    if parameter.values is not None:
        values = parameter.values
    elif law.family is Family.UNIFORM:
        values = rng.uniform(law.minimum, law.maximum, shape)
    elif law.family is Family.CONSTANT:
        values = np.full(shape, law.mean)
    else:
        assert law.family is Family.NORMAL, f"nothing draws {law.family}"
        values = rng.normal(law.mean, law.std, shape)
    return values.astype(np.float32)
