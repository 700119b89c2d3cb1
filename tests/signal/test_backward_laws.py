"""Adjoints of single laws against the gradients of sampled networks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from backward_sampling import assert_gradients
from hypothesis import given, settings
from hypothesis import strategies as st
from test_law_attention import attended, decomposed, heads, merged, tokens, windowed
from test_law_convolution import convolution

from initcheck.builder import Builder
from initcheck.graph import Op

if TYPE_CHECKING:
    from initcheck.graph import Graph


def mlp(function: str, *, scheme: str = "kaiming_normal", bias: str | None = "zeros") -> tuple[Graph, list[str]]:
    b = Builder((8, 48))
    x, values = b.x, [b.x]
    for width in (64, 32, 64):
        x = b.linear(x, width, scheme, bias=bias)
        values.append(x)
        x = b.activation(x, function)
    return b.graph(b.linear(x, 24, scheme, bias=bias)), values


@pytest.mark.parametrize("function", ["relu", "gelu", "silu", "tanh", "sigmoid", "selu", "softplus", "abs"])
def test_functions(function: str) -> None:
    graph, values = mlp(function)
    weights = [name for name in graph.parameters if name.endswith("weight")]
    assert_gradients(graph, [*values, *weights[:2]], repeats=60, decades=0.06)


def test_biases_and_shifted_weights() -> None:
    graph, values = mlp("relu", scheme="normal(0.02, 0.15)", bias="normal(0.3, 0.5)")
    biases = [name for name in graph.parameters if name.endswith("bias")]
    assert_gradients(graph, [*values[1:], *biases[:3]], repeats=100, decades=0.1)


def test_functions_of_one_source_add_as_numbers() -> None:
    """X sigmoid(x), and x + LN(x): two ways back to one value with one carrier."""
    b = Builder((8, 64))
    x = b.linear(b.x, 64)
    gated = b.combine(Op.MUL, x, b.activation(x, "sigmoid"))
    y = b.linear(gated, 64, "lecun_normal")
    z = b.add(y, b.normalize(y))
    graph = b.graph(b.linear(z, 48, "lecun_normal"))
    assert_gradients(graph, [x, y, z, b.x], repeats=80, decades=0.06)


@settings(max_examples=10, deadline=None)
@given(
    size=st.integers(5, 8),
    kernel=st.integers(1, 3),
    stride=st.integers(1, 2),
    dilation=st.integers(1, 2),
    before=st.integers(0, 2),
    groups=st.sampled_from([1, 4]),
)
def test_convolutions_of_any_geometry(
    size: int, kernel: int, stride: int, dilation: int, before: int, groups: int
) -> None:
    b = Builder((4, 8, size, size))
    padding = (min(before, kernel - 1),) * 2
    x = b.activation(convolution(b, b.x, 16, (3, 3), padding=(1, 1)))
    y = convolution(b, x, 16, (kernel,) * 2, stride=stride, dilation=dilation, padding=padding, groups=groups)
    z = convolution(b, b.activation(y), 16, (3, 3), padding=(1, 1))
    weight = next(name for name in b.parameters if name.startswith("weight"))
    assert_gradients(b.graph(z), [b.x, x, y, weight], repeats=24, decades=0.08, errors=5.0)


@settings(max_examples=6, deadline=None)
@given(kernel=st.integers(2, 4), stride=st.integers(1, 2), cut=st.integers(0, 1), groups=st.sampled_from([1, 2]))
def test_transposed_convolutions(kernel: int, stride: int, cut: int, groups: int) -> None:
    b = Builder((4, 16, 5, 5))
    y = convolution(b, b.x, 16, (kernel,) * 2, stride=stride, padding=(cut, cut), groups=groups, transposed=True)
    z = convolution(b, b.activation(y), 16, (3, 3), padding=(1, 1))
    assert_gradients(b.graph(z), [b.x, y, *list(b.parameters)[:1]], repeats=32, decades=0.08, errors=5.0)


@pytest.mark.parametrize("kind", ["max", "average"])
@pytest.mark.parametrize("padding", [0, 1])
def test_pooling(kind: str, padding: int) -> None:
    b = Builder((4, 8, 8, 8))
    x = convolution(b, b.x, 32, (3, 3), padding=(1, 1))
    y = b.activation(x)
    kernel, stride = (3, 2) if padding else (2, 2)
    attributes = {
        "kernel": (kernel, kernel),
        "strides": (stride, stride),
        "dilations": (1, 1),
        "padding": ((padding, padding),) * 2,
        "count_include_pad": True,
    }
    op = Op.POOL_MAX if kind == "max" else Op.POOL_AVERAGE
    z = b.node(op, (y,), (4, 32, 4, 4), attributes)
    graph = b.graph(b.linear(b.pool(convolution(b, z, 32, (3, 3), padding=(1, 1))), 32, "lecun_normal"))
    assert_gradients(graph, [b.x, x, y, z], repeats=30, directions=3, decades=0.12)


@pytest.mark.parametrize("kind", ["layer", "rms", "batch"])
def test_normalisations(kind: str) -> None:
    b = Builder((32, 24))
    x, values = b.x, [b.x]
    for _ in range(3):
        x = b.linear(x, 24, "kaiming_normal", bias=None)
        values.append(x)
        x = b.activation(b.normalize(x, kind, path=f"norm{len(b.nodes)}"))
    graph = b.graph(b.linear(x, 24, "lecun_normal"))
    scales = [name for name in graph.parameters if name.endswith("weight")]
    assert_gradients(graph, values, repeats=80, decades=0.08)
    # A batch of 32 and 24 units leave the scales' gradients fewer directions than the theory counts.
    assert_gradients(graph, scales[:4], repeats=60, decades=0.25 if kind == "batch" else 0.1)


def test_the_gradients_before_a_batch_normalisation_sum_to_zero() -> None:
    """A bias that batch normalisation takes out again has no gradient."""
    b = Builder((32, 4, 6, 6))
    x = b.activation(b.normalize(b.conv(b.x, 16, bias=None), "batch"))
    y = b.conv(x, 16, bias="zeros", path="biased")
    graph = b.graph(b.linear(b.pool(b.activation(b.normalize(y, "batch"))), 16, "lecun_normal"))
    from backward_sampling import fold_back

    parameters = fold_back(graph).parameters
    bias, weight = parameters["biased.bias"], parameters["biased.weight"]
    assert bias is not None
    assert weight is not None
    assert bias < 1e-2 * weight
    assert_gradients(graph, [x, y, "biased.weight"], repeats=60, decades=0.1)


def test_a_global_mean_after_an_instance_norm_has_no_gradient() -> None:
    b = Builder((4, 4, 6, 6))
    x = b.conv(b.x, 8)
    y = b.node(Op.NORMALIZE, (x,), b.shape(x), {"kind": "instance", "epsilon": 1e-5, "training": True})
    graph = b.graph(b.linear(b.pool(y), 8))
    from backward_sampling import fold_back

    assert fold_back(graph).gradients[x].mean_square < 1e-9


def test_independent_sums_and_products() -> None:
    b = Builder((8, 64))
    x = b.activation(b.linear(b.x, 64))
    y = b.activation(b.linear(b.x, 64), "sigmoid")
    product = b.combine(Op.MUL, x, y)
    total = b.activation(b.add(product, b.linear(x, 64, "lecun_normal")))
    graph = b.graph(b.linear(total, 64, "lecun_normal"))
    assert_gradients(graph, [b.x, x, y, product], repeats=80, decades=0.06)


@pytest.mark.parametrize("mask", ["none", "causal", "window"])
@pytest.mark.parametrize("whole", [True, False])
def test_attention(mask: str, whole: bool) -> None:
    b = Builder((8, 12, 64))
    x = tokens(b, shared=False)
    query, key, value = (heads(b, x, "lecun_normal") for _ in range(3))
    additive = {"none": None, "causal": np.where(np.tri(12) > 0, 0.0, -np.inf), "window": windowed()}[mask]
    name = "" if additive is None else b.constant("mask", additive)
    y = attended(b, query, key, value, name) if whole else decomposed(b, query, key, value, name)[1]
    graph = b.graph(merged(b, y))
    assert_gradients(graph, [y, value], repeats=40, decades=0.08)
    # Queries and keys only to an order of magnitude: that is what THEORY 2.10 promises.
    assert_gradients(graph, [query, key, x], repeats=40, decades=0.3)


def test_parts_of_a_value() -> None:
    b = Builder((8, 6, 32))
    x = b.activation(b.linear(b.x, 64))
    left = b.node(Op.SLICE, (x,), (8, 6, 32), {"axes": (2,), "dropped": (), "starts": (0,)})
    right = b.node(Op.SLICE, (x,), (8, 6, 32), {"axes": (2,), "dropped": (), "starts": (32,)})
    both = b.concatenate([right, b.activation(b.linear(left, 48))], axis=2)
    first = b.node(Op.SLICE, (b.linear(both, 64),), (8, 64), {"axes": (1,), "dropped": (1,), "starts": (0,)})
    graph = b.graph(b.linear(first, 32, "lecun_normal"))
    assert_gradients(graph, [b.x, x, left, right, both], repeats=80, decades=0.06)


def test_broadcast_and_repeated_parts() -> None:
    b = Builder((8, 6, 32))
    x = b.linear(b.x, 32)
    table = b.parameter("table", (1, 6, 32), "normal(0, 0.5)")
    scale = b.parameter("scale", (32,), "ones")
    y = b.combine(Op.MUL, b.combine(Op.ADD, x, table), scale)
    mean = b.node(Op.REDUCE, (y,), (8, 1, 32), {"function": "mean", "axes": (1,), "keepdims": True})
    graph = b.graph(b.linear(b.combine(Op.SUB, y, b.linear(mean, 32)), 32, "lecun_normal"))
    assert_gradients(graph, [x, y, mean, "table", "scale"], repeats=80, decades=0.08)


def test_dropout_and_resizing() -> None:
    b = Builder((4, 8, 4, 4))
    x = b.activation(convolution(b, b.x, 32, (3, 3), padding=(1, 1)))
    y = b.node(Op.DROPOUT, (x,), b.shape(x), {"rate": 0.3, "training": True})
    z = b.node(Op.RESIZE, (y,), (4, 32, 8, 8), {"mode": "nearest"})
    graph = b.graph(convolution(b, z, 16, (3, 3), padding=(1, 1)))
    assert_gradients(graph, [b.x, x, y, z], repeats=40, decades=0.06)


def test_embeddings() -> None:
    b = Builder((8, 6), "int64")
    x = b.embedding(b.x, 40, 32)
    positions = b.embedding(b.constant("positions", np.arange(6)[None]), 6, 32, "normal(0, 0.1)")
    y = b.normalize(b.add(x, positions))
    graph = b.graph(b.linear(b.activation(b.linear(y, 64), "gelu"), 40, "lecun_normal"))
    tables = [name for name, parameter in graph.parameters.items() if parameter.shape in {(40, 32), (6, 32)}]
    assert len(tables) == 2
    assert_gradients(graph, [x, y, *tables], repeats=60, decades=0.08)


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_recurrent_cells_against_torch(cell: str) -> None:
    """Gradients of a layer of torch at its default law, as the whole sequence or its last state is read."""
    import torch
    from backward_sampling import fold_back
    from test_law_recurrent import CELLS, FEATURES, HIDDEN, STEPS, recurrent_graph

    graph = recurrent_graph(*(cell, CELLS[cell][1]))
    squares = []
    for seed in range(40):
        torch.manual_seed(seed)
        layer = CELLS[cell][0](FEATURES, HIDDEN, batch_first=True)
        x = torch.randn(32, STEPS, FEATURES, requires_grad=True)
        y, _ = layer(x)
        y.backward(torch.randn_like(y))
        assert x.grad is not None
        squares.append(float(x.grad.square().mean()))
    measured = float(np.mean(squares))
    predicted = fold_back(graph).gradients["input"].mean_square
    assert math.log10(predicted / measured) == pytest.approx(0.0, abs=0.1)
