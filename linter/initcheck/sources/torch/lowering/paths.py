"""Layer paths: the names under which ``named_modules`` lists the layers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from initcheck.sources.torch.calls import Call

__all__ = ["layer_path", "module_of_parameter"]

_PARAMETRIZED = re.compile(r"\.?parametrizations(?:\.\w+)*$|\.?parametrizations\.\w+\.original\d*$")

_VIEWED = re.compile(r"[\[*].*$")


def module_of_parameter(name: str) -> str:
    """Path of the module that owns a parameter; of the layer itself for one behind a parametrisation."""
    return _PARAMETRIZED.sub("", _VIEWED.sub("", name).rpartition(".")[0])


def layer_path(call: Call, weight: str = "") -> str:
    """Path of the layer that a call belongs to.

    That of the module that was running, or of a part of it whose weight the call reads (attention reads the weight of
    its output projection without calling it). The model itself has no name: there the call's own name stands.
    """
    owner = module_of_parameter(weight) if weight else ""
    if owner and (not call.path or owner == call.path or owner.startswith(call.path + ".")):
        return owner
    return call.path or owner or (call.outputs[0] if call.outputs else call.op)
