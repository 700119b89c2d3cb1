"""Calls that read no activation: run on real tensors, or kept as views of parameters."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch.utils import _pytree as pytree

from initcheck.sources.torch.lowering.known import View, root_view
from initcheck.sources.torch.lowering.reparametrization import normalised

if TYPE_CHECKING:
    from collections.abc import Mapping

    from initcheck.graph import Value
    from initcheck.sources.torch.calls import Call
    from initcheck.sources.torch.lowering.bound import Bound
    from initcheck.sources.torch.lowering.known import Known

__all__ = ["SHAPE_ONLY", "filled", "fold", "look_through"]

FOLD_LIMIT = 1 << 24
"""Elements up to which a constant, or something computed from parameters, is computed."""

_MOVES = frozenset(
    {"reshape", "flatten", "contiguous", "clone", "alias", "detach", "to", "_to_copy", "type_as", "float", "lift_fresh"}
)
"""Operators that only move elements, beside those whose schema says so."""

_CASTS = frozenset({"contiguous", "clone", "to", "_to_copy", "type_as", "float", "lift_fresh", "alias", "detach"})

_CHOICES = frozenset({"slice", "select", "narrow", "chunk", "split", "split_with_sizes", "unbind", "tensor_split"})


def fold(call: Call, args: Any, kwargs: Mapping[str, Any], results: tuple[Value, ...]) -> list[Known] | None:
    """What a call gives that reads constants or parameters only; None when it has to be lowered.

    Args:
        call: The call.
        args: Its positional arguments, tensors as ``Known``.
        kwargs: Its keyword arguments, likewise.
        results: Types of its outputs.
    """
    func = call.func
    if func is None or torch.Tag.nondeterministic_seeded in func.tags:
        return None
    if any(math.prod(value.shape or ()) > FOLD_LIMIT for value in results):
        return None
    leaves = pytree.tree_leaves((args, kwargs))
    if any(isinstance(leaf, View) for leaf in leaves):
        return normalised(call, args, results) or _computed(call, func, args, kwargs, results)
    return _run(func, args, kwargs)


def _run(func: Any, args: Any, kwargs: Mapping[str, Any]) -> list[Known] | None:
    """Results of an operator on real tensors; None when it cannot run."""
    try:
        with torch.no_grad(), torch.device("cpu"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = func(*_on_cpu(args), **_on_cpu(dict(kwargs)))
    except (RuntimeError, NotImplementedError, IndexError, ValueError, TypeError):
        # Traced for another device, an operator may not have this form here.
        return None
    flat = list(result) if isinstance(result, (tuple, list)) else [result]
    return flat if all(isinstance(part, torch.Tensor) for part in flat) else None


def _on_cpu(tree: Any) -> Any:
    return pytree.tree_map(lambda leaf: torch.device("cpu") if isinstance(leaf, torch.device) else leaf, tree)


def filled(call: Bound) -> list[Known] | None:
    """A tensor of one number that takes only its shape from another; None where it is too large."""
    name, value = call.call.op.rpartition("::")[2], call.result
    shape = value.shape or ()
    if math.prod(shape) > FOLD_LIMIT:
        return None
    number = call.get("fill_value", SHAPE_ONLY[name])
    if isinstance(number, torch.Tensor) and number.numel() == 1:
        number = number.item()
    if not isinstance(number, (int, float, bool)):
        return None
    return [torch.full(shape, number, dtype=getattr(torch, value.dtype))]


SHAPE_ONLY = {
    "empty_like": 0,
    "full_like": None,
    "new_empty": 0,
    "new_full": None,
    "new_ones": 1,
    "new_zeros": 0,
    "ones_like": 1,
    "zeros_like": 0,
}
"""Operators that read the shape of a tensor but not its elements, and what they fill with."""


def look_through(call: Call, args: Any, kwargs: Mapping[str, Any]) -> list[Known] | None:
    """Views that an operator gives which only moves or scales the elements of one parameter; None for any other."""
    func = call.func
    view = args[0] if args else None
    if func is None or not isinstance(view, View):
        return None
    if any(isinstance(leaf, View) for leaf in pytree.tree_leaves((args[1:], kwargs))):
        return None
    name = call.op.rpartition("::")[2]
    if name in _AFFINE and view.is_float:
        return _affine(name, view, args[1:], kwargs)
    if name in _CASTS:
        return [view]
    if func.is_view or name in _MOVES:
        return _moved(func, name, view, args[1:], kwargs)
    return None


_AFFINE = frozenset({"add", "div", "mul", "neg", "rsub", "sub"})


def _affine(name: str, view: View, rest: Any, kwargs: Mapping[str, Any]) -> list[Known] | None:
    """A parameter times a number, or plus one."""
    if name == "neg":
        return [view.affine(-1.0, 0.0)]
    number = rest[0] if rest else None
    if isinstance(number, torch.Tensor) and number.numel() == 1 and number.dim() <= len(view.shape):
        number = float(number)
    if not isinstance(number, (int, float)) or not math.isfinite(number) or len(rest) > 1 or kwargs:
        return None
    if name in {"add", "sub", "rsub"}:
        return [view.affine(-1.0 if name == "rsub" else 1.0, -float(number) if name == "sub" else float(number))]
    if number == 0.0:
        return None
    return [view.affine(float(number) if name == "mul" else 1.0 / number, 0.0)]


def _moved(func: Any, name: str, view: View, rest: Any, kwargs: Mapping[str, Any]) -> list[Known] | None:
    try:
        layout = func(view.layout, *rest, **kwargs)
    except (RuntimeError, IndexError):
        return None
    if isinstance(layout, torch.Tensor):
        return [_labelled(view, view.moved(func, *rest, **kwargs), name, rest)]
    parts: list[Known] = []
    for at in range(len(layout)):
        part = view.moved(lambda tensor, at=at: func(tensor, *rest, **kwargs)[at])
        parts.append(_labelled(view, part, name, (at, *rest)))
    return parts


def _labelled(view: View, result: View, name: str, rest: Any) -> View:
    """The result, with a name of its own where it is part of the parameter."""
    if name not in _CHOICES or result.size == view.size:
        return result
    label = ",".join(str(entry) for entry in rest if isinstance(entry, (int, list, tuple)))
    return replace(result, part=f"{view.part}[{label}]".replace(" ", ""))


def _computed(call: Call, func: Any, args: Any, kwargs: Mapping[str, Any], results: tuple[Value, ...]) -> list[Known]:
    """Something computed from parameters: its elements are made when somebody asks for its law."""
    memory: list[list[Any] | None] = []

    def elements() -> list[Any] | None:
        if not memory:
            memory.append(_evaluate(func, args, kwargs))
        return memory[0]

    def part(at: int) -> torch.Tensor | None:
        flat = elements()
        return None if flat is None or at >= len(flat) else flat[at]

    return [
        root_view(name, value.shape or (), value.dtype, partial(part, at), computed=True)
        for at, (name, value) in enumerate(zip(call.outputs, results, strict=True))
    ]


def _evaluate(func: Any, args: Any, kwargs: Mapping[str, Any]) -> list[Any] | None:
    missing = False

    def loaded(leaf: Any) -> Any:
        nonlocal missing
        if isinstance(leaf, View):
            tensor = leaf.load()
            missing = missing or tensor is None
            return tensor
        return leaf

    def is_leaf(leaf: Any) -> bool:
        return isinstance(leaf, View)

    real_args, real_kwargs = pytree.tree_map(loaded, (args, dict(kwargs)), is_leaf=is_leaf)
    return None if missing else _run(func, real_args, real_kwargs)
