"""ONNX operators to nodes of the graph, one module per kind of operation.

A handler takes the node and the builder, emits one or more nodes and defines the node's first output. It raises
``NotUnderstoodError`` before it has emitted anything when the vocabulary has no word for this use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from initcheck.sources.onnx.lowering import (
    combine,
    convolution,
    einsum,
    elementwise,
    linear,
    normalize,
    pool,
    recurrent,
    routing,
    shape,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from initcheck.sources.onnx.builder import Builder
    from initcheck.sources.onnx.call import Call

__all__ = ["HANDLERS"]

HANDLERS: dict[str, Callable[[Call, Builder], None]] = {
    **combine.HANDLERS,
    **convolution.HANDLERS,
    **einsum.HANDLERS,
    **elementwise.HANDLERS,
    **linear.HANDLERS,
    **normalize.HANDLERS,
    **pool.HANDLERS,
    **recurrent.HANDLERS,
    **routing.HANDLERS,
    **shape.HANDLERS,
}
"""Operator, with its domain in front when that is not ONNX's own -> handler."""
