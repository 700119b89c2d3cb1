"""Normalisations, softmax, dropout, attention."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from initcheck.graph import Op
from initcheck.sources.onnx.builder import NotUnderstoodError
from initcheck.sources.onnx.metadata import scope_of
from initcheck.sources.onnx.paths import layer_path

if TYPE_CHECKING:
    from initcheck.sources.onnx.builder import Builder
    from initcheck.sources.onnx.call import Call

__all__ = ["HANDLERS"]

_TRAINING_OPS = ("_native_batch_norm_legit_functional", "native_batch_norm_legit", "cudnn_batch_norm")


def _normalize(call: Call, build: Builder, kind: str, **attributes: Any) -> None:
    """Emit a normalisation whose second and third inputs are scale and shift."""
    names = [build.activation(call.input(0))]
    for position, leaf in ((1, "weight"), (2, "bias")):
        names.append(_affine(call, build, call.input(position), leaf))
    if kind == "batch":
        names += [_affine(call, build, call.input(position), leaf) for position, leaf in _STATISTICS]
    weight = build.known.get(call.input(1))
    owner = weight.origin.name if weight is not None and weight.origin is not None else ""
    build.emit(call, Op.NORMALIZE, names, layer=f"{kind}_norm", path=layer_path(call, owner), kind=kind, **attributes)


_STATISTICS = ((3, "running_mean"), (4, "running_var"))


def _affine(call: Call, build: Builder, name: str, leaf: str) -> str:
    if not name:
        return ""
    known = build.known.get(name)
    if known is None or known.origin is None:
        return build.operand(name)
    return build.weight(call, known, leaf=leaf)


def _batch(call: Call, build: Builder) -> None:
    training = bool(call.integer("training_mode", 0))
    if call.version < 14:
        training = len([name for name in call.outputs if name]) > 1
    if 0 < call.version < 7:
        training = not call.integer("is_test", 0)
    scope = scope_of(call.metadata)
    if not training and scope is not None and any(name in scope.target for name in _TRAINING_OPS):
        # The traced operation used batch statistics; the exporter wrote the node in inference form.
        training = "True" in call.metadata.get("pkg.torch.onnx.fx_node", "")
        if training:
            build.retrained.append(layer_path(call))
    _normalize(call, build, "batch", epsilon=call.number("epsilon", 1e-5), training=training, folded=False)


def _layer(call: Call, build: Builder) -> None:
    _normalize(call, build, "layer", epsilon=call.number("epsilon", 1e-5), axes=_trailing(call, build))


def _rms(call: Call, build: Builder) -> None:
    _normalize(call, build, "rms", epsilon=call.number("epsilon", 1e-5), axes=_trailing(call, build))


def _trailing(call: Call, build: Builder) -> tuple[int, ...]:
    axis = call.integer("axis", -1)
    shape = build.shape_of(call.input(0))
    if shape is None:
        if axis >= 0:
            raise NotUnderstoodError
        return tuple(range(axis, 0))
    if not shape:
        raise NotUnderstoodError
    return tuple(range(axis % len(shape), len(shape)))


def _instance(call: Call, build: Builder) -> None:
    _normalize(call, build, "instance", epsilon=call.number("epsilon", 1e-5))


def _group(call: Call, build: Builder) -> None:
    groups = call.integer("num_groups", 1)
    shape, scale = build.shape_of(call.input(0)), build.shape_of(call.input(1))
    # Before opset 21 scale and shift held one number per group.
    if scale is not None and shape is not None and scale and scale[0] not in {1, shape[1]}:
        raise NotUnderstoodError
    _normalize(call, build, "group", epsilon=call.number("epsilon", 1e-5), groups=groups)


def _skip_layer(call: Call, build: Builder) -> None:
    """com.microsoft's residual addition and normalisation in one: (x, skip, gamma, beta?, bias?)."""
    simplified = "Simplified" in call.op
    beta_at = None if simplified else 3
    bias = call.input(3 if simplified else 4)
    total, value = build.temporary(call)
    name = call.input(0)
    stream = build.activation(name)
    if bias:
        biased, _ = build.temporary(call)
        stream = build.emit(call, Op.ADD, (stream, build.operand(bias)), (biased,), result=value)
    summed = call.outputs[3] if len(call.outputs) > 3 and call.outputs[3] else total
    build.emit(call, Op.ADD, (stream, build.activation(call.input(1))), (summed,), result=value)
    names = [summed, _affine(call, build, call.input(2), "weight")]
    names.append(_affine(call, build, call.input(beta_at), "bias") if beta_at else "")
    kind = "rms" if simplified else "layer"
    rank = len(value.shape) if value.shape is not None else 0
    build.emit(
        call,
        Op.NORMALIZE,
        names,
        layer=f"{kind}_norm",
        kind=kind,
        epsilon=call.number("epsilon", 1e-12),
        axes=(rank - 1,) if rank else (-1,),
    )


