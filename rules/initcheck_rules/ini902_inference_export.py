"""INI902: the graph is the one for inference, not the one that is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from initcheck import Builder, FailureMode, Finding, Need, Severity
from initcheck_rules.variance import inference_norms
from initcheck_rules.wording import count_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from initcheck import Analysis, Graph

__all__ = ["InferenceExport"]


@dataclass(frozen=True, slots=True)
class InferenceExport:
    """The graph is the one for inference, not the one that is trained.

    What it checks:
        Batch normalisations that use stored statistics of mean 0 and variance 1, which no training step has touched,
        and exports in which they may have been folded into the layers before them.

    Why it fails:
        In inference mode such a normalisation divides by one: it normalises nothing. In training it divides by the
        statistics of the batch. Lengths and gains of this graph are not those of training, so findings on variance
        are notes at most.

    Example:
        ``torch.onnx.export(model, x, "model.onnx")``, which exports in inference mode unless told otherwise.

    Instead:
        ``torch.onnx.export(model.train(), x, "model.onnx", training=torch.onnx.TrainingMode.TRAINING,
        do_constant_folding=False)``.

    Limits:
        A batch normalisation that was folded without leaving a trace cannot be told from a plain layer.

    References:
        Ioffe and Szegedy, Batch Normalization (arXiv 1502.03167), section 3.1 on inference.
    """

    code: ClassVar[str] = "INI902"
    name: ClassVar[str] = "inference-export"
    failure_mode: ClassVar[FailureMode] = FailureMode.RUN
    severity: ClassVar[Severity] = Severity.NOTE
    needs: ClassVar[frozenset[Need]] = frozenset({Need.GRAPH})
    subsumes: ClassVar[frozenset[str]] = frozenset()

    def check(self, analysis: Analysis) -> Iterator[Finding]:
        """At most one finding for the whole export."""
        norms = inference_norms(analysis)
        if not norms and not analysis.graph.folded_normalization:
            return
        if norms:
            count = count_of(len(norms), "batch normalisation")
            message = (
                f"exported for inference: {count} with stored statistics of mean 0 and variance 1, which do nothing"
            )
        else:
            message = "exported for inference: batch normalisation may have been folded into the layers before it"
        yield Finding(
            code=self.code,
            name=self.name,
            severity=self.severity,
            failure_mode=self.failure_mode,
            message=message,
            cause="findings on variance are notes at most, because in training the batch is normalised",
            help=(
                "torch.onnx.export(model.train(), x, path, training=torch.onnx.TrainingMode.TRAINING, dynamo=False), "
                "or with the dynamo exporter torch.onnx.export(model.train(), x, path, dynamo=True, optimize=False)"
            ),
            layers=tuple(dict.fromkeys(node.path or node.name for node in norms)),
            location=norms[0].location if norms else None,
            evidence={"normalisations": len(norms), "folded": analysis.graph.folded_normalization, "bound": 0},
        )

    @staticmethod
    def bad() -> Graph:
        """Batch normalisation with untouched stored statistics."""
        return _network(training=False)

    @staticmethod
    def good() -> Graph:
        """The same network in training mode."""
        return _network(training=True)


def _network(*, training: bool) -> Graph:
    b = Builder()
    x = b.activation(b.normalize(b.linear(b.x, 64), "batch", training=training))
    return b.graph(b.linear(x, 10))
