"""Networks drawn at random and run: the moments that the signal engine predicts, measured."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from sampled_operations import evaluate
from scipy import special, stats

from initcheck.distribution import Family
from initcheck.graph import Axis, Graph, Op, Parameter
from initcheck.signal.forward import Forward, propagate
from initcheck.signal.profile import pair_share
from initcheck.structure import find_structure

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from initcheck.signal.signal import Signal

Array: TypeAlias = np.ndarray[Any, Any]

QUANTITIES = ("mean_square", "mean", "pair_position", "pair_sample", "gain", "log_length")
TRUNCATED_STD = float(stats.truncnorm.std(-2.0, 2.0))
"""Of a normal cut at two standard deviations."""
STEP = 1e-6
"""Size of the perturbation of which the gain is the mean-square response, relative."""


def draw(parameter: Parameter, rng: np.random.Generator) -> Array:
    """A tensor from the law of a parameter."""
    law, shape = parameter.distribution, parameter.shape
    match law.family:
        case Family.NORMAL:
            return law.mean + law.std * rng.standard_normal(shape)
        case Family.UNIFORM:
            return law.mean + law.std * math.sqrt(3.0) * rng.uniform(-1.0, 1.0, shape)
        case Family.TRUNCATED:
            cut = special.ndtri(rng.uniform(special.ndtr(-2.0), special.ndtr(2.0), shape))
            return law.mean + law.std / TRUNCATED_STD * cut
        case Family.ORTHOGONAL:
            return math.sqrt(law.mean_square * max(_matrix(shape))) * _orthonormal(_matrix(shape), rng).reshape(shape)
        case Family.IDENTITY:
            return _identity(shape, law.mean * law.size)
        case Family.CONSTANT:
            return np.full(shape, law.mean)
        case _ if parameter.values is not None:
            return parameter.values
    message = f"no way to draw {law}"
    raise NotImplementedError(message)


def _matrix(shape: tuple[int, ...]) -> tuple[int, int]:
    return shape[0], math.prod(shape[1:])


def _orthonormal(shape: tuple[int, int], rng: np.random.Generator) -> Array:
    tall = rng.standard_normal((max(shape), min(shape)))
    q, r = np.linalg.qr(tall)
    # Without the signs of R's diagonal the result would not be uniform over orthogonal matrices.
    q = q * np.sign(np.diag(r))
    return q if shape[0] >= shape[1] else q.T


def _identity(shape: tuple[int, ...], total: float) -> Array:
    weight = np.zeros(shape)
    units = min(shape[:2])
    weight[(range(units), range(units), *(size // 2 for size in shape[2:]))] = total / units
    return weight


@dataclass
class Measured:
    """One number per drawn network for every quantity, and ln M per network and sample."""

    mean_square: list[float] = field(default_factory=list)
    mean: list[float] = field(default_factory=list)
    pair_position: list[float] = field(default_factory=list)
    pair_sample: list[float] = field(default_factory=list)
    gain: list[float] = field(default_factory=list)
    log_length: list[float] = field(default_factory=list)
    lengths: list[Array] = field(default_factory=list)

    def average(self, quantity: str) -> tuple[float, float]:
        """Mean over networks and its standard error."""
        numbers = np.asarray(getattr(self, quantity))
        assert len(numbers) > 1
        return float(numbers.mean()), float(numbers.std(ddof=1) / math.sqrt(len(numbers)))

    def log_length_variance(self) -> tuple[float, float]:
        """Var[ln M] over networks for a fixed input, averaged over inputs, and its standard error over networks."""
        logs = np.log(np.asarray(self.lengths))
        squares = np.mean((logs - logs.mean(axis=0)) ** 2, axis=1) * len(logs) / (len(logs) - 1)
        return float(squares.mean()), float(squares.std(ddof=1) / math.sqrt(len(squares)))


def sample(
    graph: Graph,
    axes: Mapping[str, tuple[Axis, ...]],
    repeats: int,
    *,
    seed: int = 0,
    fixed_input: bool = False,
    perturbed: bool = False,
) -> dict[str, Measured]:
    """Draw networks and measure values.

    Args:
        graph: The architecture and the laws of its weights.
        axes: What the axes of each wanted value run over.
        repeats: Number of networks.
        seed: Of everything random.
        fixed_input: Whether all networks see the same inputs.
        perturbed: Whether to measure the gain too.
    """
    rng = np.random.default_rng(seed)
    measured = {name: Measured() for name in axes}
    inputs = draw_inputs(graph, rng)
    for _ in range(repeats):
        if not fixed_input:
            inputs = draw_inputs(graph, rng)
        parameters = {name: draw(parameter, rng) for name, parameter in graph.parameters.items()}
        directions: dict[str, Array] = {}
        noise = int(rng.integers(1 << 60))
        plain = run(graph, inputs, parameters, noise, directions, 0.0)
        for name, kinds in axes.items():
            _measure(measured[name], plain[name], kinds)
        if perturbed:
            moved = run(graph, inputs, parameters, noise, directions, STEP)
            for name in axes:
                measured[name].gain.append(float(np.mean((moved[name] - plain[name]) ** 2)) / STEP**2)
    return measured


def draw_inputs(graph: Graph, rng: np.random.Generator) -> dict[str, Array]:
    """Standard normal numbers, every sample's mean square exactly one; ids uniform over the table that reads them."""
    rows = {
        node.inputs[0]: graph.parameters[node.inputs[1]].shape[0] for node in graph.nodes if node.op is Op.EMBEDDING
    }
    inputs: dict[str, Array] = {}
    for name in graph.inputs:
        value = graph.values[name]
        assert value.shape is not None
        if value.is_float:
            x = rng.standard_normal(value.shape)
            rest = tuple(range(1, x.ndim))
            inputs[name] = x / np.sqrt(np.mean(x * x, axis=rest, keepdims=True))
        else:
            inputs[name] = rng.integers(rows[name], size=value.shape)
    return inputs


