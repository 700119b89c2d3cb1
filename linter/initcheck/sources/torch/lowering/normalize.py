"""Normalisations, softmax, dropout."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from initcheck.graph import Op
from initcheck.sources.torch.lowering.bound import Bound, NotUnderstoodError
from initcheck.sources.torch.lowering.known import View

if TYPE_CHECKING:
    from initcheck.sources.torch.lowering.builder import Builder

__all__ = ["HANDLERS"]

Handler = Callable[[Bound, "Builder"], None]


def _normalize(call: Bound, build: Builder, kind: str, *, affine: tuple[Any, ...], **attributes: Any) -> None:
    """Emit a normalisation; ``affine`` are scale, shift and, for batch, the running statistics."""
    names = [build.activation(call, call.x), *(_affine(build, known) for known in affine)]
    weight = next((name for name in names[1:3] if name), "")
    build.emit(call, Op.NORMALIZE, names, (call.output,), layer=f"{kind}_norm", weight=weight, kind=kind, **attributes)


def _affine(build: Builder, known: Any) -> str:
    if known is None:
        return ""
    if isinstance(known, (View, torch.Tensor)):
        return build.weight(known)
    return build.operand(known)


def _layer(call: Bound, build: Builder) -> None:
    epsilon = call.first("eps")
    axes = _trailing(call, build)
    _normalize(call, build, "layer", affine=(call["weight"], call["bias"]), epsilon=float(epsilon), axes=axes)


def _rms(call: Bound, build: Builder) -> None:
    epsilon = call["eps"]
    if epsilon is None:
        epsilon = torch.finfo(getattr(torch, call.result.dtype)).eps
    axes = _trailing(call, build)
    _normalize(call, build, "rms", affine=(call["weight"],), epsilon=float(epsilon), axes=axes)


def _trailing(call: Bound, build: Builder) -> tuple[int, ...]:
    rank = len(build.shape(call.x))
    return tuple(range(rank - len(call["normalized_shape"]), rank))


def _batch(call: Bound, build: Builder) -> None:
    statistics = (call.get("running_mean"), call.get("running_var"))
    training = bool(call.first("training", "train"))
    affine = (call["weight"], call["bias"], *statistics)
    _normalize(call, build, "batch", affine=affine, epsilon=_epsilon(call), training=training, folded=False)


def _epsilon(call: Bound) -> float:
    return float(call.first("eps", "epsilon"))


def _group(call: Bound, build: Builder) -> None:
    groups = int(call.first("num_groups", "group"))
    _normalize(call, build, "group", affine=(call["weight"], call["bias"]), epsilon=_epsilon(call), groups=groups)


def _instance(call: Bound, build: Builder) -> None:
    if not call["use_input_stats"]:
        raise NotUnderstoodError
    _normalize(call, build, "instance", affine=(call["weight"], call["bias"]), epsilon=_epsilon(call))


def _softmax(*, log: bool) -> Handler:
    def lower(call: Bound, build: Builder) -> None:
        x = build.activation(call, call.x)
        axis = int(call["dim"]) % max(len(call.result.shape or ()), 1)
        if not log:
            build.emit(call, Op.SOFTMAX, (x,), (call.output,), axis=axis)
            return
        shares, value = build.temporary(call)
        build.emit(call, Op.SOFTMAX, (x,), (shares,), result=value, axis=axis)
        build.emit(call, Op.ELEMENTWISE, (shares,), (call.output,), layer="log_softmax", function="log", arguments={})

    return lower


def _dropout(call: Bound, build: Builder) -> None:
    x = build.activation(call, call.x)
    training = bool(call.first("train", "training"))
    build.emit(call, Op.DROPOUT, (x,), (call.output,), rate=float(call["p"]), training=training)


HANDLERS: dict[str, Handler] = {
    "_batch_norm_impl_index": _batch,
    "_batch_norm_with_update": _batch,
    "_batch_norm_with_update_functional": _batch,
    "_fused_rms_norm": _rms,
    "_log_softmax": _softmax(log=True),
    "_native_batch_norm_legit": _batch,
    "_native_batch_norm_legit_functional": _batch,
    "_safe_softmax": _softmax(log=False),
    "_softmax": _softmax(log=False),
    "batch_norm": _batch,
    "cudnn_batch_norm": _batch,
    "dropout": _dropout,
    "feature_dropout": _dropout,
    "group_norm": _group,
    "instance_norm": _instance,
    "layer_norm": _layer,
    "log_softmax": _softmax(log=True),
    "native_batch_norm": _batch,
    "native_dropout": _dropout,
    "native_group_norm": _group,
    "native_layer_norm": _layer,
    "rms_norm": _rms,
    "softmax": _softmax(log=False),
    "special_log_softmax": _softmax(log=True),
    "special_softmax": _softmax(log=False),
}
