"""Trace a module: torch.export first, then an ordinary forward pass on fake and on real tensors."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from initcheck.sources.torch.dispatch import dispatch_trace
from initcheck.sources.torch.export import export_trace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from initcheck.sources.torch.calls import Trace
    from initcheck.sources.torch.inputs import Example

__all__ = ["TRACED_ERRORS", "fits", "trace_module"]

TRACED_ERRORS = (Exception,)
"""What a traced module may raise: it is foreign code, so anything."""


def trace_module(
    module: torch.nn.Module, example: Example, real: Callable[[], Mapping[str, torch.Tensor]] | None = None
) -> tuple[Trace, tuple[str, ...]]:
    """The first route that works, and why the ones before it did not.

    Args:
        module: In the mode it is to be traced in.
        example: Inputs on the CPU.
        real: Makes real parameters and buffers by name, None when the model is too large for that.

    Raises:
        Exception: What the module raised on the last route.
    """
    device = "meta" if any(parameter.is_meta for parameter in module.parameters()) else "cpu"
    routes: list[tuple[str, Callable[[], Trace]]] = [
        ("torch.export", lambda: export_trace(module, example.on(device))),
        ("fake tensors", lambda: _on_fake(module, example)),
    ]
    if real is not None:
        routes.append(("a small input", lambda: dispatch_trace(module, example, real(), fake=False)))
    reasons: list[str] = []
    for position, (name, route) in enumerate(routes):
        try:
            with _restored(module):
                return route(), tuple(reasons)
        except TRACED_ERRORS as error:
            if position == len(routes) - 1:
                raise
            reasons.append(f"{name}: {_first_line(error)}")
    raise AssertionError


def fits(module: torch.nn.Module, example: Example) -> Exception | None:
    """What the forward pass raises on an example, None if nothing; nothing is computed."""
    try:
        with _restored(module):
            mode = FakeTensorMode(allow_non_fake_inputs=True)
            tensors = fake_tensors(module, mode)
            args, kwargs = torch.utils._pytree.tree_map_only(
                torch.Tensor, mode.from_tensor, (example.args, dict(example.kwargs))
            )
            with mode, torch.no_grad():
                torch.func.functional_call(module, tensors, args, kwargs, tie_weights=False)
    except TRACED_ERRORS as error:
        return error
    return None


def fake_tensors(module: torch.nn.Module, mode: Any) -> dict[str, torch.Tensor]:
    """Parameters and buffers without elements on a pretended CPU; tied ones share one tensor."""
    made: dict[int, torch.Tensor] = {}
    tensors: dict[str, torch.Tensor] = {}
    with mode:
        for name, tensor in (
            *module.named_parameters(remove_duplicate=False),
            *module.named_buffers(remove_duplicate=False),
        ):
            if id(tensor) not in made:
                made[id(tensor)] = torch.empty_strided(
                    tensor.shape, tensor.stride(), dtype=tensor.dtype, device="cpu"
                )
            tensors[name] = made[id(tensor)]
    return tensors


def _on_fake(module: torch.nn.Module, example: Example) -> Trace:
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    return dispatch_trace(module, example, fake_tensors(module, mode), fake=True)


@contextmanager
def _restored(module: torch.nn.Module) -> Iterator[None]:
    """Put back what a forward pass leaves behind in attributes of modules (caches of fake tensors)."""
    before = [(child, dict(vars(child))) for child in module.modules()]
    try:
        yield
    finally:
        for child, attributes in before:
            for name, value in vars(child).items():
                if name not in attributes or attributes[name] is value:
                    continue
                object.__setattr__(child, name, attributes[name])
            for name in [name for name in vars(child) if name not in attributes]:
                delattr(child, name)


def _first_line(error: Exception) -> str:
    text = str(error).strip().split("\n", 1)[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
