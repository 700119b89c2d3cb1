"""One weight used many times: the mean of ln M as if fresh, its variance as the square of the number of uses."""

from __future__ import annotations

import math

import numpy as np
import pytest

from initcheck.analysis import Analysis
from initcheck.builder import Builder
from initcheck.graph import Graph, Op


def tied(width: int, uses: int, function: str | None) -> Graph:
    b = Builder((32, width))
    weight = b.parameter("cell.weight", (width, width), "kaiming_normal" if function else "lecun_normal")
    attributes = {"axis": -1, "fan_in": width, "fan_out": width, "out_axis": 0, "scale": 1.0, "bias_scale": 1.0}
    x = b.x
    for _ in range(uses):
        x = b.node(Op.LINEAR, (x, weight), (32, width), attributes, path="cell", kind="linear")
        x = b.activation(x, function) if function else x
    return b.graph(b.linear(x, 10, path="head"))


def sampled(width: int, uses: int, gain: float, *, rectified: bool, draws: int = 600) -> float:
    rng = np.random.default_rng(0)
    lengths = []
    for _ in range(draws):
        weight = rng.standard_normal((width, width)) * math.sqrt(gain / width)
        x = rng.standard_normal(width)
        start = np.mean(x * x)
        for _ in range(uses):
            x = weight @ x
            x = np.maximum(x, 0.0) if rectified else x
        lengths.append(math.log(np.mean(x * x) / start))
    return float(np.var(lengths))


@pytest.mark.parametrize(("function", "gain"), [("relu", 2.0), (None, 1.0)])
@pytest.mark.parametrize("uses", [5, 10, 20])
def test_variance_grows_with_the_square_of_the_uses(function: str | None, gain: float, uses: int) -> None:
    analysis = Analysis(tied(40, uses, function))
    predicted = analysis.typical.segments[-1].log_length_variance
    measured = sampled(40, uses, gain, rectified=function is not None)
    # The sampling error of a variance over 600 draws is 6 %; beyond T²/n = 5 the first order in 1/n says too much.
    assert predicted == pytest.approx(measured, rel=0.25)


def test_fresh_weights_of_the_same_net_fluctuate_far_less() -> None:
    b = Builder((32, 40))
    x = b.x
    for _ in range(20):
        x = b.activation(b.linear(x, 40))
    fresh = Analysis(b.graph(b.linear(x, 10))).typical.segments[-1].log_length_variance
    shared = Analysis(tied(40, 20, "relu")).typical.segments[-1].log_length_variance
    assert shared > 5.0 * fresh
