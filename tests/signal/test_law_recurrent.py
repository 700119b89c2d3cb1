"""Recurrent layers against torch's own cells, drawn anew many times."""

from __future__ import annotations

import math

import pytest
import torch

from initcheck.analysis import Analysis
from initcheck.builder import Builder
from initcheck.graph import Graph, Op

STEPS, FEATURES, HIDDEN = 8, 8, 32
DRAWS = 60
CELLS = {
    "rnn": (torch.nn.RNN, ("h",)),
    "gru": (torch.nn.GRU, ("r", "z", "n")),
    "lstm": (torch.nn.LSTM, ("i", "f", "g", "o")),
}


def recurrent_graph(cell: str, gates: tuple[str, ...], scale: float = 1.0) -> Graph:
    """A batch-first layer with torch's default law, both biases stacked as one parameter."""
    b = Builder((32, STEPS, FEATURES))
    bound = scale / math.sqrt(HIDDEN)
    rows = len(gates) * HIDDEN
    weight = b.parameter("weight_ih", (rows, FEATURES), f"uniform({bound!r})")
    recurrent = b.parameter("weight_hh", (rows, HIDDEN), f"uniform({bound!r})")
    bias = b.parameter("bias", (2 * rows,), f"uniform({1.0 / math.sqrt(HIDDEN)!r})")
    attributes = {
        "cell": cell,
        "gates": gates,
        "hidden": HIDDEN,
        "directions": 1,
        "activation": "tanh",
        "fan_in": FEATURES,
        "fan_out": rows,
    }
    return b.graph(b.node(Op.RECURRENT, (b.x, weight, recurrent, bias), (32, STEPS, HIDDEN), attributes))


def measured(cell: str, scale: float = 1.0) -> tuple[float, float]:
    """Mean square of the states, and of their response to a small independent perturbation, over draws."""
    torch.manual_seed(0)
    squares, responses = [], []
    for _ in range(DRAWS):
        layer = CELLS[cell][0](FEATURES, HIDDEN, batch_first=True).double()
        with torch.no_grad():
            layer.weight_ih_l0.mul_(scale)
            layer.weight_hh_l0.mul_(scale)
            x, tangent = torch.randn(2, 64, STEPS, FEATURES, dtype=torch.float64)
            states = layer(x)[0]
            moved = layer(x + 1e-5 * tangent)[0]
        squares.append(states.square().mean().item())
        responses.append(((moved - states) / 1e-5).square().mean().item())
    return sum(squares) / DRAWS, sum(responses) / DRAWS


@pytest.mark.parametrize("cell", sorted(CELLS))
@pytest.mark.parametrize("scale", [0.3, 1.0])
def test_states_and_their_response_match_drawn_cells(cell: str, scale: float) -> None:
    graph = recurrent_graph(cell, CELLS[cell][1], scale)
    signal = Analysis(graph).forward.signals[graph.main_output]
    square, response = measured(cell, scale)
    # Gates are taken as independent of what they gate, which costs up to a tenth of a decade; sampling is finer.
    assert signal is not None
    assert abs(math.log10(signal.mean_square / square)) < 0.1
    assert abs(math.log10(signal.gain / response)) < 0.1


def test_tiny_weights_lose_the_input_but_not_the_length() -> None:
    graph = recurrent_graph("lstm", CELLS["lstm"][1], scale=1e-3)
    signal = Analysis(graph).forward.signals[graph.main_output]
    assert signal is not None
    assert signal.mean_square > 1e-4
    assert signal.gain < 1e-7
    assert signal.pair_sample == pytest.approx(signal.mean_square, rel=1e-3)
