"""The accuracy benchmark measures what it says: its replayed traces are the models themselves."""

from __future__ import annotations

import math
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

from accuracy import examine
from accuracy_compare import Quantity, Status
from accuracy_measure import log_length_variances, measure
from accuracy_replay import draw, replay, trace_entry
from zoo.entry import Entry, normal

pytestmark = [
    pytest.mark.slow,
    # torch's own rules of forward-mode differentiation are scripted when they are first used.
    pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning"),
]


class Written(nn.Module):
    """Writes to its values in place, and normalises over the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(6, 12), nn.BatchNorm1d(12), nn.Linear(12, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        x.mul_(2.0)
        return self.last(nn.functional.relu_(self.norm(x)) + 1.0)


def linear(depth: int) -> nn.Module:
    return nn.Sequential(*(nn.Linear(16, 16, bias=False) for _ in range(depth)))


WRITTEN = Entry("written", Written, normal(8, 6))


def test_replay_is_the_model() -> None:
    traced, drawn = trace_entry(WRITTEN), draw(WRITTEN, 3)
    torch.manual_seed(3)
    module = Written().double()
    expected = module(drawn.inputs[0])
    found: dict[str, torch.Tensor] = {}

    def visit(name: str, tensor: torch.Tensor) -> torch.Tensor:
        found[name] = tensor
        return tensor

    replay(traced, drawn, 0, visit)
    torch.testing.assert_close(found[traced.graph.main_output], expected)


def test_values_are_measured_before_they_are_written_to() -> None:
    traced = trace_entry(WRITTEN)
    names = [name for name in traced.graph.values if name in traced.trace.values]
    measured = measure(WRITTEN, traced, names, 4)
    before = next(node.outputs[0] for node in traced.graph.nodes if node.path == "first")
    after = next(node.outputs[0] for node in traced.graph.nodes if node.inputs[0] == before)
    assert measured.lengths[after].mean - measured.lengths[before].mean == pytest.approx(math.log10(4.0))
    assert measured.gains[after].mean - measured.gains[before].mean == pytest.approx(math.log10(4.0))
    assert measured.gradients[before].mean - measured.gradients[after].mean == pytest.approx(math.log10(4.0))


def test_gradients_of_parameters_are_those_of_the_model() -> None:
    traced = trace_entry(WRITTEN)
    measured = measure(WRITTEN, traced, [], 1)
    torch.manual_seed(0)
    module = Written()
    x = torch.randn(8, 6).double()
    cotangent = torch.randn(8, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    module.double()(x).backward(cotangent)
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None
        square = float(parameter.grad.square().mean())
        if square > 1e-20:
            assert measured.parameters[name].mean == pytest.approx(math.log10(square))


def test_gains_agree_with_a_small_step() -> None:
    entry = Entry("plain", partial(linear, 2), normal(8, 16))
    traced = trace_entry(entry)
    output = traced.graph.main_output
    measured = measure(entry, traced, [output], 2)
    logs = []
    for seed in range(2):
        drawn = draw(entry, seed)
        first, second = (drawn.tensors[name].detach() for name in ("0.weight", "1.weight"))
        tangent = torch.randn(8, 16, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        logs.append(float((tangent @ first.T @ second.T).square().mean(dim=1).log10().mean()))
    assert measured.gains[output].numbers == pytest.approx(logs)


def test_fluctuation_of_linear_layers() -> None:
    """Var[ln M] of d Gaussian linear layers of width n is d ψ'(n/2)."""
    entry = Entry("linear", lambda: _normal(linear(4)), normal(8, 16))
    traced = trace_entry(entry)
    variance, error = log_length_variances(entry, traced, traced.graph.main_output, 200)
    exact = 4 * sum(1.0 / (8.0 + k) ** 2 for k in range(10000))
    assert variance == pytest.approx(exact, abs=4.0 * error)


def _normal(module: nn.Module) -> nn.Module:
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.25)
    return module


def test_a_small_model_is_predicted() -> None:
    layers = lambda: nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 10))  # noqa: E731
    rows = examine(Entry("small", layers, normal(8, 32), variance=True), 24, 50)
    assert {row.status for row in rows if row.quantity is Quantity.LENGTH} == {Status.KNOWN}
    assert [row.quantity for row in rows].count(Quantity.VARIANCE) == 1
    misses = [row.miss for row in rows if row.quantity in {Quantity.LENGTH, Quantity.GAIN}]
    assert len(misses) == 10
    assert np.max(misses) < 0.1
