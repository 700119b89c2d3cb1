"""The calls of a trace, one after the other, into nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.utils import _pytree as pytree

from initcheck.graph import Op, Value
from initcheck.sources.torch.calls import Ref
from initcheck.sources.torch.lowering.bound import NotUnderstoodError, bind
from initcheck.sources.torch.lowering.builder import CONSTANT_LIMIT
from initcheck.sources.torch.lowering.folding import SHAPE_ONLY, filled, fold, look_through
from initcheck.sources.torch.lowering.gates import draw, emit_gated
from initcheck.sources.torch.lowering.known import Activation, Gate, View
from initcheck.sources.torch.lowering.memory import Memory
from initcheck.sources.torch.lowering.table import find_handler

if TYPE_CHECKING:
    from collections.abc import Mapping

    from initcheck.sources.torch.calls import Call, Trace
    from initcheck.sources.torch.lowering.bound import Bound
    from initcheck.sources.torch.lowering.builder import Builder
    from initcheck.sources.torch.lowering.known import Known

__all__ = ["walk"]

_LAYERS = frozenset(
    {
        "_embedding_bag",
        "batch_norm",
        "embedding",
        "embedding_bag",
        "group_norm",
        "gru",
        "instance_norm",
        "layer_norm",
        "linear",
        "lstm",
        "native_layer_norm",
        "rms_norm",
        "rnn_relu",
        "rnn_tanh",
        "scaled_dot_product_attention",
        *(f"conv{n}d" for n in (1, 2, 3)),
        *(f"conv_transpose{n}d" for n in (1, 2, 3)),
    }
)
"""Operators that stay layers even where no activation enters: learned queries and positions pass through them."""

_WEIGHT_FIRST = frozenset({"_embedding_bag", "embedding", "embedding_bag"})
"""Operators whose first argument is their weight."""


def walk(trace: Trace, build: Builder) -> None:
    """Lower every call of a trace whose inputs, parameters and constants the builder knows."""
    memory = Memory(trace)
    for call in trace.calls:
        _visit(call, trace, build, memory)


def _visit(call: Call, trace: Trace, build: Builder, memory: Memory) -> None:
    results = tuple(trace.values[name] if name else Value(None, "") for name in call.outputs)
    memory.refresh(call, build, results)
    args, kwargs = _resolved(call.args, build), _resolved(dict(call.kwargs), build)
    found = _without_node(call, args, kwargs, results)
    if found is not None:
        build.known.update((output, known) for output, known in zip(call.outputs, found, strict=False) if output)
    elif call.outputs:
        _lower(bind(call, args, kwargs, results), build)
    memory.follow(call, build, results)


def _without_node(call: Call, args: Any, kwargs: Mapping[str, Any], results: tuple[Value, ...]) -> list[Known] | None:
    """What a call gives that computes nothing from a signal; None when it needs a node."""
    name = call.op.rpartition("::")[2]
    gate = draw(bind(call, args, kwargs, results)) if call.outputs else None
    if gate is not None:
        return [gate]
    if name in SHAPE_ONLY and call.outputs:
        return filled(bind(call, args, kwargs, results))
    leaves = pytree.tree_leaves((args, kwargs), is_leaf=_is_known)
    if any(isinstance(leaf, (Activation, Gate)) for leaf in leaves):
        return None
    viewed = look_through(call, args, kwargs)
    # What normalises a parameter without scale or shift computes a weight (weight standardisation), it is no layer.
    rest = args if name in _WEIGHT_FIRST else args[1:]
    if viewed is not None or (name in _LAYERS and _has_weight(rest, kwargs)):
        return viewed
    return fold(call, args, kwargs, results)


def _has_weight(args: Any, kwargs: Mapping[str, Any]) -> bool:
    return any(isinstance(leaf, View) for leaf in pytree.tree_leaves((args, kwargs), is_leaf=_is_known))


def _is_known(leaf: Any) -> bool:
    return isinstance(leaf, (Activation, Gate, View))


def _resolved(tree: Any, build: Builder) -> Any:
    def resolve(leaf: Any) -> Any:
        return build.known[leaf.name] if isinstance(leaf, Ref) else leaf

    return pytree.tree_map(resolve, tree)


def _lower(call: Bound, build: Builder) -> None:
    handler = find_handler(call)
    name = call.call.op.rpartition("::")[2].rstrip("_")
    if name == "mul" and emit_gated(call, build):
        return
    if handler is not None:
        try:
            handler(call, build)
        except NotUnderstoodError:
            _opaque(call, build)
        for name, value in zip(call.call.outputs, call.results, strict=True):
            if name and name not in build.known:
                build.known[name] = build.define(name, value)
    else:
        _opaque(call, build)


def _opaque(call: Bound, build: Builder) -> None:
    """Nothing is known of it but what goes in."""
    names: list[str] = []
    weight = ""
    for leaf in pytree.tree_leaves(dict(call.arguments), is_leaf=_is_known):
        if isinstance(leaf, Activation):
            names.append(leaf.name)
        elif isinstance(leaf, torch.Tensor) and leaf.numel() * 4 <= CONSTANT_LIMIT and not leaf.is_complex():
            names.append(build.constant(leaf))
        elif isinstance(leaf, View) and leaf.is_float:
            names.append(build.parameters.use(leaf))
            weight = weight or names[-1]
    outputs = [name for name in call.call.outputs if name]
    build.emit(call, Op.OPAQUE, names, outputs, weight=weight, layer=call.call.op, type=call.call.op)
