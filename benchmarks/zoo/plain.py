"""Plain multilayer perceptrons: activation x initialiser x width x depth."""

from __future__ import annotations

from functools import partial

from torch import nn

from zoo.entry import ACTIVATIONS, Entry, initialise, normal

__all__ = ["ENTRIES"]

BATCH, INPUT, CLASSES = 8, 32, 10


def mlp(activation: str, scheme: str, widths: tuple[int, ...]) -> nn.Module:
    """Linear layers with an activation after each but the last."""
    layers: list[nn.Module] = []
    before = INPUT
    for width in widths:
        layers += [nn.Linear(before, width), ACTIVATIONS[activation]()]
        before = width
    return initialise(nn.Sequential(*layers, nn.Linear(before, CLASSES)), scheme)


CONSTANT = (
    ("relu", "he", 16, 10),
    ("relu", "he", 64, 20),
    ("relu", "he", 32, 40),
    ("relu", "he_uniform", 100, 30),
    ("relu", "xavier", 64, 10),
    ("relu", "orthogonal", 32, 20),
    ("relu", "lecun", 128, 5),
    ("relu", "default", 64, 10),
    ("leaky_relu", "he", 32, 15),
    ("leaky_relu", "default", 100, 5),
    ("gelu", "he", 64, 10),
    ("gelu", "default", 128, 6),
    ("gelu", "orthogonal", 32, 12),
    ("gelu", "he", 24, 20),
    ("silu", "he", 100, 10),
    ("silu", "lecun", 64, 12),
    ("silu", "he", 32, 15),
    ("tanh", "xavier", 64, 30),
    ("tanh", "orthogonal", 100, 50),
    ("tanh", "he", 32, 20),
    ("tanh", "default", 64, 10),
    ("selu", "lecun", 64, 20),
    ("selu", "he", 32, 10),
    ("elu", "he", 64, 15),
    ("elu", "xavier", 100, 10),
    ("sigmoid", "xavier", 64, 5),
    ("sigmoid", "lecun", 100, 10),
    ("softplus", "he", 64, 10),
    ("softplus", "default", 32, 5),
    ("mish", "he", 64, 10),
    ("mish", "lecun_uniform", 32, 15),
    ("identity", "lecun", 32, 20),
)
VARYING = {
    "narrowing": (128, 96, 64, 48, 32, 24, 16, 12),
    "widening": (12, 16, 24, 32, 48, 64, 96, 128),
    "alternating": (64, 8) * 6,
}

ENTRIES = [
    *(
        Entry(
            f"mlp/{activation}/{scheme}/w{width}/d{depth}",
            partial(mlp, activation, scheme, (width,) * depth),
            normal(BATCH, INPUT),
            BATCH,
            variance=True,
        )
        for activation, scheme, width, depth in CONSTANT
    ),
    *(
        Entry(f"mlp/relu/he/{name}", partial(mlp, "relu", "he", widths), normal(BATCH, INPUT), BATCH, variance=True)
        for name, widths in VARYING.items()
    ),
]
