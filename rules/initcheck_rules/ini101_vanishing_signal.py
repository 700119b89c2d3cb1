"""INI101: the signal dies out on its way through the network."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from initcheck import Bounds, Builder, FailureMode, Finding, Need, Optimizer, Severity, is_flat_at_zero
from initcheck_rules.remedy import initialization_code
from initcheck_rules.steps import Step, blamed, cause_of, steps_of, worst_of
from initcheck_rules.switched_off import is_switched_off
from initcheck_rules.variance import SIGNAL_GAIN, capped, segment_name, signal_loss
from initcheck_rules.wording import count_of, power_of_ten
from initcheck_rules.zeros import scales_by_zero

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from initcheck import Analysis, Graph, Layer, Segment

__all__ = ["VanishingSignal"]


@dataclass(frozen=True, slots=True)
class VanishingSignal:
    """The signal dies out on its way through the network.

    What it checks:
        The mean-square gain of a small perturbation of the input, accumulated from one normalisation to the next
        along the main path, in expectation over the weights. It warns from 10^-4 and is an error from 10^-6 (Adam:
        10^-11 and 10^-13).

    Why it fails:
        Each layer multiplies the perturbation by fan_in · E[w²] · E[f'²]. Below one, the product dies exponentially
        with depth: the output no longer depends on the input, and gradients, which take the same product backwards,
        vanish. Hanin and Rolnick (2018) call it failure mode 1 and show E[M_d] = κ^d M_0 for weights of variance κ ·
        2/fan_in. The length of the activations can look healthy all the while, because biases hold it up: so it is
        with PyTorch's default.

    Example:
        ``nn.Sequential(*[m for _ in range(20) for m in (nn.Linear(64, 64), nn.ReLU())])``: the default of nn.Linear
        draws with variance 1/(3 fan_in), ReLU needs 2/fan_in, and 10^-15.6 of the signal is left after twenty layers.

    Instead:
        Draw with the variance that the activation needs: ``nn.init.kaiming_normal_(layer.weight,
        nonlinearity="relu")`` and zero biases; or add skip connections or normalisation, which end the product.

    Limits:
        The bounds assume momentum SGD with the best of several rates, or Adam (``--optimizer adam``); they say when
        training does not start within a few hundred steps, not that it never would. A single weight that is far too
        small is left out of the sum: its own gradient does not contain it, and it recovers; so does an embedding beside
        larger positions. The layers of a plain network inside one long skip are not on the main path and are not
        judged, nor what is done to the data before the first layer or to the output behind the head, since their range
        is not known: ``x * 1e-4`` in front of PyTorch's default does stop SGD.

    References:
        Hanin and Rolnick, How to Start Training (arXiv 1803.01719), theorem on FM1. He et al., Delving Deep into
        Rectifiers (arXiv 1502.01852). Schoenholz et al., Deep Information Propagation (arXiv 1611.01232), for χ.
    """

    code: ClassVar[str] = "INI101"
    name: ClassVar[str] = "vanishing-signal"
    failure_mode: ClassVar[FailureMode] = FailureMode.VANISHING
    severity: ClassVar[Severity] = Severity.ERROR
    needs: ClassVar[frozenset[Need]] = frozenset({Need.GRAPH, Need.SIGNAL, Need.INITIALIZATION})
    subsumes: ClassVar[frozenset[str]] = frozenset({"INI105", "INI106", "INI405", "INI501", "INI503"})

    bounds: Mapping[Optimizer, Bounds] = field(
        default_factory=lambda: SIGNAL_GAIN, metadata={"doc": "decades by which the mean square of the signal shrinks"}
    )

    def check(self, analysis: Analysis) -> Iterator[Finding]:
        """One finding per segment that shrinks the signal too far."""
        bounds = self.bounds[analysis.optimizer]
        off = next((layer for layer in analysis.layers if is_switched_off(analysis, layer)), None)
        if off is not None:
            yield self._switched_off(analysis, off)
            return
        for segment in analysis.segments:
            if segment.assumed and math.isinf(segment.signal_gain):
                # Exactly zero is a matter of proof, which a guess is not; INI901 says what was not understood.
                continue
            severity = capped(analysis, segment, bounds.judge(signal_loss(segment), segment.uncertainty))
            guilty = blamed(steps_of(analysis, segment, with_head=False), -1.0)
            if severity is not Severity.OFF and not _is_anothers(analysis, segment, guilty):
                yield self._finding(segment, severity, bounds, guilty)

    def _switched_off(self, analysis: Analysis, layer: Layer) -> Finding:
        signal = analysis.signal_out_of(layer.node)
        function = layer.activation.attributes["function"] if layer.activation else ""
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.ERROR,
            failure_mode=FailureMode.DEAD,
            message=f"signal shrinks to exactly zero at {layer.path}: the output does not depend on the input",
            cause=f"{layer.path}: no input is negative, no weight or bias is positive, so {function} never switches on",
            help=initialization_code([layer]),
            layers=(layer.path,),
            location=layer.node.location,
            evidence={"log10_signal_gain": None, "bound": -self.bounds[analysis.optimizer].error},
            segment=f"segment {signal.segment}" if signal is not None else "",
            assumed=signal.assumed if signal is not None else False,
        )

    def _finding(self, segment: Segment, severity: Severity, bounds: Bounds, guilty: Sequence[Step]) -> Finding:
        dead = math.isinf(segment.signal_gain)
        reached = bounds.error if signal_loss(segment) - segment.uncertainty >= bounds.error else bounds.warning
        start = guilty[0].path if guilty else segment.first_layer
        if dead:
            message = f"signal shrinks to exactly zero at {start}: the output does not depend on the input"
        else:
            left, over = power_of_ten(segment.signal_gain), count_of(len(guilty), "layer")
            bound = power_of_ten(-reached)
            message = f"signal shrinks to {left} of itself over {over} (bound {bound}), starting at {start}"
        layers = [step.layer for step in guilty if step.layer is not None]
        return Finding(
            code=self.code,
            name=self.name,
            severity=severity,
            failure_mode=_failure_mode(guilty),
            message=message,
            cause=cause_of(guilty, -1.0),
            help=initialization_code(layers),
            layers=tuple(step.path for step in guilty) or (segment.first_layer,),
            location=layers[0].node.location if layers else None,
            evidence={
                "log10_signal_gain": None if dead else segment.signal_gain,
                "bound": -reached,
                "uncertainty": segment.uncertainty,
                "layers": len(guilty),
            },
            segment=segment_name(segment),
            assumed=segment.assumed,
        )

    @staticmethod
    def bad() -> Graph:
        """PyTorch's default in a deep ReLU network."""
        return _relu_network("pytorch_default", "uniform(±1/√fan_in)")

    @staticmethod
    def good() -> Graph:
        """The same network with the variance that ReLU needs."""
        return _relu_network("kaiming_normal", "zeros")


def _is_anothers(analysis: Analysis, segment: Segment, guilty: Sequence[Step]) -> bool:
    """Whether the signal ends at zeros, which INI402 judges by whether gradients can mend them, or at nan."""
    if any(node.name == segment.start and scales_by_zero(analysis, node) for node in analysis.graph.nodes):
        return True
    if not guilty:
        return False
    layer = guilty[0].layer
    if layer is None or layer.weight is None:
        return False
    law = layer.weight.distribution
    return law.is_zero or law.nonfinite == law.size


def _failure_mode(guilty: Sequence[Step]) -> FailureMode:
    """Dead or saturated where the activation of a single layer is to blame for most of the loss, else vanishing."""
    worst = worst_of(guilty[0], -1.0) if len(guilty) == 1 else None
    layer = guilty[0].layer if guilty else None
    activation = layer.activation if layer else None
    if worst is None or activation is None or worst.node != activation.name:
        return FailureMode.VANISHING
    flat = is_flat_at_zero(str(activation.attributes["function"]), activation.attributes.get("arguments"))
    return FailureMode.DEAD if flat else FailureMode.SATURATION


def _relu_network(init: str, bias: str) -> Graph:
    b = Builder()
    x = b.x
    for _ in range(20):
        x = b.activation(b.linear(x, 64, init, bias=bias))
    return b.graph(b.linear(x, 10, init, bias=bias))
