"""Layers that exporters spell out in primitive operations, recognised by structure.

The passes run in this order, each over all nodes:

1. ``bias``: a product with a weight and the addition of one number per output unit are one layer;
2. ``straight``: what is subtracted and added again only sends the gradient back;
3. ``normalize``: centred, squared, averaged, divided is a layer, batch or instance normalisation; uncentred an RMS one;
4. ``group``: an instance normalisation between two reshapes is a group normalisation;
5. ``affine``: a factor and an addend per channel behind a normalisation belong to it;
6. ``dropout``: a product with a random gate;
7. ``remainder``: a total less the sum up to each position is the sum over the rest;
8. ``activation``: an expression in one value that agrees with a known function on a grid is that function.

A match replaces the last node of the pattern; what nothing reads any more is dropped afterwards. In the end what is
still computed twice from the same values is computed once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from initcheck.sources.patterns.activations import match_activation
from initcheck.sources.patterns.bias import match_bias
from initcheck.sources.patterns.dropout import match_dropout
from initcheck.sources.patterns.net import Net
from initcheck.sources.patterns.norms import match_affine, match_group, match_normalize
from initcheck.sources.patterns.shared import share
from initcheck.sources.patterns.straight import match_straight
from initcheck.sources.patterns.sums import match_remainder
from initcheck.sources.prune import prune

if TYPE_CHECKING:
    from collections.abc import Sequence

    from initcheck.graph import Node
    from initcheck.sources.patterns.lowered import Lowered

__all__ = ["rewrite"]

PASSES = (
    match_bias,
    match_straight,
    match_normalize,
    match_group,
    match_affine,
    match_dropout,
    match_remainder,
    match_activation,
)


def rewrite(nodes: Sequence[Node], build: Lowered, outputs: Sequence[str]) -> tuple[Node, ...]:
    """The nodes with every spelled-out layer replaced by one node.

    Args:
        nodes: Lowered nodes in topological order.
        build: Values, constants and parameters that they read.
        outputs: Names of graph outputs, which no pattern may swallow.
    """
    kept = list(nodes)
    for match in PASSES:
        net = Net(kept, build, outputs)
        changed = False
        for position, node in enumerate(kept):
            replacement = match(node, net)
            if replacement is not None:
                kept[position] = replacement
                net.replace(node, replacement)
                changed = True
        if changed:
            kept = prune(kept, outputs)
    return tuple(share(kept, outputs, build.constants))
