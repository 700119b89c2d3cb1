"""Positions of unequal length: causal masks, class tokens, tables of sines and the bookkeeping, against samples."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sampling import QUANTITIES, assert_agreement, draw, draw_inputs, fold, known, run

from initcheck.builder import Builder
from initcheck.graph import Axis, Graph, Op
from initcheck.signal.profile import joint, levelled, pair_share, permuted, powered, product, reshaped

BATCH, WIDTH, HEADS = 4, 64, 4
PART = WIDTH // HEADS


def attention(b: Builder, x: str, scheme: str, mask: str = "") -> str:
    """Self-attention with its projections, causal unless a mask is given."""
    batch, tokens, _ = b.shape(x)

    def heads() -> str:
        y = b.node(Op.RESHAPE, (b.linear(x, WIDTH, scheme),), (batch, tokens, HEADS, PART))
        return b.node(Op.TRANSPOSE, (y,), (batch, HEADS, tokens, PART), {"permutation": (0, 2, 1, 3)})

    inputs = [heads(), heads(), heads(), *([mask] if mask else [])]
    settings = {"scale": PART**-0.5, "causal": not mask}
    y = b.node(Op.ATTENTION, inputs, (batch, HEADS, tokens, PART), settings)
    y = b.node(Op.TRANSPOSE, (y,), (batch, tokens, HEADS, PART), {"permutation": (0, 2, 1, 3)})
    return b.linear(b.node(Op.RESHAPE, (y,), (batch, tokens, WIDTH)), WIDTH, scheme)


def token_at(b: Builder, x: str, position: int) -> str:
    batch, _, width = b.shape(x)
    return b.node(Op.SLICE, (x,), (batch, width), {"axes": (1,), "dropped": (1,), "starts": (position,)})


def decoder(tokens: int, blocks: int, scheme: str = "normal(0, 0.05)") -> tuple[Graph, list[str]]:
    """Pre-norm blocks of causal attention and a gelu network, and the values along the stream."""
    b = Builder((BATCH, tokens), "int64")
    x = b.embedding(b.x, 500, WIDTH, "normal(0, 0.02)")
    values = []
    for _ in range(blocks):
        branch = attention(b, b.normalize(x, "rms"), scheme)
        x = b.add(x, branch)
        hidden = b.activation(b.linear(b.normalize(x, "rms"), 2 * WIDTH, scheme), "gelu")
        x = b.add(x, b.linear(hidden, WIDTH, scheme))
        values += [branch, x]
    values += [token_at(b, x, 0), token_at(b, x, tokens - 1)]
    return b.graph(values[-1]), values


def position_squares(graph: Graph, value: str, axis: int, repeats: int) -> np.ndarray:
    """Mean square at every index of an axis over drawn networks."""
    rng = np.random.default_rng(0)
    total = []
    for _ in range(repeats):
        parameters = {name: draw(parameter, rng) for name, parameter in graph.parameters.items()}
        x = run(graph, draw_inputs(graph, rng), parameters, 0, {}, 0.0)[value]
        total.append(np.mean(x * x, axis=tuple(i for i in range(x.ndim) if i != axis)))
    return np.mean(total, axis=0)


@pytest.mark.parametrize("tokens", [8, 64])
def test_causal_blocks(tokens: int) -> None:
    graph, values = decoder(tokens, 1)
    assert_agreement(graph, *values, repeats=24, decades=0.05, correlation=0.05)


def test_second_causal_block() -> None:
    # Neighbouring tokens come to share more than distant ones, which one pair moment for all cannot say.
    graph, values = decoder(32, 2)
    quantities = [quantity for quantity in QUANTITIES if quantity != "pair_position"]
    assert_agreement(graph, *values, repeats=24, decades=0.1, correlation=0.05, quantities=quantities)


def test_every_position_has_its_own_length() -> None:
    graph, values = decoder(48, 1)
    for value in values[:2]:
        signal = known(fold(graph), value)
        assert signal.profile is not None
        measured = position_squares(graph, value, 1, 12)
        assert signal.mean_square * signal.profile.ravel() == pytest.approx(measured, rel=0.25)
        assert signal.profile.ravel()[0] > 2.0 * signal.profile.ravel()[-1]


def test_long_sequences_are_not_judged_by_their_first_token() -> None:
    tokens = 4096
    b = Builder((1, tokens, WIDTH))
    y = b.node(Op.ATTENTION, (b.x, b.x, b.x), b.shape(b.x), {"scale": 1e-6, "causal": True})
    signal = known(fold(b.graph(y)), y)
    expected = float(np.mean(1.0 / np.arange(1, tokens + 1)))
    assert signal.mean_square == pytest.approx(expected, rel=0.05)


def test_window_mask_in_parts() -> None:
    tokens = 24
    distance = np.subtract.outer(np.arange(tokens), np.arange(tokens))
    mask = np.where((distance >= 0) & (distance < 6), 0.0, -1e30)
    b = Builder((BATCH, tokens, WIDTH))
    x = b.normalize(b.linear(b.x, WIDTH, "lecun_normal"), "layer")
    y = attention(b, x, "lecun_normal", b.constant("mask", mask))
    z = b.normalize(b.add(x, y), "layer")
    assert_agreement(b.graph(z), y, z, repeats=24, decades=0.06, correlation=0.06)


def test_class_token_beside_patches() -> None:
    b = Builder((BATCH, 16, 48))
    patches = b.linear(b.x, WIDTH)
    token = b.node(Op.EXPAND, (b.parameter("token", (1, 1, WIDTH), "normal(0, 0.02)"),), (BATCH, 1, WIDTH))
    x = b.concatenate([token, patches])
    whole = x
    everywhere = b.constant("mask", np.zeros((17, 17)))
    x = b.add(x, attention(b, b.normalize(x), "normal(0, 0.05)", everywhere))
    normal = b.normalize(x)
    first, last = token_at(b, x, 0), token_at(b, x, 16)
    quantities = ("mean_square", "mean", "log_length")
    assert_agreement(b.graph(first), whole, x, normal, first, last, repeats=24, decades=0.06, quantities=quantities)


def test_a_part_is_as_long_as_its_positions() -> None:
    graph, values = decoder(24, 1)
    signal = known(fold(graph), values[0])
    assert signal.profile is not None
    b = Builder((1, 24, WIDTH))
    y = b.node(Op.ATTENTION, (b.x, b.x, b.x), b.shape(b.x), {"scale": 1e-6, "causal": True})
    parts = [b.node(Op.SLICE, (y,), (1, 6, WIDTH), {"axes": (1,), "starts": (start,)}) for start in (0, 18, -6)]
    forward = fold(b.graph(parts[0]))
    expected = [float(np.mean(1.0 / np.arange(start + 1, start + 7))) for start in (0, 18, 18)]
    assert [known(forward, part).mean_square for part in parts] == pytest.approx(expected)


def test_table_of_sines() -> None:
    positions, widths = np.arange(12)[:, None], np.arange(WIDTH // 2)[None, :]
    angle = positions / 100.0 ** (2 * widths / WIDTH)
    b = Builder((BATCH, 12, 32))
    x = b.linear(b.x, WIDTH, "lecun_normal")
    half = b.node(Op.SLICE, (x,), (BATCH, 12, WIDTH // 2), {"axes": (2,), "starts": (0,)})
    rest = b.node(Op.SLICE, (x,), (BATCH, 12, WIDTH // 2), {"axes": (2,), "starts": (WIDTH // 2,)})
    cosines = b.combine(Op.MUL, half, b.constant("cos", np.cos(angle)[None]))
    sines = b.combine(Op.MUL, rest, b.constant("sin", np.sin(angle)[None]))
    turned = b.combine(Op.SUB, cosines, sines)
    graph = b.graph(turned)
    assert_agreement(graph, cosines, sines, turned, decades=0.04)
    signal = known(fold(graph), turned)
    assert signal.profile is None or float(np.ptp(signal.profile)) < 0.01


@settings(max_examples=30, deadline=None)
@given(profile=arrays(np.float64, (1, 5, 3, 1), elements=st.floats(0.01, 10.0)))
def test_moved_about(profile: np.ndarray) -> None:
    shape = (2, 5, 3, 4)
    profile = profile / profile.mean()
    x = np.broadcast_to(profile, shape)
    turned = permuted(profile, (0, 2, 3, 1))
    assert turned is not None
    assert np.array_equal(np.broadcast_to(turned, (2, 3, 4, 5)), x.transpose(0, 2, 3, 1))
    flat = reshaped(profile, shape, (2, 15, 4))
    assert flat is not None
    assert np.array_equal(np.broadcast_to(flat, (2, 15, 4)), x.reshape(2, 15, 4))
    roots = np.sqrt(x[0, :, :, 0]).ravel()
    pairs = np.outer(roots, roots)[~np.eye(15, dtype=bool)]
    assert pair_share(profile, 15) == pytest.approx(float(pairs.mean()))


@settings(max_examples=30, deadline=None)
@given(
    first=arrays(np.float64, 6, elements=st.floats(0.1, 10.0)),
    second=arrays(np.float64, 6, elements=st.floats(0.1, 10.0)),
)
def test_sums_and_products(first: np.ndarray, second: np.ndarray) -> None:
    (a, p), (b, r) = levelled(first), levelled(second)
    total = joint(((a, p), (b, r)))
    assert (a + b) * (np.ones(6) if total is None else total) == pytest.approx(first + second)
    level, both = product(p, r)
    assert a * b * level * (np.ones(6) if both is None else both) == pytest.approx(first * second)
    square = powered(p, 2.0)
    assert (np.ones(6) if square is None else square) == pytest.approx(first**2 / np.mean(first**2))


def test_spelled_out_norm_makes_positions_equal() -> None:
    b = Builder((BATCH, 24, WIDTH))
    x = attention(b, b.x, "lecun_normal")
    square = b.activation(x, "power", exponent=2.0)
    mean = b.node(Op.REDUCE, (square,), (BATCH, 24, 1), {"function": "mean", "axes": (-1,), "keepdims": True})
    y = b.combine(Op.MUL, x, b.activation(mean, "power", exponent=-0.5))
    graph = b.graph(y)
    assert known(fold(graph), x).profile is not None
    signal = known(fold(graph), y)
    assert signal.mean_square == pytest.approx(1.0)
    assert signal.profile is None or float(np.ptp(signal.profile)) < 1e-6
    assert signal.axes.count(Axis.POSITION) == 1
    assert math.isfinite(signal.pair_position)
