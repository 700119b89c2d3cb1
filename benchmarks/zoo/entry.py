"""What one model of the zoo is, and what its inputs and initialisers are made of."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

__all__ = ["ACTIVATIONS", "INITIALIZERS", "Entry", "ids", "initialise", "normal"]

Inputs = Callable[[], "tuple[Any, ...] | dict[str, Any]"]


@dataclass(frozen=True)
class Entry:
    """One model.

    Attributes:
        name: Family, then what makes this one special, separated by slashes.
        build: A fresh module, drawn from torch's generator.
        inputs: Arguments of one forward pass, positional or by keyword, drawn likewise.
        batch: Samples in them.
        variance: Whether Var[ln M] over initialisations is measured too.
    """

    name: str
    build: Callable[[], nn.Module]
    inputs: Inputs
    batch: int = 8
    variance: bool = False

    @property
    def is_unseen(self) -> bool:
        """Whether the model is kept for judging the engine: nobody looks at it while a law is written."""
        return int(hashlib.sha256(self.name.encode()).hexdigest(), 16) % 2 == 1

    def factory(self) -> tuple[nn.Module, Any]:
        """Module and example inputs."""
        return self.build(), self.inputs()


def normal(*shape: int) -> Inputs:
    """One float input of independent standard normal numbers."""
    return lambda: (torch.randn(shape),)


def ids(batch: int, length: int, count: int, *names: str, first: int = 0) -> Inputs:
    """Uniform random ids from ``first`` on under every name, default one positional argument."""

    def draw() -> tuple[Any, ...] | dict[str, Any]:
        if not names:
            return (torch.randint(first, count, (batch, length)),)
        return {name: torch.randint(first, count, (batch, length)) for name in names}

    return draw


ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": lambda: nn.LeakyReLU(0.1),
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "selu": nn.SELU,
    "elu": nn.ELU,
    "sigmoid": nn.Sigmoid,
    "softplus": nn.Softplus,
    "mish": nn.Mish,
    "identity": nn.Identity,
}

INITIALIZERS: dict[str, Callable[[torch.Tensor], Any]] = {
    "he": lambda w: nn.init.kaiming_normal_(w, nonlinearity="relu"),
    "he_uniform": lambda w: nn.init.kaiming_uniform_(w, nonlinearity="relu"),
    "xavier": nn.init.xavier_normal_,
    "xavier_uniform": nn.init.xavier_uniform_,
    "lecun": lambda w: nn.init.kaiming_normal_(w, nonlinearity="linear"),
    "lecun_uniform": lambda w: nn.init.kaiming_uniform_(w, nonlinearity="linear"),
    "orthogonal": nn.init.orthogonal_,
    "trunc02": lambda w: nn.init.trunc_normal_(w, std=0.02),
}
"""Of weights; biases become zero. ``default`` leaves everything as torch draws it."""


def initialise(model: nn.Module, scheme: str) -> nn.Module:
    """Every linear layer and convolution by one scheme."""
    if scheme != "default":
        draw = INITIALIZERS[scheme]
        for module in model.modules():
            if isinstance(module, (nn.Linear, nn.modules.conv._ConvNd)):
                draw(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
    return model
