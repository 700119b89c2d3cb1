"""INI901: part of the model was not understood."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from initcheck import Builder, FailureMode, Finding, Need, Op, Severity
from initcheck_rules.wording import count_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from initcheck import Analysis, Graph, Node

__all__ = ["UnanalysedLayer"]

NAMED = 5
"""Kinds of operation named in a message."""


@dataclass(frozen=True, slots=True)
class UnanalysedLayer:
    """Part of the model was not understood.

    What it checks:
        Whether every weighted layer and every operation on the way to the main output is in the vocabulary and has a
        law. It is a note, a warning when not one weighted layer could be analysed, an error under ``--strict``.

    Why it fails:
        What is not understood is passed through as if it changed nothing, up to the next normalisation. Findings
        after it are warnings at most, and a clean verdict says less.

    Example:
        A custom operator of another domain, or an activation that ONNX spells with an operator this version does not
        know.

    Instead:
        Export with standard operators (decompose the custom one), or report the operation to this project.

    Limits:
        An operation that only feeds masks, shapes or other outputs does not count, nor does a layer whose weight
        nothing ever wrote: that is INI601.

    References:
        None: it is about this tool, not about the model.
    """

    code: ClassVar[str] = "INI901"
    name: ClassVar[str] = "unanalysed-layer"
    failure_mode: ClassVar[FailureMode] = FailureMode.RUN
    severity: ClassVar[Severity] = Severity.WARNING
    needs: ClassVar[frozenset[Need]] = frozenset({Need.GRAPH})
    subsumes: ClassVar[frozenset[str]] = frozenset()

    def check(self, analysis: Analysis) -> Iterator[Finding]:
        """At most one finding for all that was not understood."""
        matters = [node for node in analysis.graph.nodes if _matters(analysis, node)]
        guessed = [node for node in matters if not _reads_unwritten(analysis, node)]
        missed = analysis.weighted_layers - analysis.analysed_layers
        # A parameter that nothing wrote is INI601's, and so is what cannot be told behind it.
        if not guessed and (not missed or len(guessed) < len(matters)):
            return
        kinds = Counter(str(node.attributes.get("type", node.op.value)) for node in guessed)
        named = ", ".join(f"{kind} ({count})" for kind, count in kinds.most_common(NAMED))
        total = analysis.weighted_layers
        message = f"{analysis.analysed_layers} of {count_of(total, 'weighted layer')} analysed"
        paths = [node.path or node.name for node in guessed] or _unknown_paths(analysis)
        yield Finding(
            code=self.code,
            name=self.name,
            severity=Severity.NOTE if analysis.analysed_layers else self.severity,
            failure_mode=self.failure_mode,
            message=f"{message}; not understood: {named}" if named else f"{message}; nothing is known of the others",
            cause=f"starting at {paths[0]}" if paths else "",
            help="export with standard operators, or decompose these before the export" if named else "",
            layers=tuple(dict.fromkeys(paths)),
            location=guessed[0].location if guessed else None,
            evidence={"weighted_layers": total, "analysed_layers": analysis.analysed_layers, "operations": dict(kinds)},
        )

    @staticmethod
    def bad() -> Graph:
        """An operation of an unknown domain between two layers."""
        return _network(known=False)

    @staticmethod
    def good() -> Graph:
        """A ReLU in its place."""
        return _network(known=True)


def _matters(analysis: Analysis, node: Node) -> bool:
    return node.name in analysis.forward.guessed and node.name in analysis.structure.active


def _reads_unwritten(analysis: Analysis, node: Node) -> bool:
    parameters = analysis.graph.parameters
    return any(name in parameters and not parameters[name].written for name in node.inputs)


def _unknown_paths(analysis: Analysis) -> list[str]:
    layers = analysis.layers
    return [layer.path for layer in layers if not layer.understood or analysis.signal_out_of(layer.node) is None]


def _network(*, known: bool) -> Graph:
    b = Builder()
    x = b.linear(b.x, 64)
    x = b.activation(x) if known else b.node(Op.OPAQUE, (x,), b.shape(x), {"type": "example.Warp"}, path="warp")
    return b.graph(b.linear(x, 10))
