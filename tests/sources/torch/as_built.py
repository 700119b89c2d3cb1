"""A module as it stands, its laws estimated from its values: what both sources know of one and the same model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from initcheck.estimate import estimate
from initcheck.schemes import init_fans
from initcheck.sources.torch.built import Built, RecordedTensor

if TYPE_CHECKING:
    import torch


def as_built(module: torch.nn.Module, example: Any = None) -> Built:
    records: dict[str, RecordedTensor] = {}
    first: dict[int, str] = {}
    tensors = [
        *((name, tensor, False) for name, tensor in module.named_parameters(remove_duplicate=False)),
        *((name, tensor, True) for name, tensor in module.named_buffers(remove_duplicate=False)),
    ]
    for name, tensor, is_buffer in tensors:
        canonical = first.setdefault(id(tensor), name)
        records[name] = RecordedTensor(
            name,
            tuple(tensor.shape),
            str(tensor.dtype).removeprefix("torch."),
            _law(tensor) if tensor.is_floating_point() else None,
            tied_to="" if canonical == name else canonical,
            values=tensor.detach().double().numpy() if is_buffer else None,
            is_buffer=is_buffer,
        )
    given = example if example is None or isinstance(example, (tuple, dict)) else (example,)
    return Built(module, given, records, on_meta=False)


def _law(tensor: torch.Tensor) -> Any:
    array = np.ascontiguousarray(tensor.detach().float().numpy())
    fans = init_fans(array.shape) if array.ndim > 1 else None
    return estimate((array,), array.shape, fans=fans)[0]
