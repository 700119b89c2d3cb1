"""LSTM, GRU and simple recurrent layers, one node per layer of a stack."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from initcheck.graph import Op, Value
from initcheck.sources.torch.lowering.bound import Bound, NotUnderstoodError
from initcheck.sources.torch.lowering.known import Activation

if TYPE_CHECKING:
    from collections.abc import Callable

    from initcheck.sources.torch.lowering.builder import Builder

__all__ = ["HANDLERS"]


def _recurrent(cell: str, activation: str) -> Callable[[Bound, Builder], None]:
    def lower(call: Bound, build: Builder) -> None:
        if "batch_first" in call.arguments:
            _lower(call, build, cell, activation, call["input"], call.result, call.output)
            return
        padded = build.packed.get(call["data"].name) if isinstance(call["data"], Activation) else None
        if padded is None:
            # A packed sequence has lost its axes.
            raise NotUnderstoodError
        width = (call.result.shape or ())[-1:]
        sequence = Value((*(build.values[padded].shape or ())[:-1], *width), call.result.dtype)
        target = build.fresh(f"{call.output}:padded")
        _lower(call, build, cell, activation, Activation(padded), sequence, target)
        build.define(target, sequence)
        if math.prod(sequence.shape or ()) == math.prod(call.result.shape or ()):
            build.emit(call, Op.RESHAPE, (target,), (call.output,))
        else:
            build.emit(call, Op.SLICE, (target,), (call.output,), layer="slice", axes=(0, 1), dropped=(1,), starts=None)
        build.packed[call.output] = target

    return lower


def _pack(call: Bound, build: Builder) -> None:
    """A packed sequence, beside which the padded one is kept: every sample is judged as the longest one."""
    x = build.activation(call, call["input"])
    whole = math.prod(build.values[x].shape or ()) == math.prod(call.result.shape or ())
    if whole:
        build.emit(call, Op.RESHAPE, (x,), (call.output,))
    else:
        build.emit(call, Op.SLICE, (x,), (call.output,), layer="slice", axes=(0, 1), dropped=(1,), starts=None)
    build.packed[call.output] = x


def _unpack(call: Bound, build: Builder) -> None:
    data = call["data"]
    padded = build.packed.get(data.name) if isinstance(data, Activation) else None
    if padded is None or build.values[padded].shape != call.result.shape:
        raise NotUnderstoodError
    build.emit(call, Op.IDENTITY, (padded,), (call.output,))


def _lower(call: Bound, build: Builder, cell: str, activation: str, x: Any, sequence: Value, target: str) -> None:
    states = call["hx"] if isinstance(call["hx"], (list, tuple)) else (call["hx"],)
    directions = 2 if call["bidirectional"] else 1
    has_bias, count = bool(call["has_biases"]), int(call["num_layers"])
    weights = list(call["params"])
    per_direction = len(weights) // (count * directions)
    for layer in range(count):
        at = layer * directions * per_direction
        group = weights[at : at + directions * per_direction]
        hidden = build.shape(group[1])[-1]
        fan_in = build.shape(group[0])[-1]
        rows = build.shape(group[0])[0]
        last = layer == count - 1
        source = build.activation(call, x)
        first = build.weight(group[0], out_axis=0, fans=(float(hidden), float(rows)))
        names = [
            source,
            first,
            build.weight(group[1], out_axis=0, fans=(float(hidden), float(rows))),
            *(build.weight(group[i], fans=(float(hidden), float(rows))) if has_bias else "" for i in (2, 3)),
        ]
        names += [build.operand(state) for state in states if isinstance(state, Activation)]
        outputs = (target,) if last else (build.temporary(call)[0],)
        extra = [output for output in call.call.outputs[1:] if output] if last else []
        build.emit(
            call,
            Op.RECURRENT,
            names,
            (*outputs, *extra),
            layer=cell,
            weight=first,
            result=None if last else sequence,
            cell=cell,
            hidden=hidden,
            directions=directions,
            activation=activation,
            fan_in=fan_in,
            fan_out=rows,
        )
        name = outputs[0]
        x = Activation(name)
        if not last and call["train"] and float(call["dropout"]):
            dropped, value = build.temporary(call, Value(sequence.shape, sequence.dtype))
            build.emit(call, Op.DROPOUT, (name,), (dropped,), result=value, rate=float(call["dropout"]), training=True)
            x = Activation(dropped)


def _cell(cell: str, activation: str) -> Callable[[Bound, Builder], None]:
    """One step of a recurrent layer."""

    def lower(call: Bound, build: Builder) -> None:
        x, state = list(call.arguments.values())[:2]
        weight, recurrent = call["w_ih"], call["w_hh"]
        rows, fan_in = build.shape(weight)
        hidden = build.shape(recurrent)[-1]
        fans = (float(hidden), float(rows))
        key = build.weight(weight, out_axis=0, fans=fans)
        names = [build.activation(call, x), key, build.weight(recurrent, out_axis=0, fans=fans)]
        names += [build.optional(call[name], fans=fans) for name in ("b_ih", "b_hh")]
        states = state if isinstance(state, (list, tuple)) else (state,)
        names += [known.name for known in states if isinstance(known, Activation)]
        build.emit(
            call,
            Op.RECURRENT,
            names,
            call.call.outputs,
            layer=f"{cell}_cell",
            weight=key,
            cell=cell,
            hidden=hidden,
            directions=1,
            activation=activation,
            fan_in=fan_in,
            fan_out=rows,
        )

    return lower


HANDLERS = {
    "_pack_padded_sequence": _pack,
    "_pad_packed_sequence": _unpack,
    "gru_cell": _cell("gru", "tanh"),
    "lstm_cell": _cell("lstm", "tanh"),
    "rnn_relu_cell": _cell("rnn", "relu"),
    "rnn_tanh_cell": _cell("rnn", "tanh"),
    "gru": _recurrent("gru", "tanh"),
    "lstm": _recurrent("lstm", "tanh"),
    "rnn_relu": _recurrent("rnn", "relu"),
    "rnn_tanh": _recurrent("rnn", "tanh"),
}
