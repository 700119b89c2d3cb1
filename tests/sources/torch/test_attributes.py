"""Tensors that modules keep as plain attributes are known like buffers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from initcheck import Analysis, Op
from initcheck.sources.torch.build import build
from initcheck.sources.torch.load import load


class Table(nn.Module):
    """A plain tensor multiplies, picks, or masks."""

    def __init__(self, use: str) -> None:
        super().__init__()
        self.first, self.head, self.use = nn.Linear(16, 16), nn.Linear(16, 4), use
        self.table = {
            "factor": 3.0 * torch.ones(8, 16),
            "features": torch.randn(16, 16),
            "order": torch.arange(16).flip(0),
            "mask": torch.tril(torch.ones(8, 8)) == 0.0,
            "edges": torch.eye(16).to_sparse(),
        }[use]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.first(x)
        if self.use == "factor":
            y = y * self.table[: x.shape[1]]
        elif self.use == "features":
            y = y @ self.table
        elif self.use == "edges":
            y = torch.sparse.mm(self.table, y.flatten(0, 1)[:16])
        elif self.use == "order":
            y = y[..., self.table]
        else:
            # Made on the CPU in the forward pass, as masks and positions are.
            scores = y @ y.transpose(1, 2) / 4.0 + torch.zeros(8, 8)
            y = scores.masked_fill(self.table, float("-inf")).softmax(-1) @ y
        return self.head(y)


@pytest.mark.parametrize("use", ["factor", "features", "order", "mask", "edges"])
def test_what_a_plain_tensor_does_is_understood(use: str) -> None:
    analysis = Analysis(load(lambda: (Table(use), torch.randn(4, 8, 16)), root=Path()))
    assert not analysis.forward.guessed
    assert all(node.op is not Op.OPAQUE for node in analysis.graph.nodes)
    assert analysis.analysed_layers == analysis.weighted_layers


def test_its_values_count() -> None:
    analysis = Analysis(load(lambda: (Table("factor"), torch.randn(4, 8, 16)), root=Path()))
    before, after = (
        next(analysis.signal_out_of(node) for node in analysis.graph.nodes if node.op is op)
        for op in (Op.LINEAR, Op.MUL)
    )
    assert before is not None
    assert after is not None
    assert after.mean_square == pytest.approx(9.0 * before.mean_square, rel=1e-3)


def test_declared_examples_parameters_and_class_attributes_stay_what_they_are() -> None:
    class Kept(nn.Linear):
        shown: torch.Tensor | None = None

        def __init__(self) -> None:
            super().__init__(4, 4)
            self.example_input = torch.zeros(2, 4)
            self.shown = torch.ones(4)
            self.hidden = torch.ones(4)
            self.learned = torch.ones(4, requires_grad=True)

    built = build(Kept, max_memory=1 << 30, root=Path())
    assert set(built.parameters) == {"weight", "bias", "hidden"}
    assert built.parameters["hidden"].is_buffer
    assert {"example_input", "shown", "learned"} <= set(vars(built.module))


def test_a_deferred_build_leaves_them_alone() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.factor = nn.Linear(4, 4), 2.0 * torch.ones(4)

        def reset_parameters(self) -> None:
            self.layer.reset_parameters()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x) * self.factor

    graph = load(lambda: (Scaled(), torch.randn(2, 4)), root=Path())
    assert graph.construction is not None
    assert graph.construction.deferred is not None
    assert graph.construction.deferred.differences == ()
    assert build(Scaled, max_memory=1 << 30, root=Path()).parameters["factor"].is_attribute


def test_a_forward_pass_may_put_something_else_in_its_place() -> None:
    class Reset(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.loss, self.seen = nn.Linear(4, 4), torch.tensor(0.0), torch.tensor(0.0)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.loss = 0.0
            self.seen = "nothing"
            y = self.layer(x)
            self.loss = self.loss + y.mean()
            return y + self.loss

    setter = nn.Module.__setattr__
    graph = load(lambda: (Reset(), torch.randn(2, 4)), root=Path())
    assert [node.path for node in graph.nodes if node.op is Op.LINEAR] == ["layer"]
    assert nn.Module.__setattr__ is setter


@pytest.mark.parametrize("use", ["dictionary", "module"])
def test_a_forward_pass_that_does_not_stand_a_buffer_meets_the_attribute(use: str) -> None:
    class Particular(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.table = nn.Linear(4, 4), torch.ones(4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if use == "dictionary":
                return self.layer(x) * self.__dict__["table"]
            self.table = nn.ReLU()
            return self.table(self.layer(x))

    graph = load(lambda: (Particular(), torch.randn(2, 4)), root=Path())
    assert [node.path for node in graph.nodes if node.op is Op.LINEAR] == ["layer"]
