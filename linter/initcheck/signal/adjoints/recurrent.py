"""Recurrent cells walked back through their steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from initcheck.graph import Axis, Parameter
from initcheck.signal.adjoint import BackwardContext, Sent, size_of
from initcheck.signal.laws.recurrent import Cell, Gate, cell_of
from initcheck.signal.profile import levelled
from initcheck.signal.signal import Signal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from initcheck.graph import Node
    from initcheck.signal.gradient import Gradient
    from initcheck.signal.law import Argument, Moments
    from initcheck.signal.profile import Profile

__all__ = ["RecurrentAdjoint"]


class RecurrentAdjoint:
    """Backpropagation through time on second moments, gates taken as independent of what they gate (THEORY 2.3).

    With G_z the sum over the gates of the gradient before them: a state receives m E[u²] G_z from the next step beside
    its own output's gradient, the input n_hidden E[w²] G_z.
    """

    def backward(
        self,
        node: Node,
        args: Sequence[Argument],
        outputs: Sequence[Signal | None],
        gradients: Sequence[Gradient | None],
        context: BackwardContext,
    ) -> tuple[Sent, ...]:
        """Gradients of the input and both weights."""
        del outputs
        x, weight, recurrent = args[0], args[1], args[2]
        nothing: tuple[Sent, ...] = (None,) * len(args)
        if not (isinstance(x, Signal) and isinstance(weight, Parameter) and isinstance(recurrent, Parameter)):
            return nothing
        cell = cell_of(node, x, weight, recurrent, args[3:5])
        if cell is None or not any(g is not None for g in gradients):
            return nothing
        states, cells = cell.run(max(x.positions, 1))
        steps = len(states)
        shown = _at_steps(gradients[0] if gradients else None, steps)
        shown[-1] += _mean_square(gradients, 1)
        walk = _BackwardInTime(cell, states, cells)
        before = walk.run(shown, _mean_square(gradients, 2))
        directions, hidden = int(node.attributes["directions"]), int(node.attributes["hidden"])
        to_input = directions * hidden * weight.distribution.mean_square * before
        known = [g for g in gradients if g is not None]
        profile = _over_steps(to_input, x) if steps == x.positions > 1 else None
        back = context.fresh(
            float(to_input.mean()),
            rho_sample=max(g.rho_sample for g in known),
            profile=profile,
            assumed=any(g.assumed for g in known),
        )
        samples, gates = size_of(x, Axis.BATCH), walk.gates
        scale = samples * max(x.positions, 1) / steps / gates
        previous = np.array([0.0, *(state.mean_square for state in states[:-1])])
        of_input = scale * float(before.sum()) * x.mean_square
        of_recurrent = scale * float((before * previous).sum())
        of_bias = scale * float(before.sum())
        return (back, of_input, of_recurrent, of_bias, of_bias, *nothing[5:])[: len(args)]


class _BackwardInTime:
    """One pass over the steps from the last to the first."""

    def __init__(self, cell: Cell, states: Sequence[Moments], cells: Sequence[Moments]) -> None:
        self.cell = cell
        self.states = states
        self.cells = cells
        self.gates = {"rnn": 1, "gru": 3, "lstm": 4}[cell.kind]

    def run(self, shown: NDArray[np.float64], last_cell: float) -> NDArray[np.float64]:
        """Mean square of the gradient before the gates, summed over gates, at every step.

        Args:
            shown: Gradient of every step's output.
            last_cell: Gradient of the last cell.
        """
        advance = {"rnn": self._rnn, "gru": self._gru, "lstm": self._lstm}[self.cell.kind]
        result = np.zeros(len(self.states))
        state, memory = 0.0, last_cell
        for step in reversed(range(len(self.states))):
            result[step], state, memory = advance(step, float(shown[step]) + state, memory)
        return result

    def _rnn(self, step: int, state: float, memory: float) -> tuple[float, float, float]:
        before = self.cell.history[step]["h"].response * state
        return before, self.cell.recurrence * before, memory

    def _gru(self, step: int, state: float, memory: float) -> tuple[float, float, float]:
        gates = self.cell.history[step]
        update, reset, candidate = gates["z"], gates["r"], gates["n"]
        earlier = self.states[step - 1].mean_square if step else 0.0
        to_candidate = _complement(update) * candidate.response * state
        to_update = update.response * (candidate.mean_square + earlier) * state
        to_reset = reset.response * self.cell.recurrence * earlier * to_candidate
        back = update.mean_square * state
        back += self.cell.recurrence * (to_update + to_reset + reset.mean_square * to_candidate)
        return to_candidate + to_update + to_reset, back, memory

    def _lstm(self, step: int, state: float, memory: float) -> tuple[float, float, float]:
        gates = self.cell.history[step]
        write, forget, show, value, cell = (gates[name] for name in ("i", "f", "o", "g", "c"))
        earlier = self.cells[step - 1].mean_square if step else 0.0
        memory += show.mean_square * cell.response * state
        before = show.response * cell.mean_square * state
        before += (
            write.response * value.mean_square + write.mean_square * value.response + forget.response * earlier
        ) * memory
        return before, self.cell.recurrence * before, forget.mean_square * memory


def _complement(gate: Gate) -> float:
    """E[(1 - f)²]."""
    return 1.0 - 2.0 * gate.mean + gate.mean_square


def _mean_square(gradients: Sequence[Gradient | None], index: int) -> float:
    g = gradients[index] if index < len(gradients) else None
    return 0.0 if g is None else g.mean_square


def _over_steps(squares: NDArray[np.float64], x: Signal) -> Profile | None:
    """Profile of mean squares that differ from step to step."""
    where = [i for i, axis in enumerate(x.axes) if axis is Axis.POSITION and x.shape[i] == len(squares)]
    if len(where) != 1:
        return None
    return levelled(squares.reshape([len(squares) if i == where[0] else 1 for i in range(len(x.shape))]))[1]


def _at_steps(g: Gradient | None, steps: int) -> NDArray[np.float64]:
    """Gradient of every step's output; the last steps of a longer sequence than is followed."""
    if g is None:
        return np.zeros(steps)
    if g.profile is None or g.profile.size < steps or g.profile.size != max(g.profile.shape):
        return np.full(steps, g.mean_square)
    result: NDArray[np.float64] = g.mean_square * g.profile.reshape(-1)[-steps:]
    return result
