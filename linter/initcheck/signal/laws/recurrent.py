"""Recurrent layers: the second moments of one cell, iterated over the steps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from initcheck.graph import Axis, Parameter
from initcheck.signal.functions import FUNCTIONS, apply
from initcheck.signal.law import Moments, moments_of
from initcheck.signal.laws.linear import weight_uncertainty
from initcheck.signal.quadrature import expectation, hermite_powers, pair_moment
from initcheck.signal.signal import Signal
from initcheck.signal.source import gaussian_table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from initcheck.graph import Node
    from initcheck.signal.law import Argument, Context

__all__ = ["Cell", "Gate", "RecurrentLaw", "cell_of"]

_GATES = {"rnn": ("h",), "gru": ("z", "r", "n"), "lstm": ("i", "o", "f", "g")}
"""Order in which a cell's gates are stacked when the source does not say."""

_LONGEST = 256
"""Steps after which a cell is taken to have reached its fixed point."""

ZERO = Moments(0.0, 0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class _Bias:
    """Mean and variance over units of one gate's bias, the input's and the state's."""

    mean: float
    variance: float
    state_mean: float = 0.0
    state_variance: float = 0.0

    def added(self, reset: Moments | None = None) -> tuple[float, float]:
        """Mean and mean square of both parts, the state's multiplied by a reset gate if there is one."""
        mean, square = (1.0, 1.0) if reset is None else (reset.mean, reset.mean_square)
        both = self.mean + mean * self.state_mean
        variance = self.variance + square * (self.state_variance + self.state_mean**2) - (mean * self.state_mean) ** 2
        return both, both * both + variance


@dataclass(frozen=True, slots=True)
class Gate:
    """Moments of one gate, or of the function that shows a cell, at one step.

    Attributes:
        mean: E[f].
        mean_square: E[f²].
        response: E[f'²].
    """

    mean: float
    mean_square: float
    response: float


class RecurrentLaw:
    """RNN, GRU and LSTM (THEORY 2.3): steps are treated as independent layers, gates as independent of what they gate.

    z = W x + U h + b is Gaussian with q_z = n E[w²] q_x + m E[u²] q_h + E[b²]; a gate f contributes its E[f²], E[f],
    and E[f'²] d_z to the perturbation. What a cell keeps and what it adds share their bias: with r = E[write · memory]
    the cell of an LSTM is q_c' = q_f q_c + q_i q_g + 2 μ_f r, r' = p_w + μ_f r, p_w the pair moment of two steps'
    writes. That one draw of U acts at every step is left out: it matters to fluctuation, not to the mean.
    """

    def forward(self, node: Node, args: Sequence[Argument], context: Context) -> tuple[Signal | None, ...]:
        """The sequence of states, then the last state (and the last cell)."""
        x, weight, recurrent = args[0], args[1], args[2]
        unknown: tuple[Signal | None, ...] = (None,) * len(node.outputs)
        if not (isinstance(x, Signal) and isinstance(weight, Parameter) and isinstance(recurrent, Parameter)):
            return unknown
        cell = cell_of(node, x, weight, recurrent, args[3:5])
        if cell is None:
            return unknown
        states, cells = cell.run(max(x.positions, 1))
        series = [_mean(states), states[-1], cells[-1]]
        uncertainty = weight_uncertainty(weight) + weight_uncertainty(recurrent)
        outputs: list[Signal | None] = []
        for index in range(len(node.outputs)):
            shape = context.shape(node, index)
            if shape is None or index >= len(series):
                outputs.append(None)
                continue
            axes = _axes(x, shape, sequence=index == 0)
            outputs.append(
                None
                if axes is None
                else context.create(
                    series[index], x, shape=shape, axes=axes, parents=(x,), realized=True, uncertainty=uncertainty
                )
            )
        return tuple(outputs)


def cell_of(node: Node, x: Signal, weight: Parameter, recurrent: Parameter, biases: Sequence[Argument]) -> Cell | None:
    """The cell of a recurrent layer, ready to run; None for one that is not known."""
    kind, activation = str(node.attributes["cell"]), str(node.attributes.get("activation", "tanh"))
    if kind not in _GATES or activation not in FUNCTIONS:
        return None
    hidden = int(node.attributes["hidden"])
    cell = Cell(kind, activation, _inflow(x, weight, node), hidden * recurrent.distribution.mean_square)
    gates = tuple(node.attributes.get("gates", _GATES[kind]))
    cell.biases = _biases(biases, gates, hidden, int(node.attributes["directions"]))
    return cell


class Cell:
    """One step of a cell on second moments.

    Attributes:
        kind: lstm | gru | rnn.
        recurrence: m E[u²], what the recurrent weights do to the mean square of a state.
        history: Per step: gate -> its moments, as ``run`` met them.
    """

    def __init__(self, kind: str, activation: str, inflow: Moments, recurrence: float) -> None:
        self.kind = kind
        self.activation = activation
        self.inflow = inflow
        self.recurrence = recurrence
        self.biases: dict[str, _Bias] = {}
        # E[what is written next · what is remembered], both driven by one bias.
        self.overlap = 0.0
        self.history: list[dict[str, Gate]] = []

    def run(self, steps: int) -> tuple[list[Moments], list[Moments]]:
        """States and cells after each step, from zero; the fixed point repeats once it is reached."""
        advance: Callable[[Moments, Moments], tuple[Moments, Moments]] = {
            "rnn": self._rnn,
            "gru": self._gru,
            "lstm": self._lstm,
        }[self.kind]
        state, memory = ZERO, ZERO
        states, cells = [], []
        for _ in range(min(steps, _LONGEST)):
            self.history.append({})
            state, memory = advance(state, memory)
            states.append(state)
            cells.append(memory)
        return states, cells

    def _rnn(self, state: Moments, memory: Moments) -> tuple[Moments, Moments]:
        del memory
        return self._gate(self.activation, "h", self._fed_back(state)), ZERO

    def _gru(self, state: Moments, memory: Moments) -> tuple[Moments, Moments]:
        del memory
        back = self._fed_back(state)
        update = self._gate("sigmoid", "z", back)
        reset = self._gate("sigmoid", "r", back)
        candidate = self._gate(self.activation, "n", _times(reset, back), reset)
        keep = Moments(
            1.0 - 2.0 * update.mean + update.mean_square,
            1.0 - update.mean,
            1.0 - 2.0 * update.mean + update.pair_position,
            1.0 - 2.0 * update.mean + update.pair_sample,
            update.perturbation,
        )
        # Both shares are functions of one gate: E[z (1 - z)].
        cross = 2.0 * (update.mean - update.mean_square) * self.overlap
        self.overlap = (1.0 - update.mean) * candidate.pair_position + update.mean * self.overlap
        return _plus(_times(keep, candidate), _times(update, state), cross), ZERO

    def _lstm(self, state: Moments, memory: Moments) -> tuple[Moments, Moments]:
        back = self._fed_back(state)
        written = _times(self._gate("sigmoid", "i", back), self._gate(self.activation, "g", back))
        forget = self._gate("sigmoid", "f", back)
        memory = _plus(_times(forget, memory), written, 2.0 * forget.mean * self.overlap)
        self.overlap = written.pair_position + forget.mean * self.overlap
        shown, self.history[-1]["c"] = _function(self.activation, memory)
        return _times(self._gate("sigmoid", "o", back), shown), memory

    def _fed_back(self, state: Moments) -> Moments:
        """U h: the mean is lost in a sum over weights of mean zero."""
        return state.scaled(self.recurrence, 0.0)

    def _gate(self, function: str, gate: str, back: Moments, reset: Moments | None = None) -> Moments:
        mean, square = self.biases.get(gate, _Bias(0.0, 0.0)).added(reset)
        before = Moments(
            self.inflow.mean_square + back.mean_square + square,
            mean,
            self.inflow.pair_position + back.pair_position + square,
            self.inflow.pair_sample + back.pair_sample + square,
            self.inflow.perturbation + back.perturbation,
        )
        after, self.history[-1][gate] = _function(function, before)
        return after


def _function(name: str, before: Moments) -> tuple[Moments, Gate]:
    variance = max(before.mean_square - before.mean**2, 0.0)
    table = gaussian_table(before.mean, variance)
    value, slope = apply(name, table)
    powers = hermite_powers(value)

    def pair(moment: float) -> float:
        rho = (moment - before.mean**2) / variance if variance > 0.0 else 1.0
        return pair_moment(powers, min(max(rho, -1.0), 1.0))

    response = expectation(slope * slope)
    after = Moments(
        expectation(value * value),
        expectation(value),
        pair(before.pair_position),
        pair(before.pair_sample),
        response * before.perturbation,
    )
    return after, Gate(after.mean, after.mean_square, response)


def _times(a: Moments, b: Moments) -> Moments:
    return Moments(
        a.mean_square * b.mean_square,
        a.mean * b.mean,
        a.pair_position * b.pair_position,
        a.pair_sample * b.pair_sample,
        a.mean_square * b.perturbation + b.mean_square * a.perturbation,
    )


def _plus(a: Moments, b: Moments, cross: float) -> Moments:
    return Moments(
        a.mean_square + b.mean_square + cross,
        a.mean + b.mean,
        a.pair_position + b.pair_position + cross,
        a.pair_sample + b.pair_sample + cross,
        a.perturbation + b.perturbation,
    )


def _mean(states: Sequence[Moments]) -> Moments:
    count = len(states)
    return Moments(
        sum(s.mean_square for s in states) / count,
        sum(s.mean for s in states) / count,
        sum(s.pair_position for s in states) / count,
        sum(s.pair_sample for s in states) / count,
        sum(s.perturbation for s in states) / count,
    )


def _inflow(x: Signal, weight: Parameter, node: Node) -> Moments:
    """W x at one step."""
    fan_in = int(node.attributes["fan_in"])
    return moments_of(x).scaled(fan_in * weight.distribution.mean_square, 0.0)


def _biases(biases: Sequence[Argument], gates: tuple[str, ...], hidden: int, directions: int) -> dict[str, _Bias]:
    """Bias of each gate: the input's, then the state's, as two parameters or stacked in one.

    A parameter is stacked as (directions, input and state, gates, hidden), or a part of that.
    """
    rows = len(gates) * hidden
    known = [bias for bias in biases if isinstance(bias, Parameter) and bias.size > 0]
    parts = [part for bias in known for part in _parts(bias, gates, hidden, directions, 2 * directions * rows)]
    if not parts:
        return {}
    return {gate: _Bias(*(number for part in parts[:2] for number in part[index])) for index, gate in enumerate(gates)}


def _parts(
    bias: Parameter, gates: tuple[str, ...], hidden: int, directions: int, both: int
) -> list[list[tuple[float, float]]]:
    """Mean and variance of every gate's bias, for the input's and the state's part if one parameter holds both."""
    count = 2 if bias.size == both else 1
    stacks = bias.size // (count * len(gates) * hidden)
    if bias.values is None or stacks not in {1, directions} or bias.values.size != stacks * count * len(gates) * hidden:
        moments = (bias.distribution.effective_mean, bias.distribution.variance)
        return [[moments] * len(gates) for _ in range(count)]
    stacked = bias.values.reshape(stacks, count, len(gates), hidden)
    return [[_law(stacked[:, part, index]) for index in range(len(gates))] for part in range(count)]


def _law(values: NDArray[np.float64]) -> tuple[float, float]:
    """Mean, taken as zero within five standard errors, and variance of sampled values."""
    mean, spread = float(np.mean(values)), float(np.std(values))
    return (0.0 if abs(mean) < 5.0 * spread / math.sqrt(values.size) else mean), spread * spread


def _axes(x: Signal, shape: tuple[int, ...], *, sequence: bool) -> tuple[Axis, ...] | None:
    """Axes of the states: as the input's where only the width differs, else (position, direction, batch, feature)."""
    if sequence and len(shape) == len(x.shape):
        return (*x.axes[:-1], Axis.FEATURE)
    if sequence and len(shape) == 4:
        return (Axis.POSITION, Axis.FEATURE, Axis.BATCH, Axis.FEATURE)
    if not sequence and len(shape) == 3:
        return (Axis.FEATURE, Axis.BATCH, Axis.FEATURE)
    return None
