"""What a rule is, what it yields, and how a value is judged against its bounds."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from initcheck.analysis import Analysis
    from initcheck.graph import Graph, Location

__all__ = ["Bounds", "FailureMode", "Finding", "Need", "Rule", "Severity"]


class Severity(StrEnum):
    """How bad a finding is; ``OFF`` only as a setting."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"
    OFF = "off"

    @property
    def rank(self) -> int:
        """Larger is worse."""
        return {"error": 3, "warning": 2, "note": 1, "off": 0}[self.value]


class FailureMode(StrEnum):
    """What would go wrong in training."""

    VANISHING = "vanishing"
    EXPLODING = "exploding"
    RESIDUAL = "residual"
    FLUCTUATION = "fluctuation"
    SYMMETRY = "symmetry"
    DEAD = "dead"
    SATURATION = "saturation"
    COLLAPSE = "collapse"
    NONFINITE = "nonfinite"
    OVERFLOW = "overflow"
    CONSTRUCTION = "construction"
    DRIFT = "drift"
    RUN = "run"


class Need(StrEnum):
    """What a rule must have to run; the report lists rules that could not run and why."""

    GRAPH = "graph"
    SIGNAL = "signal"
    PARAMETERS = "parameters"
    INITIALIZATION = "initialization"
    """Weights as they are before training: absent for trained weights unless a scheme is assumed."""
    CONSTRUCTION = "construction"
    """How parameters came by their values: absent for files, and where a scheme is assumed."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Two bounds of one quantity for one trainer; larger is worse.

    Attributes:
        warning: From here on a warning.
        error: From here on an error.
    """

    warning: float
    error: float

    def judge(self, value: float, uncertainty: float = 0.0) -> Severity:
        """Severity of a value whose safe side is ``value - uncertainty``.

        Args:
            value: The quantity, in the unit of the bounds.
            uncertainty: Half-width of its interval, in the same unit. An interval that reaches across a bound stays
                below it.
        """
        safe = value - uncertainty
        if math.isnan(safe):
            return Severity.OFF
        if safe >= self.error:
            return Severity.ERROR
        return Severity.WARNING if safe >= self.warning else Severity.OFF


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence about one root cause.

    Attributes:
        code: Code of the rule that found it.
        name: Name of the rule.
        severity: Before selection it is the rule's judgement, after it the user's.
        failure_mode: What would go wrong.
        message: One sentence with the number and the bound.
        cause: Why, from the ledger; may be empty.
        help: Code to write instead; may be empty.
        layers: Layer paths, the one where it starts first.
        location: Line of the first layer, if known.
        evidence: Numbers behind the message, JSON values only.
        segment: Root of the finding: findings of one segment and failure may have one cause.
        assumed: Whether it rests on an operation that was not understood (then at most a warning).
        related: Sentences of findings that this one explains.
    """

    code: str
    name: str
    severity: Severity
    failure_mode: FailureMode
    message: str
    cause: str = ""
    help: str = ""
    layers: tuple[str, ...] = ()
    location: Location | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)
    segment: str = ""
    assumed: bool = False
    related: tuple[str, ...] = ()


@runtime_checkable
class Rule(Protocol):
    """A rule: a class without state whose instances are made with its options.

    The docstring has the headings ``What it checks``, ``Why it fails``, ``Example``, ``Instead``, ``Limits`` and
    ``References``: it is the page of the rule and the text of ``initcheck rule CODE``.

    Options are the fields of a dataclass, each with a default. Bounds among them, alone or per optimizer, are listed on
    the page, and so are all other fields, with the meaning that ``field(metadata={"doc": ...})`` gives. Instances are
    sent to worker processes: the class stands at the top of a module, and options are values that can be pickled.

    A rule whose help lines are not calls of ``nn.init`` may have a static method ``helped(finding)``, which gives the
    bad example as it is once the line is followed; ``initcheck.testing`` demands that the rule is silent on it.

    Attributes:
        code: Letters and three digits, never reused; INI are the letters of the built-in rules.
        name: Kebab case, reads after "allow".
        failure_mode: What would go wrong.
        severity: The worst it reports.
        needs: What it must have to run.
        subsumes: Codes whose findings on the same segment this rule explains.
    """

    code: ClassVar[str]
    name: ClassVar[str]
    failure_mode: ClassVar[FailureMode]
    severity: ClassVar[Severity]
    needs: ClassVar[frozenset[Need]]
    subsumes: ClassVar[frozenset[str]]

    def check(self, analysis: Analysis) -> Iterator[Finding]:
        """Yield the findings of one model; pure, no input or output."""
        ...

    @staticmethod
    def bad() -> Graph:
        """A small model on which the rule fires."""
        ...

    @staticmethod
    def good() -> Graph:
        """The same model as it should be, on which the rule is silent."""
        ...
