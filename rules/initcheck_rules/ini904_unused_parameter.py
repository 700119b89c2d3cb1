"""INI904: parameters that the forward pass never reads."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from initcheck import Builder, FailureMode, Finding, Need, Severity
from initcheck_rules.wording import count_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from initcheck import Analysis, Graph

__all__ = ["UnusedParameter"]

NAMED = 4
"""Layers named in a message."""


@dataclass(frozen=True, slots=True)
class UnusedParameter:
    """Parameters that the forward pass never reads.

    What it checks:
        Whether every parameter of a PyTorch module has a part in its outputs.

    Why it fails:
        Such a parameter gets no gradient and stays as it was drawn. Often a layer was made and the line that calls it
        forgotten, so that the network is not the one that was meant. DistributedDataParallel stops at it unless it is
        told to look for unused parameters, and weight decay still shrinks it.

    Example:
        ``self.norm2 = nn.LayerNorm(dim)`` in the constructor, and ``self.norm1`` called twice in ``forward``.

    Instead:
        Call the layer, or remove it.

    Limits:
        Only the inputs of the trace count: a parameter for another mode, or for an optional input, is listed too. ONNX
        files hold no parameter that nothing reads.

    References:
        None: it follows from the graph alone.
    """

    code: ClassVar[str] = "INI904"
    name: ClassVar[str] = "unused-parameter"
    failure_mode: ClassVar[FailureMode] = FailureMode.RUN
    severity: ClassVar[Severity] = Severity.NOTE
    needs: ClassVar[frozenset[Need]] = frozenset({Need.GRAPH})
    subsumes: ClassVar[frozenset[str]] = frozenset()

    def check(self, analysis: Analysis) -> Iterator[Finding]:
        """At most one finding for all of them."""
        unused = analysis.graph.unused
        if not unused:
            return
        owners = tuple(dict.fromkeys(name.rpartition(".")[0] or name for name in unused))
        named = ", ".join(owners[:NAMED])
        more = f" and {len(owners) - NAMED} more" if len(owners) > NAMED else ""
        count = f"{count_of(len(unused), 'parameter')} {'has' if len(unused) == 1 else 'have'}"
        yield Finding(
            code=self.code,
            name=self.name,
            severity=self.severity,
            failure_mode=self.failure_mode,
            message=f"{count} no part in the output: {named}{more}",
            cause="the forward pass never reads them, so they get no gradient",
            help=f"call self.{owners[0]} in forward, or remove it",
            layers=owners,
            location=next((location for location in unused.values() if location is not None), None),
            evidence={"parameters": list(unused), "bound": 0},
        )

    @staticmethod
    def bad() -> Graph:
        """A layer that is made and never called."""
        return replace(_network(), unused={"auxiliary.weight": None, "auxiliary.bias": None})

    @staticmethod
    def good() -> Graph:
        """The network without it."""
        return _network()


def _network() -> Graph:
    b = Builder()
    return b.graph(b.linear(b.activation(b.linear(b.x, 64)), 10))
