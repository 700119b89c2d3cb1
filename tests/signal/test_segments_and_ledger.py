"""Segments, the ledger's sums, both folds, and the merging of noises at bottlenecks."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sampling import fold, known

from initcheck.analysis import Analysis
from initcheck.builder import Builder
from initcheck.graph import Graph, Op
from initcheck.signal.forward import Forward, propagate
from initcheck.signal.laws import LAWS
from initcheck.signal.ledger import Quantity
from initcheck.structure import find_structure

if TYPE_CHECKING:
    from initcheck.signal.law import Law

FUNCTIONS = ["relu", "tanh", "gelu"]
SCHEMES = ["kaiming_normal", "pytorch_default", "normal(0, 0.02)", "orthogonal"]


@st.composite
def chains(draw: st.DrawFn) -> Graph:
    """Layers, functions and scales one after another, without norms."""
    b = Builder((8, 32))
    x = b.x
    for _ in range(draw(st.integers(1, 8))):
        x = b.linear(x, draw(st.integers(16, 64)), draw(st.sampled_from(SCHEMES)))
        if draw(st.booleans()):
            x = b.activation(x, draw(st.sampled_from(FUNCTIONS)))
        if draw(st.booleans()):
            x = b.scale(x, draw(st.floats(0.1, 3.0)))
    return b.graph(b.linear(x, 10, "zeros"))


def sums(forward: Forward) -> dict[tuple[int, Quantity], float]:
    total: dict[tuple[int, Quantity], float] = defaultdict(float)
    for entry in forward.ledger:
        total[entry.segment, entry.quantity] += entry.amount if math.isfinite(entry.amount) else 0.0
    return total


@settings(deadline=None, max_examples=40)
@given(chains(), st.booleans())
def test_ledger_sums_to_the_segment_on_a_chain(graph: Graph, typical: bool) -> None:
    forward = fold(graph, typical=typical)
    (segment,) = forward.segments
    total = sums(forward)
    assert total[0, Quantity.SIGNAL] == pytest.approx(segment.signal_gain, abs=1e-9)
    assert total[0, Quantity.LENGTH] == pytest.approx(segment.length_gain, abs=1e-9)
    assert segment.residual_growth == 0.0
    assert not segment.closed


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 8), st.sampled_from(["lecun_normal", "orthogonal", "kaiming_normal"]))
def test_fluctuations_of_the_ledger_sum_to_the_variance_on_a_homogeneous_chain(depth: int, scheme: str) -> None:
    b = Builder((8, 48))
    x = b.x
    for _ in range(depth):
        x = b.activation(b.linear(x, 48, scheme))
    forward = fold(b.graph(b.linear(x, 10)))
    assert sums(forward)[0, Quantity.FLUCTUATION] == pytest.approx(forward.segments[0].log_length_variance, rel=1e-6)
    paths = [entry.path for entry in forward.ledger if entry.quantity is Quantity.FLUCTUATION]
    assert paths == [node.path for node in b.nodes if node.op is Op.LINEAR][:-1]


def test_residual_growth_is_entered_where_it_happens() -> None:
    b = Builder((8, 48))
    x = b.linear(b.x, 48)
    for _ in range(5):
        x = b.add(x, b.linear(b.activation(b.linear(x, 48)), 48))
    forward = fold(b.graph(b.linear(x, 10)))
    entries = [entry for entry in forward.ledger if entry.quantity is Quantity.RESIDUAL]
    assert len(entries) == 5
    assert all(entry.amount == pytest.approx(math.log10(3.0)) for entry in entries)
    assert forward.segments[0].residual_growth == pytest.approx(5 * math.log10(3.0))


@pytest.mark.parametrize("scale", [1.0, math.sqrt(0.5), 0.5])
def test_a_stream_that_is_scaled_down_grows_by_the_rest(scale: float) -> None:
    """x = c (x + f(x)) over and over, f doubling, rises by 3 c² per block, and not by the 3 of its additions."""
    b = Builder((8, 48))
    x = b.linear(b.x, 48)
    for _ in range(12):
        x = b.scale(b.add(x, b.linear(x, 48)), scale)
    segment = fold(b.graph(b.linear(x, 10))).segments[0]
    expected = max(12 * math.log10(3.0) + 22 * math.log10(scale), math.log10(3.0))
    assert segment.residual_growth == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("kind", ["layer", "rms", "batch"])
def test_norms_open_segments(kind: str) -> None:
    b = Builder((32, 48))
    x = b.linear(b.x, 48, "normal(0, 0.01)")
    first = x = b.normalize(x, kind)
    x = b.linear(b.activation(x), 48, "normal(0, 10)")
    second = x = b.normalize(x, kind)
    graph = b.graph(b.linear(b.activation(x), 10))
    forward = fold(graph)
    assert [segment.start for segment in forward.segments] == ["", first, second]
    assert [segment.closed for segment in forward.segments] == [True, True, False]
    for name in (first, second):
        assert known(forward, name).mean_square == pytest.approx(1.0, rel=0.1)
        assert known(forward, name).segment_gain == pytest.approx(1.0)
    # What stands before a norm may have any scale.
    assert abs(forward.segments[0].signal_gain) < 0.3
    assert abs(forward.segments[1].signal_gain) < 0.3


def test_a_stored_norm_opens_none() -> None:
    b = Builder((32, 48))
    x = b.normalize(b.linear(b.x, 48), "batch", training=False)
    assert len(fold(b.graph(b.linear(x, 10))).segments) == 1


def test_the_pre_norm_stream_is_one_segment() -> None:
    b = Builder((8, 6, 48))
    x = b.linear(b.x, 48)
    for _ in range(4):
        x = b.add(x, b.linear(b.activation(b.linear(b.normalize(x), 96)), 48))
    forward = fold(b.graph(b.linear(b.normalize(x), 10)))
    assert known(forward, x).segment == known(forward, b.nodes[0].outputs[0]).segment
    stream = next(segment for segment in forward.segments if segment.index == known(forward, x).segment)
    assert stream.residual_growth == pytest.approx(0.0, abs=0.01)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_typical_lies_below_mean_field(scheme: str) -> None:
    b = Builder((8, 32))
    x = b.x
    for _ in range(10):
        x = b.activation(b.linear(x, 32, scheme))
    graph = b.graph(b.linear(x, 10))
    mean_field, typical = known(fold(graph), x), known(fold(graph, typical=True), x)
    # Nine of the ten layers were read by a next one.
    shift = math.log(typical.mean_square / mean_field.mean_square)
    assert shift == pytest.approx(9.0 * typical.drift(), rel=0.01)
    assert shift == pytest.approx(-0.45 * mean_field.log_length_variance(), rel=0.15)
    # A response has the slopes of its own; the few values of uniform weights count for the length only.
    assert typical.gain / mean_field.gain == pytest.approx(typical.mean_square / mean_field.mean_square, rel=0.1)


@st.composite
def networks(draw: st.DrawFn) -> Graph:
    """Plain, residual and dense pieces one after another."""
    b = Builder((8, 32))
    x = b.linear(b.x, 32)
    for _ in range(draw(st.integers(1, 6))):
        inner = b.activation(b.linear(x, 32), draw(st.sampled_from(FUNCTIONS)))
        match draw(st.sampled_from(["plain", "residual", "dense", "gated", "normalised"])):
            case "plain":
                x = inner
            case "residual":
                x = b.add(x, b.linear(inner, 32))
            case "dense":
                x = b.linear(b.concatenate([x, inner]), 32)
            case "gated":
                x = b.combine(Op.MUL, x, b.activation(b.linear(inner, 32), "sigmoid"))
            case _:
                x = b.normalize(inner)
    return b.graph(b.linear(x, 10))


@settings(deadline=None, max_examples=60)
@given(networks(), st.booleans())
def test_merging_at_bottlenecks_changes_nothing(graph: Graph, typical: bool) -> None:
    structure = find_structure(graph)
    merged = propagate(graph, structure, typical=typical)
    apart = propagate(graph, replace(structure, bottlenecks=frozenset()), typical=typical)
    for name in graph.values:
        one, other = merged.signals[name], apart.signals[name]
        assert one is not None
        assert other is not None
        assert one.mean_square == pytest.approx(other.mean_square, rel=1e-9)
        if name in structure.bottlenecks:
            assert len(one.source.noise) <= 1
        # Beside a bottleneck only the main path is promised.
        if name == graph.main_output or name in structure.bottlenecks:
            assert one.log_length_variance() == pytest.approx(other.log_length_variance(), rel=1e-6, abs=1e-12)


class Counted:
    """A law that counts what it is asked and how much noise it carries."""

    def __init__(self, law: Law) -> None:
        self.law = law
        self.calls = 0
        self.largest = 0

    def forward(self, node, args, context):  # type: ignore[no-untyped-def]
        """Count, then answer."""
        self.calls += 1
        self.largest = max(self.largest, *(len(x.source.noise) for x in args[:1] if hasattr(x, "source")), 0)
        return self.law.forward(node, args, context)


@pytest.mark.parametrize("residual", [False, True])
def test_a_chain_of_10000_nodes_costs_a_step_each(residual: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every node is visited once, and the noises it carries do not pile up."""
    b = Builder((8, 32))
    x = b.linear(b.x, 32, path="layer")
    shared = b.nodes[0].inputs[1:]
    while len(b.nodes) < (2000 if residual else 10_000):
        weights = [b.parameter(f"weight{len(b.nodes)}", (32, 32), "lecun_normal")]
        y = b.node(Op.LINEAR, (x, *weights), (8, 32), b.nodes[0].attributes)
        y = b.activation(y, "relu")
        x = b.add(x, b.scale(y, 0.01)) if residual else y
    graph = b.graph(b.linear(x, 10))
    assert len(shared) == 2
    counted = {op: Counted(law) for op, law in LAWS.items()}
    for op, law in counted.items():
        monkeypatch.setitem(LAWS, op, law)
    propagate(graph, find_structure(graph), typical=False)
    assert sum(law.calls for law in counted.values()) == len(graph.nodes)
    assert max(law.largest for law in counted.values()) <= 6


