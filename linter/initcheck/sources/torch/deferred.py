"""The deferred route: a module built on the meta device, given memory, then initialised by its own method.

Trainers go this way, since it needs no memory twice. What the method forgets keeps whatever was in memory.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
import io
import warnings
from dataclasses import dataclass
from operator import methodcaller
from typing import TYPE_CHECKING, Any

import torch

from initcheck.sources.torch.build import recording
from initcheck.sources.torch.locate import class_source
from initcheck.sources.torch.record_result import recorded_tensors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from initcheck.sources.torch.built import RecordedTensor

__all__ = ["Route", "find_route", "record_deferred"]

_FLAG = "_is_hf_initialized"
_METHODS = ("init_weights", "initialize_weights", "reset_parameters")
_CALLBACK = "_init_weights"


@dataclass(frozen=True, slots=True)
class Route:
    """How a module initialises itself.

    Attributes:
        method: Name of the method.
        shown: The same as people call it.
        run: Calls it for a module.
        evidence: Why the module is known to be made for it, empty where it only could be.
        of_layers: Whether it is no method of the model but one of each of its layers.
        is_callback: Whether it is a method of the model that is applied to each of its layers.
    """

    method: str
    shown: str
    run: Callable[[torch.nn.Module], Any]
    evidence: str = ""
    of_layers: bool = False
    is_callback: bool = False


def find_route(module: torch.nn.Module, root: Path) -> Route | None:
    """The method by which a module initialises itself as a whole, None if it has none.

    A method of the model goes first: one that needs no arguments, or a callback for ``Module.apply``. Layers that all
    reset themselves are a route as well: every model of plain layers has it, whether anybody goes there or not.

    Args:
        module: The model.
        root: Folder of the user's project.
    """
    for name in _METHODS:
        if _is_offered(module, name) and not _is_torch(getattr(type(module), name, None)):
            return Route(name, f"{name}()", methodcaller(name), _evidence(module, name, root))
    if _is_callback(module, _CALLBACK) and not _is_torch(getattr(type(module), _CALLBACK, None)):
        shown = f"apply({_CALLBACK})"
        return Route(_CALLBACK, shown, lambda twin: twin.apply(getattr(twin, _CALLBACK)), is_callback=True)
    owners = [child for child in module.modules() if any(True for _ in child.parameters(recurse=False))]
    if owners and all(_is_offered(owner, "reset_parameters") for owner in owners):
        return Route("reset_parameters", "reset_parameters() of each layer", _reset, of_layers=True)
    return None


def record_deferred(module: torch.nn.Module, route: Route, root: Path) -> Mapping[str, RecordedTensor]:
    """What a module's own initialisation writes into empty memory.

    ``to_empty`` on a copy of the module, flags by which transformers skips what it has initialised removed, then the
    route's method. It needs no memory.

    Args:
        module: Built on the meta device; it stays as it is.
        route: As ``find_route`` gives it.
        root: Folder of the user's project.

    Returns:
        Name -> tensor for every parameter and buffer, ``written`` telling those apart that nothing wrote.

    Raises:
        Exception: Whatever the module's initialisation raises.
    """
    twin = copy.deepcopy(module)
    keep = torch.__future__.get_overwrite_module_params_on_conversion()
    with recording(root, on_meta=True) as recorder:
        try:
            # As for real, where memory on another device means new parameters, and ties are lost.
            torch.__future__.set_overwrite_module_params_on_conversion(True)
            twin.to_empty(device="meta")
        finally:
            torch.__future__.set_overwrite_module_params_on_conversion(keep)
        _clear_flags(twin)
        # What the method prints, it printed when the factory ran.
        with torch.no_grad(), warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            recorder.watch(lambda: route.run(twin))
    return recorded_tensors(twin, recorder)


def _evidence(module: torch.nn.Module, method: str, root: Path) -> str:
    """What shows that a method is there for deferred initialisation; what a library's own class lacks is no evidence.

    Args:
        module: The model.
        method: Name of the method.
        root: Folder of the user's project.
    """
    kind = type(module)
    if class_source(kind, root.resolve()) is None:
        return ""
    if any(base.__name__ == "PreTrainedModel" and _is_of(base, "transformers") for base in kind.__mro__):
        return "transformers initialises what a checkpoint lacks this way"
    devices = [name for name in inspect.signature(getattr(module, method)).parameters if "device" in name]
    return f"{method}() takes the argument {devices[0]}" if devices else ""


def _is_offered(module: torch.nn.Module, name: str) -> bool:
    """Whether a module has a method of this name that can be called without arguments."""
    return _count_required(module, name) == 0


def _is_callback(module: torch.nn.Module, name: str) -> bool:
    """Whether a module has a method of this name that takes a module."""
    return _count_required(module, name) == 1


def _count_required(module: torch.nn.Module, name: str) -> int | None:
    """Arguments that a method needs, None if there is no such method."""
    method = getattr(module, name, None)
    if not callable(method) or isinstance(method, torch.nn.Module):
        return None
    try:
        parameters = inspect.signature(method).parameters.values()
    except (TypeError, ValueError):
        return None
    optional = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
    return sum(p.default is p.empty and p.kind not in optional for p in parameters)


def _is_torch(method: object) -> bool:
    return _is_of(method, "torch")


def _is_of(thing: object, package: str) -> bool:
    """Whether a class or function comes from a package."""
    return (getattr(thing, "__module__", None) or "").partition(".")[0] == package


def _reset(module: torch.nn.Module) -> None:
    """Children first, as ``Module.apply`` goes."""
    for child in reversed(list(module.modules())):
        if _is_offered(child, "reset_parameters"):
            child.reset_parameters()  # type: ignore[operator]


def _clear_flags(module: torch.nn.Module) -> None:
    for owner in (*module.modules(), *module.parameters(), *module.buffers()):
        vars(owner).pop(_FLAG, None)
