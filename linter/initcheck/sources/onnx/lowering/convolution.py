"""Convolutions and transposed convolutions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from initcheck.graph import Op
from initcheck.sources.onnx.batchnorm import restore_folded
from initcheck.sources.onnx.builder import NotUnderstood
from initcheck.sources.onnx.windows import read_window

if TYPE_CHECKING:
    from initcheck.sources.onnx.builder import Builder
    from initcheck.sources.onnx.call import Call
    from initcheck.sources.onnx.known import Known

__all__ = ["HANDLERS"]


def _conv(call: Call, build: Builder) -> None:
    weight = _weight(call, build)
    kernel, groups = weight.shape[2:], call.integer("group", 1)
    window = read_window(call, kernel, build.shape_of(call.input(0)))
    taps = math.prod(kernel)
    fan_in, fan_out = weight.shape[1] * taps, weight.shape[0] // groups * taps
    fans = (fan_in, weight.shape[0] * taps)
    names = _operands(call, build, weight, fans, out_axis=0, groups=groups)
    _emit(call, build, Op.CONV, "conv", names, weight, groups=groups, fan_in=fan_in, fan_out=fan_out, out_axis=0, **window)


def _conv_transpose(call: Call, build: Builder) -> None:
    """Weight (in, out / groups, *kernel).

    An output far from the border sums kernel/stride taps per axis of each input channel of its group.
    """
    weight = _weight(call, build)
    kernel, groups = weight.shape[2:], call.integer("group", 1)
    extra = call.ints("output_padding") or (0,) * len(kernel)
    window = read_window(
        call,
        kernel,
        build.shape_of(call.input(0)),
        transposed=True,
        output_padding=extra,
        output_shape=call.ints("output_shape"),
    )
    taps = math.prod(kernel)
    fan_in = max(1, round(weight.shape[0] // groups * taps / math.prod(window["strides"])))
    fan_out = weight.shape[1] * taps
    # nn.init counts the fans of a transposed convolution by its stored shape.
    names = _operands(call, build, weight, (weight.shape[1] * taps, weight.shape[0] * taps), out_axis=1, groups=groups)
    _emit(
        call,
        build,
        Op.CONV_TRANSPOSE,
        "conv_transpose",
        names,
        weight,
        groups=groups,
        fan_in=fan_in,
        fan_out=fan_out,
        out_axis=1,
        output_padding=extra,
        **window,
    )


def _weight(call: Call, build: Builder) -> Known:
    weight = build.known.get(call.input(1))
    if weight is None or len(weight.shape) < 3 or not weight.size:
        raise NotUnderstood
    return weight


def _operands(
    call: Call, build: Builder, weight: Known, fans: tuple[float, float], *, out_axis: int, groups: int
) -> list[str]:
    names = [
        build.activation(call.input(0)),
        build.weight(call, weight, out_axis=out_axis, fans=fans, groups=groups),
    ]
    bias = build.known.get(call.input(2))
    if call.input(2):
        if bias is None:
            raise NotUnderstood
        names.append(build.weight(call, bias, leaf="bias", fans=fans))
    return names


def _emit(
    call: Call, build: Builder, op: Op, kind: str, names: list[str], weight: Known, *, out_axis: int, **attributes: Any
) -> None:
    stored = weight.origin.name if weight.origin else ""
    restore_folded(
        call,
        build,
        op,
        names,
        call.outputs[0],
        stored,
        layer=f"{kind}{len(attributes['kernel'])}d",
        out_axis=weight.stored_axis(out_axis),
        **attributes,
    )


HANDLERS = {"Conv": _conv, "ConvTranspose": _conv_transpose}
