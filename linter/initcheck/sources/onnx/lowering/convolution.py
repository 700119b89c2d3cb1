"""Convolutions and transposed convolutions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from initcheck.graph import Op
from initcheck.sources.onnx.batchnorm import emit_layer
from initcheck.sources.onnx.builder import Layer, NotUnderstoodError
from initcheck.sources.onnx.windows import read_window

if TYPE_CHECKING:
    from collections.abc import Mapping

    from initcheck.sources.onnx.builder import Builder
    from initcheck.sources.onnx.call import Call
    from initcheck.sources.onnx.known import Known

__all__ = ["HANDLERS"]


def _conv(call: Call, build: Builder) -> None:
    weight = _weight(call, build)
    kernel, groups = weight.shape[2:], call.integer("group", 1)
    window = read_window(call, kernel, build.shape_of(call.input(0)))
    taps = math.prod(kernel)
    fans = (weight.shape[1] * taps, weight.shape[0] * taps)
    attributes = {
        **window,
        "groups": groups,
        "fan_in": weight.shape[1] * taps,
        "fan_out": weight.shape[0] // groups * taps,
        "out_axis": weight.stored_axis(0),
    }
    names = [build.activation(call.input(0)), build.weight(call, weight, out_axis=0, fans=fans, groups=groups)]
    _emit(call, build, Op.CONV, names + _bias(call, build, fans), attributes)


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
    # nn.init counts the fans of a transposed convolution by its stored shape.
    fans = (weight.shape[1] * taps, weight.shape[0] * taps)
    attributes = {
        **window,
        "groups": groups,
        "output_padding": extra,
        "fan_in": max(1, round(weight.shape[0] // groups * taps / math.prod(window["strides"]))),
        "fan_out": weight.shape[1] * taps,
        "out_axis": weight.stored_axis(1),
    }
    names = [build.activation(call.input(0)), build.weight(call, weight, out_axis=1, fans=fans, groups=groups)]
    _emit(call, build, Op.CONV_TRANSPOSE, names + _bias(call, build, fans), attributes)


def _weight(call: Call, build: Builder) -> Known:
    weight = build.known.get(call.input(1))
    if weight is None or len(weight.shape) < 3 or not weight.size or call.integer("group", 1) < 1:
        raise NotUnderstoodError
    return weight


def _bias(call: Call, build: Builder, fans: tuple[float, float]) -> list[str]:
    if not call.input(2) or build.is_zero(call.input(2)):
        return []
    bias = build.known.get(call.input(2))
    if bias is None:
        raise NotUnderstoodError
    return [build.weight(call, bias, leaf="bias", fans=fans)]


def _emit(call: Call, build: Builder, op: Op, names: list[str], attributes: Mapping[str, Any]) -> None:
    weight = build.known[call.input(1)]
    stored = weight.origin.name if weight.origin else ""
    kind = f"{op.value}{len(attributes['kernel'])}d"
    emit_layer(call, build, Layer(op, kind, names, call.outputs[0], stored, attributes))


HANDLERS = {"Conv": _conv, "ConvTranspose": _conv_transpose}
