"""Numbers and names as people write them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from initcheck import Distribution, Location

__all__ = ["activation_name", "count_of", "owner_of", "place_of", "power_of_ten", "scheme_name", "shape_of"]

_NAMES = {
    "": "a linear layer",
    "relu": "ReLU",
    "leaky_relu": "LeakyReLU",
    "relu6": "ReLU6",
    "gelu": "GELU",
    "gelu_tanh": "GELU",
    "silu": "SiLU",
    "selu": "SELU",
    "elu": "ELU",
    "celu": "CELU",
    "mish": "Mish",
    "softplus": "Softplus",
    "hard_swish": "Hardswish",
    "hard_tanh": "Hardtanh",
    "softsign": "Softsign",
}

_DEFAULTS = ("kaiming_uniform(a=√5)", "pytorch_default")


def activation_name(function: str) -> str:
    """Name of an activation module; a linear layer for none."""
    return _NAMES.get(function, function)


def scheme_name(law: Distribution) -> str:
    """Name of a scheme, or what is known of a law without one."""
    if law.scheme in _DEFAULTS:
        return "kaiming_uniform(a=√5) (PyTorch's default)"
    return law.scheme or f"{law.family} of standard deviation {law.std:.2g}"


def count_of(number: int, noun: str) -> str:
    """``1 layer``, ``3 layers``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def power_of_ten(decades: float) -> str:
    """``10^-15.8``; zero for minus infinity."""
    return f"10^{decades:.1f}" if math.isfinite(decades) else "exactly zero"


def owner_of(parameter: str) -> str:
    """Path of the layer that owns a parameter; its own name for one of the model itself."""
    return parameter.rpartition(".")[0] or parameter


def shape_of(shape: Sequence[int]) -> str:
    """``10x64``; a scalar is of one element."""
    return "x".join(map(str, shape)) or "1"


def place_of(location: Location | None) -> str:
    """`` (model.py:12)``; empty where the line is not known."""
    return f" ({location.file}:{location.line})" if location is not None else ""
