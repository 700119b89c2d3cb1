"""Tensors that modules hold as plain attributes: tables of angles, masks, random features that nobody registered."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from initcheck.sources.torch.inputs import DECLARED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["reassignable", "register_attributes", "release_attributes"]


def register_attributes(module: torch.nn.Module) -> frozenset[str]:
    """Make buffers of them, so that they are traced with the device and the values of the others.

    On the meta device a plain tensor would be met by what the forward pass makes on the CPU, and nothing would be known
    of it. One that the class declares as well stays what it is: as a buffer it would be hidden.

    Returns:
        Their names among the buffers.
    """
    names = set()
    for path, child in module.named_modules():
        for name, value in list(vars(child).items()):
            # No subclass: parameters have a register of their own, and fake ones belong to somebody else's trace.
            plain = type(value) is torch.Tensor and value.layout is torch.strided
            if not plain or name in DECLARED or value.requires_grad:
                continue
            del vars(child)[name]
            if hasattr(child, name) or "." in name:
                vars(child)[name] = value
            else:
                child.register_buffer(name, value, persistent=False)
                names.add(f"{path}.{name}" if path else name)
    return frozenset(names)


def release_attributes(module: torch.nn.Module, names: Iterable[str]) -> None:
    """Make plain attributes again of what was registered: a forward pass may look for them in its own dictionary."""
    for name in names:
        path, _, last = name.rpartition(".")
        owner = module.get_submodule(path)
        tensor = getattr(owner, last)
        delattr(owner, last)
        setattr(owner, last, tensor)


@contextmanager
def reassignable() -> Iterator[None]:
    """Let a forward pass put a number where a tensor was, as it may in a plain attribute (``self.loss = 0.0``)."""
    original = torch.nn.Module.__setattr__

    def assign(self: torch.nn.Module, name: str, value: Any) -> None:
        if name in vars(self).get("_buffers", {}):
            if value is not None and not isinstance(value, (torch.Tensor, torch.nn.Module)):
                # In front of the buffer, whose place whoever exchanges it for the pass will look for.
                vars(self)[name] = value
                return
            vars(self).pop(name, None)
        original(self, name, value)

    setattr(torch.nn.Module, "__setattr__", assign)  # noqa: B010 - a method is exchanged for a while
    try:
        yield
    finally:
        setattr(torch.nn.Module, "__setattr__", original)  # noqa: B010
