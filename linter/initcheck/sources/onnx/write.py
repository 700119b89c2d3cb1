"""Writes a hand-built graph as an ONNX file, its weights drawn from the laws of its parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from initcheck.distribution import Family
from initcheck.errors import UsageError
from initcheck.graph import Graph, Node, Op, Parameter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

__all__ = ["write"]

Attributes = dict[str, Any]

_FUNCTIONS = {
    "abs": "Abs",
    "elu": "Elu",
    "exp": "Exp",
    "gelu": "Gelu",
    "hard_swish": "HardSwish",
    "leaky_relu": "LeakyRelu",
    "mish": "Mish",
    "relu": "Relu",
    "selu": "Selu",
    "sigmoid": "Sigmoid",
    "sign": "Sign",
    "softplus": "Softplus",
    "softsign": "Softsign",
    "tanh": "Tanh",
}
_OPERATORS = {Op.ADD: "Add", Op.SUB: "Sub", Op.MUL: "Mul", Op.DIV: "Div", Op.MAXIMUM: "Max", Op.MINIMUM: "Min"}
_OPSET = 20


def write(graph: Graph, path: Path) -> None:
    """Save a graph of what ``initcheck.Builder`` builds.

    Args:
        graph: The graph; parameters without values are drawn from their laws with a fixed seed.
        path: Where to.

    Raises:
        UsageError: If no ONNX operator is written for an operation, or nothing draws a law.
    """
    rng = np.random.default_rng(0)
    nodes = [item for node in graph.nodes for item in _nodes(graph, node)]
    real = np.float16 if any(p.dtype == "float16" for p in graph.parameters.values()) else np.float32
    tensors = [numpy_helper.from_array(_draw(rng, p).astype(real), name) for name, p in graph.parameters.items()]
    tensors += [numpy_helper.from_array(_stored(c.array, real), name) for name, c in graph.constants.items()]
    inputs, outputs = ([_info(graph, name) for name in names] for names in (graph.inputs, graph.outputs))
    opsets = [helper.make_opsetid("", _OPSET), *(helper.make_opsetid(domain, 1) for domain in _domains(graph))]
    body = helper.make_graph(nodes, "example", inputs, outputs, tensors)
    onnx.save(helper.make_model(body, opset_imports=opsets, ir_version=9), path)


def _nodes(graph: Graph, node: Node) -> list[Any]:
    name = f"/{node.path}/{node.op}"
    if node.op is Op.LINEAR:
        return _linear(graph, node, name)
    if node.op is Op.RESHAPE:
        return _with_constant(node, "Reshape", graph.values[node.outputs[0]].shape or (), name)
    if node.op is Op.REDUCE and node.attributes["function"] == "mean":
        keepdims = int(node.attributes["keepdims"])
        return _with_constant(node, "ReduceMean", node.attributes["axes"], name, keepdims=keepdims)
    operator, attributes = _SINGLE.get(node.op, _plain)(node)
    if not operator:
        what = node.attributes.get("function") or node.attributes.get("kind") or node.op.value
        raise UsageError(f"no ONNX operator is written for {what}, of {node.path or node.name}")
    inputs, outputs = list(node.inputs), list(node.outputs)
    if node.op is Op.EMBEDDING:
        inputs.reverse()
    if attributes.get("training_mode"):
        outputs += [f"{node.name}_mean", f"{node.name}_variance"]
    return [helper.make_node(operator, inputs, outputs, name, **attributes)]


def _plain(node: Node) -> tuple[str, Attributes]:
    return _OPERATORS.get(node.op, ""), {}


def _conv(node: Node) -> tuple[str, Attributes]:
    before, after = zip(*node.attributes["padding"], strict=True)
    names = {"kernel_shape": "kernel", "strides": "strides", "dilations": "dilations", "group": "groups"}
    return "Conv", {"pads": (*before, *after), **{name: node.attributes[ours] for name, ours in names.items()}}


def _elementwise(node: Node) -> tuple[str, Attributes]:
    return _FUNCTIONS.get(node.attributes["function"], ""), dict(node.attributes.get("arguments", {}))


def _normalize(node: Node) -> tuple[str, Attributes]:
    kind, epsilon = node.attributes["kind"], node.attributes["epsilon"]
    if kind == "batch":
        return "BatchNormalization", {"training_mode": int(node.attributes["training"]), "epsilon": epsilon}
    return "LayerNormalization" if kind == "layer" else "", {"axis": min(node.attributes["axes"]), "epsilon": epsilon}


def _opaque(node: Node) -> tuple[str, Attributes]:
    domain, _, operator = node.attributes["type"].rpartition(".")
    return operator, {"domain": domain}


_SINGLE: Mapping[Op, Callable[[Node], tuple[str, Attributes]]] = {
    Op.CONV: _conv,
    Op.EMBEDDING: lambda node: ("Gather", {}),  # noqa: ARG005 - as the others
    Op.ELEMENTWISE: _elementwise,
    Op.NORMALIZE: _normalize,
    Op.CONCAT: lambda node: ("Concat", {"axis": node.attributes["axis"]}),
    Op.MATMUL: lambda node: ("MatMul" if node.attributes.get("scale", 1.0) == 1.0 else "", {}),
    Op.SOFTMAX: lambda node: ("Softmax", {"axis": node.attributes["axis"]}),
    Op.TRANSPOSE: lambda node: ("Transpose", {"perm": node.attributes["permutation"]}),
    Op.OPAQUE: _opaque,
}
"""Operation -> the one operator it is, and its attributes; no operator where there is none."""


def _linear(graph: Graph, node: Node, name: str) -> list[Any]:
    """A Gemm where it can be one, which takes matrices only."""
    x, weight, *bias = node.inputs
    if len(graph.values[x].shape or ()) == 2:
        return [helper.make_node("Gemm", list(node.inputs), list(node.outputs), name, transB=1)]
    turned = f"{node.name}_weight"
    product = f"{node.name}_product" if bias else node.outputs[0]
    nodes = [
        helper.make_node("Transpose", [weight], [turned], f"{name}_transpose", perm=(1, 0)),
        helper.make_node("MatMul", [x, turned], [product], name),
    ]
    return [*nodes, *(helper.make_node("Add", [product, b], list(node.outputs), f"{name}_add") for b in bias)]


def _with_constant(node: Node, operator: str, numbers: tuple[int, ...], name: str, **attributes: Any) -> list[Any]:
    """An operator whose second input is a list of integers."""
    second = f"{node.name}_numbers"
    tensor = numpy_helper.from_array(np.array(numbers, dtype=np.int64), second)
    constant = helper.make_node("Constant", [], [second], f"{name}_constant", value=tensor)
    return [constant, helper.make_node(operator, [node.inputs[0], second], list(node.outputs), name, **attributes)]


def _domains(graph: Graph) -> list[str]:
    types = [str(node.attributes["type"]) for node in graph.nodes if node.op is Op.OPAQUE]
    return sorted({kind.rpartition(".")[0] for kind in types} - {""})


def _info(graph: Graph, name: str) -> Any:
    value = graph.values[name]
    half = TensorProto.FLOAT16 if value.dtype == "float16" else TensorProto.FLOAT
    kind = half if value.is_float else TensorProto.INT64
    return helper.make_tensor_value_info(name, kind, value.shape)


def _stored(array: np.ndarray[Any, Any], real: type[np.floating[Any]]) -> np.ndarray[Any, Any]:
    return array.astype(real if array.dtype.kind == "f" else np.int64)


def _draw(rng: np.random.Generator, parameter: Parameter) -> np.ndarray[Any, Any]:
    law, shape = parameter.distribution, parameter.shape
    if parameter.values is not None:
        values = parameter.values
    elif law.family is Family.UNIFORM:
        values = rng.uniform(law.minimum, law.maximum, shape)
    elif law.family is Family.CONSTANT:
        values = np.full(shape, law.mean)
    elif law.family is Family.NORMAL:
        values = rng.normal(law.mean, law.std, shape)
    else:
        raise UsageError(f"nothing draws the {law.family} law of {parameter.name}", "give its values")
    return values
