"""All that a rule may look at: graph, structure, signals and the ledger, each computed once and only when asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING

from initcheck.graph import WEIGHTED, Graph, Node, Op, Parameter
from initcheck.rule import Need
from initcheck.structure import Structure, find_structure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from initcheck.attention import AttentionFacts
    from initcheck.distribution import Distribution
    from initcheck.gradient_path import GradientStep
    from initcheck.report import LayerRow, Summary
    from initcheck.signal.backward import Backward
    from initcheck.signal.forward import Contribution, Forward, Quantity, Segment
    from initcheck.signal.gradient import Gradient
    from initcheck.signal.signal import Signal
    from initcheck.trained import TrainedEvidence

__all__ = ["Analysis", "Layer", "Optimizer"]


class Optimizer(StrEnum):
    """The trainer that bounds assume."""

    SGD = "sgd"
    ADAM = "adam"


@dataclass(frozen=True, slots=True)
class Layer:
    """A weighted layer as rules see it.

    Attributes:
        node: Its node.
        path: Module path.
        kind: What people call it.
        weight: Its weight; None when the weight is computed or the operation is opaque.
        bias: Its bias, if any.
        fan_in: Products that one output sums; 0 if unknown.
        fan_out: Outputs that one input feeds; 0 if unknown.
        head: Whether no weighted layer comes after it.
        on_branch: Name of the residual addition whose branch it lies on, empty on the main path.
        understood: False for an opaque operation that owns a weight.
        activation: Node of the nonlinearity that reads its output directly, None if none does.
    """

    node: Node
    path: str
    kind: str
    weight: Parameter | None
    bias: Parameter | None
    fan_in: int
    fan_out: int
    head: bool
    on_branch: str
    understood: bool
    activation: Node | None


class Analysis:
    """What initcheck works out about one graph.

    Args:
        graph: The lowered model.
        optimizer: Trainer whose bounds apply.
        assume_init: Scheme to judge the architecture by instead of its own weights, empty for its own.
        dtype: Element type that sums are computed in, empty for what the model declares.
    """

    def __init__(
        self, graph: Graph, *, optimizer: Optimizer = Optimizer.SGD, assume_init: str = "", dtype: str = ""
    ) -> None:
        if assume_init:
            from initcheck.assume import with_scheme

            graph = with_scheme(graph, assume_init)
        self.graph = graph
        self.optimizer = optimizer
        self.assume_init = assume_init
        self.dtype = dtype

    @cached_property
    def structure(self) -> Structure:
        """Residual additions, branches, heads."""
        return find_structure(self.graph)

    @cached_property
    def forward(self) -> Forward:
        """Mean-field fold (the expectation the paper speaks of): FM1 rules read it."""
        from initcheck.signal.forward import propagate

        return propagate(self.graph, self.structure, typical=False)

    @cached_property
    def typical(self) -> Forward:
        """Typical-path fold (the mean of ln M, what a user measures): lengths to show and FM2 rules read it."""
        from initcheck.signal.forward import propagate

        return propagate(self.graph, self.structure, typical=True)

    @cached_property
    def backward(self) -> Backward:
        """Gradients in mean field, from an independent standard normal cotangent at the main output."""
        from initcheck.signal.backward import propagate_back

        return propagate_back(self.graph, self.structure, self.forward, typical=False)

    @cached_property
    def gradient_path(self) -> tuple[GradientStep, ...]:
        """The mean-field gradient along the main path, from the first layer to the last hidden one."""
        from initcheck.gradient_path import gradient_path

        return gradient_path(self.graph, self.structure, self.forward.signals, self.backward)

    @cached_property
    def attention(self) -> tuple[AttentionFacts, ...]:
        """Every attention on the way to the main output whose logits are known, in order (mean field)."""
        from initcheck.attention import find_attention

        return find_attention(self.graph, self.structure, self.forward)

    @cached_property
    def typical_backward(self) -> Backward:
        """Gradients on the typical path (the mean of their logarithm, what a user measures)."""
        from initcheck.signal.backward import propagate_back

        return propagate_back(self.graph, self.structure, self.typical, typical=True)

    @cached_property
    def trained(self) -> TrainedEvidence | None:
        """Evidence that weights are trained, None when they look initial or a scheme is assumed."""
        from initcheck.trained import find_trained

        return None if self.assume_init else find_trained(self)

    @cached_property
    def stuck(self) -> frozenset[str]:
        """Names of all-zero parameters that no gradient ever reaches, because of other zeros."""
        from initcheck.reach import find_stuck

        return find_stuck(self.graph)

    def with_laws(self, laws: Mapping[str, Distribution]) -> Analysis:
        """The same model with some parameters drawn by other laws: what would be if they were.

        Args:
            laws: Name of a parameter -> law of its elements, which are then not known one by one.
        """
        changed = {
            name: replace(self.graph.parameters[name], distribution=law, rows=None, values=None, content="")
            for name, law in laws.items()
        }
        graph = replace(self.graph, parameters={**self.graph.parameters, **changed})
        other = Analysis(graph, optimizer=self.optimizer, dtype=self.dtype)
        other.structure = self.structure
        return other

    def missing_needs(self) -> Mapping[Need, str]:
        """Needs that cannot be met for this model, with the reason to tell the user."""
        from initcheck.report import FILE_HAS_NO_PAST

        missing: dict[Need, str] = {}
        if self.trained is not None:
            missing[Need.INITIALIZATION] = f"{self.trained.reason}; --assume-init judges the architecture alone"
        if self.assume_init:
            missing[Need.CONSTRUCTION] = "--assume-init judges the architecture, however the code initialises it"
        elif self.graph.construction is None:
            missing[Need.CONSTRUCTION] = FILE_HAS_NO_PAST
        return missing

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """Every weighted layer in order, opaque operations with a weight of two or more axes included."""
        return tuple(layer for node in self.graph.nodes if (layer := self._layer(node)) is not None)

    @cached_property
    def segments(self) -> tuple[Segment, ...]:
        """Stretches between normalisations on the way to the main output, from the mean-field fold.

        Near an unstable fixed point (GELU or SiLU with He) what finite width takes off a length is amplified by every
        later layer, and expectation and typical path part: their distance is part of the interval.
        """
        from initcheck.signal.segments import widened

        return widened(self.forward.segments, self.typical.segments, self.forward.ledger)

    def explain(self, segment: int, quantity: Quantity) -> tuple[Contribution, ...]:
        """Contributions of a segment to one quantity, in order of the graph."""
        return tuple(c for c in self.forward.ledger if c.segment == segment and c.quantity is quantity)

    def signal_into(self, node: Node) -> Signal | None:
        """Mean-field signal of a node's first input, None when unknown or not an activation."""
        return self.forward.signals.get(node.inputs[0]) if node.inputs else None

    def signal_out_of(self, node: Node) -> Signal | None:
        """Mean-field signal of a node's first output, None when unknown."""
        return self.forward.signals.get(node.outputs[0]) if node.outputs else None

    def gradient_out_of(self, node: Node) -> Gradient | None:
        """Mean-field gradient at a node's first output, None where none is known to arrive."""
        return self.backward.gradients.get(node.outputs[0]) if node.outputs else None

    @property
    def weighted_layers(self) -> int:
        """Number of weighted layers."""
        return len(self.layers)

    @property
    def analysed_layers(self) -> int:
        """Number of weighted layers whose operation was understood and whose output signal is known."""
        return sum(layer.understood and self.signal_out_of(layer.node) is not None for layer in self.layers)

    def layer_rows(self) -> tuple[LayerRow, ...]:
        """The layer table."""
        from initcheck.table import layer_rows

        return layer_rows(self)

    def summary(self) -> Summary:
        """The numbers of the model in one line."""
        from initcheck.table import summary

        return summary(self)

    def _layer(self, node: Node) -> Layer | None:
        opaque_weight = None
        if node.op is Op.OPAQUE:
            weights = [self.graph.parameters[name] for name in node.inputs if name in self.graph.parameters]
            opaque_weight = next((weight for weight in weights if len(weight.shape) >= 2), None)
            if opaque_weight is None:
                return None
        elif node.op not in WEIGHTED or self.graph.weight(node) is None:
            return None
        readers = self.structure.consumers.get(node.outputs[0], ()) if node.outputs else ()
        return Layer(
            node=node,
            path=node.path or node.name,
            kind=node.kind or node.op.value,
            weight=self.graph.weight(node) if node.op is not Op.OPAQUE else opaque_weight,
            bias=self.graph.bias(node),
            fan_in=int(node.attributes.get("fan_in", 0)),
            fan_out=int(node.attributes.get("fan_out", 0)),
            head=node.name in self.structure.heads,
            on_branch=self.structure.on_branch.get(node.name, ""),
            understood=node.op is not Op.OPAQUE,
            activation=next((reader for reader in readers if reader.op is Op.ELEMENTWISE), None),
        )


def decades(ratio: float) -> float:
    """log10 of a ratio, minus infinity for zero."""
    return math.log10(ratio) if ratio > 0.0 else -math.inf
