"""INI903: the weights are trained, so they say nothing about the initialisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from initcheck import Builder, FailureMode, Finding, Need, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from initcheck import Analysis, Graph

__all__ = ["TrainedWeights"]


@dataclass(frozen=True, slots=True)
class TrainedWeights:
    """The weights are trained, so they say nothing about the initialisation.

    What it checks:
        Whether more than half of the layers that can tell are unlike anything an initialiser draws, each at a
        significance of one in a million: tails heavier than a normal's or edges blurred beyond a uniform's, norms of
        units that differ beyond sampling, a largest singular value beyond the edge of a random matrix, scale and
        shift of a normalisation that have both moved.

    Why it fails:
        It does not: the note says why the rules on initial variance are silent. Rules on the architecture still run.

    Example:
        A checkpoint from a model hub.

    Instead:
        Export the model before training, or judge its architecture alone: ``initcheck model.onnx --assume-init
        kaiming_normal``.

    Limits:
        The scale of the weights never decides, since a wrong scale is what the linter looks for. A few steps of
        training from normal weights leave no mark that is significant; such a model is judged as if it were initial.

    References:
        Anscombe and Glynn (1983), on the kurtosis of normal samples. Johnstone (2001), on the largest singular value
        of a random matrix. Wilson and Hilferty (1931), on variances.
    """

    code: ClassVar[str] = "INI903"
    name: ClassVar[str] = "trained-weights"
    failure_mode: ClassVar[FailureMode] = FailureMode.RUN
    severity: ClassVar[Severity] = Severity.NOTE
    needs: ClassVar[frozenset[Need]] = frozenset({Need.PARAMETERS})
    subsumes: ClassVar[frozenset[str]] = frozenset()

    def check(self, analysis: Analysis) -> Iterator[Finding]:
        """At most one note."""
        evidence = analysis.trained
        if evidence is None:
            return
        yield Finding(
            code=self.code,
            name=self.name,
            severity=self.severity,
            failure_mode=self.failure_mode,
            message=f"{evidence.reason} (bound half of them)",
            cause="rules on initial weights do not run on trained ones",
            help="--assume-init kaiming_normal judges the architecture alone",
            layers=evidence.layers,
            evidence={"layers": len(evidence.layers), "voters": evidence.voters, "signs": dict(evidence.signs)},
        )

    @staticmethod
    def bad() -> Graph:
        """Weights with the heavy tails that training leaves."""
        return _network(heavy=True)

    @staticmethod
    def good() -> Graph:
        """Weights as kaiming_normal draws them."""
        return _network(heavy=False)


def _network(*, heavy: bool) -> Graph:
    rng = np.random.default_rng(0)
    b = Builder()
    x = b.x
    for _ in range(3):
        weight = 0.12 * rng.standard_t(4.0, (64, 64)) if heavy else rng.normal(0.0, 0.177, (64, 64))
        x = b.activation(b.linear(x, 64, weight))
    return b.graph(b.linear(x, 10))
