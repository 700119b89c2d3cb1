"""Choices that depend on the input, cumulative sums, random numbers and times, against sampled networks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sampling import assert_agreement, fold, known

from initcheck.builder import Builder
from initcheck.graph import Op

BATCH, TOKENS, WIDTH = 16, 12, 64


def random(b: Builder, shape: tuple[int, ...], family: str, mean: float, std: float) -> str:
    return b.node(Op.RANDOM, (), shape, {"family": family, "mean": mean, "std": std})


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
def test_cumulative_sum(shared: bool, reverse: bool) -> None:
    b = Builder((BATCH, TOKENS, WIDTH))
    x = b.linear(b.x, WIDTH, "lecun_normal", bias="normal(0, 0.5)" if shared else None)
    y = b.node(Op.CUMULATE, (x,), b.shape(x), {"axis": 1, "reverse": reverse})
    z = b.linear(b.normalize(y), WIDTH)
    # A change grows with the number of terms, a shared bias with its square: one profile cannot be that of both.
    quantities = ("mean_square", "pair_position") if shared else ("mean_square", "pair_position", "gain")
    assert_agreement(b.graph(z), y, z, decades=0.04, correlation=0.06, quantities=quantities)


def test_cumulative_sum_grows_with_the_position() -> None:
    b = Builder((BATCH, TOKENS, WIDTH))
    y = b.node(Op.CUMULATE, (b.x,), b.shape(b.x), {"axis": 1})
    signal = known(fold(b.graph(y)), y)
    assert signal.profile is not None
    assert signal.mean_square * signal.profile.ravel() == pytest.approx(np.arange(1, TOKENS + 1))


@pytest.mark.parametrize(("units", "count"), [(4, 1), (4, 2), (8, 2), (16, 16)])
@pytest.mark.parametrize("largest", [True, False])
def test_top_k(units: int, count: int, largest: bool) -> None:
    b = Builder((BATCH, TOKENS, WIDTH))
    x = b.linear(b.x, units, "lecun_normal", bias="normal(0, 0.3)")
    attributes = {"axis": 2, "count": count, "largest": largest}
    y = b.node(Op.TOP_K, (x,), (BATCH, TOKENS, count), attributes)
    assert_agreement(b.graph(y), repeats=100, decades=0.04, quantities=("mean_square", "mean", "gain"))


@pytest.mark.parametrize("sharp", [0.1, 1.0])
def test_router(sharp: float) -> None:
    """Experts weighted by the two largest of four probabilities, renormalised."""
    b = Builder((BATCH, TOKENS, WIDTH))
    chances = b.node(Op.SOFTMAX, (b.linear(b.x, 4, f"lecun_normal(gain={sharp})"),), (BATCH, TOKENS, 4), {"axis": 2})
    two = b.node(Op.TOP_K, (chances,), (BATCH, TOKENS, 2), {"axis": 2, "count": 2})
    total = b.node(Op.REDUCE, (two,), (BATCH, TOKENS, 1), {"function": "sum", "axes": (2,), "keepdims": True})
    share = b.combine(Op.DIV, two, total)
    assert_agreement(b.graph(share), repeats=60, decades=0.05, quantities=("mean_square", "mean"))


@pytest.mark.parametrize("kept", [3, 6, 12])
def test_rows_put_at_chosen_places(kept: int) -> None:
    b = Builder((BATCH, kept, WIDTH))
    x = b.activation(b.linear(b.x, WIDTH))
    y = b.node(Op.SCATTER, (x,), (BATCH, TOKENS, WIDTH))
    z = b.linear(y, WIDTH)
    assert_agreement(b.graph(z), y, z, decades=0.03, correlation=0.05)


@pytest.mark.parametrize(
    ("family", "mean", "std"),
    [("normal", 0.5, 2.0), ("bernoulli", 0.25, math.sqrt(0.1875)), ("uniform", 0.5, 12**-0.5)],
)
def test_random_numbers(family: str, mean: float, std: float) -> None:
    b = Builder((BATCH, WIDTH))
    x = b.linear(b.x, WIDTH, "lecun_normal")
    noise = random(b, (BATCH, WIDTH), family, mean, std)
    product, total = b.combine(Op.MUL, x, noise), b.combine(Op.ADD, x, noise)
    z = b.linear(b.activation(total), WIDTH)
    assert_agreement(b.graph(z), noise, product, z, decades=0.04)
    forward = fold(b.graph(z))
    assert known(forward, noise).gain == 0.0
    assert known(forward, total).gain == known(forward, x).gain


def test_variational_sample() -> None:
    b = Builder((BATCH, WIDTH))
    h = b.activation(b.linear(b.x, WIDTH))
    mean, spread = b.linear(h, 32, "lecun_normal"), b.linear(h, 32, "lecun_normal")
    std = b.activation(b.scale(spread, 0.5), "exp")
    sample = b.add(mean, b.combine(Op.MUL, random(b, (BATCH, 32), "normal", 0.0, 1.0), std))
    y = b.linear(sample, WIDTH)
    assert_agreement(b.graph(y), sample, y, repeats=60, decades=0.04)


def test_time_as_sines_and_cosines() -> None:
    """Half of each for any time: their mean square is 1/2."""
    b = Builder((BATCH, 1), "int64")
    time = b.node(Op.REAL, (b.x,), (BATCH, 1))
    frequencies = np.exp(-math.log(10000.0) * np.arange(32) / 32.0)[None]
    phase = b.combine(Op.MUL, time, b.constant("frequencies", frequencies))
    both = b.concatenate([b.activation(phase, "sin"), b.activation(phase, "cos")])
    y = b.linear(both, WIDTH, "lecun_normal")
    forward = fold(b.graph(y))
    assert known(forward, both).mean_square == pytest.approx(0.5)
    assert known(fold(b.graph(y), typical=True), both).mean_square == pytest.approx(0.5, rel=0.1)
    assert known(forward, y).mean_square == pytest.approx(0.5)
    assert known(forward, y).gain == 0.0


def test_masks_and_ids_are_no_times() -> None:
    b = Builder((BATCH, TOKENS), "int64")
    y = b.node(Op.REAL, (b.x,), (BATCH, TOKENS))
    assert fold(b.graph(y)).signals[y] is None


@pytest.mark.parametrize("cap", [0.5, 2.0, 50.0])
def test_soft_cap_of_logits(cap: float) -> None:
    b = Builder((8, TOKENS, WIDTH))
    query, key, value = (b.linear(b.x, WIDTH, "lecun_normal") for _ in range(3))
    turned = b.node(Op.TRANSPOSE, (key,), (8, WIDTH, TOKENS), {"permutation": (0, 2, 1)})
    logits = b.node(Op.MATMUL, (query, turned), (8, TOKENS, TOKENS), {"scale": WIDTH**-0.5})
    capped = b.scale(b.activation(b.scale(logits, 1.0 / cap), "tanh"), cap)
    causal = np.where(np.tri(TOKENS) > 0, 0.0, -np.inf)
    weights = b.node(
        Op.SOFTMAX, (b.combine(Op.ADD, capped, b.constant("mask", causal)),), b.shape(capped), {"axis": -1}
    )
    y = b.node(Op.MATMUL, (weights, value), (8, TOKENS, WIDTH))
    assert_agreement(b.graph(y), y, repeats=40, decades=0.05, correlation=0.06)
