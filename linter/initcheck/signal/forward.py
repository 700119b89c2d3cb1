"""The forward fold: one signal per value, one entry of the ledger per step."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from initcheck.graph import WEIGHTED, Axis, Constant, Graph, Node, Op
from initcheck.signal.axes import channel_axes, input_axes, token_axes
from initcheck.signal.law import Argument, Context, Moments, moments_of
from initcheck.signal.laws import LAWS
from initcheck.signal.laws.opaque import OpaqueLaw
from initcheck.signal.laws.shape import moved_constant
from initcheck.signal.ledger import Contribution, Quantity, contributions
from initcheck.signal.operands import constant_signal
from initcheck.signal.record import replace
from initcheck.signal.segments import Segment, find_segments
from initcheck.signal.settling import Settling
from initcheck.signal.signal import Signal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from initcheck.structure import Structure

__all__ = ["Contribution", "Forward", "Quantity", "Segment", "propagate"]

_OPAQUE = OpaqueLaw()
_TAKE_DATA = frozenset({Op.LINEAR, Op.CONV, Op.CONV_TRANSPOSE})
_LARGEST = float(np.finfo(np.float32).max)
_SUMS_NOTHING = frozenset({Op.ELEMENTWISE, Op.NORMALIZE})
"""Readers that do not sum over units: how their input answers along itself is not asked for."""


@dataclass(frozen=True, slots=True)
class Forward:
    """Result of the fold.

    Attributes:
        signals: Value name -> signal; None where nothing is known.
        ledger: Contributions in order of the graph.
        segments: Segments of the main path.
        guessed: Names of nodes on signals for which no law had an answer: what comes after is assumed or unknown.
    """

    signals: Mapping[str, Signal | None]
    ledger: tuple[Contribution, ...]
    segments: tuple[Segment, ...]
    guessed: frozenset[str]


def propagate(graph: Graph, structure: Structure, *, typical: bool) -> Forward:
    """Fold the laws over a graph.

    Inputs are independent standard normal numbers, integer inputs uniform random ids.

    Args:
        graph: The lowered model.
        structure: Its residual additions, bottlenecks and heads.
        typical: Follow the mean of ln M (what is measured) rather than the mean of M (what the paper speaks of).
    """
    return _Fold(graph, structure, typical=typical).run()


class _Fold:
    """State of one fold; ``run`` is its only method for others."""

    def __init__(self, graph: Graph, structure: Structure, *, typical: bool) -> None:
        self.graph = graph
        self.structure = structure
        skips = {name: residual.skip_index for name, residual in structure.residuals.items()}
        self.context = Context(values=graph.values, typical=typical, skip_index=skips)
        self.signals: dict[str, Signal | None] = {}
        self.ledger: list[Contribution] = []
        self.guessed: set[str] = set()
        self.settling = Settling(graph, structure, self.context)
        # Constants that operations have only moved about.
        self.known: dict[str, Constant] = {}
        # Values that the inputs reach.
        self.dependent = set(graph.inputs)
        # Values that no layer has transformed yet.
        self.raw = set(graph.inputs)
        # Value -> path and weight of the layer it was last summed by.
        self.layer_of: dict[str, tuple[str, str]] = {}

    def run(self) -> Forward:
        """Visit inputs, then nodes in order."""
        for name in self.graph.inputs:
            self.signals[name] = self._input(name)
        for node in self.graph.nodes:
            self._visit(node)
        segments = find_segments(self.graph, self.structure, self.signals, self.context.segments, self.ledger)
        return Forward(self.signals, tuple(self.ledger), segments, frozenset(self.guessed))

    def _input(self, name: str) -> Signal | None:
        value = self.graph.values[name]
        if not value.is_float or value.shape is None:
            return None
        axes = input_axes(self.graph, name, self.structure.consumers)
        elements = math.prod(n for n, axis in zip(value.shape, axes, strict=True) if axis is not Axis.BATCH)
        return self.context.create(
            Moments(1.0, 0.0, 0.0, 0.0, 1.0),
            self.context.root(1.0),
            shape=value.shape,
            axes=axes,
            scale_response={self.context.next_index(): 1.0 / math.sqrt(max(elements, 1))},
            realized=True,
        )

    def _argument(self, name: str) -> Argument:
        if self.signals.get(name) is not None:
            return self.signals[name]
        if name in self.known:
            return self.known[name]
        if name in self.signals:
            return None
        return self.graph.parameters.get(name) or self.graph.constants.get(name)

    def _visit(self, node: Node) -> None:
        args = [self._argument(name) for name in node.inputs]
        if node.op in _TAKE_DATA and args and isinstance(args[0], Constant):
            args[0] = self._valued(node, args[0])
        inputs = [arg for arg in args if isinstance(arg, Signal)]
        outputs = self._answer(node, args)
        if args and isinstance(args[0], Constant) and node.outputs:
            moved = moved_constant(node, args[0], self.context.shape(node))
            if moved is not None:
                self.known[node.outputs[0]] = moved
        if self._unanswered(node, inputs, outputs):
            self.guessed.add(node.name)
            outputs = _OPAQUE.forward(node, args, self.context)
            if any(name in self.dependent and self.signals[name] is None for name in node.inputs):
                outputs = tuple(x if x is None else self._answering(x, node) for x in outputs)
        if not self.dependent.isdisjoint(node.inputs):
            self.dependent.update(node.outputs)
        layer = (node.path or node.name, node.inputs[1]) if node.op in WEIGHTED else self._layer(node)
        assumed = any(x.assumed for x in inputs)
        raw = node.op not in WEIGHTED and all(
            name in self.raw for name, arg in zip(node.inputs, args, strict=True) if isinstance(arg, Signal)
        )
        for name, output in zip(node.outputs, outputs, strict=False):
            self.layer_of[name] = layer
            if output is None:
                self.signals[name] = None
                continue
            signal = replace(output, assumed=True) if assumed and not self._resets(output, inputs) else output
            if raw:
                self.raw.add(name)
                signal = _started_anew(signal)
            settled = self._aligned(name, self._settled(name, signal, inputs, node))
            self._record(node, inputs, signal, settled)
            self.signals[name] = settled

    def _answer(self, node: Node, args: list[Argument]) -> tuple[Signal | None, ...]:
        """What the law says, unless operations between activations have led a guess out of every range."""
        outputs = LAWS[node.op].forward(node, args, self.context)
        guess = node.op not in WEIGHTED and any(isinstance(arg, Signal) and arg.assumed for arg in args)
        return (None,) * len(outputs) if guess and any(map(_ran_away, outputs)) else outputs

    def _valued(self, node: Node, constant: Constant) -> Argument:
        """The signal of a constant that a layer transforms, for all who ask for it from now on."""
        rank = len(constant.shape)
        axes = token_axes(rank) if node.op is Op.LINEAR else channel_axes(rank)
        signal = constant_signal(constant, axes, self.context)
        if signal is None:
            return constant
        if node.inputs[0] in self.signals:
            self.signals[node.inputs[0]] = signal
        return signal

    def _unanswered(self, node: Node, inputs: list[Signal], outputs: tuple[Signal | None, ...]) -> bool:
        if not inputs or not node.outputs:
            return False
        values = [self.graph.values.get(name) for name in node.outputs]
        if node.op is Op.OPAQUE:
            return any(value is None or value.is_float for value in values)
        missing = not outputs or outputs[0] is None
        return missing and values[0] is not None and values[0].is_float

    def _answering(self, signal: Signal, node: Node) -> Signal:
        """A guess beside an unknown value that sees the input: that its own operand does not see it decides nothing."""
        if signal.gain > 0.0 or signal.mean_square <= 0.0:
            return signal
        started = self.context.create(
            replace(moments_of(signal), perturbation=signal.mean_square), signal, shape=signal.shape, axes=signal.axes
        )
        segment = self.context.segments.open(-1, node.name)
        square = signal.mean_square
        return replace(started, segment=segment, reference=square, start_mean_square=square, growth=0.0, assumed=True)

    def _layer(self, node: Node) -> tuple[str, str]:
        known = (self.layer_of[name] for name in node.inputs if name in self.layer_of)
        return next(known, (node.path or node.name, ""))

    @staticmethod
    def _resets(output: Signal, inputs: list[Signal]) -> bool:
        return all(output.segment != x.segment for x in inputs)

    def _settled(self, name: str, signal: Signal, inputs: list[Signal], node: Node) -> Signal:
        """The signal with the noise of its units; data are given and have none."""
        if name in self.raw:
            return replace(signal, own_noise={})
        path, weight = self.layer_of[name]
        if all(x.source.index != signal.source.index for x in inputs):
            signal = self.settling.rooted(name, signal, inputs, node, weight, path)
        return self.settling.settled(name, signal, node, weight, path)

    def _aligned(self, name: str, signal: Signal) -> Signal:
        """Name what the response has along the value by chance, and merge what no other living value shares."""
        if name in self.structure.bottlenecks and len(signal.source.scale_response) > 1:
            merged = {self.context.next_index(): math.sqrt(signal.source.response_power)}
            signal = replace(signal, source=replace(signal.source, scale_response=merged, shift_response={}))
        readers = self.structure.consumers.get(name, ())
        if signal.own_response is not None or all(reader.op in _SUMS_NOTHING for reader in readers):
            return signal
        return replace(signal, own_response={self.context.next_index(): math.sqrt(signal.chance_response())})

    def _record(self, node: Node, inputs: list[Signal], result: Signal, settled: Signal) -> None:
        """Entries of a step: gains of the value as later steps see it, noises before they are merged."""
        residual = node.name in self.structure.residuals
        self.ledger += contributions(self.graph, node, inputs, settled, residual=residual)
        if any(x.source.index == result.source.index for x in inputs):
            return
        inherited = set[int]().union(*(x.source.noise for x in inputs))
        # Length and coherence of one layer's units are one entry.
        added: defaultdict[tuple[str, str], float] = defaultdict(float)
        nodes: dict[tuple[str, str], str] = {}
        for index, coefficient in result.source.noise.items():
            if coefficient * coefficient < 1e-9 or index in inherited:
                continue
            owner = self.settling.owners.get(index, (node.name, node.path or node.name, "inner product"))
            added[owner[1:]] += coefficient * coefficient
            nodes.setdefault(owner[1:], owner[0])
        self.ledger += [
            Contribution(nodes[path, reason], path, Quantity.FLUCTUATION, amount, reason, result.segment)
            for (path, reason), amount in added.items()
        ]


def _ran_away(signal: Signal | None) -> bool:
    """Whether the mean square of a value has left the range of float32."""
    return signal is not None and not signal.mean_square < _LARGEST


def _started_anew(signal: Signal) -> Signal:
    """A value before the first layer as the start of its segment.

    Scaling data to the range that the layers expect (``x / 255``) is no part of what the weights do to it, and standard
    normal inputs stand for data of any scale.
    """
    if signal.gain <= 0.0 or signal.mean_square <= 0.0:
        return signal
    return replace(signal, reference=signal.gain, start_mean_square=signal.mean_square)
