"""Trained weights are recognised; no initialisation is, however bad."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import nn

from initcheck.analysis import Analysis
from initcheck.builder import Builder
from initcheck.chance import row_score, shape_score, spectrum_score
from initcheck.estimate import estimate
from initcheck.trained import find_trained

if TYPE_CHECKING:
    from initcheck.graph import Graph

Array = np.ndarray
Draw = Callable[[np.random.Generator, int, int], Array]


def he(rng: np.random.Generator, rows: int, columns: int) -> Array:
    return rng.normal(0.0, math.sqrt(2.0 / columns), (rows, columns))


def truncated(rng: np.random.Generator, rows: int, columns: int) -> Array:
    wide = rng.normal(size=8 * rows * columns)
    return wide[np.abs(wide) < 2.0][: rows * columns].reshape(rows, columns) * math.sqrt(2.0 / columns)


def orthogonal(rng: np.random.Generator, rows: int, columns: int) -> Array:
    q, r = np.linalg.qr(rng.normal(size=(max(rows, columns), min(rows, columns))))
    q *= np.sign(np.diag(r))
    return math.sqrt(2.0) * (q if rows >= columns else q.T)


def sparse(rng: np.random.Generator, rows: int, columns: int) -> Array:
    weight = rng.normal(0.0, math.sqrt(2.0 / columns / 0.2), (rows, columns))
    for column in weight.T:
        column[rng.permutation(rows)[: math.ceil(0.8 * rows)]] = 0.0
    return weight


INITIALIZATIONS: dict[str, Draw] = {
    "he": he,
    "pytorch default": lambda rng, m, n: rng.uniform(-1.0, 1.0, (m, n)) / math.sqrt(n),
    "truncated": truncated,
    "orthogonal": orthogonal,
    "std 1": lambda rng, m, n: rng.normal(size=(m, n)),
    "std 1e-4": lambda rng, m, n: 1e-4 * rng.normal(size=(m, n)),
    "uniform(0, 1)": lambda rng, m, n: rng.uniform(size=(m, n)),
    "all negative": lambda rng, m, n: -np.abs(he(rng, m, n)),
    "all positive": lambda rng, m, n: np.abs(he(rng, m, n)),
    "duplicated rows": lambda rng, m, n: np.tile(he(rng, 1, n), (m, 1)),
    "sparse": sparse,
    "constant": lambda rng, m, n: np.full((m, n), 0.1),
    "zeros": lambda rng, m, n: np.zeros((m, n)),
    "identity": lambda rng, m, n: np.eye(m, n),
    "signs": lambda rng, m, n: rng.choice([-0.1, 0.1], (m, n)),
    "bfloat16": lambda rng, m, n: torch.tensor(he(rng, m, n)).bfloat16().double().numpy(),
}


def stack(layers: list[Array]) -> Graph:
    b = Builder((32, layers[0].shape[1]))
    x = b.x
    for layer in layers:
        x = b.activation(b.linear(x, len(layer), layer.astype(np.float32)))
    return b.graph(x)


def evidence(layers: list[Array]) -> object:
    return find_trained(Analysis(stack(layers)))


@pytest.mark.parametrize("name", INITIALIZATIONS)
def test_no_initialisation_is_taken_for_trained(name: str) -> None:
    for seed in range(4):
        rng = np.random.default_rng(seed)
        draw = INITIALIZATIONS[name]
        for widths in ((64, 64, 64, 10), (64, 128, 32, 256), (300, 700)):
            layers = [draw(rng, m, n) for n, m in itertools.pairwise(widths)]
            assert evidence(layers) is None


def test_one_odd_layer_among_initial_ones_decides_nothing() -> None:
    rng = np.random.default_rng(0)
    layers = [he(rng, 64, 64) for _ in range(8)]
    for odd in (1000.0 * layers[3], 1e-3 * layers[3], rng.standard_t(3.0, (64, 64)), -np.abs(layers[3])):
        assert evidence([*layers[:3], odd, *layers[4:]]) is None


def test_fused_projections_of_different_scale_are_a_minority() -> None:
    rng = np.random.default_rng(0)
    fused = np.concatenate([he(rng, 64, 64), he(rng, 64, 64), 0.2 * he(rng, 64, 64)])
    assert evidence([he(rng, 64, 64), fused, he(rng, 64, 192), he(rng, 256, 64), he(rng, 64, 256)]) is None


@pytest.mark.parametrize("name", ["he", "pytorch default", "truncated"])
def test_scores_of_drawn_weights_are_about_standard_normal_at_most(name: str) -> None:
    rng = np.random.default_rng(1)
    shapes, norms, spectra = [], [], []
    for _ in range(400):
        weight = INITIALIZATIONS[name](rng, 48, 48)
        law, rows = estimate((weight,), weight.shape)
        assert rows is not None
        shapes.append(shape_score(law))
        norms.append(row_score(rows))
        spectra.append(spectrum_score(weight, math.inf))
    # The largest of 400 standard normals exceeds 4.2 once in 200; a mean is known to 0.05.
    assert max(shapes) < 4.2
    assert max(norms) < 4.2
    assert abs(np.mean(norms)) < 0.3
    assert abs(np.std(norms) - 1.0) < 0.3
    # Tracy and Widom's law has mean -1.21 and standard deviation 1.27; the power method falls short of it.
    assert max(spectra) < 4.5
    assert np.mean(spectra) < -1.0


@pytest.mark.parametrize("name", ["he", "pytorch default"])
def test_a_planted_direction_shows_in_the_spectrum_whatever_the_scale(name: str) -> None:
    rng = np.random.default_rng(2)
    for scale in (1e-6, 1.0, 1e6):
        weight = INITIALIZATIONS[name](rng, 64, 128)
        spike = np.outer(rng.normal(size=64), rng.normal(size=128)) * weight.std() * 3.0 / math.sqrt(64)
        assert spectrum_score(scale * (weight + spike), 7.0) > 7.0


def blobs(seed: int, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ten noisy classes around random centres."""
    generator = torch.Generator().manual_seed(seed)
    centers = torch.randn(10, size, generator=generator)
    labels = torch.randint(0, 10, (1024,), generator=generator)
    return centers[labels] + 1.5 * torch.randn(1024, size, generator=generator), labels


