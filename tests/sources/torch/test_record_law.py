"""Laws against quadrature and against other libraries."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from initcheck.distribution import Family
from initcheck.sources.torch.record_law import (
    Law,
    constant,
    distribution,
    identity,
    mixture,
    normal,
    orthogonal,
    truncated,
    uniform,
)

numbers = st.floats(-3, 3)
scales = st.floats(0.01, 3)


def moments(law: Law) -> tuple[float, float, float, float]:
    return law.mean, law.second, law.third, law.fourth


@given(numbers, scales, st.floats(-2.5, 0.5), st.floats(0.3, 4))
def test_truncated_agrees_with_scipy(mean: float, std: float, alpha: float, width: float) -> None:
    law = truncated(mean, std, mean + alpha * std, mean + (alpha + width) * std, 1)
    assume(law is not None)
    expected = stats.truncnorm(alpha, alpha + width, loc=mean, scale=std)
    first, second = expected.mean(), expected.var()
    assert law.mean == pytest.approx(first, rel=1e-6, abs=1e-7)
    assert law.second == pytest.approx(second, rel=1e-6)
    assert law.fourth == pytest.approx((expected.stats(moments="k") + 3.0) * second**2, rel=1e-4)


def test_truncated_far_away_is_normal_and_far_outside_unknown() -> None:
    assert truncated(0.0, 0.02, -2.0, 2.0, 1) == normal(0.0, 0.02, 1)
    assert truncated(0.0, 0.02, 2.0, 3.0, 1) is None
    assert truncated(0.0, 0.0, -2.0, 2.0, 1) is None


@given(st.floats(-2, 2), st.floats(-2, 2), numbers, scales)
def test_affine_is_what_it_does_to_values(factor: float, shift: float, low: float, width: float) -> None:
    assume(abs(factor) > 1e-3)
    law = uniform(low, low + width, 1).affine(factor, shift)
    values = factor * (low + width * (np.arange(4000) + 0.5) / 4000) + shift
    assert law.mean == pytest.approx(values.mean(), abs=1e-6)
    assert law.second == pytest.approx(values.var(), rel=1e-5, abs=1e-12)
    assert law.low <= values.min()
    assert law.high >= values.max()


@given(st.lists(st.tuples(numbers, scales, st.integers(1, 50)), min_size=1, max_size=4))
def test_a_mixture_has_the_moments_of_all_its_elements(parts: list[tuple[float, float, int]]) -> None:
    law = mixture([(uniform(low, low + width, k), count) for k, (low, width, count) in enumerate(parts)])
    grid = (np.arange(200) + 0.5) / 200
    values = np.concatenate([np.repeat(low + width * grid, count) for low, width, count in parts])
    centred = values - values.mean()
    expected = (values.mean(), (centred**2).mean(), (centred**3).mean(), (centred**4).mean())
    assert moments(law) == pytest.approx(expected, rel=1e-3, abs=1e-3)


def test_identity_and_orthogonal_are_those_of_the_matrices() -> None:
    eye = identity((30, 50))
    assert (eye.mean, eye.second) == pytest.approx((np.eye(30, 50).mean(), np.eye(30, 50).var()))
    matrix = stats.ortho_group.rvs(40, random_state=1)
    law = orthogonal((40, 40), 1.0, 1)
    assert law.second == pytest.approx((matrix**2).mean(), rel=1e-6)
    assert law.fourth == pytest.approx((matrix**4).mean(), rel=5 * math.sqrt(96 / 9 / 1600))


@pytest.mark.parametrize(
    ("law", "shape", "name"),
    [
        (constant(0.0), (3,), "zeros"),
        (constant(0.5), (3, 3), "constant(0.5)"),
        (normal(0.0, 0.02, 1), (8, 8), "normal(0, 0.02)"),
        (normal(0.0, math.sqrt(2 / 40), 1), (30, 40), "kaiming_normal"),
        (uniform(-1 / math.sqrt(40), 1 / math.sqrt(40), 1), (30, 40), "kaiming_uniform(a=√5)"),
        (orthogonal((30, 40), math.sqrt(2), 1), (30, 40), "orthogonal(gain=√2)"),
        (identity((16, 16, 3, 3)), (16, 16, 3, 3), "dirac"),
        (mixture([(normal(0.0, 0.02, 1), 990), (constant(0.0), 10)]), (100, 10), "normal(0, 0.02)"),
    ],
)
def test_names_are_those_of_estimates(law: Law, shape: tuple[int, ...], name: str) -> None:
    fans = (shape[1] * math.prod(shape[2:]), shape[0] * math.prod(shape[2:])) if len(shape) > 1 else (0, 0)
    found = distribution(law, shape, fans)
    assert found.scheme == name
    assert found.exact
    assert found.size == math.prod(shape)


def test_an_orthogonal_matrix_of_another_shape_is_not_called_one() -> None:
    assert distribution(orthogonal((30, 40), 1.0, 1), (40, 30), (30, 40)).family is Family.UNKNOWN


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_elements_that_are_not_finite_are_counted_and_left_out_of_the_moments(bad: float) -> None:
    drawn = normal(0.0, math.sqrt(2 / 40), 1)
    found = distribution(mixture([(constant(bad), 2), (drawn, 1198)]).affine(1.0), (30, 40), (40, 30))
    assert (found.nonfinite, found.variance, found.family) == (2, drawn.second, drawn.family)
    every = distribution(constant(bad).affine(0.0), (30, 40), (40, 30))
    assert (every.nonfinite, every.mean, every.variance, every.scheme) == (1200, 0.0, 0.0, "")
