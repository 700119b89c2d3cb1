"""Every operator that is understood."""

from __future__ import annotations

from typing import TYPE_CHECKING

from initcheck.sources.torch.lowering import (
    attention,
    columns,
    combine,
    convolution,
    einsum,
    elementwise,
    linear,
    normalize,
    pairs,
    pieces,
    pool,
    recurrent,
    routing,
    shape,
)
from initcheck.sources.torch.schema import overload_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from initcheck.sources.torch.lowering.bound import Bound
    from initcheck.sources.torch.lowering.builder import Builder

__all__ = ["HANDLERS", "find_handler"]

HANDLERS: dict[str, Callable[[Bound, Builder], None]] = {
    **attention.HANDLERS,
    **columns.HANDLERS,
    **combine.HANDLERS,
    **convolution.HANDLERS,
    **einsum.HANDLERS,
    **elementwise.HANDLERS,
    **linear.HANDLERS,
    **normalize.HANDLERS,
    **pairs.HANDLERS,
    **pieces.HANDLERS,
    **pool.HANDLERS,
    **recurrent.HANDLERS,
    **routing.HANDLERS,
    **shape.HANDLERS,
}
"""Name without namespace, with the overload behind a dot where it makes another operation -> handler."""


def find_handler(call: Bound) -> Callable[[Bound, Builder], None] | None:
    """The handler of a call; an operator in place is the one that it is the in-place form of."""
    name = call.call.op.rpartition("::")[2]
    if call.call.func is not None:
        overloaded = f"{name}.{overload_of(call.call.func)}"
        if overloaded in HANDLERS:
            return HANDLERS[overloaded]
    return HANDLERS.get(name) or (HANDLERS.get(name[:-1]) if name.endswith("_") else None)
