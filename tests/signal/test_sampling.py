"""The measuring itself: it notices laws that are a little wrong, and draws what distributions say."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from sampling import QUANTITIES, draw, misses

from initcheck.builder import Builder
from initcheck.graph import Graph, Op
from initcheck.signal.laws import LAWS
from initcheck.signal.signal import Signal

SCHEMES = [
    "normal(0.1, 0.3)",
    "uniform(-0.2, 0.6)",
    "truncated_normal(std=0.3)",
    "orthogonal(gain=1.5)",
    "constant(0.4)",
    "identity(gain=2)",
]


class Distorted:
    """A law whose first output is passed through a function."""

    def __init__(self, law, distort):  # type: ignore[no-untyped-def]
        self.law, self.distort = law, distort

    def forward(self, node, args, context):  # type: ignore[no-untyped-def]
        """The law's answer, distorted."""
        first, *rest = self.law.forward(node, args, context)
        assert isinstance(first, Signal)
        return (self.distort(first), *rest)


def network() -> Graph:
    b = Builder((16, 5, 96))
    x = b.activation(b.linear(b.x, 96, bias="normal(0.5, 2)"))
    x = b.add(x, b.linear(b.normalize(x), 96))
    return b.graph(x)


def missed() -> set[str]:
    graph = network()
    return {miss.quantity for miss in misses(graph, *(node.outputs[0] for node in graph.nodes))}


def test_right_laws_pass() -> None:
    assert not missed()


@pytest.mark.parametrize("op", [Op.LINEAR, Op.ELEMENTWISE, Op.ADD])
def test_ten_percent_is_noticed(op: Op, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LAWS, op, Distorted(LAWS[op], lambda x: x.scaled(1.1)))
    assert missed() >= {"mean_square", "log_length", "gain"}


@pytest.mark.parametrize(
    ("field", "quantity"), [("rho_position", "pair_position"), ("rho_sample", "pair_sample"), ("perturbation", "gain")]
)
def test_every_part_of_the_state_is_compared(field: str, quantity: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def distort(x: Signal) -> Signal:
        return replace(x, source=replace(x.source, **{field: 0.5 * getattr(x.source, field)}))

    monkeypatch.setitem(LAWS, Op.ADD, Distorted(LAWS[Op.ADD], distort))
    assert quantity in QUANTITIES
    assert missed() == {quantity}


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("shape", [(40, 60), (60, 40)])
def test_drawn_weights_have_the_moments_of_their_law(scheme: str, shape: tuple[int, int]) -> None:
    b = Builder()
    parameter = b.parameters[b.parameter("weight", shape, scheme)]
    rng = np.random.default_rng(0)
    weights = np.stack([draw(parameter, rng) for _ in range(50)])
    error = 4.0 / math.sqrt(weights.size)
    law = parameter.distribution
    assert float(weights.mean()) == pytest.approx(law.mean, abs=error * law.std + 1e-12)
    assert float(np.mean(weights**2)) == pytest.approx(law.mean_square, rel=3.0 * error)
