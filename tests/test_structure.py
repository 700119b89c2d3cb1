"""Structure against a brute-force reading of its definitions, and on the shapes that people build."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from initcheck.builder import Builder
from initcheck.flow import ROOT, Flow, is_weighted
from initcheck.graph import Graph, Op
from initcheck.structure import find_structure


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Random graphs of additions, concatenations, functions and linear layers over one or two inputs."""
    b = Builder((4, 4))
    values = [b.x] + ([b.input("second", (4, 4))] if draw(st.booleans()) else [])
    for _ in range(draw(st.integers(2, 16))):
        op = draw(st.sampled_from(["add", "add", "linear", "tanh", "maximum"]))
        recent = st.sampled_from(values[-5:])
        first = draw(recent)
        if op == "linear":
            values.append(b.linear(first, 4))
        elif op == "tanh":
            values.append(b.activation(first, "tanh"))
        else:
            values.append(b.combine(Op.ADD if op == "add" else Op.MAXIMUM, first, draw(recent)))
    return b.graph(values[-1])


def reachable(graph: Graph, sources: set[str], without: str = "") -> set[str]:
    """Values that depend on the sources by a path that avoids one value."""
    seen = sources - {without}
    for node in graph.nodes:
        seen |= {output for output in node.outputs if output != without and any(name in seen for name in node.inputs)}
    return seen


def dominators(graph: Graph, sources: set[str], value: str) -> set[str]:
    names = set(graph.values)
    return {name for name in names if name == value or value not in reachable(graph, sources, without=name)}


def path_counts(graph: Graph, fork: str, end: str) -> set[int]:
    """Numbers of weighted layers on all paths from one value to another."""
    counts: dict[str, set[int]] = {fork: {0}}
    for node in graph.nodes:
        found = {n + is_weighted(graph, node) for name in node.inputs for n in counts.get(name, ())}
        for output in node.outputs:
            if output != fork:
                counts[output] = found
    return counts[end]


@given(graphs())
@settings(max_examples=150, deadline=None)
def test_dominators_are_the_values_whose_removal_cuts_every_path(graph: Graph) -> None:
    sources = set(graph.inputs)
    flow = Flow(graph, graph.inputs)
    for value in reachable(graph, sources):
        assert set(flow.dominators(value)) == dominators(graph, sources, value)


@given(graphs())
@settings(max_examples=150, deadline=None)
def test_residuals_follow_their_definition(graph: Graph) -> None:
    structure = find_structure(graph)
    for residual in structure.residuals.values():
        common = [
            dominators(graph, {source}, residual.skip) & dominators(graph, {source}, residual.branch)
            for source in graph.inputs
            if {residual.skip, residual.branch} <= reachable(graph, {source})
        ]
        nearest = {max(names, key=list(graph.values).index) for names in common if names}
        assert residual.fork in nearest
        skip, branch = (path_counts(graph, residual.fork, name) for name in (residual.skip, residual.branch))
        assert (min(skip), max(skip)) < (min(branch), max(branch))
        behind = reachable(graph, {residual.fork})
        for name in residual.branch_nodes:
            (node,) = (node for node in graph.nodes if node.name == name)
            assert node.outputs[0] in behind
            assert residual.branch in reachable(graph, {node.outputs[0]})
            assert structure.on_branch[name] == residual.node
    claimed = [name for residual in structure.residuals.values() for name in residual.branch_nodes]
    assert len(claimed) == len(set(claimed)) == len(structure.on_branch)


@given(graphs())
@settings(max_examples=150, deadline=None)
def test_nothing_that_shares_a_source_is_alive_beside_a_bottleneck(graph: Graph) -> None:
    structure = find_structure(graph)
    names = list(graph.values)
    layers = {node.outputs[0]: node.inputs[0] for node in graph.nodes if is_weighted(graph, node)}
    data = {name for name in graph.inputs if not reachable(graph, {name}).isdisjoint(layers.values())}
    noise = set(layers) | (data or set(graph.inputs))
    for bottleneck in structure.bottlenecks:
        ancestry = {n for n in noise if bottleneck in reachable(graph, {n})}
        for other in names:
            if other == bottleneck or names.index(other) > names.index(bottleneck):
                continue
            shares = any(other in reachable(graph, {n}) for n in ancestry)
            survives = graph.main_output in reachable(graph, {other}, without=bottleneck)
            assert not (shares and survives)


def test_identity_skip_with_scaled_branch() -> None:
    b = Builder()
    x = b.linear(b.x, 32)
    y = b.scale(b.linear(b.activation(b.linear(x, 64)), 32), 0.1)
    out = b.linear(b.add(y, x, path="add"), 10)
    structure = find_structure(b.graph(out))
    (residual,) = structure.residuals.values()
    assert (residual.fork, residual.skip, residual.branch, residual.skip_index) == (x, x, y, 1)
    assert len(residual.branch_nodes) == 4
    assert structure.heads == {out}
    assert structure.bottlenecks == {b.x, x, residual.node, out}


