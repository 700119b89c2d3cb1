"""A report written by hand, so that the formats are tested apart from the analysis."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from initcheck import (
    FailureMode,
    Finding,
    LayerRow,
    Location,
    ModelReport,
    Report,
    ReportedFinding,
    Severity,
    Summary,
    TargetError,
    WeightRow,
)

DEPTH = 12


def _row(layer: int) -> LayerRow:
    return LayerRow(
        path=f"encoder.blocks.{layer}.feed_forward.projection",
        kind="linear",
        fan_in=48,
        fan_out=48,
        width=48,
        weight=WeightRow("kaiming_uniform(a=√5)", 0.0, 0.0833, 1.8, exact=False),
        log10_mean_square=-0.1 * layer,
        log10_mean_square_expected=-0.1 * layer,
        log10_signal=-0.78 * layer,
        log10_gradient_mean_square=None,
        log_length_variance=0.1 * layer,
        uncertainty=0.02,
        state="ok",
        assumed=False,
    )


@pytest.fixture
def report() -> Report:
    rows = tuple(map(_row, range(DEPTH)))
    zero = replace(rows[-1], path="head", log10_mean_square=-math.inf, log10_signal=math.nan, state="zero")
    summary = Summary(-9.4, -1.1, 0.0, 0.25, None, residual_blocks=0, segments=1)
    bad = ModelReport(
        "models/bad.onnx",
        "onnx",
        "ok",
        parameters=28_224,
        weighted_layers=DEPTH + 1,
        analysed_layers=DEPTH + 1,
        summary=summary,
        layers=(*rows, zero),
        assumptions=("dimension batch is taken as 32",),
        notes=("traced by an ordinary forward pass",),
        skipped_rules={"INI201": "weights are trained", "INI301": "weights are trained"},
    )
    good = replace(bad, target="models/good.onnx", layers=rows[:1], assumptions=(), notes=(), skipped_rules={})
    failed = ModelReport("models/broken.onnx", "onnx", "failed")
    vanishing = Finding(
        "INI101",
        "vanishing-signal",
        Severity.ERROR,
        FailureMode.VANISHING,
        "signal shrinks to 10^-9.4 of itself over 12 layers (bound 10^-6), starting at encoder.blocks.0",
        cause="12 of 12 layers use kaiming_uniform(a=√5), PyTorch's default: variance 0.33/fan_in, ReLU needs 2/fan_in",
        help='nn.init.kaiming_normal_(layer.weight, nonlinearity="relu"); nn.init.zeros_(layer.bias)',
        layers=("encoder.blocks.0.feed_forward.projection", "encoder.blocks.1.feed_forward.projection"),
        evidence={"log10_signal_gain": -9.4, "bound": -6.0, "ratio": math.inf},
        segment="0",
        related=("INI301 widths are small",),
    )
    located = replace(
        vanishing,
        code="INI402",
        name="zero-weight-cuts-signal",
        severity=Severity.WARNING,
        message="head is all zero",
        cause="",
        help="",
        layers=("head",),
        location=Location("src/model.py", 41, "exact"),
        related=(),
        assumed=True,
    )
    return Report(
        "1.2.3",
        (bad, good, failed),
        (ReportedFinding("models/bad.onnx", vanishing), ReportedFinding("models/bad.onnx", located)),
        (TargetError("models/broken.onnx", "damaged", "not an ONNX model", "export it again", "Traceback"),),
    )
