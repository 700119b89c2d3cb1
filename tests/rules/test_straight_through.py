"""Straight-through estimators: the value of one thing, the response and the gradient of another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from rule_networks import reported
from torch import nn

from initcheck import Analysis, Builder, Graph, Op
from initcheck.sources.torch.load import load
from initcheck.testing import through_onnx

if TYPE_CHECKING:
    from collections.abc import Callable

    from initcheck import Node
    from initcheck.signal.signal import Signal

WIDTH = 64


class Sign(torch.autograd.Function):
    """sign(x), which hands back what comes."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.sign()

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return g


class Swish(torch.autograd.Function):
    """x sigmoid(x) that keeps no more than x."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        s = torch.sigmoid(x)
        return g * (s * (1.0 + x * (1.0 - s)))


def rounded(x: torch.Tensor) -> torch.Tensor:
    return x + ((2.0 * x).round() / 2.0 - x).detach()


def thresholded(x: torch.Tensor) -> torch.Tensor:
    p = torch.sigmoid(x)
    return (p > 0.5).float() - p.detach() + p


def spelled_otherwise(x: torch.Tensor) -> torch.Tensor:
    return torch.sign(x).detach() + x - x.detach()


class Both(torch.autograd.Function):
    """sign(x) and |x|; the gradient of both goes to x."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x.sign(), x.abs()

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor, h: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return g + h


def first_of_two(x: torch.Tensor) -> torch.Tensor:
    result: torch.Tensor = Both.apply(x)[0]
    return result


class Net(nn.Module):
    """Layers of unit gain with a function after each but the last."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor], layers: int = 4) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(layers))
        self.function = function
        for layer in self.layers:
            nn.init.normal_(layer.weight, std=WIDTH**-0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers[:-1]:
            x = self.function(layer(x))
        return self.layers[-1](x)


def graph_of(function: Callable[[torch.Tensor], torch.Tensor]) -> Graph:
    return load(lambda: (Net(function), torch.randn(16, WIDTH)), root=Path())


@pytest.mark.parametrize("function", [rounded, thresholded, spelled_otherwise, first_of_two, Sign.apply, Swish.apply])
def test_length_and_gradient_are_those_of_sampled_networks(function: Callable[[torch.Tensor], torch.Tensor]) -> None:
    lengths, gradients = [], []
    for seed in range(30):
        torch.manual_seed(seed)
        model = Net(function)
        x = torch.randn(16, WIDTH, requires_grad=True)
        y = model(x)
        (y * torch.randn_like(y)).sum().backward()
        assert x.grad is not None
        lengths.append(y.detach().pow(2).mean().item())
        gradients.append(x.grad.pow(2).mean().item())
    analysis = Analysis(graph_of(function))
    output, back = (
        analysis.forward.signals[analysis.graph.main_output],
        analysis.backward.gradients[analysis.graph.inputs[0]],
    )
    assert output is not None
    assert not analysis.forward.guessed
    assert np.log10(output.mean_square) == pytest.approx(np.log10(np.mean(lengths)), abs=0.06)
    assert np.log10(back.mean_square) == pytest.approx(np.log10(np.mean(gradients)), abs=0.08)


@pytest.mark.parametrize("function", [rounded, thresholded, spelled_otherwise, first_of_two, Sign.apply])
def test_nothing_is_lost(function: Callable[[torch.Tensor], torch.Tensor]) -> None:
    assert not [line for line in reported(graph_of(function)) if "INI101" in line]


def test_without_one_a_sign_loses_everything() -> None:
    assert "error INI101" in reported(graph_of(torch.sign))


def test_a_file_that_has_lost_the_detach_says_it_still() -> None:
    b = Builder((16, WIDTH))
    x = b.linear(b.x, WIDTH, "lecun_normal")
    lost = b.linear(b.activation(x, "sign"), WIDTH, "lecun_normal")
    kept = b.linear(b.add(x, b.combine(Op.SUB, b.activation(x, "sign"), x)), WIDTH, "lecun_normal")
    assert "error INI101" in reported(through_onnx(b.graph(lost)))
    assert reported(through_onnx(b.graph(kept))) == []


def estimator(analysis: Analysis) -> tuple[Node, Signal, Signal, Signal]:
    """The one straight-through estimator: its node, value, what its gradient goes through, and result."""
    (node,) = (node for node in analysis.graph.nodes if node.op is Op.STRAIGHT)
    signals = [analysis.forward.signals[name] for name in (*node.inputs, *node.outputs)]
    value, through, result = (signal for signal in signals if signal is not None)
    return node, value, through, result


def test_codes_answer_as_what_they_stand_for() -> None:
    class Quantised(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.codes, self.decoder = nn.Linear(64, 16), nn.Embedding(128, 16), nn.Linear(16, 64)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            z = self.encoder(x)
            distances = (z**2).sum(-1, keepdim=True) - 2.0 * z @ self.codes.weight.T + (self.codes.weight**2).sum(-1)
            codes = self.codes(distances.argmin(-1))
            return self.decoder(z + (codes - z).detach())

    analysis = Analysis(load(lambda: (Quantised(), torch.randn(2, 8, 64)), root=Path()))
    node, value, through, result = estimator(analysis)
    # Codes of variance 1 are drawn to what they stand for, of variance 1/3.
    assert value.mean_square == pytest.approx(1.0, rel=0.1)
    assert result.mean_square == pytest.approx(through.mean_square)
    assert result.gain == pytest.approx(through.gain)
    gradients = analysis.backward.gradients
    assert gradients[node.inputs[1]].mean_square == pytest.approx(gradients[node.outputs[0]].mean_square)
    assert node.inputs[0] not in gradients


def test_a_value_that_answers_by_itself_keeps_its_length() -> None:
    class Teacher(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.student, self.teacher, self.head = (nn.Linear(64, 64) for _ in range(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.student(x)
            return self.head(y + (1000.0 * self.teacher(x) - y).detach())

    analysis = Analysis(load(lambda: (Teacher(), torch.randn(8, 64)), root=Path()))
    node, value, through, result = estimator(analysis)
    assert result.mean_square == pytest.approx(value.mean_square)
    assert result.gain == pytest.approx(through.gain)
    gradients = analysis.backward.gradients
    assert gradients[node.inputs[1]].mean_square == pytest.approx(gradients[node.outputs[0]].mean_square)


def test_a_learned_token_in_place_of_a_value_is_no_estimator() -> None:
    b = Builder((8, 32))
    x = b.linear(b.x, 32)
    token = b.parameter("token", (8, 32), "normal(0, 1)")
    graph = b.graph(b.linear(b.add(x, b.combine(Op.SUB, token, x)), 4))
    assert all(node.op is not Op.STRAIGHT for node in through_onnx(graph).nodes)


def test_functions_are_put_back() -> None:
    before = torch.autograd.Function.apply.__func__
    graph_of(Sign.apply)
    assert torch.autograd.Function.apply.__func__ is before
    assert "apply" not in vars(torch.autograd.Function.__mro__[1])
    assert Sign.apply(torch.tensor([0.5])).tolist() == [1.0]
