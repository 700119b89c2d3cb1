"""Trace a module: torch.export first, then an ordinary forward pass on fake and on real tensors."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from contextlib import contextmanager
from copy import copy
from typing import TYPE_CHECKING, Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils import _pytree as pytree

from initcheck.sources.torch.attributes import reassignable
from initcheck.sources.torch.dispatch import dispatch_trace
from initcheck.sources.torch.export import export_trace
from initcheck.sources.torch.functions import own_backwards
from initcheck.sources.torch.record_seeds import seeded

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from initcheck.sources.torch.calls import Trace
    from initcheck.sources.torch.inputs import Example

__all__ = ["accepts", "first_line", "fits", "named_tensors", "restored", "runs", "trace_module"]

SEEDS = 3
"""Runs on a small input: a module that skips layers at random (layer drop) shows most of them in one of these."""

_CONTAINERS = (dict, OrderedDict, list, set)

Tensors = Callable[[], "Mapping[str, torch.Tensor]"]


def trace_module(
    module: torch.nn.Module, example: Example, real: Tensors | None = None
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
        ("fake tensors with gradients", lambda: _on_fake(module, example, gradients=True)),
    ]
    if real is not None:
        routes.append(("a small input", lambda: _on_real(module, example, real)))
    reasons: list[str] = []
    for position, (name, route) in enumerate(routes):
        try:
            with restored(module), own_backwards():
                return route(), tuple(reasons)
        except Exception as error:
            if position == len(routes) - 1:
                raise
            reasons.append(f"{name}: {first_line(error)}")
    raise AssertionError


def fits(module: torch.nn.Module, example: Example) -> Exception | None:
    """What the forward pass raises on an example, None if nothing; nothing is computed."""
    try:
        with restored(module):
            mode = FakeTensorMode(allow_non_fake_inputs=True)
            tensors = fake_tensors(module, mode)
            args, kwargs = pytree.tree_map_only(torch.Tensor, mode.from_tensor, (example.args, dict(example.kwargs)))
            with mode, torch.no_grad():
                torch.func.functional_call(module, tensors, args, kwargs, tie_weights=False)
    except Exception as error:  # noqa: BLE001 - foreign code may raise anything
        return error
    return None


def runs(module: torch.nn.Module, example: Example, tensors: Mapping[str, torch.Tensor]) -> bool:
    """Whether the forward pass runs on real tensors.

    Args:
        module: The model.
        example: Inputs on the CPU.
        tensors: Parameters and buffers by name.
    """
    try:
        with restored(module), torch.no_grad():
            torch.func.functional_call(module, dict(tensors), example.args, dict(example.kwargs), tie_weights=False)
    except Exception:  # noqa: BLE001 - foreign code may raise anything
        return False
    return True


def accepts(module: torch.nn.Module, example: Example) -> Exception | None:
    """What the forward pass of a module with values raises on an example, None if nothing.

    Args:
        module: The model, built for real.
        example: Inputs on the model's device.
    """
    try:
        with restored(module), torch.no_grad(), seeded():
            module(*example.args, **example.kwargs)
    except Exception as error:  # noqa: BLE001 - foreign code may raise anything
        return error
    return None


def named_tensors(module: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Parameters and buffers, tied ones under every name."""
    yield from module.named_parameters(remove_duplicate=False)
    yield from module.named_buffers(remove_duplicate=False)


def fake_tensors(module: torch.nn.Module, mode: Any) -> dict[str, torch.Tensor]:
    """Parameters and buffers without elements on a pretended CPU; tied ones share one tensor."""
    made: dict[int, torch.Tensor] = {}
    tensors: dict[str, torch.Tensor] = {}
    with mode:
        for name, tensor in named_tensors(module):
            if id(tensor) not in made:
                made[id(tensor)] = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="cpu")
            tensors[name] = made[id(tensor)]
    return tensors


def _on_fake(module: torch.nn.Module, example: Example, *, gradients: bool = False) -> Trace:
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    return dispatch_trace(module, example, fake_tensors(module, mode), fake=True, gradients=gradients)


def _on_real(module: torch.nn.Module, example: Example, real: Tensors) -> Trace:
    traces: list[Trace] = []
    for seed in range(SEEDS):
        with seeded(seed):
            traces.append(dispatch_trace(module, example, real(), fake=False))
    return max(traces, key=_parameters_read)


def _parameters_read(trace: Trace) -> int:
    return len({name for call in trace.calls for name in call.reads if name in trace.parameters})


@contextmanager
def restored(module: torch.nn.Module) -> Iterator[None]:
    """Put back what a forward pass leaves behind in modules: attributes, and what is in their dictionaries and lists.

    Caches hold fake tensors, and hooks that a first pass installs would be installed by the next one again.
    """
    before = [(child, dict(vars(child)), _contents(child)) for child in module.modules()]
    try:
        with reassignable():
            yield
    finally:
        for child, attributes, contents in before:
            vars(child).clear()
            vars(child).update(attributes)
            for container, content in contents:
                _refill(container, content)


def _contents(module: torch.nn.Module) -> list[tuple[Any, Any]]:
    """Containers among the attributes of a module, each with a copy of what it holds."""
    return [(value, copy(value)) for value in vars(module).values() if type(value) in _CONTAINERS]


def _refill(container: Any, content: Any) -> None:
    if isinstance(container, list):
        container[:] = content
    else:
        container.clear()
        container.update(content)


def first_line(error: Exception) -> str:
    """What an exception says, on one line."""
    text = str(error).strip().split("\n", 1)[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
