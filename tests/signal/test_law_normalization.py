"""Normalisations of every kind, after Gaussians and after ReLU, against sampled networks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sampling import QUANTITIES, assert_agreement, fold, known

from initcheck.builder import Builder
from initcheck.graph import Op

AFFINE = [("ones", "zeros"), ("normal(1, 0.3)", "normal(0, 0.4)"), ("constant(0.2)", "constant(0.7)")]


def normalize(b: Builder, x: str, kind: str, *, scale: str = "ones", shift: str = "zeros", **attributes: object) -> str:
    """A normalisation with any attributes."""
    shape = b.shape(x)
    width = shape[-1] if kind in {"layer", "rms"} else shape[1]
    inputs = [x, b.parameter(f"scale{len(b.nodes)}", (width,), scale)]
    if kind != "rms":
        inputs.append(b.parameter(f"shift{len(b.nodes)}", (width,), shift))
    settings = {"kind": kind, "epsilon": 1e-5, "axes": (-1,), "training": True, **attributes}
    return b.node(Op.NORMALIZE, inputs, shape, settings)


@pytest.mark.parametrize("kind", ["layer", "rms", "batch"])
@pytest.mark.parametrize("function", ["identity", "relu", "tanh"])
@pytest.mark.parametrize(("scale", "shift"), AFFINE)
def test_of_vectors(kind: str, function: str, scale: str, shift: str) -> None:
    b = Builder((32, 128))
    x = b.linear(b.x, 128, "normal(0, 0.3)", bias="normal(0.5, 1)")
    x = x if function == "identity" else b.activation(x, function)
    y = normalize(b, x, kind, scale=scale, shift=shift)
    z = b.activation(b.linear(y, 96))
    assert_agreement(b.graph(z), y, z, repeats=60, decades=0.04, correlation=0.06)


@pytest.mark.parametrize("kind", ["layer", "rms"])
@pytest.mark.parametrize("function", ["identity", "relu"])
def test_of_tokens(kind: str, function: str) -> None:
    b = Builder((16, 6, 128))
    x = b.linear(b.x, 128, "normal(0, 0.3)", bias="normal(0.5, 1)")
    x = x if function == "identity" else b.activation(x)
    y = normalize(b, x, kind)
    z = b.linear(b.activation(y), 64)
    assert_agreement(b.graph(z), y, z, decades=0.04)


@pytest.mark.parametrize("kind", ["batch", "instance", "group"])
@pytest.mark.parametrize("function", ["identity", "relu"])
@pytest.mark.parametrize("bias", ["zeros", "normal(0.5, 1)"])
def test_of_images(kind: str, function: str, bias: str) -> None:
    b = Builder((32, 8, 8, 8))
    x = b.conv(b.x, 32, "normal(0, 0.1)", bias=bias)
    x = x if function == "identity" else b.activation(x)
    y = normalize(b, x, kind, groups=4)
    z = b.activation(b.conv(y, 32))
    # Biases under a ReLU give channels variances of their own, over which the engine does not average the gain.
    uneven = function == "relu" and bias != "zeros" and kind != "group"
    quantities = [q for q in QUANTITIES if q != "gain" or not uneven]
    assert_agreement(b.graph(z), y, z, repeats=20, decades=0.05, correlation=0.06, quantities=quantities)


@pytest.mark.parametrize("axes", [(-2, -1), (1, 2)])
def test_over_positions_and_features(axes: tuple[int, ...]) -> None:
    b = Builder((16, 6, 64))
    x = b.activation(b.linear(b.x, 64))
    y = b.node(Op.NORMALIZE, (x,), b.shape(x), {"kind": "layer", "epsilon": 1e-5, "axes": axes})
    z = b.linear(y, 64)
    assert_agreement(b.graph(z), y, z, decades=0.04)


@settings(max_examples=15, deadline=None)
@given(
    kind=st.sampled_from(["layer", "rms", "batch"]),
    ratio=st.floats(-2.0, 2.0),
    relu=st.booleans(),
)
def test_epsilon_that_limits(kind: str, ratio: float, relu: bool) -> None:
    b = Builder((32, 128))
    x = b.linear(b.x, 128, "normal(0, 0.01)")
    x = b.activation(x) if relu else x
    y = normalize(b, x, kind, epsilon=128 * 1e-4 * 10.0**ratio)
    assert_agreement(b.graph(y), repeats=60, decades=0.05, errors=5.0)


def test_stored_statistics_normalise_nothing() -> None:
    b = Builder((32, 128))
    x = b.activation(b.linear(b.x, 128))
    y = b.normalize(x, "batch", training=False, statistics=("constant(0.3)", "constant(4)"), scale="constant(1.5)")
    z = b.linear(y, 96)
    graph = b.graph(z)
    assert_agreement(graph, y, z)
    forward = fold(graph)
    assert known(forward, y).segment == known(forward, x).segment


def test_deep_batch_norm_relu_loses_the_signal_to_what_samples_share() -> None:
    """Every ReLU after batch norm multiplies the gain by π/(π-1): a perturbation is not shared, the mean removed is."""
    b = Builder((32, 256))
    x = b.x
    values = []
    for _ in range(4):
        x = b.activation(b.normalize(b.linear(x, 256, "kaiming_normal"), "batch"))
        values.append(x)
    graph = b.graph(x)
    assert_agreement(graph, *values, decades=0.05)


def test_layer_norm_spelled_out() -> None:
    b = Builder((16, 6, 128))
    x = b.activation(b.linear(b.x, 128, bias="normal(0.3, 0.5)"))

    def mean(value: str) -> str:
        attributes = {"function": "mean", "axes": (-1,), "keepdims": True}
        return b.node(Op.REDUCE, (value,), (16, 6, 1), attributes)

    centred = b.combine(Op.SUB, x, mean(x))
    square = b.activation(centred, "power", exponent=2.0)
    shifted = b.combine(Op.ADD, mean(square), b.constant("epsilon", np.array(1e-5)))
    y = b.combine(Op.DIV, centred, b.activation(shifted, "sqrt"))
    whole = b.node(Op.NORMALIZE, (x,), b.shape(x), {"kind": "layer", "epsilon": 1e-5, "axes": (-1,)})
    z = b.linear(y, 96)
    graph = b.graph(z)
    assert_agreement(graph, y, z, decades=0.04)
    forward = fold(graph)
    assert known(forward, y).mean_square == pytest.approx(known(forward, whole).mean_square, rel=0.02)


def test_rms_norm_spelled_out() -> None:
    b = Builder((16, 6, 128))
    x = b.activation(b.linear(b.x, 128, bias="normal(0.3, 0.5)"))
    square = b.combine(Op.MUL, x, x)
    mean = b.node(Op.REDUCE, (square,), (16, 6, 1), {"function": "mean", "axes": (-1,), "keepdims": True})
    root = b.activation(b.combine(Op.ADD, mean, b.constant("epsilon", np.array(1e-5))), "power", exponent=-0.5)
    y = b.combine(Op.MUL, x, root)
    z = b.linear(y, 96)
    quantities = [q for q in QUANTITIES if q != "gain"]
    assert_agreement(b.graph(z), y, z, decades=0.04, quantities=quantities)


def test_of_euclidean_length() -> None:
    b = Builder((16, 6, 64))
    y = normalize(b, b.linear(b.x, 64), "rms", length=1.0 / 8.0)
    z = b.linear(y, 64)
    assert_agreement(b.graph(z), y, z, decades=0.04)


def test_samples_whose_means_over_positions_are_nearly_alike() -> None:
    """Padding gives every position a mean square and a pattern of its own: no sample may lose all of its variance."""
    b = Builder((16, 8, 12, 12))
    x = b.conv(b.x, 32)
    for _ in range(3):
        x = b.activation(b.conv(x, 32))
    pooled = b.node(Op.REDUCE, (x,), (16, 32), {"function": "mean", "axes": (2, 3), "keepdims": False})
    y = b.linear(pooled, 256)
    # What two samples differ by is a small part of the mean square, and the batch normalisation sees that part only.
    z = normalize(b, y, "batch", epsilon=1e-12)
    assert known(fold(b.graph(z)), z).mean_square == pytest.approx(1.0)
