"""Distributions of sums, products, extremes and mixtures against samples."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sampling import fold, known

from initcheck.builder import Builder
from initcheck.signal.functions import FUNCTIONS
from initcheck.signal.marginal import (
    LEVELS,
    extreme_marginal,
    mixture_marginal,
    product_marginal,
    quantile_marginal,
    shape_of,
    sum_marginal,
)
from initcheck.signal.quadrature import NODES, WEIGHTS, expectation

if TYPE_CHECKING:
    from initcheck.signal.signal import Signal

KINDS = ["identity", "relu", "tanh", "sigmoid"]


def signal(kind: str, mean: float = 0.0) -> Signal:
    """A function of a normal of variance 1 (and a perturbation of 1)."""
    b = Builder((4, 64))
    x = b.linear(b.x, 64, "lecun_normal", bias=f"constant({mean!r})")
    x = x if kind == "identity" else b.activation(x, kind)
    return known(fold(b.graph(x)), x)


def drawn(kind: str, mean: float, seed: int, count: int = 200_000) -> np.ndarray:
    z = mean + np.random.default_rng(seed).standard_normal(count)
    return z if kind == "identity" else FUNCTIONS[kind].value(z)


@pytest.mark.parametrize("first", KINDS)
@pytest.mark.parametrize("second", KINDS)
@pytest.mark.parametrize("operation", ["sum", "difference", "product", "maximum", "minimum"])
def test_distribution(first: str, second: str, operation: str) -> None:
    x, y = signal(first, 0.4), signal(second, -0.2)
    a, b = drawn(first, 0.4, 1), drawn(second, -0.2, 2)
    marginal, values = {
        "sum": (sum_marginal(x, y), a + b),
        "difference": (sum_marginal(x, y, -1.0), a - b),
        "product": (product_marginal(x, y), a * b),
        "maximum": (extreme_marginal(x, y), np.maximum(a, b)),
        "minimum": (extreme_marginal(x, y, -1.0), np.minimum(a, b)),
    }[operation]
    assert np.all(np.diff(marginal.table) >= 0.0)
    # What creates a source rescales the table to exact moments: here its shape counts.
    spread = float(values.std())
    assert expectation(marginal.table) == pytest.approx(float(values.mean()), abs=0.06 * spread)
    assert expectation(marginal.table**2) == pytest.approx(float(np.mean(values**2)), rel=0.12, abs=0.01 * spread**2)
    between = (LEVELS > 0.05) & (LEVELS < 0.95)
    quantiles = np.quantile(values, LEVELS[between])
    # Products keep to a coarse quadrature, for the sake of their tails.
    assert (
        float(np.mean(np.abs(marginal.table[between] - quantiles))) < (0.2 if operation == "product" else 0.06) * spread
    )


@settings(max_examples=25, deadline=None)
@given(
    kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=3),
    weights=st.lists(st.floats(0.1, 1.0), min_size=3, max_size=3),
)
def test_mixture(kinds: list[str], weights: list[float]) -> None:
    shares = np.array(weights[: len(kinds)]) / sum(weights[: len(kinds)])
    parts = [signal(kind, 0.5 * i) for i, kind in enumerate(kinds)]
    marginal = mixture_marginal(parts, list(shares))
    mean = sum(share * part.mean for share, part in zip(shares, parts, strict=True))
    square = sum(share * part.mean_square for share, part in zip(shares, parts, strict=True))
    assert np.all(np.diff(marginal.table) >= 0.0)
    assert expectation(marginal.table) == pytest.approx(mean, abs=0.06 * math.sqrt(square))
    assert expectation(marginal.table**2) == pytest.approx(square, rel=0.1)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.integers(3, 400))
def test_responses_keep_their_mean(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    weights = rng.random(count)
    weights /= weights.sum()
    responses = rng.random(count) ** 2
    marginal = quantile_marginal(rng.standard_normal(count), responses, weights)
    assert float(WEIGHTS @ marginal.response**2) == pytest.approx(float(weights @ responses), rel=0.02)
    assert float(WEIGHTS @ marginal.slope**2) == pytest.approx(1.0)


def test_units_at_zero_do_not_respond() -> None:
    x = signal("relu")
    marginal = sum_marginal(x, x)
    silent = marginal.table < 0.05
    assert float(WEIGHTS[silent].sum()) == pytest.approx(0.25, abs=0.06)
    # Of the response of mean square 1, none belongs to the quarter of units that are both off.
    assert float((WEIGHTS * marginal.response**2)[silent].sum()) < 0.04
    assert float(WEIGHTS @ marginal.response**2) == pytest.approx(1.0, rel=0.02)


def test_shape_of_a_signal() -> None:
    assert shape_of(signal("identity")) is None
    marginal = shape_of(signal("relu"), -1.0)
    assert marginal is not None
    np.testing.assert_allclose(marginal.table, -np.maximum(NODES, 0.0), atol=1e-12)
