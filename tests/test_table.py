"""The layer table and the summary."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from initcheck.analysis import Analysis
from initcheck.builder import Builder
from initcheck.graph import Graph, Op

if TYPE_CHECKING:
    from initcheck.report import LayerRow


def rows(graph: Graph) -> dict[str, LayerRow]:
    table = Analysis(graph).layer_rows()
    assert len({row.path for row in table}) == len(table)
    return {row.path: row for row in table}


def test_weighted_layers_norms_and_activations_in_order() -> None:
    b = Builder((32, 64))
    x = b.linear(b.x, 128, "kaiming_normal", path="fc1")
    x = b.activation(b.normalize(x, path="norm"), path="act")
    x = b.scale(x, 0.5)
    table = rows(b.graph(b.linear(x, 10, "pytorch_default", path="head")))
    assert list(table) == ["fc1", "norm", "act", "head"]
    assert [row.kind for row in table.values()] == ["linear", "layer_norm", "relu", "linear"]
    first = table["fc1"]
    assert (first.fan_in, first.fan_out, first.width) == (64, 128, 128)
    assert first.weight is not None
    assert first.weight.scheme == "kaiming_normal"
    assert first.weight.std == pytest.approx(math.sqrt(2.0 / 64))
    assert first.log10_mean_square_expected == pytest.approx(math.log10(2.0), abs=1e-6)
    assert first.log10_signal == pytest.approx(math.log10(2.0), abs=0.02)
    assert table["norm"].weight is None
    assert table["norm"].fan_in is None
    assert table["norm"].log10_mean_square == pytest.approx(0.0, abs=1e-3)
    assert table["act"].log10_mean_square == pytest.approx(math.log10(0.5), abs=1e-3)
    assert {row.state for row in table.values()} == {"ok"}


def test_typical_lies_below_expected_by_half_the_variance() -> None:
    b = Builder()
    x = b.x
    for k in range(20):
        x = b.activation(b.linear(x, 32, path=f"fc{k}"), path=f"act{k}")
    row = rows(b.graph(b.linear(x, 10, path="head")))["fc19"]
    assert row.log10_mean_square is not None
    assert row.log10_mean_square_expected is not None
    assert row.log_length_variance is not None
    shortfall = row.log10_mean_square_expected - row.log10_mean_square
    assert shortfall == pytest.approx(row.log_length_variance / 2.0 / math.log(10.0), rel=0.1)


def test_a_module_called_again_keeps_its_first_row() -> None:
    b = Builder()
    x = b.linear(b.x, 64, path="cell")
    first = b.activation(x, path="act")
    again = replace(b.nodes[0], name="again", inputs=(first, *b.nodes[0].inputs[1:]), outputs=("again",))
    b.nodes.append(again)
    b.values["again"] = b.values[x]
    table = rows(b.graph(b.activation("again", path="act")))
    assert list(table) == ["cell", "act"]


def test_an_activation_of_several_operations_shows_the_last() -> None:
    b = Builder()
    x = b.linear(b.x, 64, path="fc")
    gate = b.activation(x, "sigmoid", path="swish")
    out = b.combine(Op.MUL, x, gate, path="swish")
    row = rows(b.graph(b.linear(out, 10, path="head")))["swish"]
    signal = Analysis(b.graph(out)).typical.signals[out]
    assert signal is not None
    assert row.log10_mean_square == pytest.approx(math.log10(signal.mean_square), abs=0.05)


def test_functions_called_inside_a_container_have_no_row() -> None:
    b = Builder()
    x = b.activation(b.linear(b.x, 64, path="block.fc"), path="block")
    assert list(rows(b.graph(b.linear(x, 10, path="head")))) == ["block.fc", "head"]


def test_zero_nonfinite_and_unknown_are_states_without_numbers() -> None:
    b = Builder()
    x = b.activation(b.linear(b.x, 64, "zeros", path="zero"), path="act")
    assert rows(b.graph(b.linear(x, 10, path="head")))["act"].state == "zero"
    assert rows(b.graph(x))["zero"].log10_mean_square is None

    weight = np.ones((64, 64))
    weight[0, 0] = np.nan
    b = Builder()
    x = b.linear(b.linear(b.x, 64, path="before"), 64, weight, path="broken")
    table = rows(b.graph(b.linear(x, 10, path="head")))
    assert [row.state for row in table.values()] == ["ok", "nonfinite", "nonfinite"]
    assert table["head"].log10_mean_square is None

    b = Builder()
    unknown = b.node(Op.OPAQUE, (b.x,), (32, 7), {"type": "example.Warp"})
    row = rows(b.graph(b.linear(unknown, 10, path="head")))["head"]
    assert row.state == "unknown"
    assert row.width is None


def test_summary_takes_the_worst_segment() -> None:
    b = Builder()
    x = b.x
    for k in range(6):
        x = b.linear(x, 64, "pytorch_default", path=f"fc{k}")
        x = b.activation(b.normalize(x) if k == 1 else x)
    summary = Analysis(b.graph(b.linear(x, 10, path="head"))).summary()
    assert summary.segments == 2
    assert summary.log10_signal_gain == pytest.approx(-4 * math.log10(6.0), abs=0.4)
    assert summary.residual_blocks == 0
    assert summary.beta is not None
    # Four layers before the head pass a sixth each; the length that the normalisation divides by gives some back.
    assert summary.log10_gradient_ratio == pytest.approx(-4 * math.log10(6.0) + 0.5, abs=0.5)


def test_summary_of_a_cut_signal_has_no_infinite_number() -> None:
    b = Builder()
    x = b.activation(b.linear(b.x, 64, "zeros"))
    assert Analysis(b.graph(b.linear(x, 10))).summary().log10_signal_gain is None
