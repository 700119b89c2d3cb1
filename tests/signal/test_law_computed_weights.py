"""Weights that a network computes (hypernetworks), against sampled ones."""

from __future__ import annotations

import math

import pytest
from sampling import assert_agreement

from initcheck.builder import Builder
from initcheck.graph import Op

WIDTH, CODE, BATCH, TOKENS = 32, 16, 8, 6


def computed(b: Builder, code: str) -> str:
    """A square weight for each sample, of variance 2/width where the code has mean square one."""
    flat = b.linear(code, WIDTH * WIDTH, f"normal(0, {math.sqrt(2.0 / WIDTH / CODE)})")
    return b.node(Op.RESHAPE, (flat,), (BATCH, WIDTH, WIDTH))


def test_rows_through_a_computed_matrix() -> None:
    b = Builder((BATCH, TOKENS, WIDTH))
    code = b.input("code", (BATCH, CODE))
    x = b.activation(b.linear(b.x, WIDTH, bias="normal(0, 0.5)"))
    y = b.node(Op.MATMUL, (x, computed(b, code)), (BATCH, TOKENS, WIDTH))
    assert_agreement(b.graph(y), y, repeats=60, decades=0.08, correlation=0.08)


@pytest.mark.parametrize("depth", [2, 5])
def test_length_of_a_stack_of_computed_layers(depth: int) -> None:
    """Its units are units, of which every layer has as many as a plain one: no more fluctuates than there."""
    b = Builder((BATCH, WIDTH))
    code = b.input("code", (BATCH, CODE))
    x = b.x
    for _ in range(depth):
        row = b.node(Op.RESHAPE, (x,), (BATCH, 1, WIDTH))
        y = b.node(Op.MATMUL, (row, computed(b, code)), (BATCH, 1, WIDTH))
        x = b.activation(b.node(Op.RESHAPE, (y,), (BATCH, WIDTH)))
    assert_agreement(b.graph(x), x, repeats=60, decades=0.2, quantities=("mean_square", "log_length"))
