"""Channels of unequal variance before a normalisation that epsilon limits, against sampled networks."""

from __future__ import annotations

import numpy as np
import pytest
from sampling import assert_agreement, draw, draw_inputs, fold, known, run

from initcheck.builder import Builder
from initcheck.graph import Op


def normalised(b: Builder, x: str, kind: str, epsilon: float, groups: int = 1) -> str:
    channels = b.shape(x)[1]
    scale = b.parameter(f"scale{len(b.nodes)}", (channels,), "ones")
    shift = b.parameter(f"shift{len(b.nodes)}", (channels,), "zeros")
    settings = {"kind": kind, "epsilon": epsilon, "groups": groups, "training": True}
    return b.node(Op.NORMALIZE, (x, scale, shift), b.shape(x), settings)


@pytest.mark.parametrize(
    ("kind", "ratio", "scheme"),
    [
        ("batch", 0.1, "normal(0, 0.02)"),
        ("batch", 1.0, "normal(0, 0.02)"),
        ("batch", 5.0, "uniform(-0.03, 0.03)"),
        ("instance", 1.0, "normal(0, 0.02)"),
        ("group", 1.0, "normal(0, 0.02)"),
    ],
)
def test_after_a_depthwise_convolution(kind: str, ratio: float, scheme: str) -> None:
    b = Builder((8, 64, 8, 8))
    x = b.conv(b.x, 64, scheme, groups=64, bias=None)
    square = known(fold(b.graph(x)), x).mean_square
    y = normalised(b, x, kind, square / ratio, groups=32)
    z = b.activation(y, "relu6")
    assert_agreement(b.graph(z), y, z, repeats=16, decades=0.02, quantities=("mean_square", "gain", "log_length"))


def test_of_two_depthwise_convolutions() -> None:
    b = Builder((8, 64, 10, 10))
    x = b.conv(b.conv(b.x, 64, "normal(0, 0.1)", groups=64, bias=None), 64, "normal(0, 0.1)", groups=64, bias=None)
    y = normalised(b, x, "batch", known(fold(b.graph(x)), x).mean_square)
    assert_agreement(b.graph(y), y, repeats=16, decades=0.02, quantities=("mean_square", "gain"))


def test_variation_itself() -> None:
    b = Builder((16, 64, 12, 12))
    x = b.conv(b.x, 64, "normal(0, 0.1)", groups=64, bias=None)
    graph = b.graph(x)
    rng = np.random.default_rng(0)
    found = []
    for _ in range(20):
        parameters = {name: draw(parameter, rng) for name, parameter in graph.parameters.items()}
        squares = np.mean(run(graph, draw_inputs(graph, rng), parameters, 0, {}, 0.0)[x] ** 2, axis=(0, 2, 3))
        found.append(squares.var() / squares.mean() ** 2)
    assert known(fold(graph), x).unit_variation == pytest.approx(2.0 / 9.0)
    assert float(np.mean(found)) == pytest.approx(2.0 / 9.0, rel=0.2)
    wide = b.conv(x, 64, bias=None)
    assert known(fold(b.graph(wide)), wide).unit_variation < 0.01
