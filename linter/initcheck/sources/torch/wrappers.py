"""Modules around the model, and objects that are no model."""

from __future__ import annotations

import torch
from torch import nn

from initcheck.errors import ModelLoadError

__all__ = ["unwrap"]


def unwrap(built: object) -> nn.Module:
    """The model inside compiled and data-parallel wrappers.

    Raises:
        ModelLoadError: If it is no module, or one whose weights or operations cannot be read (scripted, quantised).
    """
    module = built
    while isinstance(module, nn.Module):
        if isinstance(module, torch.jit.ScriptModule):
            raise ModelLoadError(
                "a ScriptModule has lost the Python code that tracing needs",
                "name the module that was scripted",
                kind="unsupported",
            )
        inner = getattr(module, "_orig_mod", None)
        if inner is None and isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            inner = module.module
        if not isinstance(inner, nn.Module):
            break
        module = inner
    if not isinstance(module, nn.Module):
        raise ModelLoadError(
            f"the factory returned {_article(type(module).__name__)}, not a torch.nn.Module",
            "return the module, or (module, example inputs)",
            kind="no-module",
        )
    _refuse_quantised(module)
    return module


def _refuse_quantised(module: nn.Module) -> None:
    for path, child in module.named_modules():
        package = type(child).__module__
        tensors = (*child.parameters(recurse=False), *child.buffers(recurse=False))
        if package.startswith(("torch.ao.nn.quantized", "torch.nn.quantized")) or any(t.is_quantized for t in tensors):
            raise ModelLoadError(
                f"{path or 'the model'} is quantised: its weights are no draws of an initialiser",
                "check the module before quantisation",
                kind="unsupported",
            )


def _article(word: str) -> str:
    return f"{'an' if word[:1].lower() in 'aeiou' else 'a'} {word}"
