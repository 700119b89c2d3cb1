"""Small models, good and bad, to be written to files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH = 32


def model(
    nodes: Sequence[onnx.NodeProto] | None = None,
    weights: Sequence[onnx.TensorProto] | None = None,
    *,
    opset: int = 18,
) -> onnx.ModelProto:
    """One healthy Gemm layer unless told otherwise."""
    gemm = helper.make_node("Gemm", ["x", "w"], ["y"], "fc", transB=1)
    graph = helper.make_graph(
        [gemm] if nodes is None else nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [8, WIDTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [weight()] if weights is None else weights,
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("acme", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def weight(name: str = "w", shape: tuple[int, ...] = (WIDTH, WIDTH), std: float = WIDTH**-0.5) -> onnx.TensorProto:
    values = np.random.default_rng(0).normal(0.0, std, shape)
    return numpy_helper.from_array(values.astype(np.float32), name)


def external(location: str, *, offset: int = 0, length: int | None = None) -> onnx.TensorProto:
    """The weight of ``model``, kept in a file beside it."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[WIDTH, WIDTH])
    tensor.data_location = TensorProto.EXTERNAL
    size = 4 * WIDTH * WIDTH if length is None else length
    for key, value in (("location", location), ("offset", str(offset)), ("length", str(size))):
        tensor.external_data.add(key=key, value=value)
    return tensor
