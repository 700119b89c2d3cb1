"""INI404: a bias or shift switches units off."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from initcheck import Builder, FailureMode, Family, Finding, Need, Op, Severity, switched_off_below
from initcheck_rules.wording import activation_name, count_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from initcheck import Analysis, Graph, Node, Parameter

__all__ = ["DeadUnits"]

SELDOM, NEVER = 1e-3, 1e-6
"""Probability of being on for an input: below the first a unit meets a gradient once in thirty batches of 32, below the
second not in an epoch of a large data set."""

MOST = 0.5
"""Share of the units of a layer from which that is reported."""

_HANDED_ON = frozenset({Op.IDENTITY, Op.RESHAPE, Op.TRANSPOSE, Op.EXPAND, Op.ELEMENTWISE, Op.SLICE})

NEARLY_ALL = 0.99
"""Share of the units without which a layer passes nothing."""


@dataclass(frozen=True, slots=True)
class _Shift:
    """A parameter added right before an activation.

    Attributes:
        node: What adds it.
        parameter: The parameter.
        kind: What people call it.
        factor: Number that it is multiplied by, -1 where it is subtracted.
    """

    node: Node
    parameter: Parameter
    kind: str
    factor: float = 1.0


@dataclass(frozen=True, slots=True)
class _Off:
    """An activation most of whose units are off.

    Attributes:
        node: The activation.
        shift: What switches them off.
        share: Share of units that are off.
        passed: Share of its inputs that the median unit passes.
        spread: Standard deviation of what the shift is added to.
        certain: Whether nothing passes and no path leads around.
    """

    node: Node
    shift: _Shift
    share: float
    passed: float
    spread: float
    certain: bool

    @property
    def path(self) -> str:
        return self.shift.node.path or self.shift.node.name


@dataclass(frozen=True, slots=True)
class DeadUnits:
    """A bias or shift switches units off.

    What it checks:
        Biases of layers, shifts of normalisations and added parameters right before an activation with a flat side
        (ReLU, GELU, SiLU and the like): for each unit the probability P(pre-activation > flat side), given its own
        shift and the predicted spread of the rest. A warning where more than half of the units are on for less than one
        input in a thousand; an error where nearly all are on for less than one in a million and no path leads around
        them.

    Why it fails:
        On its flat side an activation passes neither signal nor gradient: the unit's weights get none until other
        layers move its pre-activation back by chance (Lu et al. 2019 on dying ReLU).

    Example:
        ``nn.init.constant_(layer.bias, -10.0)`` before ``nn.ReLU()``.

    Instead:
        ``nn.init.zeros_(layer.bias)``, or a shift smaller than the spread of the pre-activations.

    Limits:
        Gates (sigmoid) may start closed and are not meant, nor are step sizes and rates (softplus before a product);
        saturation of bounded functions is another matter. Where the sign of the weights, not a shift, keeps units off,
        INI101 and INI104 say so.

    References:
        Lu et al., Dying ReLU and Initialization: Theory and Numerical Examples (arXiv 1903.06733). Glorot et al., Deep
        Sparse Rectifier Neural Networks (2011), on units that are off.
    """

    code: ClassVar[str] = "INI404"
    name: ClassVar[str] = "dead-units"
    failure_mode: ClassVar[FailureMode] = FailureMode.DEAD
    severity: ClassVar[Severity] = Severity.ERROR
    needs: ClassVar[frozenset[Need]] = frozenset({Need.GRAPH, Need.SIGNAL, Need.INITIALIZATION})
    subsumes: ClassVar[frozenset[str]] = frozenset({"INI101", "INI301"})

    def check(self, analysis: Analysis) -> Iterator[Finding]:
        """At most one finding for all layers most of whose units are off."""
        found = []
        for node in analysis.graph.nodes:
            if node.op is not Op.ELEMENTWISE or node.name not in analysis.structure.active:
                continue
            if _is_rate(analysis, node):
                continue
            edge = switched_off_below(str(node.attributes["function"]), node.attributes.get("arguments"))
            shift = None if math.isnan(edge) else _shift_before(analysis, node)
            off = _switched_off(analysis, node, shift, edge) if shift is not None else None
            if off is not None:
                found.append(off)
        if found:
            yield self._finding(analysis, found)

    def _finding(self, analysis: Analysis, found: Sequence[_Off]) -> Finding:
        first = next((off for off in found if off.certain), found[0])
        signal = analysis.signal_into(first.node)
        function = activation_name(str(first.node.attributes["function"]))
        mean = first.shift.parameter.distribution.mean
        layers = tuple(dict.fromkeys(off.path for off in (first, *found)))
        more = f", and so in {count_of(len(layers) - 1, 'more layer')}" if len(layers) > 1 else ""
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.ERROR if first.certain else Severity.WARNING,
            failure_mode=self.failure_mode,
            message=(
                f"{first.share:.0%} of the units of {first.path} are off: {function} passes {first.passed:.1g} of "
                f"their inputs (bound {SELDOM:g}){more}"
            ),
            cause=(
                f"{first.shift.kind} {first.shift.parameter.name} has mean {mean:.3g}, "
                f"what it is added to varies by ±{first.spread:.3g}"
            ),
            help=_remedy(first.shift),
            layers=layers,
            location=first.shift.node.location,
            evidence={"units_off": first.share, "passed": first.passed, "bound": SELDOM, "layers": len(layers)},
            # Where nothing passes at all, whatever else is said of the signal of this segment follows from it.
            segment=f"segment {signal.segment}" if signal is not None and first.certain else "",
            assumed=signal.assumed if signal is not None else False,
        )

    @staticmethod
    def bad() -> Graph:
        """A bias of -10 before a ReLU."""
        return _relu_network("constant(-10)")

    @staticmethod
    def good() -> Graph:
        """The same network with a bias of zero."""
        return _relu_network("zeros")


def _is_rate(analysis: Analysis, node: Node) -> bool:
    """Whether a strictly positive function only scales other values: a step size, a rate of decay.

    On its flat side softplus is exp: small, but it answers to a change of its input by the same share as anywhere.
    """
    if node.attributes["function"] != "softplus":
        return False
    readers = list(analysis.structure.consumers.get(node.outputs[0], ()))
    while readers:
        reader = readers.pop()
        if reader.op in _HANDED_ON:
            readers.extend(analysis.structure.consumers.get(reader.outputs[0], ()))
        elif reader.op is not Op.MUL:
            return False
    return True


def _switched_off(analysis: Analysis, node: Node, shift: _Shift, edge: float) -> _Off | None:
    """What is off at an activation because of a shift; None where most units are on, or would be off without it."""
    x = analysis.signal_into(node)
    law, factor = shift.parameter.distribution, shift.factor
    if x is None or law.nonfinite or law.is_zero:
        return None
    rest = x.mean - factor * law.effective_mean
    spread = math.sqrt(max(x.variance - factor * factor * law.variance, 0.0))
    if spread == 0.0 or _above(rest, spread, edge) < SELDOM:
        return None
    on = np.array([_above(rest + factor * float(unit), spread, edge) for unit in _units(shift.parameter)])
    share = float(np.mean(on < SELDOM))
    if share <= MOST:
        return None
    certain = float(np.mean(on < NEVER)) >= NEARLY_ALL and node.outputs[0] in analysis.structure.bottlenecks
    return _Off(node, shift, share, float(np.median(on)), spread, certain)


def _shift_before(analysis: Analysis, node: Node) -> _Shift | None:
    """The parameter that is added last before an activation; None where there is none."""
    before = analysis.structure.producer.get(node.inputs[0])
    if before is None:
        return None
    parameters = analysis.graph.parameters
    if before.op in {Op.LINEAR, Op.CONV, Op.CONV_TRANSPOSE}:
        bias = analysis.graph.bias(before)
        factor = float(before.attributes.get("bias_scale", 1.0))
        return None if bias is None else _Shift(before, bias, "the bias", factor)
    if before.op is Op.NORMALIZE and len(before.inputs) > 2 and before.inputs[2] in parameters:
        return _Shift(before, parameters[before.inputs[2]], "the shift")
    if before.op in {Op.ADD, Op.SUB}:
        added = next((parameters[name] for name in before.inputs[before.op is Op.SUB :] if name in parameters), None)
        factor = -1.0 if before.op is Op.SUB else 1.0
        return None if added is None else _Shift(before, added, "the parameter", factor)
    return None


def _units(parameter: Parameter) -> npt.NDArray[np.float64]:
    """Shifts of the units: their own, or evenly spaced quantiles of the law they are drawn by."""
    if parameter.values is not None:
        return np.asarray(parameter.values, np.float64).reshape(-1)
    law = parameter.distribution
    levels = (np.arange(64) + 0.5) / 64.0
    if law.is_constant or law.family is Family.UNIFORM:
        return np.asarray(law.minimum + (law.maximum - law.minimum) * levels)
    grid = np.linspace(-4.0, 4.0, 401)
    return np.asarray(law.mean + law.std * np.interp(levels, [_above(0.0, 1.0, -z) for z in grid], grid))


def _above(mean: float, spread: float, edge: float) -> float:
    """P(x > edge) of a normal x."""
    return 0.5 * math.erfc((edge - mean) / spread / math.sqrt(2.0))


def _remedy(shift: _Shift) -> str:
    if shift.node.op in {Op.ADD, Op.SUB}:
        return f"nn.init.zeros_({shift.parameter.name})"
    return "nn.init.zeros_(layer.bias)"


def _relu_network(bias: str) -> Graph:
    b = Builder()
    x = b.activation(b.linear(b.x, 64))
    x = b.activation(b.linear(x, 64, bias=bias))
    return b.graph(b.linear(b.activation(b.linear(x, 64)), 10))
