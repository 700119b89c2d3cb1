"""The code of the help line silences the finding when it is run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from rule_networks import findings
from torch import nn

from initcheck import Builder, Op, Severity

if TYPE_CHECKING:
    from collections.abc import Callable

    from initcheck import Graph

ACTIVATIONS: dict[str, tuple[Callable[[], nn.Module], dict[str, float]]] = {
    "relu": (nn.ReLU, {}),
    "leaky_relu": (lambda: nn.LeakyReLU(0.2), {"alpha": 0.2}),
    "tanh": (nn.Tanh, {}),
    "gelu": (nn.GELU, {}),
    "silu": (nn.SiLU, {}),
    "elu": (nn.ELU, {}),
    "selu": (nn.SELU, {}),
    "mish": (nn.Mish, {}),
    "softplus": (nn.Softplus, {}),
}
DEPTH = 16


def read(layers: list[nn.Module], function: str) -> Graph:
    """Graph of a stack of layers with one activation between them."""
    convolutional = isinstance(layers[0], nn.Conv2d)
    b = Builder((32, 16, 8, 8) if convolutional else (32, 128))
    x = b.x
    for k, layer in enumerate(layers):
        weight, bias = (getattr(layer, name).detach().numpy() for name in ("weight", "bias"))
        if convolutional:
            x = b.conv(x, weight.shape[0], weight, bias=bias, path=f"layers.{k}")
        else:
            x = b.linear(x, weight.shape[0], weight, bias=bias, path=f"layers.{k}")
        if k < len(layers) - 1:
            x = b.activation(x, function, **ACTIVATIONS[function][1])
    return b.graph(x)


def loud(graph: Graph) -> list[str]:
    found = [finding for code in ("INI101", "INI102") for finding in findings(code, graph)]
    return [finding.code for finding in found if finding.severity is not Severity.NOTE]


@pytest.mark.parametrize("kind", ["linear", "conv"])
@pytest.mark.parametrize("scale", [0.2, 5.0])
@pytest.mark.parametrize("function", ACTIVATIONS)
def test_help_silences(function: str, scale: float, kind: str) -> None:
    torch.manual_seed(0)
    layers = [nn.Linear(128, 128) if kind == "linear" else nn.Conv2d(16, 16, 3, padding=1) for _ in range(DEPTH)]
    fan_in = 128 if kind == "linear" else 144
    for layer in layers:
        nn.init.normal_(layer.weight, std=scale / fan_in**0.5)
        nn.init.zeros_(layer.bias)
    graph = read(layers, function)
    found = [finding for code in ("INI101", "INI102") for finding in findings(code, graph)]
    if not found:
        # A stack of saturating functions holds a signal at many scales.
        assert function in {"tanh", "softplus"}
        return
    (finding,) = found
    for layer in layers:
        exec(finding.help, {"nn": nn, "layer": layer})
    assert loud(read(layers, function)) == []


def test_an_activation_that_no_weights_can_save_is_to_be_replaced() -> None:
    b = Builder()
    x = b.x
    for _ in range(8):
        x = b.activation(b.linear(x, 64), "sigmoid")
    (finding,) = findings("INI101", b.graph(b.linear(x, 10)))
    assert finding.help.startswith("replace sigmoid")


def test_a_transposed_convolution_gets_a_number() -> None:
    b = Builder((4, 16, 8, 8))
    x = b.x
    for k in range(8):
        weight = b.parameter(f"up{k}.weight", (16, 16, 3, 3), "normal(0, 0.01)")
        attributes = {
            "kernel": (3, 3),
            "strides": (1, 1),
            "dilations": (1, 1),
            "padding": ((1, 1), (1, 1)),
            "groups": 1,
            "fan_in": 144,
            "fan_out": 144,
            "out_axis": 1,
        }
        x = b.node(Op.CONV_TRANSPOSE, (x, weight), (4, 16, 8, 8), attributes, path=f"up{k}")
        x = b.activation(x)
    (finding,) = findings("INI101", b.graph(b.linear(b.pool(x), 10)))
    assert finding.help == "nn.init.normal_(layer.weight, std=0.118)"
