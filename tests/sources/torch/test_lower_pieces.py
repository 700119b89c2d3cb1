"""Tensors that a forward pass writes part by part are what it would have concatenated."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from initcheck import Analysis, Op
from initcheck.sources.torch.load import load

if TYPE_CHECKING:
    from collections.abc import Callable

STEPS = 5


class Steps(nn.Module):
    """A recurrent cell whose states are gathered by a function of all of them and the input."""

    def __init__(self, gather: Callable[[list[torch.Tensor], torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.cell, self.head, self.gather = nn.RNNCell(8, 8, nonlinearity="relu"), nn.Linear(8, 2), gather

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        states = [self.cell(x[:, 0], torch.zeros_like(x[:, 0]))]
        for t in range(1, STEPS):
            states.append(self.cell(x[:, t], states[-1]))
        return self.head(self.gather(states, x))


def filled(states: list[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    out = torch.zeros(x.shape[0], STEPS, 8)
    for t, state in enumerate(states):
        out[:, t] = state
    return out


def backwards(states: list[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    out = x.new_empty(x.shape[0], STEPS, 8)
    for t in reversed(range(STEPS)):
        out[:, t, :] = states[t]
    return out


def twice(states: list[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    out = torch.zeros_like(x)
    for values in ([x[:, t] for t in range(STEPS)], states):
        for t, value in enumerate(values):
            out[:, t : t + 1].copy_(value[:, None])
    return out


def scattered(states: list[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    out = torch.zeros_like(x)
    for t, state in enumerate(states):
        out = torch.select_scatter(out, state, 1, t)
    return out


def stacked(states: list[torch.Tensor], _: torch.Tensor) -> torch.Tensor:
    return torch.stack(states, 1)


def half_filled(states: list[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    out = torch.ones(x.shape[0], STEPS, 8)
    out[:, 1:3] = torch.stack(states[1:3], 1)
    return out


def half_concatenated(states: list[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    ones = torch.ones(x.shape[0], STEPS, 8)
    return torch.cat([ones[:, :1], states[1][:, None], states[2][:, None], ones[:, 3:]], 1)


def added(states: list[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    out = torch.relu(x)
    out[:, :2] += states[0][:, None]
    return out


def added_apart(states: list[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    out = torch.relu(x)
    return torch.cat([out[:, :2] + states[0][:, None], out[:, 2:]], 1)


def analysis(gather: Callable[[list[torch.Tensor], torch.Tensor], torch.Tensor]) -> Analysis:
    return Analysis(load(lambda: (Steps(gather), torch.randn(4, STEPS, 8)), root=Path()))


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        (filled, stacked),
        (backwards, stacked),
        (twice, stacked),
        (scattered, stacked),
        (half_filled, half_concatenated),
        (added, added_apart),
    ],
)
def test_what_is_written_is_what_would_be_concatenated(
    written: Callable[[list[torch.Tensor], torch.Tensor], torch.Tensor],
    plain: Callable[[list[torch.Tensor], torch.Tensor], torch.Tensor],
) -> None:
    one, other = analysis(written), analysis(plain)
    assert not one.forward.guessed
    assert one.analysed_layers == one.weighted_layers
    mine, theirs = (item.forward.signals[item.graph.main_output] for item in (one, other))
    assert mine is not None
    assert theirs is not None
    assert mine.mean_square == pytest.approx(theirs.mean_square, rel=1e-6)
    assert mine.pair_position == pytest.approx(theirs.pair_position, rel=1e-6)
    assert mine.gain == pytest.approx(theirs.gain, rel=1e-6)


def test_pieces_that_overlap_are_not_understood() -> None:
    def overlapping(states: list[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        out = torch.zeros_like(x)
        out[:, :3] = torch.stack(states[:3], 1)
        out[:, 2:4] = torch.stack(states[:2], 1)
        return out

    found = analysis(overlapping)
    assert [node.attributes["type"] for node in found.graph.nodes if node.op is Op.OPAQUE] == ["aten::copy_"]


def test_a_part_of_a_part_is_not_understood() -> None:
    def corner(states: list[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        out = torch.relu(x)
        out[:, 0, :4] = states[0][:, :4]
        return out

    found = analysis(corner)
    assert [node.attributes["type"] for node in found.graph.nodes if node.op is Op.OPAQUE] == ["aten::copy_"]
    assert found.forward.guessed


class Written(nn.Module):
    """A layer of unit gain, and what a function makes of its values in place."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.layer, self.function = nn.Linear(12, 12, bias=False), function
        nn.init.normal_(self.layer.weight, std=12**-0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(self.layer(x)) * 1.0


def base_written(y: torch.Tensor) -> torch.Tensor:
    view = y[:, :3]
    y.mul_(10.0)
    return view


def part_written(y: torch.Tensor) -> torch.Tensor:
    view = y[:, :3]
    y[:, :3] *= 10.0
    return view


def through_a_chunk(y: torch.Tensor) -> torch.Tensor:
    first, _, _ = y.chunk(3, -1)
    first *= 10.0
    return y[..., :4]


def in_another_part(y: torch.Tensor) -> torch.Tensor:
    y[:, :2] *= 5.0
    y[:, 2:5] *= 10.0
    return y[:, 3:5]


@pytest.mark.parametrize("function", [base_written, part_written, through_a_chunk, in_another_part])
def test_a_view_is_what_was_written_on_its_base(function: Callable[[torch.Tensor], torch.Tensor]) -> None:
    found = Analysis(load(lambda: (Written(function), torch.randn(4, 6, 12)), root=Path()))
    output = found.forward.signals[found.graph.main_output]
    assert output is not None
    assert not found.forward.guessed
    assert output.mean_square == pytest.approx(100.0, rel=0.01)


def other_chunks(y: torch.Tensor) -> torch.Tensor:
    first, second, third = y.unflatten(-1, (3, 4)).permute(2, 0, 1, 3).unbind(0)
    first *= 10.0
    return second + third


def other_columns(y: torch.Tensor) -> torch.Tensor:
    before, after = y[:, :3], y[:, 3:]
    before *= 10.0
    return after + after


@pytest.mark.parametrize(("function", "expected"), [(other_chunks, 2.0), (other_columns, 4.0)])
def test_a_view_beside_what_was_written_is_what_it_was(
    function: Callable[[torch.Tensor], torch.Tensor], expected: float
) -> None:
    found = Analysis(load(lambda: (Written(function), torch.randn(4, 6, 12)), root=Path()))
    output = found.forward.signals[found.graph.main_output]
    assert output is not None
    assert not output.assumed
    assert output.mean_square == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("write", [lambda view: view[:, 0].mul_(10.0), lambda view: view.mT[:, :2].mul_(10.0)])
def test_a_view_of_what_was_written_otherwise_is_not_known(write: Callable[[torch.Tensor], object]) -> None:
    def function(y: torch.Tensor) -> torch.Tensor:
        view = y[:, :3]
        write(view)
        return view

    found = Analysis(load(lambda: (Written(function), torch.randn(4, 6, 12)), root=Path()))
    output = found.forward.signals[found.graph.main_output]
    assert output is None or output.assumed


def test_a_part_of_a_transpose_is_not_understood() -> None:
    class Square(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(8, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.layer(x).clone()
            y.mT[:, :2] *= 10.0
            return y

    found = Analysis(load(lambda: (Square(), torch.randn(4, 8, 8)), root=Path()))
    assert [node.attributes["type"] for node in found.graph.nodes if node.op is Op.OPAQUE] != []
    assert found.forward.guessed