def test_projection_shortcut_is_a_skip_but_a_bent_one_is_not() -> None:
    def block(bend: bool) -> int:
        b = Builder((32, 8, 8, 8))
        x = b.activation(b.conv(b.x, 8))
        y = b.conv(b.activation(b.conv(x, 16, stride=2)), 16)
        skip = b.conv(x, 16, kernel=1, stride=2)
        out = b.add(y, b.activation(skip) if bend else skip)
        return len(find_structure(b.graph(out)).residuals)

    assert block(bend=False) == 1
    assert block(bend=True) == 0


def test_concatenations_gates_and_parallel_layers_are_not_residual() -> None:
    b = Builder()
    x = b.linear(b.x, 32)
    dense = b.concatenate([x, b.linear(b.activation(x), 8)])
    gated = b.combine(Op.MUL, dense, b.activation(b.linear(dense, 40), "sigmoid"))
    out = b.add(b.linear(gated, 10), b.linear(gated, 10))
    assert not find_structure(b.graph(out)).residuals


def test_conditioning_from_another_input_does_not_hide_the_fork() -> None:
    b = Builder((32, 16))
    time_step = b.linear(b.input("time", (32, 4)), 16)
    x = b.linear(b.x, 16)
    forks = []
    for _ in range(3):
        hidden = b.add(b.linear(x, 16), b.linear(b.activation(time_step, "silu"), 16))
        forks.append(x)
        x = b.add(x, b.linear(b.activation(hidden, "silu"), 16))
    residuals = find_structure(b.graph(x)).residuals
    assert [residual.fork for residual in residuals.values()] == forks


def test_a_mask_is_a_condition_and_no_skip() -> None:
    b = Builder((4, 8, 16))
    mask = b.input("mask", (4, 8, 8))
    x = b.x
    for _ in range(3):
        query, key, value = (b.linear(x, 16) for _ in range(3))
        scores = b.node(Op.MATMUL, (query, key), (4, 8, 8))
        weights = b.node(Op.SOFTMAX, (b.add(scores, mask),), (4, 8, 8), {"axis": -1})
        x = b.add(x, b.linear(b.node(Op.MATMUL, (weights, value), (4, 8, 16)), 16))
    structure = find_structure(b.graph(x))
    assert len(structure.residuals) == 3
    assert all(residual.skip_index == 0 for residual in structure.residuals.values())
    assert {residual.node for residual in structure.residuals.values()} < structure.bottlenecks


def test_nested_residuals_belong_to_the_innermost_branch() -> None:
    b = Builder()
    start = b.x
    inner = b.linear(start, 64, path="inner")
    first = b.add(start, b.linear(b.activation(inner), 64))
    outer = b.linear(first, 64, path="outer")
    total = b.add(start, outer)
    structure = find_structure(b.graph(total))
    assert structure.on_branch[structure.producer[inner].name] == first
    assert structure.on_branch[structure.producer[first].name] == total
    assert structure.on_branch[structure.producer[outer].name] == total
    assert structure.producer[inner].name not in structure.residuals[total].branch_nodes


def test_two_additions_of_parallel_branches() -> None:
    b = Builder()
    x = b.linear(b.x, 32)
    normed = b.normalize(x)
    first = b.add(x, b.linear(b.linear(normed, 32), 32))
    second = b.add(b.linear(b.activation(b.linear(normed, 32)), 32), first)
    residuals = find_structure(b.graph(second)).residuals
    assert [residual.skip for residual in residuals.values()] == [x, first]


def test_position_table_carries_noise_but_is_no_residual() -> None:
    b = Builder((4, 8), "int64")
    tokens = b.embedding(b.x, 100, 16)
    positions = b.embedding(b.constant("positions", np.arange(8)), 8, 16)
    x = b.add(tokens, positions)
    structure = find_structure(b.graph(b.linear(x, 100)))
    assert not structure.residuals
    assert tokens not in structure.bottlenecks
    assert x in structure.bottlenecks


def test_only_what_leads_to_the_main_output_is_active() -> None:
    b = Builder()
    x = b.linear(b.x, 16)
    aside = b.linear(x, 4)
    out = b.linear(x, 10)
    structure = find_structure(b.graph(out))
    assert aside not in structure.active
    assert structure.heads == {out}


def test_root_is_no_value() -> None:
    b = Builder()
    flow = Flow(b.graph(b.x), [b.x])
    assert flow.meet(b.x, ROOT) == ROOT


@pytest.mark.parametrize("blocks", [2000])
def test_time_grows_with_the_graph(blocks: int) -> None:
    b = Builder()
    x = stem = b.linear(b.x, 64)
    for _ in range(blocks):
        x = b.add(x, b.linear(b.activation(b.linear(x, 64)), 64))
    for _ in range(blocks):
        x = b.add(stem, b.linear(b.activation(x), 64))
    start = time.process_time()
    structure = find_structure(b.graph(x))
    assert time.process_time() - start < 2.0
    assert len(structure.residuals) == 2 * blocks
    assert sum(len(residual.branch_nodes) for residual in structure.residuals.values()) == len(structure.on_branch)
