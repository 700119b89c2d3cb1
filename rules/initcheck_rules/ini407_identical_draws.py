"""INI407: layers that should differ start as bit-identical copies."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from initcheck import Builder, FailureMode, Finding, Need, Severity, role_of
from initcheck_rules.wording import count_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from initcheck import Analysis, Graph, Layer

__all__ = ["IdenticalDraws"]


@dataclass(frozen=True, slots=True)
class IdenticalDraws:
    """Layers that should differ start as bit-identical copies.

    What it checks:
        Weights of one role (paths equal up to the numbers of blocks) whose random elements are bit for bit those of
        another: in a PyTorch model because one draw was copied (``copy.deepcopy``, ``load_state_dict``), in an ONNX
        file by their bytes. The bound is zero copies.

    Why it fails:
        The theory of initialisation, this linter's included, takes layers as independent draws. Copies multiply the
        same matrix by itself: its large singular values add up where independent ones average out. Training parts them,
        so that it mostly costs time.

    Example:
        ``nn.TransformerEncoder(nn.TransformerEncoderLayer(512, 8), 6)``, which clones one layer six times.

    Instead:
        Draw again after the copies are made: ``for p in encoder.parameters(): p.dim() > 1 and
        nn.init.xavier_uniform_(p)``.

    Limits:
        A note only. Weights that are one parameter (tied) are no copies, and networks that are copied on purpose (a
        target or teacher network) have paths of their own. Layers drawn from the same seed are seen in ONNX files, not
        in PyTorch models that are built without values. Exporters may store equal tensors once, which looks like tying.

    References:
        PyTorch, documentation of nn.TransformerEncoder: the layers it makes are initialised with the same parameters.
    """

    code: ClassVar[str] = "INI407"
    name: ClassVar[str] = "identical-draws"
    failure_mode: ClassVar[FailureMode] = FailureMode.SYMMETRY
    severity: ClassVar[Severity] = Severity.NOTE
    needs: ClassVar[frozenset[Need]] = frozenset({Need.GRAPH, Need.PARAMETERS, Need.INITIALIZATION})
    subsumes: ClassVar[frozenset[str]] = frozenset()

    def check(self, analysis: Analysis) -> Iterator[Finding]:
        """At most one finding for all copies."""
        groups: defaultdict[tuple[str, str], dict[str, Layer]] = defaultdict(dict)
        for layer in analysis.layers:
            if layer.weight is not None and layer.weight.content:
                groups[role_of(layer.path), layer.weight.content].setdefault(layer.weight.name, layer)
        copies = [tuple(group.values()) for group in groups.values() if len(group) > 1]
        if copies:
            yield self._finding(copies)

    def _finding(self, copies: Sequence[Sequence[Layer]]) -> Finding:
        repeated = [layer for group in copies for layer in group[1:]]
        first, original = repeated[0], copies[0][0]
        return Finding(
            code=self.code,
            name=self.name,
            severity=self.severity,
            failure_mode=self.failure_mode,
            message=(
                f"{count_of(len(repeated), 'layer')} start bit-identical to another one (bound 0), "
                f"starting at {first.path}, a copy of {original.path}"
            ),
            cause=f"{len(repeated) + len(copies)} layers hold {count_of(len(copies), 'draw')}",
            help="draw again after copying: [nn.init.xavier_uniform_(p) for p in module.parameters() if p.dim() > 1]",
            layers=tuple(dict.fromkeys(layer.path for layer in repeated)),
            location=first.node.location,
            evidence={"copies": len(repeated), "draws": len(copies), "bound": 0},
        )

    @staticmethod
    def bad() -> Graph:
        """Three layers with the weights of one."""
        return _stack(1)

    @staticmethod
    def good() -> Graph:
        """Three layers with weights of their own."""
        return _stack(3)


def _stack(draws: int) -> Graph:
    rng = np.random.default_rng(0)
    weights = [rng.normal(0.0, (2.0 / 64.0) ** 0.5, (64, 64)) for _ in range(draws)]
    b = Builder()
    x = b.x
    for k in range(3):
        x = b.activation(b.linear(x, 64, weights[k % draws], path=f"layers.{k}"))
    return b.graph(b.linear(x, 10, path="head"))
