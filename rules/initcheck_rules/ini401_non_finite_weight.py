"""INI401: a weight holds numbers that are not finite."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from initcheck import Builder, FailureMode, Finding, Need, Op, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from initcheck import Analysis, Graph, Node, Parameter

__all__ = ["NonFiniteWeight"]

OWNERS = frozenset({Op.LINEAR, Op.CONV, Op.CONV_TRANSPOSE, Op.EMBEDDING, Op.RECURRENT, Op.NORMALIZE, Op.OPAQUE})
"""Operations whose parameters are weights; an operand of a sum may be a mask, which holds minus infinity on purpose."""


@dataclass(frozen=True, slots=True)
class NonFiniteWeight:
    """A weight holds numbers that are not finite.

    What it checks:
        Every weight, bias, table and normalisation parameter for nan and infinity; the bound is zero such elements.

    Why it fails:
        One nan spreads to every output and to the loss, and the first step spreads it to every weight.

    Example:
        ``self.scale = nn.Parameter(torch.empty(64))`` without an initialiser: uninitialised memory may hold anything.

    Instead:
        Initialise every parameter that is created from ``torch.empty``; guard divisions and logarithms in own
        initialisers.

    Limits:
        Operands of a plain addition or multiplication are only judged for nan, and only while they are small: minus
        infinity in a mask is meant.

    References:
        IEEE 754, on the propagation of nan.
    """

    code: ClassVar[str] = "INI401"
    name: ClassVar[str] = "non-finite-weight"
    failure_mode: ClassVar[FailureMode] = FailureMode.NONFINITE
    severity: ClassVar[Severity] = Severity.ERROR
    needs: ClassVar[frozenset[Need]] = frozenset({Need.PARAMETERS})
    subsumes: ClassVar[frozenset[str]] = frozenset()

    def check(self, analysis: Analysis) -> Iterator[Finding]:
        """One finding per parameter that is not finite everywhere."""
        seen: set[str] = set()
        for node in analysis.graph.nodes:
            for name in node.inputs:
                parameter = analysis.graph.parameters.get(name)
                if parameter is not None and name not in seen and _is_broken(node, parameter):
                    seen.add(name)
                    yield self._finding(node, parameter)

    def _finding(self, node: Node, parameter: Parameter) -> Finding:
        path = node.path or node.name
        count = parameter.distribution.nonfinite
        return Finding(
            code=self.code,
            name=self.name,
            severity=self.severity,
            failure_mode=self.failure_mode,
            message=f"{parameter.name} holds {count} of {parameter.size} elements that are nan or infinite, in {path}",
            cause="usual causes: torch.empty without an initialiser, a division by zero in one of your own",
            help="initialise the parameter before it is used, for example with nn.init.normal_(weight, std=0.02)",
            layers=(path,),
            location=node.location,
            evidence={"nonfinite": count, "elements": parameter.size, "bound": 0},
        )

    @staticmethod
    def bad() -> Graph:
        """One nan among the weights of the head."""
        return _network(np.nan)

    @staticmethod
    def good() -> Graph:
        """The same network without it."""
        return _network(0.0)


def _is_broken(node: Node, parameter: Parameter) -> bool:
    if not parameter.distribution.nonfinite:
        return False
    return node.op in OWNERS or (parameter.values is not None and bool(np.isnan(parameter.values).any()))


def _network(element: float) -> Graph:
    rng = np.random.default_rng(0)
    head = rng.normal(0.0, 0.1, (10, 64))
    head[0, 0] = element
    b = Builder()
    return b.graph(b.linear(b.activation(b.linear(b.x, 64)), 10, head))
