"""Elements of a parameter: its own where it has some, else drawn from its law."""

from __future__ import annotations

import math
import zlib
from typing import TYPE_CHECKING

import torch

from initcheck.distribution import Distribution, Family

if TYPE_CHECKING:
    from initcheck.sources.torch.built import RecordedTensor

__all__ = ["SAMPLE_LIMIT", "elements", "sample"]

SAMPLE_LIMIT = 1 << 22
"""Elements up to which a tensor is drawn."""


def elements(record: RecordedTensor, tensor: torch.Tensor | None) -> torch.Tensor | None:
    """Values to compute with, None where neither values nor law are known.

    Args:
        record: What is known of the tensor.
        tensor: The module's tensor, None or on meta where it holds no values.
    """
    if record.values is not None:
        return torch.from_numpy(record.values).to(getattr(torch, record.dtype)).reshape(record.shape)
    if tensor is not None and not tensor.is_meta:
        return tensor.detach()
    if record.distribution is None:
        return None
    return sample(record.distribution, record.shape, record.name)


def sample(law: Distribution, shape: tuple[int, ...], name: str) -> torch.Tensor | None:
    """A draw from a law, the same for the same name; None for a law without a rule to draw by, or too large."""
    if math.prod(shape) > SAMPLE_LIMIT:
        return None
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    if law.family is Family.CONSTANT:
        return torch.full(shape, law.mean)
    if law.family is Family.NORMAL:
        return torch.randn(shape, generator=generator) * law.std + law.mean
    if law.family is Family.UNIFORM:
        half = math.sqrt(3.0) * law.std
        return (2.0 * torch.rand(shape, generator=generator) - 1.0) * half + law.mean
    if law.family is Family.ORTHOGONAL and len(shape) == 2:
        tall = torch.randn(max(shape), min(shape), generator=generator)
        basis = torch.linalg.qr(tall)[0]
        gain = law.std * math.sqrt(max(shape))
        drawn: torch.Tensor = gain * (basis if shape[0] >= shape[1] else basis.T)
        return drawn
    if law.family is Family.TRUNCATED and math.isfinite(law.maximum):
        low, high = ((bound - law.mean) / law.std for bound in (law.minimum, law.maximum))
        cut = torch.nn.init.trunc_normal_(torch.empty(shape), 0.0, 1.0, low, high, generator=generator)
        return cut * (law.std / cut.std()) + law.mean if cut.numel() > 1 else cut * law.std + law.mean
    return None
