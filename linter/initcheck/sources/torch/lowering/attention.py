"""Scaled dot-product attention in the forms it takes on different devices."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from initcheck.graph import Op, Value
from initcheck.sources.torch.lowering.bound import Bound, NotUnderstoodError

if TYPE_CHECKING:
    from initcheck.sources.torch.lowering.builder import Builder

__all__ = ["HANDLERS"]


def _attention(call: Bound, build: Builder) -> None:
    query, key, value = (call[name] for name in ("query", "key", "value"))
    shape = build.shape(query)
    if len(shape) < 2:
        raise NotUnderstoodError
    names = [build.activation(call, query)]
    names += [_for_heads(call, build, known, shape) for known in (key, value)]
    mask = call.first("attn_mask", "attn_bias")
    if mask is not None:
        names.append(build.operand(mask))
    scale = call.get("scale")
    build.emit(
        call,
        Op.ATTENTION,
        names,
        (call.output,),
        scale=1.0 / math.sqrt(max(shape[-1], 1)) if scale is None else float(scale),
        causal=bool(call["is_causal"]),
    )


def _for_heads(call: Bound, build: Builder, known: Any, query: tuple[int, ...]) -> str:
    """Keys or values with as many heads as the queries: each head of grouped attention serves several."""
    name, shape = build.activation(call, known), build.shape(known)
    if len(shape) != 4 or shape[1] == query[1]:
        return name
    target, value = build.temporary(call, Value((shape[0], query[1], *shape[2:]), call.result.dtype))
    return build.emit(call, Op.EXPAND, (name,), (target,), result=value)


HANDLERS = {
    "_scaled_dot_product_attention_math": _attention,
    "_scaled_dot_product_attention_math_for_mps": _attention,
    "_scaled_dot_product_cudnn_attention": _attention,
    "_scaled_dot_product_efficient_attention": _attention,
    "_scaled_dot_product_flash_attention": _attention,
    "_scaled_dot_product_flash_attention_for_cpu": _attention,
    "_scaled_dot_product_fused_attention_overrideable": _attention,
    "scaled_dot_product_attention": _attention,
}
