"""Complex numbers as pairs of real ones: rotary embeddings that multiply by exp(iθ).

A complex value has no signal. What it is a pair of is kept beside it, so that ``view_as_real`` finds it again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from initcheck.graph import Op, Value
from initcheck.sources.torch.lowering.bound import NotUnderstoodError
from initcheck.sources.torch.lowering.known import Activation, View

if TYPE_CHECKING:
    from initcheck.sources.torch.lowering.bound import Bound
    from initcheck.sources.torch.lowering.builder import Builder

__all__ = ["HANDLERS", "rotate"]


def _paired(call: Bound, build: Builder) -> None:
    build.pairs[call.output] = build.activation(call, call.x)
    raise NotUnderstoodError


def _unpaired(call: Bound, build: Builder) -> None:
    x = call.x
    if not isinstance(x, Activation) or x.name not in build.pairs:
        raise NotUnderstoodError
    build.emit(call, Op.IDENTITY, (build.pairs[x.name],), (call.output,))


def rotate(call: Bound, build: Builder) -> None:
    """Note what the product of a complex value and complex numbers is a pair of: (a, b) c + (-b, a) s for c + i s.

    Raises:
        NotUnderstoodError: Always, since the product itself has no word.
    """
    factors = list(call.arguments.values())[:2]
    x = next((factor for factor in factors if isinstance(factor, Activation) and factor.name in build.pairs), None)
    numbers = next((found for factor in factors if (found := _numbers(factor)) is not None), None)
    if x is not None and numbers is not None:
        real = build.pairs[x.name]
        shape, dtype = build.values[real].shape or (), build.values[real].dtype
        result = tuple(call.result.shape or ())
        if shape[:-1] == result:
            cosine, sine = numbers.real[..., None], numbers.imag[..., None]
            build.pairs[call.output] = _turned(call, build, real, Value(shape, dtype), (cosine, sine))
    raise NotUnderstoodError


def _numbers(known: Any) -> torch.Tensor | None:
    tensor = known.load() if isinstance(known, View) else known
    return tensor if isinstance(tensor, torch.Tensor) and tensor.is_complex() else None


def _turned(call: Bound, build: Builder, real: str, value: Value, parts: tuple[torch.Tensor, torch.Tensor]) -> str:
    cosine, sine = (part.detach().to(torch.float32) for part in parts)
    axis = len(value.shape or ()) - 1
    half = Value((*(value.shape or ())[:-1], 1), value.dtype)
    second, first = (
        build.emit(
            call,
            Op.SLICE,
            (real,),
            (build.fresh(f"{call.output}:{at}"),),
            result=half,
            layer="slice",
            axes=(axis,),
            dropped=(),
            starts=(at,),
        )
        for at in (1, 0)
    )
    swapped = build.emit(
        call, Op.CONCAT, (second, first), (build.fresh(f"{call.output}:swapped"),), result=value, axis=axis
    )
    signed = torch.cat((-sine, sine), -1)
    along, across = (
        build.emit(call, Op.MUL, (name, build.constant(factor)), (build.fresh(f"{name}:turned"),), result=value)
        for name, factor in ((real, cosine), (swapped, signed))
    )
    return build.emit(call, Op.ADD, (along, across), (build.fresh(f"{call.output}:pairs"),), result=value)


HANDLERS = {"view_as_complex": _paired, "view_as_real": _unpaired}
