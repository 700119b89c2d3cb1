"""Graphs that the author of a rule may not have thought of."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from initcheck.builder import Builder
from initcheck.graph import Op

if TYPE_CHECKING:
    from collections.abc import Mapping

    from initcheck.graph import Graph

__all__ = ["strangers"]


def strangers() -> Mapping[str, Graph]:
    """Description -> a small graph of a kind of its own."""
    return {
        "a network without weights": _without_weights(),
        "a network of one layer": _one_layer(),
        "a network with operations that are not understood": _opaque(),
        "a convolutional network with residual blocks and stored statistics": _residual(),
        "a network whose head is tied to its embedding": _tied(),
        "a network with weights of zero and of nan": _broken(),
        "a network with an unused parameter and no output for a loss": _without_output(),
    }


def _without_weights() -> Graph:
    b = Builder()
    return b.graph(b.activation(b.x))


def _one_layer() -> Graph:
    b = Builder((32, 1))
    return b.graph(b.linear(b.x, 1, bias=None))


def _opaque() -> Graph:
    b = Builder()
    weight = b.parameter("warp.weight", (64, 64), "kaiming_normal")
    x = b.node(Op.OPAQUE, (b.linear(b.x, 64), weight), (32, 64), {"type": "example.Warp"}, path="warp")
    x = b.node(Op.OPAQUE, (x,), (32, 7), {"type": "example.Resample"}, path="resample")
    return b.graph(b.linear(b.activation(x), 10))


def _residual() -> Graph:
    b = Builder((32, 3, 8, 8))
    x = b.conv(b.x, 16)
    for _ in range(2):
        branch = b.normalize(b.conv(x, 16, groups=16, bias=None), "batch", training=False)
        x = b.add(x, b.activation(branch, "silu"))
    return b.graph(b.linear(b.pool(x), 10))


def _tied() -> Graph:
    b = Builder((32, 16), "int64")
    x = b.normalize(b.embedding(b.x, 100, 32, path="embed"), "rms")
    attributes = {"axis": -1, "fan_in": 32, "fan_out": 100, "out_axis": 0, "scale": 1.0, "bias_scale": 1.0}
    inputs = (b.linear(x, 32), "embed.weight")
    return b.graph(b.node(Op.LINEAR, inputs, (32, 16, 100), attributes, path="head", kind="linear"))


def _broken() -> Graph:
    b = Builder()
    x = b.activation(b.linear(b.x, 64, np.full((64, 64), np.nan)))
    return b.graph(b.linear(b.activation(b.linear(x, 64, "zeros")), 10))


def _without_output() -> Graph:
    b = Builder()
    graph = b.graph(b.activation(b.linear(b.x, 64), "sign"))
    return replace(graph, main_output="", unused={"spare.weight": None})
