"""One model through the rules, as ``initcheck check`` does it, in this process; and what each bound is compared with.

A rule with bounds holds them in fields of type ``Mapping[Optimizer, Bounds]``. The quantity that such a field judges is
found from outside, for any rule: it is the largest bound at which the rule still warns while all its other bounds are
out of reach.
"""

from __future__ import annotations

import copy
import dataclasses
import math
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from initcheck import Analysis, Bounds, Finding, Graph, Optimizer, Rule, Severity
from initcheck.consolidate import cap_assumed, consolidate
from initcheck.errors import InitcheckError
from initcheck.plugins import load_rules

ROOT = Path(__file__).resolve().parents[1]
RULES: Sequence[Rule] = load_rules()

MODES = {
    "vanishing": "fm1-vanishing",
    "exploding": "fm1-exploding",
    "residual": "fm1-residual",
    "fluctuation": "fm2",
    "saturation": "saturated",
    "collapse": "fm1-vanishing",
}
"""Failure mode of a finding -> what the corpus calls it; the others have one name."""

LEAST, MOST = 0.05, 1e4
"""Range in which judged quantities are told apart: decades of mean square, or beta."""

PRECISION = 0.01

OUT_OF_REACH = 1e9
"""A bound that nothing finite reaches."""


@dataclass(frozen=True)
class Judged:
    """One model with the findings of one trainer.

    Attributes:
        findings: After consolidation, notes included.
        values: ``CODE.field`` of each bound -> the quantity compared with it, its uncertainty taken off; infinite
            where the rule warns whatever the bound.
        unconditional: Codes that warn although every bound is out of reach.
        failure: What a rule or the analysis raised, empty if nothing; then there is no verdict.
    """

    findings: tuple[Finding, ...] = ()
    values: Mapping[str, float] = field(default_factory=dict)
    unconditional: tuple[str, ...] = ()
    failure: str = ""

    def loud(self, severity: Severity = Severity.WARNING) -> list[Finding]:
        return [finding for finding in self.findings if finding.severity.rank >= severity.rank]


@dataclass(frozen=True)
class Loaded:
    """A model's analysis, or why there is none."""

    analysis: Analysis | None
    failure: str
    seconds: float


def load_torch(factory: Callable[[], object], root: Path = ROOT) -> Loaded:
    """Build, trace and lower; the analysis itself is made when it is asked for."""
    from initcheck.sources.torch.load import load

    return _timed(lambda: load(factory, root=root))


def load_onnx(path: Path) -> Loaded:
    from initcheck.sources.onnx import load

    return _timed(lambda: load(path))


def judge(analysis: Analysis, optimizer: Optimizer = Optimizer.SGD, *, quantities: bool = False) -> Judged:
    """Run all rules; the folds of ``analysis`` are shared between trainers."""
    try:
        # What overflows is reported as not finite, as in the command line.
        with np.errstate(all="ignore"):
            return _judge(analysis, optimizer, quantities=quantities)
    except Exception as error:  # noqa: BLE001 - a bug met in one model must not end the table
        return Judged(failure=f"internal error {' '.join(getattr(error, '__notes__', ()))}: {_line(error)}")


def _judge(analysis: Analysis, optimizer: Optimizer, *, quantities: bool) -> Judged:
    analysis.segments, analysis.typical, analysis.layers  # noqa: B018 - computed once, for all copies
    ours = copy.copy(analysis)
    ours.optimizer = optimizer
    rules = [rule for rule in RULES if not rule.needs & ours.missing_needs().keys()]
    found = [finding for rule in rules for finding in _check(rule, ours)]
    findings = consolidate(map(cap_assumed, found), {rule.code: rule.subsumes for rule in RULES})
    if not quantities:
        return Judged(findings)
    values = {name: value for rule in rules for name, value in _judged_values(rule, ours).items()}
    unconditional = tuple(rule.code for rule in rules if _warns(_with_bounds(rule, {}), ours))
    return Judged(findings, values, unconditional)


def _check(rule: Rule, analysis: Analysis) -> list[Finding]:
    try:
        return list(rule.check(analysis))
    except Exception as error:
        error.add_note(f"in {rule.code}")
        raise


def bounded_fields(rule: Rule) -> tuple[str, ...]:
    """Fields of a rule that hold bounds per trainer."""
    fields = dataclasses.fields(rule) if dataclasses.is_dataclass(rule) else ()
    return tuple(item.name for item in fields if _is_bounds(getattr(rule, item.name)))


def shipped(optimizer: Optimizer) -> dict[str, float]:
    """``CODE.field`` -> the bound from which the rule warns."""
    return {
        f"{rule.code}.{name}": getattr(rule, name)[optimizer].warning for rule in RULES for name in bounded_fields(rule)
    }


def modes_of(findings: Iterable[Finding]) -> set[str]:
    return {MODES.get(finding.failure_mode, str(finding.failure_mode)) for finding in findings}


def _timed(source: Callable[[], Graph]) -> Loaded:
    start = time.process_time()
    analysis, failure = None, ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            analysis = Analysis(source())
    except InitcheckError as error:
        failure = str(error)
    except Exception as error:  # noqa: BLE001 - the table goes on
        failure = _line(error)
    return Loaded(analysis, failure, time.process_time() - start)


def _is_bounds(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(item, Bounds) for item in value.values()) and bool(value)


def _judged_values(rule: Rule, analysis: Analysis) -> dict[str, float]:
    return {f"{rule.code}.{name}": _largest(rule, name, analysis) for name in bounded_fields(rule)}


def _largest(rule: Rule, name: str, analysis: Analysis) -> float:
    """The largest bound at which one field of a rule still warns, zero if it never does."""

    def warns(bound: float) -> bool:
        return _warns(_with_bounds(rule, {name: bound}), analysis)

    if not warns(LEAST):
        return 0.0
    if warns(MOST):
        return math.inf
    low, high = LEAST, MOST
    while high - low > PRECISION * low:
        middle = math.sqrt(low * high)
        low, high = (middle, high) if warns(middle) else (low, middle)
    return low


def _with_bounds(rule: Rule, warning: Mapping[str, float]) -> Rule:
    """The rule with a warning from some bounds on and never from the others."""
    chosen = {name: Bounds(warning.get(name, OUT_OF_REACH), OUT_OF_REACH) for name in bounded_fields(rule)}
    changed: Rule = dataclasses.replace(rule, **{name: dict.fromkeys(Optimizer, one) for name, one in chosen.items()})  # type: ignore[type-var]
    return changed


def _warns(rule: Rule, analysis: Analysis) -> bool:
    return any(finding.severity.rank >= Severity.WARNING.rank for finding in _check(rule, analysis))


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
