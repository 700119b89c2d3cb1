"""Whether the weights of a model are still as they were drawn, or have been trained.

The scale never decides: a wrong scale is what the linter looks for. What decides is what no initialiser draws: the
shape of the distribution, units that differ beyond sampling, directions that stand out, normalisation parameters that
have moved.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from initcheck.chance import row_score, shape_score, spectrum_score
from initcheck.distribution import Family
from initcheck.graph import Op

if TYPE_CHECKING:
    from collections.abc import Mapping

    from initcheck.analysis import Analysis, Layer
    from initcheck.distribution import Distribution
    from initcheck.graph import Graph, Node, RowFacts

__all__ = ["TrainedEvidence", "find_trained"]

SIGNIFICANCE = 1e-6
"""Chance that one layer as drawn is taken for trained."""

THRESHOLD = 5.0
"""Standard errors of a score beyond which at most a third of ``SIGNIFICANCE`` lies (2.9e-7)."""

SPECTRUM_THRESHOLD = 7.0
"""The same for the largest singular value, in units of its own law."""

FEWEST = 1024
"""Elements from which a weight can tell; below it shapes overlap."""

SHORTEST_ROW = 16
"""Elements of a unit from which norms are near enough to normal."""

FEWEST_ROWS = 8
"""Units from which the variance of their norms is worth comparing."""

SPARSE = 0.1
"""Share of exact zeros from which a weight is a mixture that was drawn as one (``nn.init.sparse_``) or pruned."""


@dataclass(frozen=True, slots=True)
class TrainedEvidence:
    """Why weights are taken for trained.

    Attributes:
        reason: One clause for the user.
        layers: Paths of the layers that no initialiser explains.
        voters: Number of layers that could tell.
        signs: What was seen -> in how many layers.
    """

    reason: str
    layers: tuple[str, ...]
    voters: int
    signs: Mapping[str, int]


def find_trained(analysis: Analysis) -> TrainedEvidence | None:
    """Evidence that the weights are trained: more than half of the layers that can tell, each at ``SIGNIFICANCE``.

    Layers that cannot tell: small ones, constants, identities, copies of one row, weights of one sign, embeddings
    (whose tables may be computed), laws that were recorded from an initialiser.
    """
    votes = [(layer.path, sign) for layer in analysis.layers if (sign := _weight_sign(layer)) is not None]
    for node in analysis.graph.nodes:
        sign = _norm_sign(analysis.graph, node) if node.op is Op.NORMALIZE else None
        if sign is not None:
            votes.append((node.path or node.name, sign))
    against = [(path, sign) for path, sign in votes if sign]
    if 2 * len(against) <= len(votes):
        return None
    signs = Counter(sign for _, sign in against)
    seen = ", ".join(f"{sign} ({count})" for sign, count in signs.most_common())
    reason = f"weights look trained: {len(against)} of {len(votes)} layers are unlike any initialisation, by {seen}"
    return TrainedEvidence(reason, tuple(dict.fromkeys(path for path, _ in against)), len(votes), dict(signs))


def _weight_sign(layer: Layer) -> str | None:
    """What sets a weight apart from everything drawn; empty if nothing does, None if it cannot tell."""
    weight = layer.weight
    if weight is None or layer.node.op is Op.EMBEDDING or not _can_tell(weight.distribution):
        return None
    rows = weight.rows
    if rows is not None and rows.distinct < rows.examined:
        return None
    if weight.distribution.family is Family.ORTHOGONAL:
        return ""
    law = _nonzero_part(weight.distribution)
    if law.size >= FEWEST and shape_score(law) > THRESHOLD:
        return "shape of the distribution"
    if rows is not None and _comparable(rows, weight.size) and row_score(rows) > THRESHOLD:
        return "norms of the units"
    values = weight.values if law is weight.distribution else None
    if values is not None and spectrum_score(values, SPECTRUM_THRESHOLD) > SPECTRUM_THRESHOLD:
        return "largest singular value"
    return ""


def _comparable(rows: RowFacts, size: int) -> bool:
    """Whether there are units enough, each of elements enough."""
    return rows.examined >= FEWEST_ROWS and size >= SHORTEST_ROW * rows.count and rows.norm_variation_expected > 0.0


def _can_tell(law: Distribution) -> bool:
    if law.exact or law.is_constant or law.nonfinite or law.family is Family.IDENTITY or law.size < FEWEST:
        return False
    return law.variance > 0.0 and law.minimum < 0.0 < law.maximum


def _nonzero_part(law: Distribution) -> Distribution:
    """A law without its exact zeros where they are too many to be chance; its mean must be zero for that."""
    share = law.zeros / law.size
    if share <= SPARSE or law.effective_mean != 0.0:
        return law
    kept = 1.0 - share
    return replace(law, size=law.size - law.zeros, variance=law.variance / kept, kurtosis=law.kurtosis * kept, zeros=0)


def _norm_sign(graph: Graph, node: Node) -> str | None:
    """Whether scale and shift of a normalisation have both moved off one common number; None without both."""
    names = [name for name in node.inputs[1:3] if name in graph.parameters]
    if len(names) < 2 or node.attributes.get("folded"):
        return None
    laws = [graph.parameters[name].distribution for name in names]
    if any(law.exact or law.nonfinite or law.size < 4 for law in laws):
        return None
    moved = sum(not law.is_constant for law in laws)
    if moved == 1:
        return None
    return "normalisation parameters" if moved else ""
