"""Write the two example models: a deep ReLU network as PyTorch draws it by default, and the same network repaired.

Both are 20 hidden layers of 48 units and a head of 10. The default of ``nn.Linear`` is uniform with variance
1 / (3 fan_in), where ReLU needs 2 / fan_in: every layer passes on a sixth of the signal. The repaired twin draws
``kaiming_normal`` with zero biases.

Run it from anywhere: ``python examples/make_mlp.py`` writes beside itself. It needs onnx and numpy only.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

DEPTH, WIDTH, CLASSES = 20, 48, 10
Draw = Callable[[np.random.Generator, int, int], tuple[np.ndarray, np.ndarray]]


def pytorch_default(rng: np.random.Generator, fan_out: int, fan_in: int) -> tuple[np.ndarray, np.ndarray]:
    """Weight and bias of ``nn.Linear`` as constructed: both uniform in +-1/sqrt(fan_in)."""
    bound = fan_in**-0.5
    return rng.uniform(-bound, bound, (fan_out, fan_in)), rng.uniform(-bound, bound, fan_out)


def kaiming_normal(rng: np.random.Generator, fan_out: int, fan_in: int) -> tuple[np.ndarray, np.ndarray]:
    """Weight of variance 2 / fan_in, zero bias."""
    return rng.normal(0.0, (2.0 / fan_in) ** 0.5, (fan_out, fan_in)), np.zeros(fan_out)


def mlp(draw: Draw) -> onnx.ModelProto:
    """A chain of Gemm and Relu with module paths as node names, as an exporter of ``nn.Sequential`` leaves them."""
    rng = np.random.default_rng(0)
    nodes, weights, value = [], [], "x"
    for layer in range(DEPTH + 1):
        path = f"net.{2 * layer}"
        arrays = draw(rng, WIDTH if layer < DEPTH else CLASSES, WIDTH)
        for name, array in zip(("weight", "bias"), arrays, strict=True):
            weights.append(numpy_helper.from_array(array.astype(np.float32), f"{path}.{name}"))
        output = f"{path}.out" if layer < DEPTH else "logits"
        nodes.append(helper.make_node("Gemm", [value, f"{path}.weight", f"{path}.bias"], [output], path, transB=1))
        value = output
        if layer < DEPTH:
            value = f"net.{2 * layer + 1}.out"
            nodes.append(helper.make_node("Relu", [output], [value], f"net.{2 * layer + 1}"))
    graph = helper.make_graph(
        nodes,
        "mlp",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", WIDTH])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", CLASSES])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    return model


def main() -> None:
    folder = Path(__file__).resolve().parent
    for name, draw in (("mlp_pytorch_default.onnx", pytorch_default), ("mlp_repaired.onnx", kaiming_normal)):
        (folder / name).write_bytes(mlp(draw).SerializeToString(deterministic=True))
        print(name)


if __name__ == "__main__":
    main()
