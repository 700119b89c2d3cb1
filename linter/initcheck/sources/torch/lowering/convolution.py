"""Convolutions and transposed convolutions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from initcheck.graph import Op
from initcheck.sources.torch.lowering.bound import Bound, NotUnderstoodError
from initcheck.sources.torch.lowering.known import View

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from initcheck.sources.torch.lowering.builder import Builder

__all__ = ["HANDLERS", "per_axis"]


def per_axis(value: Any, axes: int) -> tuple[int, ...]:
    """A number per spatial axis, as PyTorch lets one stand for all."""
    numbers = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    return tuple(int(number) for number in (numbers * axes if len(numbers) == 1 else numbers))


def _convolution(*, transposed: bool | None) -> Callable[[Bound, Builder], None]:
    def lower(call: Bound, build: Builder) -> None:
        flipped = bool(call["transposed"]) if transposed is None else transposed
        weight = call["weight"]
        if not isinstance(weight, (View, torch.Tensor)) or len(weight.shape) < 3:
            raise NotUnderstoodError
        (_transposed if flipped else _plain)(call, build, weight)

    return lower


def _plain(call: Bound, build: Builder, weight: View | torch.Tensor) -> None:
    kernel, groups = tuple(weight.shape[2:]), int(call["groups"])
    axes, taps = len(kernel), math.prod(kernel)
    strides, dilations = per_axis(call["stride"], axes), per_axis(call["dilation"], axes)
    fan_in = weight.shape[1] * taps
    _emit(
        call,
        build,
        Op.CONV,
        weight,
        fans=(float(fan_in), float(weight.shape[0] * taps)),
        kernel=kernel,
        strides=strides,
        dilations=dilations,
        padding=_padding(call["padding"], kernel, dilations),
        groups=groups,
        fan_in=fan_in,
        fan_out=weight.shape[0] // groups * taps,
        out_axis=0,
    )


def _transposed(call: Bound, build: Builder, weight: View | torch.Tensor) -> None:
    """Weight (in, out / groups, *kernel).

    An output far from the border sums kernel/stride taps per axis of each input channel of its group.
    """
    kernel, groups = tuple(weight.shape[2:]), int(call["groups"])
    axes, taps = len(kernel), math.prod(kernel)
    strides = per_axis(call["stride"], axes)
    _emit(
        call,
        build,
        Op.CONV_TRANSPOSE,
        weight,
        # nn.init counts the fans of a transposed convolution by its stored shape.
        fans=(float(weight.shape[1] * taps), float(weight.shape[0] * taps)),
        kernel=kernel,
        strides=strides,
        dilations=per_axis(call["dilation"], axes),
        padding=tuple((size, size) for size in per_axis(call["padding"], axes)),
        output_padding=per_axis(call["output_padding"], axes),
        groups=groups,
        fan_in=max(1, round(weight.shape[0] // groups * taps / math.prod(strides))),
        fan_out=weight.shape[1] * taps,
        out_axis=1,
    )


def _padding(value: Any, kernel: Sequence[int], dilations: Sequence[int]) -> tuple[tuple[int, int], ...]:
    if value == "valid":
        return ((0, 0),) * len(kernel)
    if value == "same":
        totals = [(size - 1) * dilation for size, dilation in zip(kernel, dilations, strict=True)]
        return tuple((total // 2, total - total // 2) for total in totals)
    return tuple((size, size) for size in per_axis(value, len(kernel)))


def _emit(
    call: Bound,
    build: Builder,
    op: Op,
    weight: View | torch.Tensor,
    *,
    fans: tuple[float, float],
    out_axis: int,
    **attributes: Any,
) -> None:
    key = build.weight(weight, out_axis=out_axis, fans=fans, groups=attributes["groups"])
    x = call.first("input", "self")
    names = [build.activation(call, x), key]
    if call["bias"] is not None:
        names.append(build.weight(call["bias"], fans=fans))
    kind = f"{'conv' if op is Op.CONV else 'conv_transpose'}{len(attributes['kernel'])}d"
    stored = weight.stored_axis(out_axis) if isinstance(weight, View) else out_axis
    outputs = (call.output,)
    batched = len(build.shape(x)) == len(attributes["kernel"]) + 2
    if not batched:
        raise NotUnderstoodError
    build.emit(call, op, names, outputs, layer=kind, weight=key, out_axis=stored, **attributes)


HANDLERS = {
    "_convolution": _convolution(transposed=None),
    "conv1d": _convolution(transposed=False),
    "conv2d": _convolution(transposed=False),
    "conv3d": _convolution(transposed=False),
    "conv_transpose1d": _convolution(transposed=True),
    "conv_transpose2d": _convolution(transposed=True),
    "conv_transpose3d": _convolution(transposed=True),
    "convolution": _convolution(transposed=None),
}
