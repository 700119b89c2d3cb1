"""The gamma variable of one-signed sums, against quadrature of its density."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, stats

from initcheck.signal.marginal import gamma_variable
from initcheck.signal.quadrature import expectation


@pytest.mark.parametrize("variation", [1e-3, 0.05, 0.5, 1.0, 2.0, 4.0])
@pytest.mark.parametrize("power", [1.0, 2.0, 0.5, -1.0])
def test_moments_and_the_reciprocal(variation: float, power: float) -> None:
    law = stats.gamma(1.0 / variation, scale=variation)
    # The floor is that of a normalisation: without it the reciprocal has no mean from a variation of one on.
    exact = integrate.quad(lambda level: (law.ppf(level) + 1e-3) ** power, 0.0, 1.0, limit=500)[0]
    assert expectation((gamma_variable(variation) + 1e-3) ** power) == pytest.approx(exact, rel=0.01)


def test_it_grows_and_is_shared_unharmed() -> None:
    table = gamma_variable(0.7)
    assert np.all(np.diff(table) >= 0.0)
    with pytest.raises(ValueError, match="read-only"):
        table[0] = 1.0
