"""What must never be flagged, each as people build it and at the initialisation it is trained from."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from initcheck import Builder, Op, Optimizer, Severity
from initcheck.testing import run_rules
from initcheck_rules import RULES

if TYPE_CHECKING:
    from collections.abc import Callable

    from initcheck import Graph

HEALTHY: dict[str, Callable[[], Graph]] = {}
DEFAULT = {"init": "pytorch_default", "bias": "uniform(±1/√fan_in)"}


def healthy(build: Callable[[], Graph]) -> Callable[[], Graph]:
    HEALTHY[build.__name__] = build
    return build


def residual_stack(branch: Callable[[Builder, str], str], blocks: int = 50, width: int = 64) -> Graph:
    b = Builder()
    x = b.linear(b.x, width, "lecun_normal")
    for _ in range(blocks):
        x = b.add(x, branch(b, x))
    return b.graph(b.linear(x, 10, "lecun_normal"))


def two_layers(b: Builder, x: str, init: str = "kaiming_normal", last: str = "kaiming_normal") -> str:
    width = b.shape(x)[-1]
    return b.linear(b.activation(b.linear(b.activation(x), width, init)), width, last)


@healthy
def pixels_scaled_inside() -> Graph:
    b = Builder((32, 4, 84, 84))
    x = b.scale(b.x, 1.0 / 255.0)
    for channels, kernel, stride in ((32, 8, 4), (64, 4, 2), (64, 3, 1)):
        x = b.activation(b.conv(x, channels, kernel=kernel, stride=stride))
    return b.graph(b.linear(x, 6))


@healthy
def pixels_beside_a_state() -> Graph:
    b = Builder((32, 64))
    pixels = b.activation(b.linear(b.scale(b.x, 1.0 / 255.0), 64))
    state = b.activation(b.linear(b.input("state", (32, 16)), 64))
    return b.graph(b.linear(b.activation(b.linear(b.add(pixels, state), 64)), 6))


@healthy
def fixup() -> Graph:
    scale = math.sqrt(2.0 / 64.0) * 50.0**-0.5
    b = Builder()
    x = b.linear(b.x, 64)
    for _ in range(50):
        x = b.add(x, two_layers(b, x, f"normal(0, {scale})", "zeros"))
    return b.graph(b.linear(x, 10, "zeros"))


@healthy
def skip_init() -> Graph:
    def branch(b: Builder, x: str) -> str:
        factor = b.parameter(f"scale{len(b.nodes)}", (1,), "zeros")
        return b.scale(two_layers(b, x), factor)

    return residual_stack(branch)


@healthy
def rezero_with_constant() -> Graph:
    return residual_stack(lambda b, x: b.scale(two_layers(b, x), 0.0))


@healthy
def layer_scale() -> Graph:
    def branch(b: Builder, x: str) -> str:
        hidden = b.activation(b.linear(b.normalize(x), 256, "normal(0, 0.02)"), "gelu")
        factor = b.parameter(f"gamma{len(b.nodes)}", (64,), "constant(1e-06)")
        return b.combine(Op.MUL, b.linear(hidden, 64, "normal(0, 0.02)"), factor)

    return residual_stack(branch, blocks=36)


@healthy
def scaled_branches() -> Graph:
    return residual_stack(lambda b, x: b.scale(two_layers(b, x), 1.0 / math.sqrt(50.0)))


@healthy
def positive_branches_with_geometric_scales() -> Graph:
    b = Builder()
    x = b.linear(b.x, 64)
    for k in range(60):
        x = b.add(x, b.scale(b.activation(b.linear(x, 64)), 0.8**k))
    return b.graph(b.linear(x, 10))


@pytest.mark.parametrize("last", ["ones", "zeros"])
def test_resnet_with_batch_norm_and_zero_gamma(last: str) -> None:
    b = Builder((32, 3, 32, 32))
    x = b.activation(b.normalize(b.conv(b.x, 16, bias=None), "batch"))
    for stage in range(3):
        for block in range(9):
            width, stride = 16 << stage, 2 if stage and not block else 1
            skip = x if stride == 1 else b.normalize(b.conv(x, width, kernel=1, stride=2, bias=None), "batch")
            y = b.activation(b.normalize(b.conv(x, width, stride=stride, bias=None), "batch"))
            y = b.normalize(b.conv(y, width, bias=None), "batch", scale=last)
            x = b.activation(b.add(y, skip))
    assert_clean(b.graph(b.linear(b.pool(x), 10, **DEFAULT)))


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("blocks", [12, 24])
def test_gpt2(tied: bool, blocks: int) -> None:
    width, length, vocabulary = 64, 32, 500
    b = Builder((4, length), "int64")
    table = b.embedding(b.x, vocabulary, width, "normal(0, 0.02)", path="wte")
    positions = b.embedding(b.constant("positions", np.arange(length)), length, width, "normal(0, 0.02)", path="wpe")
    x = b.add(table, positions)
    projection = f"normal(0, {0.02 / math.sqrt(2 * blocks)})"
    for _ in range(blocks):
        normed = b.normalize(x)
        query, key, value = (b.linear(normed, width, "normal(0, 0.02)") for _ in range(3))
        attributes = {"scale": 1.0 / math.sqrt(width), "causal": True}
        mixed = b.node(Op.ATTENTION, (query, key, value), b.shape(x), attributes)
        x = b.add(x, b.linear(mixed, width, projection))
        hidden = b.activation(b.linear(b.normalize(x), 4 * width, "normal(0, 0.02)"), "gelu_tanh")
        x = b.add(x, b.linear(hidden, width, projection))
    x = b.normalize(x)
    if tied:
        attributes = {"axis": -1, "fan_in": width, "fan_out": vocabulary, "out_axis": 0}
        logits = b.node(Op.LINEAR, (x, "wte.weight"), (4, length, vocabulary), attributes, path="lm_head")
    else:
        logits = b.linear(x, vocabulary, "normal(0, 0.02)", bias=None)
    assert_clean(b.graph(logits))


@pytest.mark.parametrize("blocks", [4, 24])
def test_post_norm_stack(blocks: int) -> None:
    b = Builder((4, 32, 64))
    x = b.x
    for _ in range(blocks):
        hidden = b.activation(b.linear(x, 256, "normal(0, 0.02)"), "gelu")
        x = b.normalize(b.add(x, b.linear(hidden, 64, "normal(0, 0.02)")))
    assert_clean(b.graph(b.linear(x, 10, "normal(0, 0.02)")))


@healthy
def zero_head() -> Graph:
    b = Builder()
    x = b.x
    for _ in range(6):
        x = b.activation(b.linear(x, 96))
    return b.graph(b.linear(x, 10, "zeros"))


@healthy
def constant_head() -> Graph:
    b = Builder()
    return b.graph(b.linear(b.activation(b.linear(b.x, 96)), 10, "constant(0.1)"))


@healthy
def depthwise_separable() -> Graph:
    b = Builder((32, 16, 16, 16))
    x = b.x
    for _ in range(10):
        x = b.activation(b.normalize(b.conv(x, 16, groups=16, bias=None), "batch"))
        x = b.activation(b.normalize(b.conv(x, 16, kernel=1, bias=None), "batch"))
    return b.graph(b.linear(b.pool(x), 10, **DEFAULT))


@healthy
def averaging_depthwise_filters() -> Graph:
    b = Builder((32, 16, 16, 16))
    x = b.activation(b.conv(b.x, 16))
    x = b.conv(x, 16, f"constant({1 / 9})", groups=16, bias=None)
    x = b.activation(b.conv(x, 16))
    return b.graph(b.linear(b.pool(x), 10))


@healthy
def squeeze_excite() -> Graph:
    b = Builder((32, 16, 16, 16))
    x = b.activation(b.conv(b.x, 16))
    for _ in range(8):
        y = b.normalize(b.conv(x, 16, bias=None), "batch")
        gate = b.activation(b.linear(b.pool(y), 4, **DEFAULT))
        gate = b.activation(b.linear(gate, 16, **DEFAULT), "sigmoid")
        gate = b.node(Op.RESHAPE, (gate,), (32, 16, 1, 1))
        x = b.activation(b.add(x, b.combine(Op.MUL, y, gate)))
    return b.graph(b.linear(b.pool(x), 10, **DEFAULT))


@healthy
def vgg19_with_batch_norm() -> Graph:
    b = Builder((8, 3, 32, 32))
    x = b.x
    for width, count in ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4)):
        for _ in range(count):
            x = b.activation(b.normalize(b.conv(x, width), "batch"))
        size = b.shape(x)[-1] // 2
        attributes = {
            "kernel": (2, 2),
            "strides": (2, 2),
            "dilations": (1, 1),
            "padding": ((0, 0), (0, 0)),
            "count_include_pad": True,
        }
        x = b.node(Op.POOL_MAX, (x,), (8, width, size, size), attributes)
    x = b.flatten(x)
    for _ in range(2):
        x = b.activation(b.linear(x, 4096, "normal(0, 0.01)"))
    return b.graph(b.linear(x, 1000, "normal(0, 0.01)"))


@healthy
def densenet() -> Graph:
    b = Builder((8, 3, 16, 16))
    x = b.conv(b.x, 16, bias=None)
    for _ in range(20):
        y = b.conv(b.activation(b.normalize(x, "batch")), 12, bias=None)
        x = b.concatenate([x, y])
    return b.graph(b.linear(b.pool(b.activation(b.normalize(x, "batch"))), 10, **DEFAULT))


@healthy
def densenet_without_normalization() -> Graph:
    b = Builder((8, 3, 16, 16))
    x = b.conv(b.x, 8)
    for _ in range(8):
        x = b.concatenate([x, b.conv(b.activation(x), 8)])
    return b.graph(b.linear(b.pool(b.activation(x)), 10))


@healthy
def three_layer_mlp_with_pytorch_default() -> Graph:
    b = Builder((32, 784))
    x = b.activation(b.linear(b.x, 512, **DEFAULT))
    x = b.activation(b.linear(x, 512, **DEFAULT))
    return b.graph(b.linear(x, 10, **DEFAULT))


@healthy
def tutorial_convnet_with_pytorch_default() -> Graph:
    b = Builder((32, 3, 32, 32))
    x = b.activation(b.conv(b.x, 6, kernel=5, **DEFAULT))
    x = b.activation(b.conv(x, 16, kernel=5, stride=2, **DEFAULT))
    x = b.flatten(x)
    for width in (120, 84):
        x = b.activation(b.linear(x, width, **DEFAULT))
    return b.graph(b.linear(x, 10, **DEFAULT))


@healthy
def selu_with_lecun() -> Graph:
    b = Builder()
    x = b.x
    for _ in range(40):
        x = b.activation(b.linear(x, 64, "lecun_normal"), "selu")
    return b.graph(b.linear(x, 10, "lecun_normal"))


@healthy
def orthogonal_tanh() -> Graph:
    b = Builder()
    x = b.x
    for _ in range(50):
        x = b.activation(b.linear(x, 64, "orthogonal"), "tanh")
    return b.graph(b.linear(x, 10, "orthogonal"))


@healthy
def wide_and_deep_he_relu() -> Graph:
    b = Builder((32, 1000))
    x = b.x
    for _ in range(200):
        x = b.activation(b.linear(x, 1000))
    return b.graph(b.linear(x, 10))


@healthy
def deep_delta_convolutions() -> Graph:
    b = Builder((32, 16, 8, 8))
    x = b.activation(b.conv(b.x, 16))
    for _ in range(8):
        x = b.activation(b.conv(x, 16, "dirac"))
    return b.graph(b.linear(b.pool(x), 10))


@healthy
def bottleneck_units_with_skips() -> Graph:
    def branch(b: Builder, x: str) -> str:
        return b.linear(b.activation(b.linear(b.normalize(x), 2)), 64)

    return residual_stack(branch, blocks=24)


def assert_clean(graph: Graph) -> None:
    for optimizer in Optimizer:
        found = run_rules([rule() for rule in RULES], graph, optimizer=optimizer)
        loud = [f"{f.severity} {f.code} {f.message}" for f in found if f.severity is not Severity.NOTE]
        assert loud == []
        assert not [f.message for f in found if f.code in {"INI901", "INI903"}]


@pytest.mark.parametrize("name", HEALTHY)
def test_is_clean(name: str) -> None:
    assert_clean(HEALTHY[name]())
