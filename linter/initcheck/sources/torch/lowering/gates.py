"""Random numbers that a forward pass draws, followed until they multiply a signal: dropout and stochastic depth."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from initcheck.graph import Op
from initcheck.sources.torch.lowering.known import Activation, Gate

if TYPE_CHECKING:
    from initcheck.sources.torch.lowering.bound import Bound
    from initcheck.sources.torch.lowering.builder import Builder

__all__ = ["draw", "emit_gated"]

_UNIFORM = frozenset({"rand", "rand_like", "uniform"})
_MOVES = frozenset(
    {"_to_copy", "alias", "clone", "contiguous", "detach", "expand", "reshape", "to", "unsqueeze", "view"}
)


def draw(call: Bound) -> Gate | None:
    """What a call draws, or makes of numbers drawn before; None for any other call."""
    name = call.call.op.rpartition("::")[2].rstrip("_")
    if name in _UNIFORM:
        low, high = float(call.get("from", 0.0)), float(call.get("to", 1.0))
        return Gate(call.result) if (low, high) == (0.0, 1.0) else None
    if name == "bernoulli":
        chance = call.get("p", call["self"])
        if isinstance(chance, torch.Tensor) and chance.numel() and bool((chance == chance.flatten()[0]).all()):
            chance = float(chance.flatten()[0])
        return Gate(call.result, keep=float(chance)) if isinstance(chance, (int, float)) else None
    values = list(call.arguments.values())
    gate: Gate | None = next((value for value in values if isinstance(value, Gate)), None)
    if gate is None:
        return None
    if name in _MOVES:
        return replace(gate, value=call.result)
    if name in {"floor", "lt", "add", "mul", "div", "true_divide"}:
        return _arithmetic(name, gate, values, call)
    return None


def _arithmetic(name: str, gate: Gate, values: list[Any], call: Bound) -> Gate | None:
    number = next((number for value in values[:2] if (number := _number(value)) is not None), None)
    uniform, plain = gate.keep is None, gate.scale == 1.0
    if name == "floor" and uniform and plain and 0.0 <= gate.shift <= 1.0:
        # floor(u + p) is one with probability p.
        return Gate(call.result, keep=gate.shift)
    leads = isinstance(values[0], Gate)
    if number is None:
        return None
    fresh = uniform and plain and gate.shift == 0.0
    if name == "lt" and fresh and leads:
        return Gate(call.result, keep=min(max(number, 0.0), 1.0))
    plain_sum = call.get("alpha", 1) == 1
    if name == "add" and uniform and plain and plain_sum:
        return replace(gate, value=call.result, shift=gate.shift + number)
    if name == "mul" and not uniform:
        return replace(gate, value=call.result, scale=gate.scale * number)
    if name in {"div", "true_divide"} and not uniform and leads and number:
        return replace(gate, value=call.result, scale=gate.scale / number)
    return None


def _number(value: Any) -> float | None:
    if isinstance(value, torch.Tensor) and value.numel() == 1:
        return float(value)
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def emit_gated(call: Bound, build: Builder) -> bool:
    """Emit a product of a signal and a gate as dropout, times the gate's mean; whether it was such a product."""
    factors = list(call.arguments.values())[:2]
    gate = next((factor for factor in factors if isinstance(factor, Gate)), None)
    x = next((factor for factor in factors if isinstance(factor, Activation)), None)
    if gate is None or x is None or not gate.keep:
        return False
    mean = gate.keep * gate.scale
    exact = abs(mean - 1.0) < 1e-6
    target = call.output if exact else build.temporary(call)[0]
    build.emit(call, Op.DROPOUT, (x.name,), (target,), result=call.result, rate=1.0 - gate.keep, training=True)
    if not exact:
        build.emit(call, Op.MUL, (target, build.constant(mean)), (call.output,))
    return True
