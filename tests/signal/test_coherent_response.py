"""Perturbations that move a value along itself: residual branches that end in a non-negative function."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sampling import fold, known, sample

from initcheck.builder import Builder
from initcheck.graph import Graph, Op


def residual(width: int, blocks: int, weight: float, function: str = "relu", layers: int = 1) -> Graph:
    """Blocks x + η f(W x)."""
    b = Builder((4, width))
    x = b.x
    for _ in range(blocks):
        y = x
        for _ in range(layers):
            y = b.activation(b.linear(y, width), function)
        x = b.add(x, b.scale(y, weight))
    return b.graph(x)


def gains(graph: Graph, repeats: int, name: str = "") -> tuple[float, float, float]:
    """log10 of the predicted and the sampled gain, and the standard error of the latter."""
    name = name or graph.main_output
    signal = known(fold(graph), name)
    mean, error = sample(graph, {name: signal.axes}, repeats, perturbed=True)[name].average("gain")
    return math.log10(signal.gain), math.log10(mean), error / mean / math.log(10.0)


@pytest.mark.parametrize(
    ("width", "blocks", "weight"), [(16, 12, 1.0), (16, 20, 1.0), (64, 12, 1.0), (64, 20, 1.0), (16, 12, 0.25)]
)
def test_non_negative_branches(width: int, blocks: int, weight: float) -> None:
    predicted, measured, error = gains(residual(width, blocks, weight), 150)
    assert abs(predicted - measured) < 0.05 + 3.0 * error


@pytest.mark.parametrize(("function", "layers"), [("relu", 2), ("sigmoid", 1), ("softplus", 1), ("tanh", 1)])
def test_other_branches(function: str, layers: int) -> None:
    predicted, measured, error = gains(residual(32, 10, 1.0, function, layers), 80)
    assert abs(predicted - measured) < 0.07 + 3.0 * error


def test_width_makes_it_vanish() -> None:
    """The coherent part starts as a chance alignment of 1/n: without bound in n only d is added per block."""
    graph = residual(4096, 4, 1.0)
    signal = known(fold(graph), graph.main_output)
    assert signal.gain == pytest.approx(2.0**4, rel=0.01)


def test_along_itself_a_gain_cannot_fall_below_the_length() -> None:
    graph = residual(16, 40, 1.0)
    signal = known(fold(graph), graph.main_output)
    square = sum(c * c for c in signal.scale_response().values())
    assert signal.gain == pytest.approx(square * signal.mean_square, rel=0.05)


@pytest.mark.parametrize("kind", ["layer", "rms"])
def test_normalisation_removes_it(kind: str) -> None:
    b = Builder((4, 64))
    x = b.x
    for _ in range(8):
        x = b.add(x, b.activation(b.linear(x, 64)))
    y = b.normalize(x, kind)
    z = b.linear(y, 64)
    graph = b.graph(z)
    predicted, measured, error = gains(graph, 60)
    assert abs(predicted - measured) < 0.1 + 3.0 * error
    assert sum(c * c for c in known(fold(graph), y).scale_response().values()) < 1e-9


def test_gates_answer_together() -> None:
    b = Builder((4, 24))
    x = b.x
    for _ in range(3):
        gate = b.activation(b.linear(x, 24, "kaiming_normal"), "sigmoid")
        x = b.combine(Op.MUL, gate, b.linear(x, 24, "kaiming_normal"))
    predicted, measured, error = gains(b.graph(x), 200)
    assert abs(predicted - measured) < 0.06 + 3.0 * error


@pytest.mark.parametrize("kind", ["layer", "rms"])
def test_what_does_not_answer_takes_no_part(kind: str) -> None:
    """A small signal beside a large table of positions: the normalisation divides it, and leaves it."""
    b = Builder((4, 16, 48))
    x = b.scale(b.activation(b.linear(b.x, 48)), 0.02)
    angles = (
        np.linspace(0.0, 3.0, 16)[:, None] * np.array([1.0, 1.0, 2.0, 2.0]) + np.array([0.0, 0.5, 0.0, 0.5]) * np.pi
    )
    y = b.add(x, b.linear(b.constant("places", 1.0 + 0.3 * np.cos(angles)[None]), 48, bias="normal(0, 1)"))
    z = b.linear(b.normalize(y, kind), 48)
    # Somebody asks how much positions have in common, and so how that fluctuates.
    mean = b.node(Op.REDUCE, (z,), (4, 48), {"function": "mean", "axes": (1,), "keepdims": False})
    predicted, measured, error = gains(b.graph(mean), 60, z)
    assert abs(predicted - measured) < 0.03 + 3.0 * error
