"""An architecture linter for neural networks: predicts before training whether it can start.

The public names are loaded on first use, so that ``initcheck --help`` pays for none of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from initcheck.analysis import Analysis, Layer, Optimizer
    from initcheck.attention import AttentionFacts
    from initcheck.builder import Builder
    from initcheck.construction import (
        BuiltParameter,
        CallSite,
        Construction,
        DeferredDifference,
        DeferredRoute,
        Effect,
        Write,
    )
    from initcheck.distribution import Distribution, Family
    from initcheck.errors import ConfigError, InitcheckError, ModelLoadError, PluginError, UsageError
    from initcheck.gain import (
        critical_gain,
        is_flat_at_zero,
        is_homogeneous,
        is_zero_at_zero,
        is_zero_below_zero,
        sensitive_range,
        switched_off_below,
    )
    from initcheck.gradient_path import GradientStep
    from initcheck.graph import Axis, Constant, Graph, Location, Node, Op, Parameter, RowFacts, Value
    from initcheck.pipeline import check
    from initcheck.report import LayerRow, ModelReport, Report, ReportedFinding, Summary, TargetError, WeightRow
    from initcheck.roles import role_of
    from initcheck.rule import Bounds, FailureMode, Finding, Need, Rule, Severity
    from initcheck.schemes import counted_fan
    from initcheck.settings import Settings
    from initcheck.signal.gradient import Gradient
    from initcheck.signal.ledger import Contribution, Quantity
    from initcheck.signal.segments import Segment
    from initcheck.signal.signal import Signal
    from initcheck.structure import Residual, Structure

__version__ = "0.1.0"

_HOMES = {
    "analysis": ("Analysis", "Layer", "Optimizer"),
    "attention": ("AttentionFacts",),
    "builder": ("Builder",),
    "construction": (
        *("BuiltParameter", "CallSite", "Construction", "DeferredDifference", "DeferredRoute", "Effect", "Write"),
    ),
    "distribution": ("Distribution", "Family"),
    "errors": ("ConfigError", "InitcheckError", "ModelLoadError", "PluginError", "UsageError"),
    "gradient_path": ("GradientStep",),
    "gain": (
        "critical_gain",
        "is_flat_at_zero",
        "is_homogeneous",
        "is_zero_at_zero",
        "is_zero_below_zero",
        "sensitive_range",
        "switched_off_below",
    ),
    "graph": ("Axis", "Constant", "Graph", "Location", "Node", "Op", "Parameter", "RowFacts", "Value"),
    "pipeline": ("check",),
    "report": ("LayerRow", "ModelReport", "Report", "ReportedFinding", "Summary", "TargetError", "WeightRow"),
    "roles": ("role_of",),
    "rule": ("Bounds", "FailureMode", "Finding", "Need", "Rule", "Severity"),
    "schemes": ("counted_fan",),
    "settings": ("Settings",),
    "signal.gradient": ("Gradient",),
    "signal.ledger": ("Contribution", "Quantity"),
    "signal.segments": ("Segment",),
    "signal.signal": ("Signal",),
    "structure": ("Residual", "Structure"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Analysis",
    "AttentionFacts",
    "Axis",
    "Bounds",
    "Builder",
    "BuiltParameter",
    "CallSite",
    "ConfigError",
    "Constant",
    "Construction",
    "Contribution",
    "DeferredDifference",
    "DeferredRoute",
    "Distribution",
    "Effect",
    "FailureMode",
    "Family",
    "Finding",
    "Gradient",
    "GradientStep",
    "Graph",
    "InitcheckError",
    "Layer",
    "LayerRow",
    "Location",
    "ModelLoadError",
    "ModelReport",
    "Need",
    "Node",
    "Op",
    "Optimizer",
    "Parameter",
    "PluginError",
    "Quantity",
    "Report",
    "ReportedFinding",
    "Residual",
    "RowFacts",
    "Rule",
    "Segment",
    "Settings",
    "Severity",
    "Signal",
    "Structure",
    "Summary",
    "TargetError",
    "UsageError",
    "Value",
    "WeightRow",
    "Write",
    "check",
    "counted_fan",
    "critical_gain",
    "is_flat_at_zero",
    "is_homogeneous",
    "is_zero_at_zero",
    "is_zero_below_zero",
    "role_of",
    "sensitive_range",
    "switched_off_below",
]


def __getattr__(name: str) -> object:
    """Load a public name from its module on first use."""
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
