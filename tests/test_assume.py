"""Judging an architecture as if its weights were drawn by a scheme."""

from __future__ import annotations

import math

import numpy as np
import pytest

from initcheck.analysis import Analysis
from initcheck.assume import with_scheme
from initcheck.builder import Builder
from initcheck.errors import UsageError
from initcheck.graph import Graph, Op


def model() -> Graph:
    b = Builder((32, 16), "int64")
    x = b.embedding(b.x, 100, 64, "normal(0, 0.3)", path="tokens")
    x = b.normalize(x, scale="constant(2)", path="norm")
    x = b.linear(x, 128, np.full((128, 64), 7.0), bias="ones", path="fc")
    return b.graph(b.linear(x, 10, "zeros", bias=None, path="head"))


def test_weights_are_drawn_and_biases_zero() -> None:
    parameters = with_scheme(model(), "kaiming_normal").parameters
    assert parameters["fc.weight"].distribution.variance == pytest.approx(2.0 / 64)
    assert parameters["fc.weight"].distribution.exact
    assert parameters["fc.weight"].values is None
    assert parameters["fc.weight"].rows is None
    assert parameters["fc.bias"].distribution.is_zero
    assert parameters["head.weight"].distribution.variance == pytest.approx(2.0 / 128)


def test_tables_and_norms_are_kept() -> None:
    graph = model()
    parameters = with_scheme(graph, "xavier_uniform").parameters
    for name in ("tokens.weight", "norm.weight", "norm.bias"):
        assert parameters[name] == graph.parameters[name]


def test_pytorch_default_draws_biases_too() -> None:
    parameters = with_scheme(model(), "pytorch_default").parameters
    assert parameters["fc.weight"].distribution.variance == pytest.approx(1.0 / (3 * 64))
    assert parameters["fc.bias"].distribution.variance == pytest.approx(1.0 / (3 * 64))
    assert parameters["fc.bias"].distribution.maximum == pytest.approx(1.0 / math.sqrt(64))


def test_a_table_that_is_also_the_head_is_kept() -> None:
    b = Builder((4, 8), "int64")
    x = b.embedding(b.x, 50, 16, "normal(0, 0.02)", path="tokens")
    attributes = {"axis": -1, "fan_in": 16, "fan_out": 50, "out_axis": 0}
    graph = b.graph(b.node(Op.LINEAR, (x, "tokens.weight"), (4, 8, 50), attributes))
    assert with_scheme(graph, "kaiming_normal").parameters == graph.parameters


def test_groups_count_by_the_stored_shape() -> None:
    b = Builder((4, 16, 8, 8))
    graph = b.graph(b.conv(b.x, 32, "zeros", groups=4, path="conv"))
    law = with_scheme(graph, "kaiming_normal").parameters["conv.weight"].distribution
    assert law.variance == pytest.approx(2.0 / (4 * 9))


def test_a_linear_weight_stored_as_in_out_has_the_fan_of_its_layer() -> None:
    b = Builder((4, 16))
    weight = b.parameter("w", (16, 80), "zeros")
    attributes = {"axis": -1, "fan_in": 16, "fan_out": 80, "out_axis": 1}
    graph = b.graph(b.node(Op.LINEAR, (b.x, weight), (4, 80), attributes))
    assert with_scheme(graph, "kaiming_normal").parameters["w"].distribution.variance == pytest.approx(2.0 / 16)


def test_an_unknown_scheme_is_refused_at_once() -> None:
    with pytest.raises(UsageError, match="kaming"):
        with_scheme(model(), "kaming_normal")


def test_the_verdict_is_that_of_the_scheme() -> None:
    b = Builder()
    x = b.x
    for _ in range(20):
        x = b.activation(b.linear(x, 64, np.full((64, 64), 0.5)))
    graph = b.graph(b.linear(x, 10))
    (segment,) = Analysis(graph, assume_init="kaiming_normal").segments
    # The head is drawn for a ReLU too, and has none.
    assert segment.signal_gain == pytest.approx(math.log10(2.0), abs=1e-6)
    (segment,) = Analysis(graph, assume_init="pytorch_default").segments
    assert segment.signal_gain == pytest.approx(-20 * math.log10(6.0), abs=1e-6)