def run(
    graph: Graph,
    inputs: Mapping[str, Array],
    parameters: Mapping[str, Array],
    noise: int,
    directions: dict[str, Array],
    step: float,
) -> dict[str, Array]:
    """Values of one network, its real inputs (or the embeddings of its integer inputs) moved by ``step``.

    Args:
        graph: The architecture.
        inputs: Arrays of the graph's inputs.
        parameters: Arrays of its parameters.
        noise: Seed of dropout's masks.
        directions: Where each of them moves; filled in when first needed.
        step: How far.
    """
    rng = np.random.default_rng(noise)
    turn = np.random.default_rng(noise + 1)

    def moved(name: str, x: Array) -> Array:
        direction = directions.setdefault(name, turn.standard_normal(x.shape))
        return x + step * direction

    values: dict[str, Any] = {"": None, **parameters}
    values |= {name: constant.array for name, constant in graph.constants.items()}
    values |= {name: moved(name, x) if graph.values[name].is_float else x for name, x in inputs.items()}
    for node in graph.nodes:
        shapes = [graph.values[name].shape or () for name in node.outputs]
        results = evaluate(node, [values[name] for name in node.inputs], shapes, rng)
        if node.op is Op.EMBEDDING and node.inputs[0] in inputs:
            results = [moved(node.name, results[0])]
        values |= dict(zip(node.outputs, results, strict=True))
    return values


def _measure(into: Measured, x: Array, axes: tuple[Axis, ...]) -> None:
    order = [i for kind in (Axis.BATCH, Axis.POSITION, Axis.FEATURE) for i, axis in enumerate(axes) if axis is kind]
    counts = [
        math.prod(n for n, axis in zip(x.shape, axes, strict=True) if axis is kind)
        for kind in (Axis.BATCH, Axis.POSITION, Axis.FEATURE)
    ]
    x = x.transpose(order).reshape(counts)
    square = float(np.mean(x * x))
    lengths = np.mean(x * x, axis=(1, 2))
    into.mean_square.append(square)
    into.mean.append(float(x.mean()))
    into.pair_position.append(_pairs(x, 1, square))
    into.pair_sample.append(_pairs(x, 0, square))
    into.lengths.append(lengths)
    if np.all(lengths > 0.0):
        into.log_length.append(float(np.mean(np.log(lengths))))


