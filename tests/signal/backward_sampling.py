"""Gradients of networks drawn at random, measured without a backward pass.

The mean square of the gradient of u · y at a value x is E[(u · (y(x + ε v) - y(x)) / ε)²] over random directions v.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from sampled_operations import evaluate
from sampling import draw, draw_inputs, fold

from initcheck.signal.backward import Backward, propagate_back
from initcheck.structure import find_structure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from initcheck.graph import Graph

STEP = 1e-6


def fold_back(graph: Graph, *, typical: bool = False) -> Backward:
    """The engine's backward fold."""
    return propagate_back(graph, find_structure(graph), fold(graph, typical=typical), typical=typical)


def _run(graph: Graph, start: Mapping[str, Any], noise: int, moved: str = "nothing", by: Any = None) -> dict[str, Any]:
    rng = np.random.default_rng(noise)
    values = dict(start)
    if moved in values:
        values[moved] = values[moved] + by
    for node in graph.nodes:
        shapes = [graph.values[name].shape or () for name in node.outputs]
        results = evaluate(node, [values[name] for name in node.inputs], shapes, rng)
        values |= dict(zip(node.outputs, results, strict=True))
        if moved in node.outputs:
            values[moved] = values[moved] + by
    return values


def sampled_gradients(
    graph: Graph, names: Sequence[str], repeats: int, directions: int = 4, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Mean square of the gradient at values or parameters, and its standard error over networks."""
    rng = np.random.default_rng(seed)
    squares: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(repeats):
        parameters = {name: draw(parameter, rng) for name, parameter in graph.parameters.items()}
        start = {"": None, **parameters, **draw_inputs(graph, rng)}
        start |= {name: constant.array for name, constant in graph.constants.items()}
        noise = int(rng.integers(1 << 60))
        plain = _run(graph, start, noise)
        cotangent = rng.standard_normal(plain[graph.main_output].shape)
        cotangent /= np.sqrt(np.mean(cotangent**2))
        for name in names:
            found = []
            for _ in range(directions):
                by = STEP * rng.standard_normal(np.shape(plain[name]))
                moved = _run(graph, start, noise, name, by)
                change = np.sum(cotangent * (moved[graph.main_output] - plain[graph.main_output])) / STEP
                found.append(change**2 / np.size(plain[name]))
            squares[name].append(float(np.mean(found)))
    return {
        name: (float(np.mean(part)), float(np.std(part, ddof=1) / math.sqrt(repeats))) for name, part in squares.items()
    }


def assert_gradients(
    graph: Graph,
    names: Sequence[str],
    *,
    repeats: int = 100,
    directions: int = 4,
    decades: float = 0.05,
    seed: int = 0,
    errors: float = 4.0,
) -> None:
    """Fail with a line for every gradient that sampling contradicts.

    Args:
        graph: The network.
        names: Values and parameters.
        repeats: Networks drawn.
        directions: Directions per network and value.
        decades: What the theory may miss of log10 of the mean square.
        seed: Of the drawing.
        errors: Standard errors of the measurement that are allowed on top.
    """
    backward = fold_back(graph)
    measured = sampled_gradients(graph, names, repeats, directions, seed)
    wrong = []
    for name in names:
        mean, error = measured[name]
        owned = name in graph.parameters
        predicted = backward.parameters[name] if owned else backward.gradients[name].mean_square
        assert predicted is not None, name
        if not abs(predicted - mean) <= (10.0**decades - 1.0) * mean + errors * error:
            wrong.append(f"{name}: predicted {predicted:.5g}, measured {mean:.5g} ± {error:.2g}")
    assert not wrong, "\n".join(wrong)
