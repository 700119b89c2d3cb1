"""where(condition, a, b) with a condition computed from the input."""

from __future__ import annotations

import numpy as np
import pytest

from initcheck.analysis import Analysis
from initcheck.builder import Builder
from initcheck.graph import Op


def test_a_rectifier_spelled_as_a_choice_is_the_rectifier() -> None:
    b = Builder((32, 64))
    x = b.linear(b.x, 64)
    zero = b.constant("zero", np.array(0.0))
    spelled = b.node(Op.WHERE, (b.activation(x, "above", threshold=0.0), x, zero), (32, 64))
    plain = b.activation(x, "relu")
    b.linear(spelled, 10)
    signals = Analysis(b.graph(b.linear(plain, 10))).forward.signals
    one, other = signals[spelled], signals[plain]
    assert one is not None
    assert other is not None
    assert one.mean_square == pytest.approx(other.mean_square)
    assert one.mean == pytest.approx(other.mean)
    assert one.gain == pytest.approx(other.gain, rel=0.01)


def test_a_choice_between_other_sources_is_not_known() -> None:
    b = Builder((32, 64))
    condition = b.activation(b.linear(b.x, 64), "above", threshold=0.0)
    y = b.node(Op.WHERE, (condition, b.linear(b.x, 64), b.linear(b.x, 64)), (32, 64))
    forward = Analysis(b.graph(b.linear(y, 10))).forward
    assert len(forward.guessed) == 1
    assert forward.signals[y] is None or forward.signals[y].assumed
