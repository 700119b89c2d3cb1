"""What one run found: the only thing reporters read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from initcheck.rule import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from initcheck.graph import Location

__all__ = [
    "FILE_HAS_NO_PAST",
    "LayerRow",
    "ModelReport",
    "Report",
    "ReportedFinding",
    "Summary",
    "TargetError",
    "WeightRow",
]

FILE_HAS_NO_PAST = "a file holds weights, not how they came about"
"""Why rules on the construction of a model skip a file."""


@dataclass(frozen=True, slots=True)
class WeightRow:
    """Distribution of a layer's weight as the table shows it."""

    scheme: str
    mean: float
    std: float
    kurtosis: float
    exact: bool


@dataclass(frozen=True, slots=True)
class LayerRow:
    """One line of the layer table; the fields of ``layers[]`` of the JSON format (all ``log10_*`` of mean squares).

    Attributes:
        path: Module path.
        kind: ``linear``, ``conv2d``, ``layer_norm``, ``relu``, ...
        fan_in: Products that one output sums, None without weights.
        fan_out: Outputs that one input feeds, None without weights.
        width: Units of the output.
        weight: Distribution of the weight, None without weights.
        log10_mean_square: Typical path.
        log10_mean_square_expected: Mean field, the expectation the paper speaks of.
        log10_signal: Mean-square response to an infinitesimal perturbation of the input.
        log10_gradient_mean_square: For an independent standard normal cotangent at the main output; None until known.
        log_length_variance: Var[ln M] (nats squared) since the last normalisation.
        uncertainty: Decades.
        state: ``ok``, ``zero``, ``nonfinite`` or ``unknown``.
        assumed: Whether an operation before it was not understood.
        location: Line of the layer.
    """

    path: str
    kind: str
    fan_in: int | None
    fan_out: int | None
    width: int | None
    weight: WeightRow | None
    log10_mean_square: float | None
    log10_mean_square_expected: float | None
    log10_signal: float | None
    log10_gradient_mean_square: float | None
    log_length_variance: float | None
    uncertainty: float | None
    state: str
    assumed: bool
    location: Location | None = None


@dataclass(frozen=True, slots=True)
class Summary:
    """The numbers of a model in one line (decades of mean squares; beta a plain number; None where unknown)."""

    log10_signal_gain: float | None
    log10_length_gain: float | None
    log10_residual_growth: float | None
    beta: float | None
    log10_gradient_ratio: float | None
    residual_blocks: int
    segments: int


@dataclass(frozen=True, slots=True)
class ModelReport:
    """What was found out about one target.

    Attributes:
        target: As the user named it.
        source: ``onnx`` or ``torch``.
        status: ``ok`` or ``failed``.
        parameters: Number of elements of all parameters.
        weighted_layers: Layers that own a weight.
        analysed_layers: Those of them whose operation was understood.
        summary: Numbers in one line, None when failed.
        layers: The layer table.
        assumptions: Sentences about what was assumed.
        notes: Sentences about how the model was read: built for real, traced by another way, a part left out.
        skipped_rules: Code -> why it could not run.
    """

    target: str
    source: str
    status: str
    parameters: int = 0
    weighted_layers: int = 0
    analysed_layers: int = 0
    summary: Summary | None = None
    layers: tuple[LayerRow, ...] = ()
    assumptions: tuple[str, ...] = ()
    skipped_rules: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReportedFinding:
    """A finding and the target it belongs to."""

    target: str
    finding: Finding


@dataclass(frozen=True, slots=True)
class TargetError:
    """A target that got no verdict (exit code 2).

    Attributes:
        target: As the user named it.
        kind: Class of the failure.
        message: What and where.
        hint: What to do.
        details: Traceback, shown with -v only.
    """

    target: str
    kind: str
    message: str
    hint: str = ""
    details: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """One run over all targets.

    Attributes:
        version: Version of initcheck.
        models: In the order of the targets.
        findings: Selected findings, by target, then severity, then place.
        errors: Targets without a verdict.
    """

    version: str
    models: tuple[ModelReport, ...]
    findings: tuple[ReportedFinding, ...]
    errors: tuple[TargetError, ...]

    def verdict(self, target: str) -> str:
        """Worst severity among the findings of a target: ``ok``, ``note``, ``warning`` or ``error``."""
        severities = [item.finding.severity for item in self.findings if item.target == target]
        return max(severities, key=lambda severity: severity.rank).value if severities else "ok"

    def worst(self) -> Severity:
        """Worst severity of the run; ``OFF`` when there is no finding."""
        return max((item.finding.severity for item in self.findings), key=lambda s: s.rank, default=Severity.OFF)
