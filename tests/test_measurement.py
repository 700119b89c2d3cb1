"""How measured numbers are averaged and compared."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from initcheck.measure import quantity

SQUARES = arrays(np.float64, 5, elements=st.floats(1e-30, 1e30))


def test_the_mean_is_of_logarithms_of_samples_and_the_error_is_over_initialisations() -> None:
    squares = [np.array([1.0, 100.0]), np.array([10.0, 1000.0]), np.array([100.0, 1e4])]
    found = quantity(2.0, squares, None, 0.1)
    assert found.measured == pytest.approx(2.0)
    assert found.standard_error == pytest.approx(1.0 / math.sqrt(3.0), abs=1e-6)
    assert not found.disagrees


@given(st.lists(SQUARES, min_size=2, max_size=6), st.floats(-20.0, 20.0))
def test_a_factor_moves_the_mean_and_leaves_the_error(squares: list[np.ndarray], decades: float) -> None:
    plain = quantity(None, squares, None, 0.1)
    scaled = quantity(None, [array * 10.0**decades for array in squares], None, 0.1)
    assert plain.measured is not None
    assert scaled.measured == pytest.approx(plain.measured + decades, abs=1e-5)
    assert scaled.standard_error == pytest.approx(plain.standard_error, abs=1e-5)


def test_zeros_and_numbers_that_are_not_finite_are_counted_apart() -> None:
    squares = [np.array([0.0, 10.0, math.inf]), np.array([math.nan, 0.0, 0.0])]
    found = quantity(None, squares, None, 0.1)
    assert (found.measured, found.standard_error) == (1.0, None)
    assert (found.zeros, found.nonfinite) == (3, 2)
    nothing = quantity(None, [np.zeros(3)], None, 0.1)
    assert (nothing.measured, nothing.zeros) == (None, 3)
    assert quantity(1.0, [None, None], None, 0.1).measured is None


@pytest.mark.parametrize(
    ("predicted", "spread", "marked"),
    [
        (0.05, 0.0, False),  # within the tolerance
        (0.15, 0.0, True),
        (0.15, 0.2, False),  # within two standard errors
        (0.45, 0.2, True),
        (-0.45, 0.2, True),
    ],
)
def test_a_mark_needs_the_tolerance_and_two_standard_errors(predicted: float, spread: float, marked: bool) -> None:
    # Two initialisations at plus and minus the spread have the standard error of it.
    squares = [np.array([10.0**spread]), np.array([10.0**-spread])]
    assert quantity(predicted, squares, None, 0.1).disagrees is marked
    assert quantity(predicted, squares, None, 0.5).disagrees is False


def test_one_initialisation_marks_nothing() -> None:
    assert not quantity(5.0, [np.ones(4)], None, 0.1).disagrees


def test_zero_against_a_number_is_a_disagreement() -> None:
    one, zero = [np.ones(2), np.ones(2)], [np.zeros(2), np.zeros(2)]
    assert quantity(None, one, None, 0.1, is_zero=True).disagrees
    assert quantity(0.0, zero, None, 0.1).disagrees
    assert not quantity(None, zero, None, 0.1, is_zero=True).disagrees
    assert not quantity(None, one, None, 0.1).disagrees
    assert not quantity(0.0, [np.array([math.nan])], None, 0.1).disagrees


def test_the_stored_weights_have_a_number_of_their_own() -> None:
    assert quantity(None, [np.ones(2)], np.array([100.0, 1e4]), 0.1).stored == 3.0
