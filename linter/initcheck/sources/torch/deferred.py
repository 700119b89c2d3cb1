"""The deferred route: a module built on the meta device, given memory, then initialised by its own method.

Trainers go this way, since it needs no memory twice. What the method forgets keeps whatever was in memory.
"""

from __future__ import annotations

import copy
import inspect
from typing import TYPE_CHECKING, Any

import torch

from initcheck.sources.torch.build import recording
from initcheck.sources.torch.record_result import recorded_tensors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from initcheck.sources.torch.built import RecordedTensor

__all__ = ["record_deferred"]

_FLAG = "_is_hf_initialized"


def record_deferred(module: torch.nn.Module, root: Path) -> Mapping[str, RecordedTensor]:
    """What a module's own initialisation writes into empty memory.

    ``to_empty`` on a copy of the module, flags by which transformers skips what it has initialised removed, then
    ``init_weights()`` of the module, or ``reset_parameters()`` of each part that has one. It needs no memory.

    Args:
        module: Built on the meta device; it stays as it is.
        root: Folder of the user's project.

    Returns:
        Name -> tensor for every parameter and buffer, ``written`` telling those apart that nothing wrote; empty when
        the module offers no such route.

    Raises:
        Exception: Whatever the module's initialisation raises.
    """
    initialize = _route(module)
    if initialize is None:
        return {}
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
        with torch.no_grad():
            recorder.watch(lambda: initialize(twin))
    return recorded_tensors(twin, recorder)


def _route(module: torch.nn.Module) -> Callable[[torch.nn.Module], Any] | None:
    """How a module initialises itself, None if it does not."""
    if _is_offered(module, "init_weights"):
        return lambda twin: twin.init_weights()  # type: ignore[operator]
    if any(_is_offered(child, "reset_parameters") for child in module.modules()):
        return _reset
    return None


def _is_offered(module: torch.nn.Module, name: str) -> bool:
    """Whether a module has a method of this name that can be called without arguments."""
    method = getattr(module, name, None)
    if not callable(method):
        return False
    parameters = inspect.signature(method).parameters.values()
    optional = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
    return all(p.default is not p.empty or p.kind in optional for p in parameters)


def _reset(module: torch.nn.Module) -> None:
    """Children first, as ``Module.apply`` goes."""
    for child in reversed(list(module.modules())):
        if _is_offered(child, "reset_parameters"):
            child.reset_parameters()  # type: ignore[operator]


def _clear_flags(module: torch.nn.Module) -> None:
    for owner in (*module.modules(), *module.parameters(), *module.buffers()):
        vars(owner).pop(_FLAG, None)
