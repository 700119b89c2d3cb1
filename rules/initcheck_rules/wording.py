"""Numbers and names as people write them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from initcheck import Distribution

__all__ = ["activation_name", "count_of", "power_of_ten", "scheme_name"]

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
