"""Packed sequences, blocks of images as columns, and weights that a hook divides by their spectral norm."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import rnn

from initcheck import Analysis, Op
from initcheck.sources.torch.load import load

if TYPE_CHECKING:
    from collections.abc import Callable


class Reader(nn.Module):
    """A recurrent layer on a packed or a padded sequence."""

    def __init__(self, *, packed: bool, batch_first: bool = True) -> None:
        super().__init__()
        self.layer = nn.GRU(16, 24, 2, batch_first=batch_first, bidirectional=True)
        self.head, self.packed, self.batch_first = nn.Linear(48, 4), packed, batch_first

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        x = x if self.batch_first else x.transpose(0, 1)
        if self.packed:
            x = rnn.pack_padded_sequence(x, lengths, batch_first=self.batch_first, enforce_sorted=False)
        y, _ = self.layer(x)
        if self.packed:
            y, _ = rnn.pad_packed_sequence(y, batch_first=self.batch_first)
        return self.head(y)


@pytest.mark.parametrize("lengths", [[9, 9, 9], [5, 9, 7]])
@pytest.mark.parametrize("batch_first", [True, False])
def test_a_packed_sequence_is_judged_as_the_padded_one(batch_first: bool, lengths: list[int]) -> None:
    one, other = (
        Analysis(
            load(
                lambda packed=packed: (
                    Reader(packed=packed, batch_first=batch_first),
                    (torch.randn(3, 9, 16), torch.tensor(lengths)),
                ),
                root=Path(),
            )
        )
        for packed in (True, False)
    )
    assert not one.forward.guessed
    assert one.analysed_layers == one.weighted_layers == other.weighted_layers
    mine, theirs = (item.forward.signals[item.graph.main_output] for item in (one, other))
    assert mine is not None
    assert theirs is not None
    assert mine.mean_square == pytest.approx(theirs.mean_square, rel=1e-6)


class Columns(nn.Module):
    """A linear map of each block of an image, put back as an image where that is asked for."""

    def __init__(self, size: int, stride: int, padding: int = 0, *, folded: bool = False) -> None:
        super().__init__()
        width = 3 * size * size
        self.layer, self.folded = nn.Linear(width, width), folded
        self.options = {"kernel_size": size, "stride": stride, "padding": padding}
        nn.init.normal_(self.layer.weight, std=width**-0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.layer(functional.unfold(x, **self.options).transpose(1, 2))
        return functional.fold(y.transpose(1, 2), x.shape[-2:], **self.options) if self.folded else y


@pytest.mark.parametrize(
    ("model", "decades"),
    [
        (lambda: Columns(4, 4), 0.03),
        (lambda: Columns(4, 4, folded=True), 0.03),
        (lambda: Columns(3, 1), 0.03),
        (lambda: Columns(3, 2, padding=1), 0.03),
    ],
)
def test_blocks_of_an_image_have_its_length(model: Callable[[], nn.Module], decades: float) -> None:
    lengths = []
    for seed in range(20):
        torch.manual_seed(seed)
        with torch.no_grad():
            lengths.append(model()(torch.randn(8, 3, 16, 16)).pow(2).mean().item())
    analysis = Analysis(load(lambda: (model(), torch.randn(2, 3, 16, 16)), root=Path()))
    assert not analysis.forward.guessed
    output = analysis.forward.signals[analysis.graph.main_output]
    assert output is not None
    assert np.log10(output.mean_square) == pytest.approx(np.log10(np.mean(lengths)), abs=decades)


def test_blocks_that_overlap_are_not_put_back() -> None:
    analysis = Analysis(load(lambda: (Columns(3, 1, padding=1, folded=True), torch.randn(2, 3, 8, 8)), root=Path()))
    assert [node.attributes["type"] for node in analysis.graph.nodes if node.op is Op.OPAQUE] == ["aten::col2im"]


def test_a_hook_that_divides_by_the_spectral_norm() -> None:
    def factory() -> nn.Module:
        return nn.Sequential(nn.utils.spectral_norm(nn.Conv2d(4, 16, 3)), nn.ReLU(), nn.Flatten(), nn.Linear(576, 2))

    sampled = []
    for seed in range(20):
        torch.manual_seed(seed)
        model = factory()
        model(torch.randn(2, 4, 8, 8))
        sampled.append(model[0].weight.var().item())
    graph = load(lambda: (factory(), torch.randn(2, 4, 8, 8)), root=Path())
    (layer,) = (node for node in graph.nodes if node.op is Op.CONV)
    law = graph.parameters[layer.inputs[1]].distribution
    assert law is not None
    assert law.variance == pytest.approx(np.mean(sampled), rel=0.2)
    assert np.std(sampled) < 0.2 * np.mean(sampled)


def test_a_vector_over_its_spectral_norm_ends_in_no_error() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.utils.spectral_norm(nn.LayerNorm(8)), nn.Linear(8, 2))
    assert load(lambda: (model, torch.randn(2, 8)), root=Path()).nodes


def test_a_weight_over_a_norm_of_its_own_is_no_spectral_norm() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight_orig = nn.Parameter(torch.randn(64, 64))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return functional.linear(x, self.weight_orig / self.weight_orig.norm())

    graph = load(lambda: (Own(), torch.randn(2, 64)), root=Path())
    (layer,) = (node for node in graph.nodes if node.op is Op.LINEAR)
    law = graph.parameters[layer.inputs[1]].distribution
    assert law is not None
    assert law.variance == pytest.approx(64.0**-2, rel=0.01)


@pytest.mark.parametrize(
    ("size", "goal", "kind", "decades"),
    [
        (8, 6, nn.AdaptiveAvgPool2d, 0.05),
        (10, 3, nn.AdaptiveAvgPool2d, 0.05),
        (1, 7, nn.AdaptiveAvgPool2d, 0.05),
        (8, 6, nn.AdaptiveMaxPool2d, 0.05),
        (10, 3, nn.AdaptiveMaxPool2d, 0.05),
        # Windows of one and of two entries by turns are all taken as of one.
        (4, 7, nn.AdaptiveAvgPool2d, 0.15),
    ],
)
def test_adaptive_pooling_to_any_size(size: int, goal: int, kind: type[nn.Module], decades: float) -> None:
    def factory() -> nn.Module:
        return nn.Sequential(nn.Conv2d(16, 64, 3, padding=1), nn.ReLU(), kind(goal), nn.Conv2d(64, 8, 1))

    lengths = []
    for seed in range(20):
        torch.manual_seed(seed)
        with torch.no_grad():
            lengths.append(factory()[:3](torch.randn(4, 16, size, size)).pow(2).mean().item())
    analysis = Analysis(load(lambda: (factory(), torch.randn(2, 16, size, size)), root=Path()))
    assert not analysis.forward.guessed
    pooled = [node for node in analysis.graph.nodes if node.path == "2"][-1]
    signal = analysis.signal_out_of(pooled)
    assert signal is not None
    assert signal.shape == (2, 64, goal, goal)
    assert np.log10(signal.mean_square) == pytest.approx(np.log10(np.mean(lengths)), abs=decades)


def test_a_window_larger_than_the_image_averages_all_of_it() -> None:
    def factory(*, whole: bool) -> nn.Module:
        pool = nn.AdaptiveAvgPool2d(1) if whole else nn.AvgPool2d(640, ceil_mode=True)
        return nn.Sequential(nn.Conv2d(16, 64, 3, padding=1), nn.ReLU(), pool, nn.Flatten(), nn.Linear(64, 8))

    one, other = (
        Analysis(load(lambda whole=whole: (factory(whole=whole), torch.randn(2, 16, 7, 7)), root=Path()))
        for whole in (False, True)
    )
    mine, theirs = (item.forward.signals[item.graph.main_output] for item in (one, other))
    assert mine is not None
    assert theirs is not None
    assert mine.mean_square == pytest.approx(theirs.mean_square, rel=1e-3)
    before, after = (item.backward.gradients[item.graph.inputs[0]].mean_square for item in (one, other))
    assert before == pytest.approx(after, rel=1e-3)
