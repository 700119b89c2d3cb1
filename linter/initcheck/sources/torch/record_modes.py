"""Steps behind the back of torch's modes, for what the recorder computes itself."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch.utils._python_dispatch import _disable_current_modes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

__all__ = ["storage_key", "unobserved", "without_functions"]


def without_functions() -> AbstractContextManager[None]:
    """Call functions of torch without anybody's function modes or ``__torch_function__``."""
    context: AbstractContextManager[None] = torch._C.DisableTorchFunction()  # noqa: SLF001 - there is no public name
    return context


@contextmanager
def unobserved() -> Iterator[None]:
    """The same without dispatch modes, the recorder among them, and without gradients."""
    with without_functions(), _disable_current_modes(), torch.no_grad():
        yield


def storage_key(tensor: torch.Tensor) -> int:
    """Identity of a tensor's storage while it lives."""
    key: int = tensor.untyped_storage()._cdata  # noqa: SLF001 - there is no public name
    return key
