"""Tensors that modules hold as plain attributes: tables of angles, masks, random features that nobody registered."""

from __future__ import annotations

import torch

from initcheck.sources.torch.inputs import DECLARED

__all__ = ["register_attributes"]


def register_attributes(module: torch.nn.Module) -> None:
    """Make buffers of them, so that they are traced with the device and the values of the others.

    On the meta device a plain tensor would be met by what the forward pass makes on the CPU, and nothing would be known
    of it. One that the class declares as well stays what it is: as a buffer it would be hidden.
    """
    for child in module.modules():
        for name, value in list(vars(child).items()):
            # No subclass: parameters have a register of their own, and fake ones belong to somebody else's trace.
            if type(value) is not torch.Tensor or name in DECLARED or value.requires_grad:
                continue
            del vars(child)[name]
            if hasattr(child, name) or "." in name:
                vars(child)[name] = value
            else:
                child.register_buffer(name, value, persistent=False)
