"""The same model from torch and from its ONNX export gives the same layers, numbers and findings."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from as_built import as_built
from generated import networks
from hypothesis import HealthCheck, given, settings
from torch import nn

from initcheck.analysis import Analysis
from initcheck.sources.onnx import load as load_onnx
from initcheck.sources.torch.load import graph_of
from initcheck_rules import RULES

if TYPE_CHECKING:
    from initcheck.graph import Graph

AGREE = 0.02
"""Decades by which two readings of the same float32 weights may differ: constants are rounded by the exporter."""


def exported(module: nn.Module, example: torch.Tensor) -> Graph:
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / "model.onnx"
        torch.onnx.export(
            module,
            (example,),
            path,
            dynamo=False,
            training=torch.onnx.TrainingMode.TRAINING,
            do_constant_folding=False,
            opset_version=17,
        )
        return load_onnx(path)


def findings(analysis: Analysis) -> list[tuple[str, str]]:
    missing = analysis.missing_needs()
    rules = [rule() for rule in RULES if not any(need in missing for need in rule.needs)]
    return sorted((finding.code, str(finding.severity)) for rule in rules for finding in rule.check(analysis))


def numbers(analysis: Analysis) -> list[float]:
    return [
        number
        for segment in analysis.segments
        for number in (segment.signal_gain, segment.residual_growth, segment.log_length_variance)
    ]


def compare(module: nn.Module, example: torch.Tensor) -> None:
    ours = Analysis(graph_of(as_built(module, example), root=Path(__file__).parent))
    theirs = Analysis(exported(module, example))
    assert [(layer.path, layer.kind) for layer in ours.layers] == [(layer.path, layer.kind) for layer in theirs.layers]
    assert [layer.fan_in for layer in ours.layers] == [layer.fan_in for layer in theirs.layers]
    assert numbers(ours) == pytest.approx(numbers(theirs), abs=AGREE, rel=AGREE, nan_ok=True)
    assert findings(ours) == findings(theirs)


@given(networks())
@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_generated_networks(case: tuple[nn.Module, torch.Tensor]) -> None:
    compare(*case)


@pytest.mark.slow
@given(networks())
@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_many_generated_networks(case: tuple[nn.Module, torch.Tensor]) -> None:
    compare(*case)
