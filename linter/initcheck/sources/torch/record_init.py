"""``torch.nn.init`` under observation.

The code object of each function is exchanged, not the function, so that ``from torch.nn.init import normal_`` in
another module leads here too. Four of them return at once for tensors on the meta device; their laws are noted here.
"""

from __future__ import annotations

import inspect
import math
from contextlib import contextmanager
from types import FunctionType
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import init

from initcheck.sources.torch.record_content import Origin
from initcheck.sources.torch.record_history import spell
from initcheck.sources.torch.record_law import Law, constant, identity, mixture, normal, orthogonal, truncated
from initcheck.sources.torch.record_modes import unobserved
from initcheck.sources.torch.record_values import SAMPLES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from initcheck.sources.torch.record import Recorder

__all__ = ["observed"]

_HOOK = "_initcheck_observer"
_FUNCTIONS = (
    *("uniform_", "normal_", "trunc_normal_", "constant_", "ones_", "zeros_", "eye_", "dirac_", "xavier_uniform_"),
    *("xavier_normal_", "kaiming_uniform_", "kaiming_normal_", "orthogonal_", "sparse_"),
)
_SILENT_ON_META = frozenset({"trunc_normal_", "dirac_", "orthogonal_", "sparse_"})


@contextmanager
def observed(recorder: Recorder) -> Iterator[None]:
    """Tell a recorder of every call of an ``nn.init`` function."""
    originals = {name: getattr(init, name) for name in _FUNCTIONS}
    codes = {name: function.__code__ for name, function in originals.items()}
    signatures = {name: inspect.signature(function) for name, function in originals.items()}
    copies = {
        name: FunctionType(codes[name], function.__globals__, name, function.__defaults__)
        for name, function in originals.items()
    }

    def call(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return _call(recorder, name, copies[name], signatures[name], args, kwargs)

    setattr(init, _HOOK, call)
    try:
        for name, function in originals.items():
            constants = tuple(name if value == "NAME" else value for value in _template.__code__.co_consts)
            function.__wrapped__ = copies[name]
            function.__code__ = _template.__code__.replace(co_consts=constants, co_name=name)
        yield
    finally:
        for name, function in originals.items():
            function.__code__ = codes[name]
            function.__dict__.pop("__wrapped__", None)
        delattr(init, _HOOK)


def _template(*args: Any, **kwargs: Any) -> Any:
    return _initcheck_observer("NAME", args, kwargs)  # type: ignore[name-defined]  # noqa: F821 - a global of nn.init


def _call(
    recorder: Recorder,
    name: str,
    function: Callable[..., Any],
    signature: inspect.Signature,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    """Run an initialiser with its name known to the recorder."""
    if recorder.initializer:
        return function(*args, **kwargs)
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError:
        return function(*args, **kwargs)
    bound.apply_defaults()
    tensor, *_ = bound.arguments.values()
    defaults = {key: parameter.default for key, parameter in signature.parameters.items()}
    arguments = {key: value for key, value in bound.arguments.items() if value is not tensor}
    positional = name in {"constant_", "normal_", "uniform_"}
    told = {key: value for key, value in arguments.items() if positional or value != defaults[key]}
    recorder.initializer = spell(name, told, None if positional else defaults)
    try:
        if name in _SILENT_ON_META and isinstance(tensor, torch.Tensor) and tensor.numel():
            return _silent(recorder, name, function, tensor, arguments)
        return function(*args, **kwargs)
    finally:
        recorder.initializer = ""


def _silent(
    recorder: Recorder,
    name: str,
    function: Callable[..., Any],
    tensor: torch.Tensor,
    arguments: Mapping[str, Any],
) -> Any:
    """Run an initialiser that does nothing on the meta device, or too much to follow, and note its law."""
    if tensor.is_meta:
        # It checks its arguments before it returns.
        function(tensor, **arguments)
    with unobserved():
        recorder.mirror.begin(tensor)
        real = recorder.mirror.real(tensor)
        if real is not None:
            function(real, **arguments)
        law = _law(name, tensor, arguments, recorder.marker.next_draw())
        if real is None and name == "trunc_normal_":
            values = torch.empty(SAMPLES, dtype=torch.float64, device="cpu")
            recorder.mirror.place(tensor, function(values, **arguments))
        elif real is None:
            recorder.contents.of(tensor).values.forget()
    recorder.write(tensor, law, Origin.FIXED if name == "dirac_" else Origin.DRAWN)
    return tensor


def _law(name: str, tensor: torch.Tensor, arguments: Mapping[str, Any], number: int) -> Law | None:
    """Law of an initialiser; None where it is not certain."""
    shape = tuple(tensor.shape)
    if not tensor.is_floating_point():
        return None
    if name == "trunc_normal_":
        mean, std, low, high = (float(arguments[key]) for key in ("mean", "std", "a", "b"))
        return truncated(mean, std, low, high, number)
    if name == "orthogonal_":
        return orthogonal(shape, float(arguments["gain"]), number)
    if name == "dirac_":
        return identity(shape, int(arguments["groups"]))
    empty = min(math.ceil(arguments["sparsity"] * shape[0]), shape[0])
    return mixture([(constant(0.0), empty), (normal(0.0, float(arguments["std"]), number), shape[0] - empty)])
