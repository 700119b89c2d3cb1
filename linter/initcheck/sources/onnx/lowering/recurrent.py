"""LSTM, GRU and simple recurrent layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from initcheck.graph import Op
from initcheck.sources.onnx.builder import NotUnderstoodError
from initcheck.sources.onnx.paths import is_anonymous

if TYPE_CHECKING:
    from initcheck.sources.onnx.builder import Builder
    from initcheck.sources.onnx.call import Call

__all__ = ["HANDLERS"]

_ACTIVATION = {"LSTM": "tanh", "GRU": "tanh", "RNN": "tanh"}


def _recurrent(call: Call, build: Builder) -> None:
    """Inputs (x, W, R, bias?, lengths?, state...).

    W is (directions, gates * hidden, in), R (directions, gates * hidden, hidden).
    """
    weight, recurrent = build.known.get(call.input(1)), build.known.get(call.input(2))
    if weight is None or recurrent is None or len(weight.shape) != 3 or len(recurrent.shape) != 3:
        raise NotUnderstoodError
    directions, rows, fan_in = weight.shape
    hidden = call.integer("hidden_size", recurrent.shape[-1])
    # One draw per gate matrix, as every framework initialises them: bounds come from the hidden size.
    names = [
        build.activation(call.input(0)),
        build.weight(call, weight, leaf="weight_ih", out_axis=1, fans=(fan_in, rows)),
        build.weight(call, recurrent, leaf="weight_hh", out_axis=1, fans=(hidden, rows)),
    ]
    bias = build.known.get(call.input(3))
    names.append(build.weight(call, bias, leaf="bias", fans=(hidden, rows)) if bias is not None else "")
    # One parameter holds the biases of the input and of the state.
    names.append("")
    names += [_state(build, name) if name else "" for name in call.inputs[5:7]]
    outputs = tuple(name or build.fresh(f"{call.outputs[0] or call.op}:unused") for name in call.outputs)
    named = call.attributes.get("activations")
    build.emit(
        call,
        Op.RECURRENT,
        names,
        outputs,
        layer=call.op.lower(),
        cell=call.op.lower(),
        hidden=hidden,
        directions=directions,
        activation=str(named[-1]).lower() if named and call.op == "RNN" else _ACTIVATION[call.op],
        fan_in=fan_in,
        fan_out=rows,
    )


def _state(build: Builder, name: str) -> str:
    """An initial state; the zeros that exporters write for an absent one are no parameter."""
    known = build.known.get(name)
    if known is not None and known.origin is not None and is_anonymous(known.origin.name):
        return build.constant(name, known)
    return build.operand(name)


HANDLERS = {"GRU": _recurrent, "LSTM": _recurrent, "RNN": _recurrent}