def _softmax(call: Call, build: Builder) -> None:
    """Before opset 13 the axes from ``axis`` on were one."""
    x = build.activation(call.input(0))
    shape = build.shape_of(call.input(0))
    legacy = 0 < call.version < 13
    axis = call.integer("axis", 1 if legacy else -1)
    log = call.op == "LogSoftmax"
    output = build.temporary(call)[0] if log else call.outputs[0]
    value = build.inferred.get(call.outputs[0])
    if shape is not None:
        axis %= max(len(shape), 1)
        if legacy and math.prod(shape[axis + 1 :]) > 1:
            raise NotUnderstoodError
    build.emit(call, Op.SOFTMAX, (x,), (output,), result=value, axis=axis)
    if log:
        build.emit(call, Op.ELEMENTWISE, (output,), layer="log_softmax", function="log", arguments={})


def _dropout(call: Call, build: Builder) -> None:
    rate = build.number(call, "ratio", 1)
    mode = build.known.get(call.input(2))
    if call.input(2) and mode is None:
        raise NotUnderstoodError
    training = mode is not None and bool(mode.scalar())
    if 0 < call.version < 7:
        training = not call.integer("is_test", 0)
    build.emit(
        call, Op.DROPOUT, (build.activation(call.input(0)),), rate=0.5 if rate is None else rate, training=training
    )


def _attention(call: Call, build: Builder) -> None:
    """Opset 23: (query, key, value, mask?, past...), each (batch, heads, length, width)."""
    shapes = [build.shape_of(call.input(position)) for position in range(3)]
    if any(shape is None or len(shape) != 4 for shape in shapes) or call.input(4):
        raise NotUnderstoodError
    query = shapes[0]
    if query is None or call.number("softcap", 0.0) or shapes[1] is None or shapes[1][1] != query[1]:
        raise NotUnderstoodError
    names = [build.activation(call.input(position)) for position in range(3)]
    if call.input(3):
        known = build.known.get(call.input(3))
        names.append(build.operand(call.input(3)) if known is None else build.constant(call.input(3), known))
    build.emit(
        call,
        Op.ATTENTION,
        names,
        scale=call.number("scale", 1.0 / math.sqrt(max(query[-1], 1))),
        causal=bool(call.integer("is_causal", 0)),
    )


HANDLERS = {
    "Attention": _attention,
    "BatchNormalization": _batch,
    "Dropout": _dropout,
    "GroupNormalization": _group,
    "InstanceNormalization": _instance,
    "LayerNormalization": _layer,
    "LogSoftmax": _softmax,
    "RMSNormalization": _rms,
    "SimplifiedLayerNormalization": _rms,
    "Softmax": _softmax,
    "com.microsoft::SimplifiedLayerNormalization": _rms,
    "com.microsoft::SkipLayerNormalization": _skip_layer,
    "com.microsoft::SkipSimplifiedLayerNormalization": _skip_layer,
}