def _pairs(x: Array, axis: int, square: float) -> float:
    """Mean of products of two different entries along an axis."""
    count = x.shape[axis]
    if count < 2:
        return square
    return (count * float(np.mean(x.mean(axis=axis) ** 2)) - square) / (count - 1)


def fold(graph: Graph, *, typical: bool = False) -> Forward:
    """The engine's forward fold."""
    return propagate(graph, find_structure(graph), typical=typical)


@dataclass(frozen=True)
class Miss:
    """A prediction that sampling contradicts."""

    value: str
    quantity: str
    predicted: float
    measured: float
    error: float

    def __str__(self) -> str:
        measured = f"{self.measured:.5g} ± {self.error:.2g}"
        return f"{self.value} {self.quantity}: predicted {self.predicted:.5g}, measured {measured}"


def assert_agreement(graph: Graph, *values: str, **options: Any) -> None:
    """Fail with a line for every prediction that sampling contradicts; options are those of ``misses``."""
    found = misses(graph, *values, **options)
    assert not found, "\n".join(map(str, found))


def misses(
    graph: Graph,
    *values: str,
    repeats: int = 32,
    decades: float = 0.03,
    correlation: float = 0.05,
    quantities: Iterable[str] = QUANTITIES,
    seed: int = 0,
    errors: float = 4.0,
) -> list[Miss]:
    """Where the engine and sampled networks disagree by more than sampling and the stated approximation explain.

    Args:
        graph: The network.
        values: Values to compare, default the main output.
        repeats: Networks drawn.
        decades: What the theory may miss of log10 of the mean square, the gain, and the typical length.
        correlation: What it may miss of the mean over the root mean square, and of pair moments over the mean square.
        quantities: Which of ``QUANTITIES``.
        seed: Of the drawing.
        errors: Standard errors of the measurement that are allowed on top.
    """
    names = values or (graph.main_output,)
    mean_field, typical = fold(graph), fold(graph, typical=True)
    signals = {name: known(mean_field, name) for name in names}
    quantities = tuple(quantities)
    axes = {name: signal.axes for name, signal in signals.items()}
    measured = sample(graph, axes, repeats, seed=seed, perturbed="gain" in quantities)
    found = []
    for name, signal in signals.items():
        assert signal.shape == graph.values[name].shape
        for quantity in quantities:
            if quantity in {"pair_position", "pair_sample"} and not paired(quantity, signal):
                continue
            predicted = predict(quantity, signal, known(typical, name))
            mean, error = measured[name].average(quantity)
            if quantity == "log_length":
                allowed = decades * math.log(10.0)
            elif quantity in {"mean_square", "gain"}:
                allowed = (10.0**decades - 1.0) * abs(mean)
            else:
                rms = measured[name].average("mean_square")[0]
                allowed = correlation * (math.sqrt(rms) if quantity == "mean" else rms)
            if not abs(predicted - mean) <= allowed + errors * error:
                found.append(Miss(name, quantity, predicted, mean, error))
    return found


def paired(quantity: str, signal: Signal) -> bool:
    """Whether a value has two positions or two samples to compare."""
    kind = Axis.POSITION if quantity == "pair_position" else Axis.BATCH
    return any(axis is kind and n > 1 for axis, n in zip(signal.axes, signal.shape, strict=True))


def predict(quantity: str, signal: Signal, typical: Signal) -> float:
    """The engine's number; ln M of a finite layer lies half its own variance below that of an infinite one."""
    if quantity == "log_length":
        return math.log(typical.mean_square) + typical.drift()
    if quantity == "pair_position" and signal.profile is not None:
        # With a profile the signal's pair moment is that of positions of mean length.
        return pair_share(signal.profile, signal.positions) * signal.pair_position
    return float(getattr(signal, quantity))


def known(forward: Forward, name: str) -> Signal:
    """The signal of a value that the engine must know without guessing."""
    assert not forward.guessed
    signal = forward.signals[name]
    assert signal is not None
    assert not signal.assumed
    return signal