@pytest.mark.parametrize("scale", [1.0, 1.0 / 255.0, 1000.0])
def test_the_first_segment_starts_at_the_first_layer(scale: float) -> None:
    b = Builder((8, 32))
    x = b.scale(b.x, scale)
    forward = fold(b.graph(b.linear(b.activation(b.linear(x, 64, "normal(0, 0.1)")), 10, "zeros")))
    (segment,) = forward.segments
    assert segment.signal_gain == pytest.approx(math.log10(32 * 0.01 / 2))
    assert segment.length_gain == pytest.approx(math.log10(32 * 0.01 / 2))
    read = known(forward, x)
    assert read.gain == pytest.approx(scale * scale)
    assert sums(forward)[0, Quantity.SIGNAL] == pytest.approx(segment.signal_gain)


def test_what_is_computed_from_parameters_alone_is_no_segment() -> None:
    b = Builder((32, 64))
    shift = b.node(Op.EXPAND, (b.parameter("position", (1, 64), "normal(0, 1)"),), (1, 64))
    x = b.activation(b.linear(b.x, 64))
    y = b.combine(Op.ADD, x, b.normalize(shift))
    segments = Analysis(b.graph(b.linear(y, 10))).segments
    assert [math.isfinite(segment.signal_gain) for segment in segments] == [True]
