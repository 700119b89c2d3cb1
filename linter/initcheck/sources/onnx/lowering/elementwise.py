"""Functions of one activation."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from initcheck.graph import Op
from initcheck.sources.onnx.builder import NotUnderstoodError

if TYPE_CHECKING:
    from initcheck.sources.onnx.builder import Builder
    from initcheck.sources.onnx.call import Call

__all__ = ["HANDLERS"]

Arguments = Mapping[str, float]

SAME_SLOPE = 1e-3
"""Relative spread of a PRelu's slopes up to which they count as one."""

_PLAIN = {
    "Abs": "abs",
    "Asinh": "asinh",
    "Atan": "atan",
    "Ceil": "ceil",
    "Cos": "cos",
    "Cosh": "cosh",
    "Erf": "erf",
    "Exp": "exp",
    "Floor": "floor",
    "HardSwish": "hard_swish",
    "Log": "log",
    "Mish": "mish",
    "Neg": "neg",
    "Reciprocal": "reciprocal",
    "Relu": "relu",
    "Round": "round",
    "Sigmoid": "sigmoid",
    "Sign": "sign",
    "Sin": "sin",
    "Sinh": "sinh",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "Sqrt": "sqrt",
    "Tan": "tan",
    "Tanh": "tanh",
    "com.microsoft::FastGelu": "gelu_tanh",
    "com.microsoft::Gelu": "gelu",
}

_WITH_ARGUMENTS: dict[str, tuple[str, dict[str, tuple[str, float]]]] = {
    "Celu": ("celu", {"alpha": ("alpha", 1.0)}),
    "Elu": ("elu", {"alpha": ("alpha", 1.0)}),
    "HardSigmoid": ("hard_sigmoid", {"alpha": ("alpha", 0.2), "beta": ("beta", 0.5)}),
    "LeakyRelu": ("leaky_relu", {"alpha": ("alpha", 0.01)}),
    "Selu": ("selu", {"alpha": ("alpha", 1.67326319217681884765625), "gamma": ("gamma", 1.05070102214813232421875)}),
    "Swish": ("silu", {"beta": ("alpha", 1.0)}),
    "ThresholdedRelu": ("thresholded_relu", {"alpha": ("alpha", 1.0)}),
}
"""Operator -> function and, for each of its arguments, the attribute and ONNX's default."""


def apply(call: Call, build: Builder, function: str, **arguments: float) -> None:
    """Emit an elementwise function of the first input."""
    build.emit(
        call,
        Op.ELEMENTWISE,
        (build.activation(call.input(0)),),
        layer=function,
        function=function,
        arguments=dict(arguments),
    )


def _plain(function: str) -> Callable[[Call, Builder], None]:
    return lambda call, build: apply(call, build, function)


def _with_arguments(function: str, table: Mapping[str, tuple[str, float]]) -> Callable[[Call, Builder], None]:
    def lower(call: Call, build: Builder) -> None:
        arguments = {name: call.number(attribute, default) for name, (attribute, default) in table.items()}
        apply(call, build, function, **arguments)

    return lower


def _gelu(call: Call, build: Builder) -> None:
    apply(call, build, "gelu_tanh" if call.text("approximate", "none") == "tanh" else "gelu")


def _clip(call: Call, build: Builder) -> None:
    low, high = build.number(call, "min", 1), build.number(call, "max", 2)
    low = -math.inf if low is None else low
    high = math.inf if high is None else high
    if (low, high) == (0.0, 6.0):
        apply(call, build, "relu6")
    elif (low, high) == (0.0, math.inf):
        apply(call, build, "relu")
    else:
        apply(call, build, "clip", minimum=low, maximum=high)


def _shrink(call: Call, build: Builder) -> None:
    bias, threshold = call.number("bias", 0.0), call.number("lambd", 0.5)
    if bias == 0.0:
        apply(call, build, "hard_shrink", threshold=threshold)
    elif bias == threshold:
        apply(call, build, "soft_shrink", threshold=threshold)
    else:
        raise NotUnderstoodError


def _prelu(call: Call, build: Builder) -> None:
    slope = build.known.get(call.input(1))
    if slope is None or not slope.is_small:
        raise NotUnderstoodError
    slopes = slope.array().astype(np.float64)
    center = float(slopes.mean())
    if not np.all(np.abs(slopes - center) <= SAME_SLOPE * max(abs(center), 1.0)):
        raise NotUnderstoodError
    apply(call, build, "leaky_relu", alpha=center)


def _comparison(function: str, mirrored: str) -> Callable[[Call, Builder], None]:
    """A comparison of an activation with a number, as 0 and 1."""

    def lower(call: Call, build: Builder) -> None:
        for name, other, word in ((0, 1, function), (1, 0, mirrored)):
            known = build.known.get(call.input(other))
            threshold = known.scalar() if known is not None else None
            if threshold is not None:
                x = build.activation(call.input(name))
                arguments = {"threshold": threshold}
                build.emit(call, Op.ELEMENTWISE, (x,), layer=word, function=word, arguments=arguments)
                return
        raise NotUnderstoodError

    return lower


def _power(call: Call, build: Builder) -> None:
    known = build.known.get(call.input(1))
    exponent = known.scalar() if known is not None else None
    if exponent is None:
        raise NotUnderstoodError
    apply(call, build, "power", exponent=exponent)


def _quick_gelu(call: Call, build: Builder) -> None:
    apply(call, build, "silu", beta=call.number("alpha", 1.702))


HANDLERS: dict[str, Callable[[Call, Builder], None]] = {
    **{operator: _plain(function) for operator, function in _PLAIN.items()},
    **{operator: _with_arguments(*form) for operator, form in _WITH_ARGUMENTS.items()},
    "Clip": _clip,
    "Greater": _comparison("above", "below"),
    "GreaterOrEqual": _comparison("above", "below"),
    "Less": _comparison("below", "above"),
    "LessOrEqual": _comparison("below", "above"),
    "Gelu": _gelu,
    "PRelu": _prelu,
    "Pow": _power,
    "Shrink": _shrink,
    "com.microsoft::QuickGelu": _quick_gelu,
}
