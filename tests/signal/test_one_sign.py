"""Values of one sign, switched-off positions, and constants that layers transform."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from initcheck.analysis import Analysis
from initcheck.builder import Builder
from initcheck.graph import Op
from initcheck.signal.marginal import powered_shape
from initcheck.signal.quadrature import NODES, expectation

if TYPE_CHECKING:
    from initcheck.signal.signal import Signal

KEEP = {"function": "sum", "axes": (2,), "keepdims": True}


def test_a_norm_over_some_features_never_comes_near_zero() -> None:
    """E[1/S] of a chi-square S of n degrees is 1/(n - 2); a normal of its moments would cross zero."""
    b = Builder((32, 64))
    heads = b.node(Op.RESHAPE, (b.linear(b.x, 64),), (32, 4, 16))
    squares = b.activation(heads, "power", exponent=2.0)
    total = b.node(Op.REDUCE, (squares,), (32, 4, 1), KEEP)
    inverse = b.activation(total, "reciprocal")
    signals = _signals(b, b.linear(b.node(Op.EXPAND, (inverse,), (32, 4, 16)), 4))
    one = _known(signals[heads]).mean_square
    assert float(_known(signals[total]).table.min()) > 0.0
    assert _known(signals[inverse]).mean == pytest.approx(1.0 / (14.0 * one), rel=0.05)


@given(st.floats(0.02, 3.0))
@settings(max_examples=30, deadline=None)
def test_a_power_of_a_shape_has_the_variance_asked_for(variance: float) -> None:
    table = powered_shape(np.exp(0.5 * NODES), variance)
    assert float(table.min()) >= 0.0
    assert expectation(table) == pytest.approx(1.0)
    assert expectation(table * table) - 1.0 == pytest.approx(variance, rel=1e-3)


def test_exponentials_of_sums_of_negative_values_are_at_most_one() -> None:
    b = Builder((8, 16, 32))
    rate = b.scale(b.activation(b.linear(b.x, 32), "softplus"), -3.0)
    decay = b.activation(b.node(Op.CUMULATE, (rate,), (8, 16, 32), {"axis": 1, "reverse": False}), "exp")
    assert float(_known(_signals(b, b.linear(decay, 4))[decay]).table.max()) <= 1.0


def test_what_minus_infinity_switched_off_is_zero_behind_an_exponential() -> None:
    b = Builder((8, 16, 32))
    x = b.linear(b.x, 32)
    mask = b.constant("mask", np.tile(np.arange(16)[:, None] % 2 == 0, (1, 32)))
    off = b.constant("off", np.array(-np.inf))
    y = b.activation(b.node(Op.WHERE, (mask, off, x), (8, 16, 32)), "exp")
    plain = b.activation(x, "exp")
    signals = _signals(b, b.linear(b.add(y, plain), 4))
    assert _known(signals[y]).mean == pytest.approx(0.5 * _known(signals[plain]).mean)
    assert _known(signals[y]).mean_square == pytest.approx(0.5 * _known(signals[plain]).mean_square)


def test_a_value_less_the_larger_of_two_is_never_positive() -> None:
    b = Builder((32, 64))
    x, y = b.linear(b.x, 64), b.linear(b.x, 64)
    z = b.combine(Op.SUB, x, b.combine(Op.MAXIMUM, x, y))
    signal = _known(_signals(b, b.linear(z, 4))[z])
    # min(x - y, 0) of two independent values of mean square 2 each.
    assert float(signal.table.max()) <= 0.0
    assert signal.mean_square == pytest.approx(2.0, rel=0.02)


def test_a_sum_over_the_rest_lacks_its_own_term() -> None:
    b = Builder((8, 5, 32))
    attributes = {"axis": 1, "reverse": True, "exclusive": True}
    y = b.node(Op.CUMULATE, (b.x,), (8, 5, 32), attributes)
    # Positions sum 4, 3, 2, 1 and 0 independent values of mean square one.
    assert _known(_signals(b, b.linear(y, 4))[y]).mean_square == pytest.approx(2.0)


def test_a_layer_on_a_constant_is_known_and_sees_no_input() -> None:
    b = Builder((8, 16, 32))
    grid = b.constant("grid", np.linspace(-1.0, 1.0, 16 * 32).reshape(1, 16, 32))
    place = b.node(Op.EXPAND, (grid,), (8, 16, 32))
    bias = b.node(Op.LINEAR, (place, b.parameter("w", (32, 32), "kaiming_normal")), (8, 16, 32), _linear(32))
    analysis = Analysis(b.graph(b.linear(b.add(b.linear(b.x, 32), bias), 4)))
    signal = _known(analysis.forward.signals[bias])
    assert signal.gain == 0.0
    assert signal.mean_square == pytest.approx(2.0 / 3.0, rel=0.02)
    assert not analysis.forward.guessed


def test_a_guess_beside_an_unknown_value_proves_no_loss() -> None:
    b = Builder((8, 16, 32))
    unknown = b.node(Op.OPAQUE, (b.x,), (8, 4, 16, 8), {"type": "example.Fold"})
    turned = b.node(Op.OPAQUE, (unknown,), (8, 16, 32), {"type": "example.Unfold"})
    grid = b.constant("grid", np.linspace(-1.0, 1.0, 16 * 32).reshape(1, 16, 32))
    place = b.node(Op.EXPAND, (grid,), (8, 16, 32))
    bias = b.node(Op.LINEAR, (place, b.parameter("w", (32, 32), "kaiming_normal")), (8, 16, 32), _linear(32))
    y = b.add(bias, turned)
    signal = _known(Analysis(b.graph(b.linear(y, 4))).forward.signals[y])
    assert signal.assumed
    assert signal.gain > 0.0


def test_a_guess_that_runs_away_is_given_up() -> None:
    b = Builder((8, 16, 32))
    x = b.node(Op.OPAQUE, (b.linear(b.x, 32),), (8, 16, 32), {"type": "example.Sort"})
    raised = b.activation(b.scale(x, 50.0), "exp")
    y = b.linear(raised, 4)
    forward = Analysis(b.graph(y)).forward
    assert {node for node in forward.guessed if node.startswith(("elementwise", "opaque"))} == {x, raised}
    assert _known(forward.signals[y]).mean_square < 1e6


def test_layers_behind_a_guess_may_grow() -> None:
    b = Builder((8, 16, 32))
    x = b.node(Op.OPAQUE, (b.x,), (8, 16, 32), {"type": "example.Sort"})
    for _ in range(6):
        x = b.linear(x, 32, "normal(0, 1e8)")
    forward = Analysis(b.graph(x)).forward
    assert len(forward.guessed) == 1
    assert _known(forward.signals[x]).mean_square > 1e77


def _signals(b: Builder, output: str) -> dict[str, Signal | None]:
    return dict(Analysis(b.graph(output)).forward.signals)


def _known(signal: Signal | None) -> Signal:
    assert signal is not None
    return signal


def _linear(width: int) -> dict[str, object]:
    return {"axis": -1, "fan_in": width, "fan_out": width, "out_axis": 0, "scale": 1.0, "bias_scale": 1.0}
