"""Linear maps, biases, token mixing and embeddings against sampled networks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sampling import assert_agreement, fold, known

from initcheck.builder import Builder
from initcheck.graph import Op

SCHEMES = ["kaiming_normal", "pytorch_default", "truncated_normal(std=0.1)", "orthogonal", "xavier_uniform(gain=2)"]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("function", ["relu", "tanh"])
def test_two_layers(scheme: str, function: str) -> None:
    b = Builder((32, 96))
    x = b.activation(b.linear(b.x, 96, scheme), function)
    y = b.linear(x, 64, scheme)
    assert_agreement(b.graph(y), x, y)


@settings(max_examples=20, deadline=None)
@given(
    widths=st.lists(st.integers(48, 160), min_size=2, max_size=3),
    positions=st.lists(st.integers(2, 4), max_size=2),
    bias=st.sampled_from([None, "zeros", "normal(0.3, 0.2)", "uniform(-1, 1)"]),
    function=st.sampled_from(["relu", "gelu", "sigmoid", "selu"]),
)
def test_any_shape(widths: list[int], positions: list[int], bias: str | None, function: str) -> None:
    b = Builder((24, *positions, widths[0]))
    x = b.x
    for width in widths[1:]:
        x = b.activation(b.linear(x, width, "lecun_normal", bias=bias), function)
    y = b.linear(x, 64, "lecun_normal", bias=bias)
    assert_agreement(b.graph(y), repeats=32, errors=5.0)


@pytest.mark.parametrize("mean", [0.02, -0.02])
def test_weights_with_a_mean_see_the_coherent_part_of_their_input(mean: float) -> None:
    b = Builder((32, 96))
    x = b.activation(b.linear(b.x, 128))
    y = b.linear(x, 64, f"normal({mean}, 0.1)")
    z = b.linear(b.activation(y), 64, f"normal({mean}, 0.1)")
    # The mean of 128 rectified units fluctuates between networks by a tenth, which moves all outputs together.
    assert_agreement(b.graph(z), y, z, repeats=200, decades=0.05, correlation=0.08)


def test_constant_weights_sum_their_input() -> None:
    b = Builder((32, 96))
    x = b.activation(b.linear(b.x, 64))
    y = b.linear(x, 8, "constant(0.1)")
    assert_agreement(b.graph(y), repeats=200, quantities=("mean_square", "mean", "pair_sample"))


def test_identity_keeps_the_distribution_of_its_input() -> None:
    b = Builder((32, 96))
    x = b.activation(b.linear(b.x, 96))
    y = b.activation(b.linear(x, 96, "identity"))
    graph = b.graph(y)
    assert_agreement(graph, x, y)
    signals = fold(graph).signals
    assert known(fold(graph), y).mean_square == pytest.approx(known(fold(graph), x).mean_square)
    assert signals[x] is not None


def test_attributes_of_a_general_matrix_product() -> None:
    b = Builder((32, 96))
    weight = b.parameter("weight", (96, 40), "normal(0, 0.2)")
    bias = b.parameter("bias", (40,), "normal(0, 1)")
    attributes = {"axis": -1, "fan_in": 96, "fan_out": 40, "out_axis": 1, "scale": 0.25, "bias_scale": 2.0}
    y = b.node(Op.LINEAR, (b.x, weight, bias), (32, 40), attributes)
    assert_agreement(b.graph(y))


def test_channels_first() -> None:
    b = Builder((24, 64, 5))
    weight = b.parameter("weight", (96, 64), "normal(0, 0.2)")
    attributes = {"axis": 1, "fan_in": 64, "fan_out": 96, "out_axis": 0, "scale": 1.0, "bias_scale": 1.0}
    x = b.node(Op.LINEAR, (b.x, weight), (24, 96, 5), attributes)
    y = b.activation(x)
    assert_agreement(b.graph(y), x, y)


@pytest.mark.parametrize("biased", [False, True])
def test_token_mixing(biased: bool) -> None:
    """A map over positions, as in an MLP-mixer: its outputs are units, the former units are positions."""
    b = Builder((16, 32, 48))
    x = b.activation(b.linear(b.x, 40, bias="normal(0, 0.5)" if biased else None), "relu")
    turned = b.node(Op.TRANSPOSE, (x,), (16, 40, 32), {"permutation": (0, 2, 1)})
    mixed = b.linear(turned, 64)
    y = b.activation(mixed)
    assert_agreement(b.graph(y), mixed, y, repeats=120, correlation=0.06)


def test_embedding_of_random_ids() -> None:
    b = Builder((16, 6), "int64")
    x = b.embedding(b.x, 10, 64, "normal(0.1, 0.02)")
    y = b.activation(b.linear(x, 64))
    assert_agreement(b.graph(y), x, y, repeats=100)


@pytest.mark.parametrize("ids", [np.arange(6), np.zeros(6, int), np.array([[0, 0, 1, 1, 2, 3]])])
def test_embedding_of_positions(ids: np.ndarray) -> None:
    b = Builder((16, 6), "int64")
    x = b.embedding(b.x, 50, 64, "normal(0, 0.02)")
    places = b.embedding(b.constant("ids", ids), 8, 64, "normal(0, 0.03)")
    y = b.add(x, places)
    z = b.linear(y, 64)
    assert_agreement(b.graph(z), y, z, repeats=100)
