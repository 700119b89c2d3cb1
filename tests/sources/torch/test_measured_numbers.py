"""Measured numbers against known truths."""

from __future__ import annotations

import math

import pytest
import torch
from measured import layers, measured
from torch import nn

from initcheck.sources.torch.inputs import InputShape

WIDE = {"input": InputShape((32, 256))}


def he(width: int, depth: int) -> nn.Module:
    """No biases, so that mean field is exact: length and signal gain 1 after every ReLU."""
    parts: list[nn.Module] = []
    for _ in range(depth):
        linear = nn.Linear(width, width, bias=False)
        nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
        parts += [linear, nn.ReLU()]
    return nn.Sequential(*parts)


def test_a_he_network_keeps_length_signal_and_gradient() -> None:
    found = measured(lambda: he(256, 6), repeats=8, shapes=WIDE)
    assert (found.initialisations, found.samples, found.seeds) == (8, 32, tuple(range(8)))
    assert found.inputs == "input float32[32, 256] (--input-shape; values drawn)"
    assert found.disagreeing == 0
    for depth, name in enumerate(("1", "3", "5", "7", "9", "11"), 1):
        layer = layers(found)[name]
        # ln M is about Normal(-V/2, V) with V = 5 depth / width over initialisations (Hanin & Nica).
        variance = 5.0 * depth / 256
        error = math.sqrt(variance / 8) / math.log(10.0)
        for part in (layer.length, layer.signal):
            assert part.measured == pytest.approx(-variance / 2.0 / math.log(10.0), abs=4.0 * error + 0.01)
            assert part.standard_error == pytest.approx(error, rel=0.9)
        # Halved by every ReLU and doubled by every weight on the way back.
        assert layer.gradient.measured == pytest.approx(0.0, abs=0.15)


def orthogonal(depth: int = 3) -> nn.Module:
    parts = [nn.Linear(32, 32, bias=False) for _ in range(depth)]
    for part in parts:
        nn.init.orthogonal_(part.weight, gain=2.0)
    return nn.Sequential(*parts)


def test_rotations_give_exact_numbers() -> None:
    found = measured(orthogonal)
    expected = math.log10(4.0)
    for depth, layer in enumerate(found.layers, 1):
        assert layer.signal.measured == pytest.approx(depth * expected, abs=1e-5)
        assert layer.signal.standard_error == pytest.approx(0.0, abs=1e-5)
    lengths = [layer.length.measured or 0.0 for layer in found.layers]
    gradients = [layer.gradient.measured or 0.0 for layer in found.layers]
    for first, second in ((0, 1), (1, 2)):
        assert lengths[second] - lengths[first] == pytest.approx(expected, abs=1e-5)
        assert gradients[first] - gradients[second] == pytest.approx(expected, abs=1e-5)


def test_a_linear_network_of_known_spread() -> None:
    def build() -> nn.Module:
        net = nn.Sequential(nn.Linear(256, 128, bias=False), nn.Linear(128, 64, bias=False))
        for part in net:
            nn.init.normal_(part.weight, std=0.05)
        return net

    found = layers(measured(build, repeats=6, shapes=WIDE))
    first, second = math.log10(256 * 0.05**2), math.log10(128 * 0.05**2)
    assert found["0"].length.measured == pytest.approx(first, abs=0.02)
    assert found["1"].length.measured == pytest.approx(first + second, abs=0.05)
    assert found["1"].signal.measured == pytest.approx(first + second, abs=0.05)
    assert found["0"].gradient.measured == pytest.approx(math.log10(64 * 0.05**2), abs=0.05)
    assert found["1"].gradient.measured == pytest.approx(0.0, abs=1e-6)


def test_zero_weights_give_zeros_not_numbers() -> None:
    def build() -> nn.Module:
        net = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 4))
        nn.init.zeros_(net[0].weight)
        nn.init.zeros_(net[0].bias)
        return net

    measurement = measured(build)
    found = layers(measurement)
    assert [layer.state for layer in measurement.layers] == ["zero", "zero", "ok"]
    assert [layer.predicted_state for layer in measurement.layers] == ["zero", "zero", "ok"]
    assert (found["0"].length.measured, found["0"].length.zeros) == (None, 64)
    assert (found["2"].signal.measured, found["2"].signal.zeros) == (None, 64)
    # Nothing passes back through ReLU at zero.
    assert (found["0"].gradient.measured, found["0"].gradient.zeros) == (None, 64)
    assert found["1"].gradient.measured is not None


def test_what_is_not_finite_is_counted() -> None:
    def build() -> nn.Module:
        net = nn.Sequential(nn.Linear(16, 16), nn.Linear(16, 4))
        nn.init.constant_(net[0].weight, math.inf)
        return net

    found = measured(build)
    assert [layer.state for layer in found.layers] == ["nonfinite", "nonfinite"]
    assert found.layers[0].length.nonfinite > 0


def test_dropout_doubles_what_it_keeps() -> None:
    def build() -> nn.Module:
        net = nn.Sequential(nn.Linear(256, 256, bias=False), nn.Dropout(0.5), nn.Linear(256, 256, bias=False))
        nn.init.normal_(net[0].weight, std=1.0 / 16.0)
        nn.init.normal_(net[2].weight, std=1.0 / 16.0)
        return net

    found = layers(measured(build, repeats=6, shapes=WIDE))
    for part in (found["2"].length, found["2"].signal):
        assert part.measured == pytest.approx(math.log10(2.0), abs=0.04)
    assert found["0"].gradient.measured == pytest.approx(math.log10(2.0), abs=0.04)


def test_batch_normalisation_gets_the_batch_that_the_analysis_assumes() -> None:
    def build() -> nn.Module:
        return nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 64), nn.BatchNorm1d(64))

    found = measured(build, repeats=6)
    assert found.samples == 32
    assert "batch of 32" in found.inputs
    assert found.disagreeing == 0
    assert layers(found)["1"].length.measured == pytest.approx(0.0, abs=0.02)
    given = measured(lambda: (build(), torch.randn(4, 64)))
    assert given.samples == 4
    assert "batch normalisation saw 4 samples, and the prediction assumes 32" in given.notes


def test_integer_inputs_are_perturbed_behind_the_embedding() -> None:
    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words = nn.Embedding(1000, 64)
            self.places = nn.Embedding(16, 64)
            self.head = nn.Linear(64, 64, bias=False)
            nn.init.normal_(self.head.weight, std=0.25)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            return self.head(self.words(ids) + self.places(torch.arange(ids.shape[1])))

    found = layers(measured(Words, repeats=4))
    assert found["words"].signal.measured == pytest.approx(0.0, abs=1e-6)
    assert found["places"].signal.measured is None
    assert found["places"].signal.zeros > 0
    assert found["head"].signal.measured == pytest.approx(math.log10(4.0), abs=0.05)
    assert found["head"].length.measured == pytest.approx(math.log10(8.0), abs=0.05)
    # The gradient of a row that all samples share is a sum over the batch, which is 2 in the trace and 32 here.
    assert {name for name, layer in found.items() if layer.disagreements} <= {"places"}


def test_the_same_seed_gives_the_same_numbers_and_another_one_others() -> None:
    first, again, other = (measured(lambda: he(16, 2), seed=seed) for seed in (5, 5, 6))
    assert first == again
    assert other.seeds == (6, 7)
    assert first.layers[0].length.measured != other.layers[0].length.measured
