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
    ("relu", "he", 16, 10, True),
    ("relu", "he", 64, 20, True),
    ("relu", "he", 32, 40, True),
    ("relu", "he_uniform", 100, 30, True),
    ("relu", "xavier", 64, 10, False),
    ("relu", "orthogonal", 32, 20, True),
    ("relu", "lecun", 128, 5, False),
    ("relu", "default", 64, 10, False),
    ("leaky_relu", "he", 32, 15, True),
    ("leaky_relu", "default", 100, 5, False),
    ("gelu", "he", 64, 10, True),
    ("gelu", "default", 128, 6, False),
    ("gelu", "orthogonal", 32, 12, False),
    ("gelu", "he", 24, 20, True),
    ("silu", "he", 100, 10, True),
    ("silu", "lecun", 64, 12, False),
    ("silu", "he", 32, 15, True),
    ("tanh", "xavier", 64, 30, True),
    ("tanh", "orthogonal", 100, 50, False),
    ("tanh", "he", 32, 20, False),
    ("tanh", "default", 64, 10, False),
    ("selu", "lecun", 64, 20, True),
    ("selu", "he", 32, 10, False),
    ("elu", "he", 64, 15, True),
    ("elu", "xavier", 100, 10, False),
    ("sigmoid", "xavier", 64, 5, False),
    ("sigmoid", "lecun", 100, 10, False),
    ("softplus", "he", 64, 10, False),
    ("softplus", "default", 32, 5, False),
    ("mish", "he", 64, 10, True),
    ("mish", "lecun_uniform", 32, 15, False),
    ("identity", "lecun", 32, 20, True),
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
            variance,
        )
        for activation, scheme, width, depth, variance in CONSTANT
    ),
    *(
        Entry(f"mlp/relu/he/{name}", partial(mlp, "relu", "he", widths), normal(BATCH, INPUT), BATCH, variance=True)
        for name, widths in VARYING.items()
    ),
]
