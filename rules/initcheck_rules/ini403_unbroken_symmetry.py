"""INI403: units of a layer start as copies of one another and stay so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from initcheck import Builder, FailureMode, Finding, Need, Op, Severity
from initcheck_rules.remedy import initialization_code
from initcheck_rules.wording import count_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from initcheck import Analysis, Graph, Layer, Node, Parameter

__all__ = ["UnbrokenSymmetry"]

MAJORITY = 0.5
"""Share of the hidden layers from which copies are an error: a network of one unit per layer is left.

One such layer among five costs a ReLU network time (100 instead of 20 steps to start) but not its training.
"""

SHORT, LONG = 8, 64
"""Elements of a row from which its repetition is no chance: of many values, and of two (signs)."""

FEW_VALUES = 1.5
"""Kurtosis from which a law has more than a few values; that of signs is 1, that of a uniform law 1.8."""

SPARSE = 0.1
"""Share of zeros beyond which whole rows may be empty."""

KEEPING = frozenset(
    {
        Op.ELEMENTWISE,
        Op.POOL_AVERAGE,
        Op.POOL_MAX,
        Op.REDUCE,
        Op.RESHAPE,
        Op.TRANSPOSE,
        Op.IDENTITY,
        Op.PAD,
        Op.RESIZE,
        Op.EXPAND,
    }
)
"""Operations that treat all units alike; dropout draws a mask per unit and an addition brings other values in."""


@dataclass(frozen=True, slots=True)
class UnbrokenSymmetry:
    """Units of a layer start as copies of one another and stay so.

    What it checks:
        Linear layers and convolutions all of whose units have the same incoming weights and biases, and whose
        outgoing weights do not tell them apart: they are one constant, or belong to a layer of copies again. More
        than half of the hidden layers is an error, fewer a warning. Copies among randomly drawn units whose outgoing
        weights differ are a note.

    Why it fails:
        Copies with equal outgoing weights get equal gradients and stay copies for ever: the layer is one unit wide.
        Where copies follow copies with random rows, every unit of a layer sees one number times the sum of a row:
        half of the time it is negative and ReLU switches the whole layer off.

    Example:
        ``nn.init.constant_(layer.weight, 0.01)`` for all hidden layers.

    Instead:
        Draw each weight at random: ``nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")``.

    Limits:
        A single layer of copies between random layers recovers at the first step and is not reported, nor is a
        constant head. Layers of zeros count only if no hidden layer is drawn at random; grouped and depthwise
        convolutions never do, because their units see different inputs. Whether the outgoing weights of a few copies
        agree is not looked at; rows so short, or of so few values, that chance repeats them are left out.

    References:
        Goodfellow et al., Deep Learning, 8.4: initial parameters need to break symmetry between units.
    """

    code: ClassVar[str] = "INI403"
    name: ClassVar[str] = "unbroken-symmetry"
    failure_mode: ClassVar[FailureMode] = FailureMode.SYMMETRY
    severity: ClassVar[Severity] = Severity.ERROR
    needs: ClassVar[frozenset[Need]] = frozenset({Need.GRAPH, Need.PARAMETERS, Need.INITIALIZATION})
    subsumes: ClassVar[frozenset[str]] = frozenset({"INI101", "INI102", "INI402", "INI408"})

    def check(self, analysis: Analysis) -> Iterator[Finding]:
        """At most one finding: for layers of copies that stay, or else for copies that training parts."""
        hidden = [layer for layer in analysis.layers if _is_hidden(analysis, layer)]
        copies = [layer for layer in hidden if _is_copied(analysis, layer)]
        if len(copies) < len(hidden):
            copies = [layer for layer in copies if layer.weight is None or not layer.weight.distribution.is_zero]
        names = {layer.node.name for layer in copies}
        stuck = [layer for layer in copies if _outgoing_alike(analysis, layer, names)]
        if stuck:
            yield self._finding(stuck, len(hidden))
            return
        apart = [layer for layer in hidden if _repeated_rows(layer)]
        if apart:
            yield self._note(apart)

    def _finding(self, stuck: Sequence[Layer], hidden: int) -> Finding:
        first = stuck[0]
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.ERROR if len(stuck) > MAJORITY * hidden else Severity.WARNING,
            failure_mode=self.failure_mode,
            message=(
                f"units of {len(stuck)} of {count_of(hidden, 'hidden layer')} are copies of one another that training "
                f"does not tell apart (bound 0), starting at {first.path}"
            ),
            cause=f"{first.path}: {_why(first)}",
            help=initialization_code(stuck),
            layers=tuple(layer.path for layer in stuck),
            location=first.node.location,
            evidence={"layers": len(stuck), "hidden_layers": hidden, "bound": 0},
        )

    def _note(self, apart: Sequence[Layer]) -> Finding:
        first = apart[0]
        repeated, units = _repeated_rows(first), first.weight.rows.examined if first.weight and first.weight.rows else 0
        more = f", and so in {count_of(len(apart) - 1, 'more layer')}" if len(apart) > 1 else ""
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.NOTE,
            failure_mode=self.failure_mode,
            message=(
                f"{repeated} of {count_of(units, 'unit')} of {first.path} start as copies of others (bound 0){more}"
            ),
            cause=f"{first.path}: rows of its weight are equal; the layers behind it tell them apart",
            help=initialization_code([first]),
            layers=tuple(layer.path for layer in apart),
            location=first.node.location,
            evidence={"copies": repeated, "units": units, "layers": len(apart), "bound": 0},
        )

    @staticmethod
    def bad() -> Graph:
        """Constant hidden layers."""
        return _relu_network("constant(0.02)")

    @staticmethod
    def good() -> Graph:
        """The same network drawn at random."""
        return _relu_network("kaiming_normal")


def _is_hidden(analysis: Analysis, layer: Layer) -> bool:
    """Layers whose units can be copies of one another: two or more that all see the same input."""
    shared_input = layer.node.op in {Op.LINEAR, Op.CONV} and layer.node.attributes.get("groups", 1) == 1
    return shared_input and not layer.head and layer.fan_out > 0 and layer.node.name in analysis.structure.active


def _is_copied(analysis: Analysis, layer: Layer) -> bool:
    weight = layer.weight
    signal = analysis.signal_out_of(layer.node)
    if weight is None or weight.distribution.nonfinite or (signal is not None and signal.units < 2):
        return False
    if layer.bias is not None and not layer.bias.distribution.is_constant:
        return False
    rows = weight.rows
    return weight.distribution.is_constant or (rows is not None and rows.distinct == 1 < rows.examined == rows.count)


def _repeated_rows(layer: Layer) -> int:
    """Number of units that are copies of another where chance does not repeat a row; 0 where it might."""
    rows = layer.weight.rows if layer.weight is not None else None
    if layer.weight is None or rows is None or layer.weight.distribution.is_constant or not rows.count:
        return 0
    law = layer.weight.distribution
    length = law.size // rows.count
    telling = length >= LONG or (length >= SHORT and law.kurtosis > FEW_VALUES)
    return rows.examined - rows.distinct if telling and law.zeros <= SPARSE * law.size and not law.nonfinite else 0


def _outgoing_alike(analysis: Analysis, layer: Layer, copies: set[str]) -> bool:
    """Whether all layers that read a layer weigh its units alike, or are copies again."""
    readers: list[Node] = []
    pending = list(analysis.structure.consumers.get(layer.node.outputs[0], ()))
    while pending:
        node = pending.pop()
        if node.op in {Op.LINEAR, Op.CONV}:
            readers.append(node)
        elif node.op in KEEPING or _is_even_norm(analysis, node):
            for output in node.outputs:
                pending += analysis.structure.consumers.get(output, ())
        else:
            return False
    return bool(readers) and all(node.name in copies or _is_constant(analysis.graph.weight(node)) for node in readers)


def _is_constant(weight: Parameter | None) -> bool:
    return weight is not None and weight.distribution.is_constant and not weight.distribution.nonfinite


def _is_even_norm(analysis: Analysis, node: Node) -> bool:
    """Whether a normalisation treats all units alike."""
    owned = [analysis.graph.parameters[name] for name in node.inputs if name in analysis.graph.parameters]
    return node.op is Op.NORMALIZE and all(parameter.distribution.is_constant for parameter in owned)


def _why(layer: Layer) -> str:
    if layer.weight is None:
        return ""
    law = layer.weight.distribution
    return f"every weight is {law.mean:.3g}" if law.is_constant else f"all {layer.weight.shape[0]} rows are the same"


def _relu_network(init: str) -> Graph:
    b = Builder()
    x = b.x
    for _ in range(3):
        x = b.activation(b.linear(x, 64, init))
    return b.graph(b.linear(x, 10))
