"""Architectures of transformers: built on meta, traced, every weighted layer lowered."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from architectures import HUB

from initcheck.analysis import Analysis
from initcheck.graph import Op
from initcheck.sources.torch.load import load

HERE = Path(__file__).parent
SOME = ("gpt2", "vit", "swin", "mixtral", "wav2vec2")
REST = sorted(set(HUB) - set(SOME))


@pytest.mark.parametrize("name", [*SOME, *(pytest.param(name, marks=pytest.mark.slow) for name in REST)])
def test_every_layer_is_lowered(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = load(HUB[name], root=HERE)
    analysis = Analysis(graph)
    # What overflows is reported as not finite, as in the command line.
    with np.errstate(all="ignore"):
        assert analysis.weighted_layers >= 8
        assert all(layer.understood for layer in analysis.layers)
        assert analysis.analysed_layers == analysis.weighted_layers
    assert graph.values[graph.main_output].is_float
    assert any(note.startswith("traced by") for note in graph.notes)


def test_the_scheme_of_every_residual_projection_is_visible() -> None:
    graph = load(HUB["gpt2"], root=HERE)
    projections = [node for node in graph.nodes if node.op is Op.LINEAR and node.path.endswith("c_proj")]
    assert len(projections) == 4
    for node in projections:
        law = graph.parameters[node.inputs[1]].distribution
        assert law.exact
        assert law.scheme
        assert law.std > 0.0
