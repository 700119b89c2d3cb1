"""Functions of one activation."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from initcheck.graph import Op
from initcheck.sources.torch.lowering.bound import Bound, NotUnderstoodError
from initcheck.sources.torch.lowering.known import Activation, View

if TYPE_CHECKING:
    from initcheck.sources.torch.lowering.builder import Builder

__all__ = ["HANDLERS", "apply"]

Handler = Callable[[Bound, "Builder"], None]

_PLAIN = {
    "abs": "abs",
    "arctan": "atan",
    "asinh": "asinh",
    "atan": "atan",
    "ceil": "ceil",
    "cos": "cos",
    "cosh": "cosh",
    "erf": "erf",
    "exp": "exp",
    "floor": "floor",
    "hardsigmoid": "hard_sigmoid",
    "hardswish": "hard_swish",
    "log": "log",
    "log_sigmoid": "log_sigmoid",
    "log_sigmoid_forward": "log_sigmoid",
    "mish": "mish",
    "neg": "neg",
    "negative": "neg",
    "reciprocal": "reciprocal",
    "relu": "relu",
    "relu6": "relu6",
    "round": "round",
    "selu": "selu",
    "sigmoid": "sigmoid",
    "sign": "sign",
    "silu": "silu",
    "sin": "sin",
    "sinh": "sinh",
    "softsign": "softsign",
    "special_erf": "erf",
    "special_expit": "sigmoid",
    "sqrt": "sqrt",
    "tan": "tan",
    "tanh": "tanh",
    "tanhshrink": "tanh_shrink",
}

_WITH_ARGUMENTS: dict[str, tuple[str, dict[str, str]]] = {
    "celu": ("celu", {"alpha": "alpha"}),
    "hardshrink": ("hard_shrink", {"threshold": "lambd"}),
    "leaky_relu": ("leaky_relu", {"alpha": "negative_slope"}),
    "softshrink": ("soft_shrink", {"threshold": "lambd"}),
}
"""Operator -> function and, for each of its arguments, that of the operator."""

_POWERS = {"square": 2.0, "rsqrt": -0.5}


def apply(call: Bound, build: Builder, function: str, *, layer: str = "", **arguments: float) -> None:
    """Emit an elementwise function of the first tensor."""
    _require_float(call)
    x = build.activation(call, call.x)
    build.emit(
        call,
        Op.ELEMENTWISE,
        (x,),
        (call.output,),
        layer=layer or function,
        function=function,
        arguments=dict(arguments),
    )


def _require_float(call: Bound) -> None:
    """Arithmetic on ids is no signal."""
    if not call.result.is_float:
        raise NotUnderstoodError


def _plain(function: str) -> Handler:
    return lambda call, build: apply(call, build, function)


def _power_of(exponent: float) -> Handler:
    return lambda call, build: apply(call, build, "power", exponent=exponent)


def _with_arguments(function: str, table: dict[str, str]) -> Handler:
    def lower(call: Bound, build: Builder) -> None:
        arguments: dict[str, Any] = {name: float(call[argument]) for name, argument in table.items()}
        apply(call, build, function, **arguments)

    return lower


def _gelu(call: Bound, build: Builder) -> None:
    apply(call, build, "gelu_tanh" if call["approximate"] == "tanh" else "gelu")


def _elu(call: Bound, build: Builder) -> None:
    if float(call["scale"]) != 1.0 or float(call["input_scale"]) != 1.0:
        raise NotUnderstoodError
    apply(call, build, "elu", alpha=float(call["alpha"]))


def _softplus(call: Bound, build: Builder) -> None:
    apply(call, build, "softplus", beta=float(call["beta"]))


def _threshold(call: Bound, build: Builder) -> None:
    if float(call["value"]) != 0.0:
        raise NotUnderstoodError
    apply(call, build, "thresholded_relu", alpha=float(call["threshold"]))


def _clip(call: Bound, build: Builder) -> None:
    low, high = (_bound(call.first(*names)) for names in (("min", "min_val"), ("max", "max_val")))
    low = -math.inf if low is None else low
    high = math.inf if high is None else high
    if (low, high) == (0.0, 6.0):
        apply(call, build, "relu6")
    elif (low, high) == (0.0, math.inf):
        apply(call, build, "relu")
    else:
        apply(call, build, "clip", minimum=low, maximum=high)


def _bound(value: Any) -> float | None:
    if value is None or isinstance(value, (int, float)):
        return None if value is None else float(value)
    if isinstance(value, torch.Tensor) and value.numel() == 1:
        return float(value)
    raise NotUnderstoodError


def _hardtanh(call: Bound, build: Builder) -> None:
    low, high = float(call["min_val"]), float(call["max_val"])
    if (low, high) == (0.0, 6.0):
        apply(call, build, "relu6")
    else:
        apply(call, build, "hard_tanh", minimum=low, maximum=high)


def _prelu(call: Bound, build: Builder) -> None:
    """One slope for all channels, as it is at initialisation."""
    slope = call["weight"]
    if isinstance(slope, View):
        law = build.parameters.law(slope)
        if law is None or not law.is_constant:
            raise NotUnderstoodError
        apply(call, build, "leaky_relu", alpha=law.mean)
    elif isinstance(slope, torch.Tensor) and slope.numel() == 1:
        apply(call, build, "leaky_relu", alpha=float(slope))
    else:
        raise NotUnderstoodError


def _rrelu(call: Bound, build: Builder) -> None:
    """Slopes drawn anew from (lower, upper) while training: one slope of their mean square keeps the second moments."""
    low, high = float(call["lower"]), float(call["upper"])
    slope = math.sqrt((low * low + low * high + high * high) / 3.0) if call["training"] else (low + high) / 2.0
    apply(call, build, "leaky_relu", alpha=slope)


def _power(call: Bound, build: Builder) -> None:
    exponent = call["exponent"]
    if isinstance(exponent, torch.Tensor) and exponent.numel() == 1:
        exponent = float(exponent)
    if not isinstance(exponent, (int, float)):
        raise NotUnderstoodError
    apply(call, build, "power", exponent=float(exponent))


def _compared(function: str, mirrored: str) -> Handler:
    """One where a comparison with a number holds, else zero; the input leads, or comes second (1 > x)."""

    def lower(call: Bound, build: Builder) -> None:
        first, second = list(call.arguments.values())[:2]
        leads = isinstance(first, Activation)
        x, number = (first, second) if leads else (second, first)
        if isinstance(number, torch.Tensor) and number.numel() == 1:
            number = number.item()
        if not isinstance(x, Activation) or not isinstance(number, (int, float)) or not build.values[x.name].is_float:
            raise NotUnderstoodError
        name = function if leads else mirrored
        arguments = {"threshold": float(number)}
        build.emit(call, Op.ELEMENTWISE, (x.name,), (call.output,), layer=name, function=name, arguments=arguments)

    return lower


def _log1p(call: Bound, build: Builder) -> None:
    x = build.activation(call, call.x)
    shifted, _ = build.temporary(call)
    build.emit(call, Op.ADD, (x, build.constant(1.0)), (shifted,), result=call.result)
    build.emit(call, Op.ELEMENTWISE, (shifted,), (call.output,), layer="log", function="log", arguments={})


def _expm1(call: Bound, build: Builder) -> None:
    x = build.activation(call, call.x)
    powers, _ = build.temporary(call)
    build.emit(call, Op.ELEMENTWISE, (x,), (powers,), layer="exp", result=call.result, function="exp", arguments={})
    build.emit(call, Op.SUB, (powers, build.constant(1.0)), (call.output,))


def _logarithm(base: float) -> Handler:
    def lower(call: Bound, build: Builder) -> None:
        x = build.activation(call, call.x)
        natural, _ = build.temporary(call)
        build.emit(
            call, Op.ELEMENTWISE, (x,), (natural,), layer="log", result=call.result, function="log", arguments={}
        )
        build.emit(call, Op.MUL, (natural, build.constant(1.0 / math.log(base))), (call.output,))

    return lower


HANDLERS: dict[str, Handler] = {
    **{operator: _plain(function) for operator, function in _PLAIN.items()},
    **{operator: _with_arguments(*form) for operator, form in _WITH_ARGUMENTS.items()},
    **{operator: _power_of(exponent) for operator, exponent in _POWERS.items()},
    "_prelu_kernel": _prelu,
    "clamp": _clip,
    "clamp_max": _clip,
    "clamp_min": _clip,
    "clip": _clip,
    "elu": _elu,
    "expm1": _expm1,
    "gelu": _gelu,
    "ge": _compared("above", "below"),
    "gt": _compared("above", "below"),
    "hardtanh": _hardtanh,
    "le": _compared("below", "above"),
    "log10": _logarithm(10.0),
    "log1p": _log1p,
    "log2": _logarithm(2.0),
    "lt": _compared("below", "above"),
    "pow": _power,
    "prelu": _prelu,
    "rrelu": _rrelu,
    "rrelu_with_noise": _rrelu,
    "rrelu_with_noise_functional": _rrelu,
    "softplus": _softplus,
    "threshold": _threshold,
}