def train(model: nn.Module, data: torch.Tensor, labels: torch.Tensor, optimizer: str, steps: int) -> None:
    parameters = model.parameters()
    trainer: torch.optim.Optimizer = (
        torch.optim.Adam(parameters, 3e-3) if optimizer == "adam" else torch.optim.SGD(parameters, 0.05, momentum=0.9)
    )
    for step in range(steps):
        part = slice(32 * step % 1024, 32 * step % 1024 + 32)
        trainer.zero_grad()
        nn.functional.cross_entropy(model(data[part]), labels[part]).backward()  # type: ignore[no-untyped-call]
        trainer.step()


def read(model: nn.Sequential, shape: tuple[int, ...]) -> Graph:
    """Graph of a sequential torch model, its weights estimated from their values."""
    b = Builder(shape)
    x = b.x
    for path, layer in model.named_children():
        values = {name: parameter.detach().numpy() for name, parameter in layer.named_parameters()}
        if isinstance(layer, nn.Linear):
            x = b.linear(x, layer.out_features, values["weight"], bias=values["bias"], path=path)
        elif isinstance(layer, nn.Conv2d):
            x = b.conv(x, layer.out_channels, values["weight"], bias=values["bias"], path=path)
        elif isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            x = b.normalize(x, "batch", scale=values["weight"], shift=values["bias"], path=path)
        elif isinstance(layer, nn.Flatten):
            x = b.flatten(x)
        else:
            x = b.activation(x, path=path)
    return b.graph(x)


def mlp(norm: bool = False) -> nn.Sequential:
    layers: list[nn.Module] = []
    for fan_in, fan_out in ((64, 96), (96, 96), (96, 96)):
        layers += [nn.Linear(fan_in, fan_out), *([nn.BatchNorm1d(fan_out)] if norm else []), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(96, 10))


def convnet() -> nn.Sequential:
    layers = [nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU()]
    layers += [nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(1024, 10)]
    return nn.Sequential(*layers)


CASES = {
    "mlp": (mlp, (32, 64)),
    "mlp with batch norm": (lambda: mlp(norm=True), (32, 64)),
    "convnet": (convnet, (32, 1, 8, 8)),
}


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("case", CASES)
def test_a_trained_network_is_recognised_and_its_initialisation_is_not(case: str, optimizer: str) -> None:
    build, shape = CASES[case]
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = build()
    assert find_trained(Analysis(read(model, shape))) is None
    data, labels = blobs(0, 64)
    train(model, data.reshape(1024, *shape[1:]), labels, optimizer, steps=300)
    found = find_trained(Analysis(read(model, shape)))
    assert found is not None
    assert len(found.layers) > found.voters / 2
    assert "weights look trained" in found.reason


@pytest.mark.parametrize("factor", [1e-4, 1e4])
def test_scale_plays_no_part(factor: float) -> None:
    rng = np.random.default_rng(3)
    heavy = [factor * rng.standard_t(4.0, (64, 64)) for _ in range(3)]
    drawn = [factor * he(rng, 64, 64) for _ in range(3)]
    assert evidence(heavy) is not None
    assert evidence(drawn) is None


def test_assumed_schemes_and_recorded_laws_are_never_trained() -> None:
    rng = np.random.default_rng(4)
    graph = stack([rng.standard_t(4.0, (64, 64)) for _ in range(3)])
    assert Analysis(graph).trained is not None
    assert Analysis(graph, assume_init="kaiming_normal").trained is None
    b = Builder()
    assert Analysis(b.graph(b.linear(b.x, 64))).trained is None


def test_moved_normalisation_parameters_count_only_together() -> None:
    rng = np.random.default_rng(5)

    def model(scale: Array, shift: Array) -> Graph:
        b = Builder()
        x = b.x
        for _ in range(3):
            x = b.normalize(b.linear(x, 64, he(rng, 64, 64)), scale=scale, shift=shift)
        for _ in range(2):
            x = b.normalize(x, scale=scale, shift=shift)
        return b.graph(x)

    drawn_scale = rng.normal(1.0, 0.02, 64)
    assert find_trained(Analysis(model(drawn_scale, np.zeros(64)))) is None
    assert find_trained(Analysis(model(drawn_scale, rng.normal(0.0, 0.1, 64)))) is not None
